"""Transfers from a file to a running service: read line by line, sent as a stream, and answered as it goes.

A line without an id gets one that follows from the whole file and the line's number, so sending the same file again
makes no transfer twice. An edited file is another file: whoever wants to edit and send again gives ids.
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

from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError

BLOCK = 1 << 20  # bytes
AT_ONCE = 500  # lines in one piece
CONNECT_SECONDS, SILENCE_SECONDS = 10, 60
REQUIRED = ("source_account_id", "destination_account_id", "amount_cents")
COLUMNS = (*REQUIRED, "id", "reference", "description", "effective_at")
METADATA = "metadata."  # begins a column whose name goes on with a key

_NAMESPACE = UUID("5d0c1d5e-3f8e-4a39-8d65-0b8a1f6f3c52")
_INTEGER = re.compile(r"-?[0-9]{1,16}", re.ASCII)


class ImportFailedError(Exception):
    """The import stopped early. Started again, it goes on without doing anything twice."""


class Record(NamedTuple):
    """A line of the file, as it is sent."""

    line: int
    body: bytes


class Result(NamedTuple):
    """What became of a line: made, made before (`replayed`), or refused with these codes and messages."""

    line: int
    status: int
    replayed: bool
    errors: list[dict[str, Any]]


@dataclass(frozen=True)
class Service:
    """Where the service is, and who sends."""

    url: str
    username: str
    password: str


class Measured(NamedTuple):
    """What tells a file from all others, and how many lines it has."""

    digest: str
    lines: int


def measure(path: Path) -> Measured:
    """Read a file once, in blocks."""
    digest, lines = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            lines += block.count(b"\n")
    return Measured(digest.hexdigest(), lines)


def read(path: Path, digest: str) -> Iterator[Record]:
    """The transfers in a file of CSV or JSON Lines, by its name's ending. Raises `ImportFailedError`."""
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
                    yield Record(begin, _encoded(_from_row(path, begin, header, row), digest, begin))
                begin = rows.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise ImportFailedError(f"{path}:{rows.line_num}: {error}") from error


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in COLUMNS and not name.startswith(METADATA)]
    if missing:
        raise ImportFailedError(f"{path}:1: no column {missing[0]}")
    if unknown:
        raise ImportFailedError(f"{path}:1: unknown column {unknown[0]!r}")
    if len(header) != len(set(header)):
        raise ImportFailedError(f"{path}:1: a column twice")


def _from_row(path: Path, line: int, header: list[str], row: list[str]) -> dict[str, Any]:
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
                yield Record(number, _encoded(body, digest, number))
            else:
                yield Record(number, line.strip())  # complete, or for the service to say what is wrong with it


def _encoded(body: dict[str, Any], digest: str, line: int) -> bytes:
    body.setdefault("id", str(uuid5(_NAMESPACE, f"{digest}:{line}")))
    return json.dumps(body, separators=(",", ":")).encode()


async def send(service: Service, records: Callable[[], Iterator[Record]], heard: Callable[[Result], None]) -> None:
    """Send all records, and tell `heard` what became of each, in order. Raises `ImportFailedError`.

    When the token ends, another login goes on where the last answer was.
    """
    done = 0
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                token = await _log_in(session, service)
                sending = _Sending(islice(records(), done, None))
                ended = await sending.run(session, service.url, token, heard)
                if ended is None:
                    return
                if sending.answered == 0 or ended["status"] != HTTPStatus.UNAUTHORIZED:
                    raise ImportFailedError(_why(ended))
                done += sending.answered
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ImportFailedError(f"{service.url}: {str(error) or 'no answer in time'}") from error


class _Sending:
    """One request: records on their way, and the answers to them."""

    def __init__(self, records: Iterator[Record]) -> None:
        self.answered = 0
        self._records = records
        self._unanswered: deque[int] = deque()

    async def run(
        self, session: aiohttp.ClientSession, url: str, token: str, heard: Callable[[Result], None]
    ) -> dict[str, Any] | None:
        """Send and hear; if the service ends it early, what it says."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/jsonl"}
        async with session.post(f"{url}/v1/transactions/batch", data=self._pieces(), headers=headers) as response:
            if response.status != HTTPStatus.OK:
                return dict(await response.json(content_type=None))
            async for line in response.content:
                result = json.loads(line)
                if "line" not in result:
                    return dict(result)
                self.answered += 1
                errors, number = result.get("errors", []), self._unanswered.popleft()
                heard(Result(number, result["status"], result.get("replayed", False), errors))
        if self._unanswered:
            raise ImportFailedError("the service ended the stream too early")
        return None

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := list(islice(self._records, AT_ONCE)):
            self._unanswered.extend(record.line for record in piece)
            yield b"".join(record.body + b"\n" for record in piece)
            await asyncio.sleep(0)


async def _log_in(session: aiohttp.ClientSession, service: Service) -> str:
    login = {"username": service.username, "password": service.password}
    async with session.post(f"{service.url}/v1/auth/login", json=login) as response:
        body = await response.json(content_type=None)
        if response.status != HTTPStatus.OK:
            raise ImportFailedError(_why(body))
        return str(body["access_token"])


def _why(problem: dict[str, Any]) -> str:
    first = problem["errors"][0]
    return f"the service answers {problem['status']} {first['code']}: {first['message']}"
