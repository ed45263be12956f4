"""Transfers as JSON Lines: one a line, carried out as they arrive, and as many lines back, in order.

However long the stream is, a worker has three chunks of it in memory at most. It reads no further than it has carried
out and than its client has read; a client that hangs up takes back nothing of what was handed in.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from ledger import errors
from ledger.commands.batch import TransferBatch
from ledger.commands.transfers import TransferMoney
from ledger.errors import LedgerError, OverloadedError, Refusal, Refused
from ledger.store.pool import UNREACHABLE
from web import requests
from web.auth import check_again
from web.handlers.batch import CHUNK, execute_chunk, format_refusal
from web.handlers.monitoring import DRAINING
from web.http.errors import TOO_LARGE, refusals_of
from web.http.idempotency import make_origin
from web.http.json import parse
from web.http.request import REQUEST_ID, RUNTIME
from web.http.response import Stream

CONTENT_TYPE = "application/jsonl"
MEDIA = (CONTENT_TYPE, "application/x-ndjson")
SLICE = 100  # lines parsed before others get their turn: a piece of the stream may have thousands
LINGER_SECONDS = 0.05  # for more lines, before those that are here are carried out

Make = Callable[[requests.Transfer], TransferMoney]


class _Line(NamedTuple):
    number: int
    item: TransferMoney | Sequence[Refusal]


async def execute_stream(request: web.Request, make: Make) -> Stream:
    """Carry out the transfers of a stream, and stream what became of each; `make` says what a body commands.

    What ends it early (the token, a fault, the service's end) is a last line, without a number.
    """
    if "Idempotency-Key" in request.headers:
        message = "must not be given with a stream; give each line an id"
        raise Refused(errors.invalid_parameter("Idempotency-Key", message, "header"))
    await check_again(request)  # if no line is good, no transaction will find out
    stream = Stream(request[REQUEST_ID], CONTENT_TYPE)
    async with stream.open(request):
        try:
            await _deliver(request, stream, make)
        except (Refused, LedgerError, web.HTTPException, *UNREACHABLE) as error:
            if isinstance(error, ConnectionError | TimeoutError):  # the client's: nobody would read it
                raise
            await stream.send(_encoded([format_refusal(request, refusals_of(error))]))
    return stream


async def _deliver(request: web.Request, stream: Stream, make: Make) -> None:
    chunks = _chunks(request, make)
    reading = asyncio.ensure_future(anext(chunks, None))
    try:
        while (chunk := await reading) is not None:
            reading = asyncio.ensure_future(anext(chunks, None))  # while this one is carried out
            await check_again(request)
            if request.app[DRAINING].is_set():
                raise OverloadedError("the worker is to stop")
            await stream.send(_encoded(await _results(request, chunk)))
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await chunks.aclose()


async def _results(request: web.Request, chunk: Sequence[_Line]) -> list[dict[str, Any]]:
    command = TransferBatch(tuple(line.item for line in chunk if isinstance(line.item, TransferMoney)))
    made = iter((await execute_chunk(request, command, make_origin(request))).items if command.transfers else ())
    return [
        {
            "line": line.number,
            **(next(made) if isinstance(line.item, TransferMoney) else format_refusal(request, line.item)),
        }
        for line in chunk
    ]


def _encoded(results: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(result) + b"\n" for result in results)


async def _chunks(request: web.Request, make: Make) -> AsyncGenerator[list[_Line], None]:
    """The lines, some at a time. Raises `HTTPRequestTimeout` if there is none for too long."""
    settings, clock = request.app[RUNTIME].settings, asyncio.get_running_loop().time
    limit, patience = settings.ledger_body_limit_bytes, settings.ledger_body_timeout_seconds
    splitter = Splitter(limit)
    waiting: list[_Line] = []
    deadline = clock() + patience
    while True:
        data = await _read_until(request, deadline)
        lines = [] if data is None else splitter.lines(data) if data else splitter.rest()
        if lines and not waiting:
            deadline = clock() + LINGER_SECONDS
        for start in range(0, len(lines), SLICE):
            waiting += (_parsed(number, line, limit, make) for number, line in lines[start : start + SLICE])
            await asyncio.sleep(0)
        if data is None and not waiting:
            raise web.HTTPRequestTimeout
        while len(waiting) >= CHUNK or (waiting and not data):
            yield waiting[:CHUNK]
            del waiting[:CHUNK]
            deadline = clock() + (LINGER_SECONDS if waiting else patience)
        if data == b"":
            return


async def _read_until(request: web.Request, deadline: float) -> bytes | None:
    """What has arrived; nothing at the end of the stream; None if nothing arrives in time."""
    try:
        async with asyncio.timeout_at(deadline):
            return await request.content.readany()
    except TimeoutError:
        return None


def _parsed(number: int, line: bytes, limit: int, make: Make) -> _Line:
    if len(line) > limit:
        return _Line(number, (TOO_LARGE,))
    try:
        return _Line(number, make(parse(requests.Transfer, line)))
    except Refused as error:
        return _Line(number, error.refusals)


class Splitter:
    """Cuts what arrives into numbered lines, and keeps no more of an unfinished one than it may have."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._number = 0
        self._rest = b""

    def lines(self, data: bytes) -> list[tuple[int, bytes]]:
        """The lines that are finished now, blank ones left out."""
        *finished, rest = data.split(b"\n")
        if finished:
            finished[0] = self._rest + finished[0]
            self._rest = b""
        self._rest += rest[: self._limit + 1 - len(self._rest)]
        return [line for line in map(self._numbered, finished) if line[1].strip()]

    def rest(self) -> list[tuple[int, bytes]]:
        """The last line, if nothing ended it."""
        last, self._rest = self._rest, b""
        return [self._numbered(last)] if last.strip() else []

    def _numbered(self, line: bytes) -> tuple[int, bytes]:
        self._number += 1
        return self._number, line
