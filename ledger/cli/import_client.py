"""Stream the transfers in a file to a running service, and report the result of each line.

A line without an id gets one derived from the digest of the whole file and the line's number, so sending the same file
again repeats no transfer. An edited file has another digest: to edit a file and send it again, give ids.
"""

import asyncio
import csv
import hashlib
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import aiohttp

from ledger.events.transactions import Details
from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError

BLOCK_BYTES = 1 << 20
LINES_PER_CHUNK = 500
CONNECT_SECONDS, SILENCE_SECONDS = 10, 60
REQUIRED = ("source_account_id", "destination_account_id", "amount_cents")
OPTIONAL = ("id", *(name for name in Details.__struct_fields__ if name != "metadata"))
METADATA = "metadata."  # prefix of a column whose name ends with a key

_NAMESPACE = UUID("5d0c1d5e-3f8e-4a39-8d65-0b8a1f6f3c52")
_INTEGER = re.compile(r"-?[0-9]{1,16}", re.ASCII)


class ImportFailedError(Exception):
    """The import stopped early. It can be started again: completed transfers are not repeated."""


class Record(NamedTuple):
    """A line of the file, and the request body for it."""

    line: int
    body: bytes


class Result(NamedTuple):
    """The result of a line: created, created earlier (`replayed`), or refused with these errors."""

    line: int
    status: int
    replayed: bool
    errors: list[dict[str, Any]]


@dataclass(frozen=True)
class Service:
    """The URL of the service, and the user to log in as."""

    url: str
    username: str
    password: str


class Measured(NamedTuple):
    """The SHA-256 digest of a file, and the number of its lines."""

    digest: str
    lines: int


def measure(path: Path) -> Measured:
    """Return the digest and the number of lines of a file."""
    digest, lines = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            lines += block.count(b"\n")
    return Measured(digest.hexdigest(), lines)


def read(path: Path, digest: str) -> Iterator[Record]:
    """Yield the transfers in a file of CSV or JSON Lines, according to its suffix. Raises `ImportFailedError`."""
    match path.suffix.lower():
        case ".csv":
            yield from _read_csv(path, digest)
        case ".jsonl" | ".ndjson":
            yield from _read_lines(path, digest)
        case _:
            raise ImportFailedError(f"{path}: must end in .csv, .jsonl or .ndjson")


def _read_csv(path: Path, digest: str) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            header = next(rows, [])
            _check_header(path, header)
            begin = rows.line_num + 1
            for row in rows:
                if row:
                    yield Record(begin, _encode(_parse_row(path, begin, header, row), digest, begin))
                begin = rows.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise ImportFailedError(f"{path}:{rows.line_num}: {error}") from error


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in {*REQUIRED, *OPTIONAL} and not name.startswith(METADATA)]
    if missing:
        raise ImportFailedError(f"{path}:1: no column {missing[0]}")
    if unknown:
        raise ImportFailedError(f"{path}:1: unknown column {unknown[0]!r}")
    if len(header) != len(set(header)):
        raise ImportFailedError(f"{path}:1: duplicate column")


def _parse_row(path: Path, line: int, header: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(header):
        raise ImportFailedError(f"{path}:{line}: {len(row)} columns instead of {len(header)}")
    given = {name: value for name, value in zip(header, row, strict=True) if value}
    body: dict[str, Any] = {name: value for name, value in given.items() if not name.startswith(METADATA)}
    if _INTEGER.fullmatch(given.get("amount_cents", "")):
        body["amount_cents"] = int(given["amount_cents"])
    if metadata := {name[len(METADATA) :]: value for name, value in given.items() if name.startswith(METADATA)}:
        body["metadata"] = metadata
    return body


def _read_lines(path: Path, digest: str) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                body = strict_json.decode(line)
            except MalformedJsonError:
                body = None
            if isinstance(body, dict) and body.get("id") is None:
                yield Record(number, _encode(body, digest, number))
            else:
                yield Record(number, line.strip())  # it has an id, or is invalid, which the service reports


def _encode(body: dict[str, Any], digest: str, line: int) -> bytes:
    body.setdefault("id", str(uuid5(_NAMESPACE, f"{digest}:{line}")))
    return json.dumps(body, separators=(",", ":")).encode()


async def send(service: Service, records: Callable[[], Iterator[Record]], on_result: Callable[[Result], None]) -> None:
    """Send all records, and call `on_result` with the result of each, in order. Raises `ImportFailedError`.

    When the token expires, log in again and continue after the last result.
    """
    done = 0
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                token = await _log_in(session, service)
                request = _BatchRequest(islice(records(), done, None))
                problem = await request.run(session, service.url, token, on_result)
                if problem is None:
                    return
                if request.answered == 0 or problem["status"] != HTTPStatus.UNAUTHORIZED:
                    raise ImportFailedError(_describe(problem))
                done += request.answered
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ImportFailedError(f"{service.url}: {str(error) or 'no response in time'}") from error


class _BatchRequest:
    """One request: the records that are being sent, and the results that have arrived."""

    def __init__(self, records: Iterator[Record]) -> None:
        self.answered = 0
        self._records = records
        self._pending: deque[int] = deque()

    async def run(
        self, session: aiohttp.ClientSession, url: str, token: str, on_result: Callable[[Result], None]
    ) -> dict[str, Any] | None:
        """Send the records and report their results; return the problem with which the service ends early, if any."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/jsonl"}
        async with session.post(f"{url}/v1/transactions/batch", data=self._chunks(), headers=headers) as response:
            if response.status != HTTPStatus.OK:
                return dict(await response.json(content_type=None))
            async for line in response.content:
                result = json.loads(line)
                if "line" not in result:
                    return dict(result)
                self.answered += 1
                errors, number = result.get("errors", []), self._pending.popleft()
                on_result(Result(number, result["status"], result.get("replayed", False), errors))
        if self._pending:
            raise ImportFailedError("the service closed the stream before the last result")
        return None

    async def _chunks(self) -> AsyncIterator[bytes]:
        while chunk := list(islice(self._records, LINES_PER_CHUNK)):
            self._pending.extend(record.line for record in chunk)
            yield b"".join(record.body + b"\n" for record in chunk)
            await asyncio.sleep(0)


async def _log_in(session: aiohttp.ClientSession, service: Service) -> str:
    login = {"username": service.username, "password": service.password}
    async with session.post(f"{service.url}/v1/auth/login", json=login) as response:
        body = await response.json(content_type=None)
        if response.status != HTTPStatus.OK:
            raise ImportFailedError(_describe(body))
        return str(body["access_token"])


def _describe(problem: dict[str, Any]) -> str:
    first = problem["errors"][0]
    return f"the service responds with {problem['status']} {first['code']}: {first['message']}"
