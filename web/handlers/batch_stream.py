"""Transfers as JSON Lines: one on each line, executed as they arrive. The response has a line for each, in order.

A stream takes a place that others wait for, so it lasts only while its lines are accepted.
A worker keeps at most four chunks of a stream in memory, however long it is. The server stops reading from clients
that do not read their results. Transfers that it has received stay posted if the client disconnects.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from aiohttp import StreamReader, web

from ledger import errors
from ledger.commands.batch import TransferBatch
from ledger.commands.transfers import TransferMoney
from ledger.concurrency.deadline import start_deadline
from ledger.errors import LedgerError, OverloadedError, Refusal, Refused
from ledger.store.connections import UNREACHABLE
from ledger.write.group import Outcome
from web import requests
from web.auth import check_again
from web.handlers.batch import CHUNK, format_refusal, make_chunk, parse_results, read_results, submit_chunk
from web.handlers.monitoring import DRAINING
from web.http.account_refs import all_with_account_ids, has_codes
from web.http.dry_run import headers_of
from web.http.errors import TOO_LARGE, refusals_of
from web.http.idempotency import make_origin
from web.http.json import parse
from web.http.request import REQUEST_ID, RUNTIME
from web.http.response import Stream
from web.plain_transfer import PlainTransfer, parse_plain_transfer

CONTENT_TYPE = "application/jsonl"
MEDIA = (CONTENT_TYPE, "application/x-ndjson")
SLICE = 100  # lines parsed before other requests get their turn: one read may bring thousands
LINGER_SECONDS = 0.05  # wait for more lines before a chunk is executed

Make = Callable[[requests.Transfer | PlainTransfer], TransferMoney]


class _Lease:
    """The time that a stream has left: `seconds` since a line was accepted, without what the service took for others.

    Lines that are refused do not extend it: a stream takes a place, which others wait for.
    """

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._seconds = seconds
        self._ends_at = self._clock() + seconds
        self._reading: asyncio.Timeout | None = None

    def renew(self) -> None:
        """Count from now, because a line was accepted."""
        self._set_end(self._clock() + self._seconds)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Do not count the time of the block."""
        left = self._ends_at - self._clock()
        self._set_end(math.inf)
        try:
            yield
        finally:
            self._set_end(self._clock() + left)

    async def read(self, content: StreamReader) -> bytes | None:
        """Return the data that has arrived: empty at the end of the stream, None if the time is over."""
        if self._ends_at <= self._clock():
            return None  # although there may be data, as always in a flood of lines that are refused
        try:
            async with asyncio.timeout_at(self._ends_at if math.isfinite(self._ends_at) else None) as self._reading:
                return await content.readany()
        except TimeoutError:
            return None
        finally:
            self._reading = None

    def _set_end(self, ends_at: float) -> None:
        self._ends_at = ends_at
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(ends_at if math.isfinite(ends_at) else None)


class _Line(NamedTuple):
    """A line: its transfer, or why it is refused. A transfer is a body until the codes of accounts are replaced."""

    number: int
    item: TransferMoney | requests.Transfer | tuple[Refusal, ...]


async def execute_stream(request: web.Request, make: Make) -> Stream:
    """Execute the transfers of a stream, and stream the result of each; `make` turns a body into its command.

    If the stream ends early (revoked token, fault, shutdown), a last line without a number says why.
    """
    if "Idempotency-Key" in request.headers:
        message = "must not be given with a stream; give each line an id"
        raise Refused(errors.invalid_parameter("Idempotency-Key", message, "header"))
    await check_again(request)  # no transaction checks the token if no line is valid
    stream = Stream(request[REQUEST_ID], CONTENT_TYPE, headers_of(request))
    async with stream.open(request):
        try:
            await _deliver(request, stream, make)
        except (Refused, LedgerError, web.HTTPException, *UNREACHABLE) as error:
            if isinstance(error, ConnectionError | TimeoutError):  # the client is gone
                raise
            await stream.send(_encode([format_refusal(request, refusals_of(error))]))
    return stream


async def _deliver(request: web.Request, stream: Stream, make: Make) -> None:
    """Execute the chunks in order. While one is executed, the next is read and the results of the last are sent."""
    settings = request.app[RUNTIME].settings
    lease = _Lease(settings.ledger_body_timeout_seconds)
    chunks, patience = _read_chunks(request, make, lease), settings.ledger_database_patience_seconds
    reading = asyncio.ensure_future(_read_next(request, chunks, make))
    sending: asyncio.Future[None] = asyncio.ensure_future(asyncio.sleep(0))
    try:
        while (chunk := await reading) is not None:
            reading = asyncio.ensure_future(_read_next(request, chunks, make))
            with lease.pause():
                try:
                    start_deadline(patience)
                    await check_again(request)
                    if request.app[DRAINING].is_set():
                        raise OverloadedError("the worker is stopping")
                    executed = await _execute(request, chunk)
                finally:
                    await sending
            if executed.has_accepted():
                lease.renew()
            sending = asyncio.ensure_future(_send_results(request, stream, executed))
        await sending
    finally:
        for task in (reading, sending):
            task.cancel()
        await asyncio.gather(reading, sending, return_exceptions=True)
        await chunks.aclose()


class _Chunk(NamedTuple):
    """Lines, the command of those that are valid, and its outcome once it is executed."""

    lines: Sequence[_Line]
    command: TransferBatch
    outcome: Outcome | None = None

    def has_accepted(self) -> bool:
        """Return whether a line was executed and not refused, now or earlier."""
        return self.outcome is not None and any(result.id is not None for result in parse_results(self.outcome))


async def _read_next(request: web.Request, chunks: AsyncGenerator[list[_Line], None], make: Make) -> _Chunk | None:
    """Return the next chunk; None at the end of the stream."""
    lines = await anext(chunks, None)
    if lines is None:
        return None
    lines = await _find_accounts(request, lines, make)
    transfers = [line.item for line in lines if isinstance(line.item, TransferMoney)]
    return _Chunk(lines, await make_chunk(request, transfers))


async def _find_accounts(request: web.Request, lines: list[_Line], make: Make) -> list[_Line]:
    """Return the lines, none with a body: the codes of accounts are replaced with ids."""
    bodies = [line.item for line in lines if type(line.item) is requests.Transfer]
    if not bodies:
        return lines
    found = iter(await all_with_account_ids(request, bodies))
    return [line._replace(item=make(next(found))) if type(line.item) is requests.Transfer else line for line in lines]


async def _execute(request: web.Request, chunk: _Chunk) -> _Chunk:
    if not chunk.command.transfers:
        return chunk
    return chunk._replace(outcome=await submit_chunk(request, chunk.command, make_origin(request)))


async def _send_results(request: web.Request, stream: Stream, executed: _Chunk) -> None:
    lines, command, outcome = executed
    results = iter(() if outcome is None else (await read_results(request, command, outcome)).items)
    await stream.send(
        _encode(
            [
                {
                    "line": line.number,
                    **(format_refusal(request, line.item) if isinstance(line.item, tuple) else next(results)),
                }
                for line in lines
            ]
        )
    )


def _encode(results: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(result) + b"\n" for result in results)


async def _read_chunks(request: web.Request, make: Make, lease: _Lease) -> AsyncGenerator[list[_Line], None]:
    """Yield the lines in chunks. Raises `HTTPRequestTimeout` if none is accepted in time."""
    limit, clock = request.app[RUNTIME].settings.ledger_body_limit_bytes, asyncio.get_running_loop().time
    splitter = Splitter(limit)
    waiting: list[_Line] = []
    deadline = 0.0
    while True:
        data = await (_read_until(request, deadline) if waiting else lease.read(request.content))
        lines = [] if data is None else splitter.lines(data) if data else splitter.rest()
        if lines and not waiting:
            deadline = clock() + LINGER_SECONDS
        for start in range(0, len(lines), SLICE):
            waiting += (_parse_line(number, line, limit, make) for number, line in lines[start : start + SLICE])
            await asyncio.sleep(0)
        if data is None and not waiting:
            raise web.HTTPRequestTimeout
        while len(waiting) >= CHUNK or (waiting and not data):
            yield waiting[:CHUNK]
            del waiting[:CHUNK]
            deadline = clock() + LINGER_SECONDS
        if data == b"":
            return


async def _read_until(request: web.Request, deadline: float) -> bytes | None:
    """Return the data that has arrived: empty at the end of the stream, None if nothing arrives in time."""
    try:
        async with asyncio.timeout_at(deadline):
            return await request.content.readany()
    except TimeoutError:
        return None


def _parse_line(number: int, line: bytes, limit: int, make: Make) -> _Line:
    if len(line) > limit:
        return _Line(number, (TOO_LARGE,))
    try:
        plain = parse_plain_transfer(line)
        if plain is not None:
            return _Line(number, make(plain))
        body = parse(requests.Transfer, line)
        return _Line(number, body if has_codes(body) else make(body))
    except Refused as error:
        return _Line(number, error.refusals)


class Splitter:
    """Cuts a stream into numbered lines, and keeps at most the permitted length of an unfinished one."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._number = 0
        self._rest = b""

    def lines(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the lines that this data completes, without blank ones."""
        *finished, rest = data.split(b"\n")
        if finished:
            finished[0] = self._rest + finished[0]
            self._rest = b""
        self._rest += rest[: self._limit + 1 - len(self._rest)]
        return [line for line in map(self._number_line, finished) if line[1].strip()]

    def rest(self) -> list[tuple[int, bytes]]:
        """Return the last line if it has no line break."""
        last, self._rest = self._rest, b""
        return [self._number_line(last)] if last.strip() else []

    def _number_line(self, line: bytes) -> tuple[int, bytes]:
        self._number += 1
        return self._number, line
