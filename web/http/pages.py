"""Lists: up to 10,000 items without `limit` and `cursor`, otherwise pages, with a `Link` to the next one (RFC 8288).

A list that exceeds a small page is read chunk by chunk in one snapshot of the database, as encoded (and compressed)
bytes. So an error is still an answer, and `Link` and `Content-Length` are right. How many such bodies a worker holds is
bounded, and so is each of them; a client that does not read its body loses the connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from ledger.store.connections import Reader
from ledger.store.reader import LAST
from web.http.codings import MIN_BYTES, Compressor, coding_for, compressed, compressor_of
from web.http.concurrency import ConcurrencyLimit
from web.http.context import ACTOR, REQUEST_ID
from web.http.cursors import cursor_in, cursor_of
from web.http.json import rendered
from web.http.params import number_in
from web.http.replica import reader
from web.http.response import Reply, Stream

MAX_LIMIT = 1000
MAX_ITEMS = 10_000  # without `limit` and `cursor`

SMALL = 200  # items that every request may have in memory
SMALL_BYTES = 262_144
CHUNK = 500  # items that are read at once
CHUNK_BYTES = 524_288  # that they should not exceed, as far as the items before them tell
SLICE = 100  # items encoded before others get their turn
MAX_CHUNKS = 100  # of one list: filters may choose few items, or none, of each
MAX_BYTES = 16_777_216  # of one list, before compression; the rest is on the next page

MAX_LARGE = 8  # lists of a worker that exceed a small page and are in memory
MAX_LARGE_EACH = 4  # of one caller
MAX_READ = 2  # of them that are read at once: each takes a connection, and its share of the event loop
MAX_READ_EACH = 1
MAX_WAITING = 64
WAIT_SECONDS = 5.0  # for a place, and again for the turn to read

SEND_SECONDS = 10.0  # that a client may take for any list, and
SEND_BYTES_PER_SECOND = 131_072  # how fast it must read beyond that: it keeps a place meanwhile

CONTENT_TYPE = "application/json"

Page: TypeAlias = list[tuple[int, dict[str, Any]]]  # each item with its position
PlaceT = TypeVar("PlaceT")


class Chunk(NamedTuple, Generic[PlaceT]):
    """Items of a list, in order, and the place after which the list goes on; None if it does not."""

    items: Sequence[Mapping[str, Any]]
    place: PlaceT | None


class Span(NamedTuple, Generic[PlaceT]):
    """Which part of a list is wanted: up to `most` items after a place; None is the beginning.

    `is_page` is False for a client that asked for everything, and may not know `Link`.
    """

    most: int
    start: PlaceT | None
    is_page: bool


Walk: TypeAlias = Callable[[Reader, PlaceT | None, int], Awaitable[Chunk[PlaceT]]]


class LargeLists:
    """A worker's bounds on large lists: how many are in memory, and how many of these are being read."""

    def __init__(self) -> None:
        self.kept = ConcurrencyLimit(MAX_LARGE, MAX_LARGE_EACH, MAX_WAITING, WAIT_SECONDS)
        self.read = ConcurrencyLimit(MAX_READ, MAX_READ_EACH, MAX_WAITING, WAIT_SECONDS)


LARGE_LISTS = web.AppKey("LARGE_LISTS", LargeLists)


def span_in(request: web.Request, kind: type[PlaceT]) -> Span[PlaceT]:
    """Return what `limit` and `cursor` ask for. Raises `Refused`."""
    limit, start = number_in(request, "limit", minimum=1, maximum=MAX_LIMIT), cursor_in(request, kind)
    is_page = limit is not None or start is not None
    return Span(limit or (MAX_LIMIT if is_page else MAX_ITEMS), start, is_page)


def by_position(query: Callable[[Reader, int, int], Awaitable[Page]]) -> Walk[int]:
    """Return how to walk a list whose query takes the position to stay below and a limit, newest first."""

    async def walk(source: Reader, place: int | None, limit: int) -> Chunk[int]:
        rows = await query(source, LAST if place is None else place, limit + 1)
        return Chunk([body for _, body in rows[:limit]], rows[limit - 1][0] if len(rows) > limit else None)

    return walk


async def list_of(request: web.Request, span: Span[PlaceT], walk: Walk[PlaceT]) -> Reply | Stream:
    """Answer with this part of a list. Raises `OverloadedError` if it is large, and too many are under way.

    Its first chunk is read without a turn. It is the answer if the list ends there, or the page that was asked for.
    """
    pool = reader(request)
    small = _Body(None)
    place = await _read(pool, walk, span._replace(most=min(span.most, SMALL), is_page=True), small)
    is_page = span.is_page and (span.most <= SMALL or small.count < SMALL)
    if (place is None or is_page) and small.raw_bytes <= SMALL_BYTES:
        return await _reply(request, b"".join(small.pieces), _link(request, span, place))
    del small
    limits, caller = request.app[LARGE_LISTS], request[ACTOR].user_id
    async with limits.kept.admit(caller):
        coding = coding_for(request)
        body = _Body(coding)
        async with (
            limits.read.admit(caller),
            pool.acquire(timeout=WAIT_SECONDS) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            place = await _read(connection, walk, span, body)
        return await _send(request, body.pieces, _headers(coding) | _link(request, span, place))


async def _read(source: Reader, walk: Walk[PlaceT], span: Span[PlaceT], body: "_Body") -> PlaceT | None:
    """Read into a body, and return the place after which the list goes on.

    A page ends with a chunk that filters left short. For a client that asked for everything, the next chunks follow.
    """
    place, asked = span.start, min(span.most, SMALL)
    for _ in range(MAX_CHUNKS):
        chunk = await walk(source, place, asked)
        await body.extend(chunk.items)
        place = chunk.place
        is_short = span.is_page and len(chunk.items) < asked
        if place is None or is_short or body.count >= span.most or body.raw_bytes >= MAX_BYTES:
            break
        asked = min(span.most - body.count, body.next_chunk())
    await body.close()
    return place


class _Body:
    """A JSON array that grows chunk by chunk, in pieces of bytes, which are compressed as it grows."""

    def __init__(self, coding: str | None) -> None:
        self.pieces: list[bytes] = []
        self.count = 0
        self.raw_bytes = 0
        self._compressor: Compressor | None = None if coding is None else compressor_of(coding)

    def next_chunk(self) -> int:
        """Return how many more items to read at once, if they are like those before."""
        return max(1, min(CHUNK, CHUNK_BYTES * self.count // self.raw_bytes)) if self.count else CHUNK

    async def extend(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Append items."""
        for start in range(0, len(items), SLICE):
            part = msgspec.json.encode([rendered(item) for item in items[start : start + SLICE]])[1:-1]
            await self._append((b"," if self.count else b"[") + part)
            self.count += len(items[start : start + SLICE])
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Append what ends it."""
        await self._append(b"]" if self.count else b"[]")
        if self._compressor is not None:
            self.pieces.append(self._compressor.flush())

    async def _append(self, part: bytes) -> None:
        self.raw_bytes += len(part)
        if self._compressor is not None:
            part = await asyncio.to_thread(self._compressor.compress, part)
        if part:
            self.pieces.append(part)


async def _reply(request: web.Request, body: bytes, link: dict[str, str]) -> Reply:
    coding = coding_for(request) if len(body) >= MIN_BYTES else None
    if coding is not None:
        body = await compressed(coding, body)
    return Reply(body=body, content_type=CONTENT_TYPE, headers=_headers(coding) | link)


async def _send(request: web.Request, pieces: list[bytes], headers: Mapping[str, str]) -> Stream:
    length = sum(map(len, pieces))
    stream = Stream(request[REQUEST_ID], CONTENT_TYPE, {**headers, "Content-Length": str(length)})
    async with stream.opened(request), asyncio.timeout(SEND_SECONDS + length / SEND_BYTES_PER_SECOND):
        for piece in pieces:
            await stream.send(piece)
    return stream


def _headers(coding: str | None) -> dict[str, str]:
    vary = {"Vary": "Accept-Encoding"}
    return vary if coding is None else {**vary, "Content-Encoding": coding}


def _link(request: web.Request, span: Span[PlaceT], place: PlaceT | None) -> dict[str, str]:
    """Return the header that leads to the page after this place; none if there is none."""
    if place is None:
        return {}
    limit = min(span.most, MAX_LIMIT)
    url = request.rel_url.update_query({"limit": limit, "cursor": cursor_of(request, place)})
    return {"Link": f'<{url}>; rel="next"'}
