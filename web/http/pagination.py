"""Lists: up to 10,000 items without `limit` and `cursor`, otherwise pages, with a `Link` to the next one (RFC 8288).

A list that exceeds a small page is read chunk by chunk in one snapshot of the database, as encoded (and compressed)
bytes. So an error is still answered with its own status, and `Link` and `Content-Length` are right. A worker holds a
bounded number of such bodies of bounded size. A client that does not read its body loses the connection.

A cursor is a signed position in a list. It is valid for one caller, one path and one set of filters.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from ledger.concurrency.deadline import start_deadline
from ledger.identity.keys import base64url
from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION
from web.http.concurrency import ConcurrencyLimit
from web.http.json import format_times
from web.http.negotiation import MIN_BYTES, Compressor, choose_coding, compress, make_compressor
from web.http.params import Parameter, integer_parameter
from web.http.replica import reader
from web.http.request import ACTOR, REQUEST_ID, RUNTIME
from web.http.response import Reply, Stream

MAX_LIMIT = 1000
MAX_ITEMS = 10_000  # without `limit` and `cursor`

SMALL = 200  # items that every request may have in memory
SMALL_BYTES = 262_144
CHUNK = 500  # items that are read at once
CHUNK_BYTES = 524_288  # the size to aim at, estimated from the items before
SLICE = 100  # items encoded before other requests get their turn
MAX_CHUNKS = 100  # of one list: filters may choose few items, or none, of each
MAX_BYTES = 16_777_216  # of one list, before compression; the rest is on the next page

MAX_LARGE = 8  # lists of a worker that exceed a small page and are in memory
MAX_LARGE_EACH = 4  # of one caller
MAX_READ = 2  # large lists that are read at once: each takes a connection, and its share of the event loop
MAX_READ_EACH = 1
MAX_WAITING = 64
WAIT_SECONDS = 5.0  # for admission, and again for the turn to read

SEND_SECONDS = 10.0  # that a client may take for any list, and
SEND_BYTES_PER_SECOND = 131_072  # how fast it must read beyond that, because it occupies the limit

AS_JSON: Mapping[str, str] = {"Content-Type": "application/json", "Vary": "Accept-Encoding"}

MAX_CURSOR_LENGTH = 256
FREE = frozenset({"cursor", "limit", "min_position"})  # may differ from page to page
_MAC_BYTES = 16

LIMIT = integer_parameter(
    "limit",
    f"The most items to return; without `limit` and `cursor` {MAX_ITEMS:,}, with a `cursor` alone {MAX_LIMIT:,}",
    minimum=1,
    maximum=MAX_LIMIT,
)
CURSOR = Parameter(
    "cursor",
    "The cursor in the `Link` to the next page",
    str,
    schema={"type": "string", "pattern": rf"^[A-Za-z0-9_-]{{1,{MAX_CURSOR_LENGTH}}}$"},
)
PAGE = (LIMIT, CURSOR)

Page: TypeAlias = list[tuple[int, dict[str, Any]]]  # each item with its position
PlaceT = TypeVar("PlaceT")


class Chunk(NamedTuple, Generic[PlaceT]):
    """Items of a list, in order, and the place after which the list continues; None at its end."""

    items: Sequence[Mapping[str, Any]]
    place: PlaceT | None


class Span(NamedTuple, Generic[PlaceT]):
    """The requested part of a list: up to `most` items after a place; None is the beginning.

    `is_page` is False for a client that asked for the whole list, and may not know `Link`.
    """

    most: int
    start: PlaceT | None
    is_page: bool


Walk: TypeAlias = Callable[[Reader, PlaceT | None, int], Awaitable[Chunk[PlaceT]]]


class LargeLists:
    """A worker's limits for large lists: on those in memory, and on those that are being read."""

    def __init__(self) -> None:
        self.kept = ConcurrencyLimit(MAX_LARGE, each=MAX_LARGE_EACH, queue=MAX_WAITING, wait_seconds=WAIT_SECONDS)
        self.read = ConcurrencyLimit(MAX_READ, each=MAX_READ_EACH, queue=MAX_WAITING, wait_seconds=WAIT_SECONDS)


LARGE_LISTS = web.AppKey("LARGE_LISTS", LargeLists)


def read_span(request: web.Request, kind: type[PlaceT]) -> Span[PlaceT]:
    """Return the part of a list that `limit` and `cursor` ask for. Raises `Refused`."""
    limit, start = LIMIT.read(request), read_cursor(request, kind)
    is_page = limit is not None or start is not None
    return Span(limit or (MAX_LIMIT if is_page else MAX_ITEMS), start, is_page)


def walk_by_position(query: Callable[[Reader, int, int], Awaitable[Page]]) -> Walk[int]:
    """Return the walk of a list, newest first, whose query takes the position to stay below and a limit."""

    async def walk(source: Reader, place: int | None, limit: int) -> Chunk[int]:
        rows = await query(source, MAX_POSITION if place is None else place, limit + 1)
        return Chunk([body for _, body in rows[:limit]], rows[limit - 1][0] if len(rows) > limit else None)

    return walk


async def answer_list(
    request: web.Request, span: Span[PlaceT], walk: Walk[PlaceT], headers: Mapping[str, str] = AS_JSON
) -> Reply | Stream:
    """Answer with this part of a list. Raises `OverloadedError` if it is large, and too many are in progress.

    Its first chunk is read without waiting. It is the whole answer if the list, or the requested page, ends there.
    `headers` have its media type, and the request headers that it depends on.
    """
    source = reader(request)
    small = _Body(None)
    place = await _read(source, walk, span._replace(most=min(span.most, SMALL), is_page=True), small)
    is_page = span.is_page and (span.most <= SMALL or small.count < SMALL)
    if (place is None or is_page) and small.raw_bytes <= SMALL_BYTES:
        return await _reply(request, b"".join(small.pieces), {**headers, **link_to_next(request, span, place)})
    del small
    limits, caller = request.app[LARGE_LISTS], request[ACTOR].user_id
    async with limits.kept.admit(caller):
        coding = choose_coding(request)
        body = _Body(coding)
        async with limits.read.admit(caller):
            place = await _read_large(request, walk, span, body)
        headers = {**headers, **_name_coding(coding), **link_to_next(request, span, place)}
        return await _send(request, body.pieces, headers)


async def _read_large(request: web.Request, walk: Walk[PlaceT], span: Span[PlaceT], body: "_Body") -> PlaceT | None:
    """Read a large list as it is at one point in time. Each chunk may take as long as a small request."""
    patience = request.app[RUNTIME].settings.ledger_database_patience_seconds
    start_deadline(patience)  # it may have waited for its turn
    async with (
        reader(request).acquire(seconds=patience) as lent,
        lent.connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        return await _read(lent.connection, walk, span, body, renew=lambda: lent.renew(patience))


async def _read(
    source: Reader,
    walk: Walk[PlaceT],
    span: Span[PlaceT],
    body: "_Body",
    renew: Callable[[], None] = lambda: None,
) -> PlaceT | None:
    """Read into a body, and return the place after which the list continues; `renew` is called before each chunk.

    A page ends with a chunk that filters left short. For a client that asked for the whole list, more chunks follow.
    """
    place, asked = span.start, min(span.most, SMALL)
    for _ in range(MAX_CHUNKS):
        renew()
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
    """A JSON array that grows chunk by chunk, as pieces of bytes that are compressed on the way."""

    def __init__(self, coding: str | None) -> None:
        self.pieces: list[bytes] = []
        self.count = 0
        self.raw_bytes = 0
        self._compressor: Compressor | None = None if coding is None else make_compressor(coding)

    def next_chunk(self) -> int:
        """Return how many items to read next, if they are about as large as those before."""
        return max(1, min(CHUNK, CHUNK_BYTES * self.count // self.raw_bytes)) if self.count else CHUNK

    async def extend(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Append items."""
        for start in range(0, len(items), SLICE):
            part = msgspec.json.encode([format_times(item) for item in items[start : start + SLICE]])[1:-1]
            await self._append((b"," if self.count else b"[") + part)
            self.count += len(items[start : start + SLICE])
            await asyncio.sleep(0)

    async def close(self) -> None:
        """End the array, and the compression."""
        await self._append(b"]" if self.count else b"[]")
        if self._compressor is not None:
            self.pieces.append(self._compressor.flush())

    async def _append(self, part: bytes) -> None:
        self.raw_bytes += len(part)
        if self._compressor is not None:
            part = await asyncio.to_thread(self._compressor.compress, part)
        if part:
            self.pieces.append(part)


async def _reply(request: web.Request, body: bytes, headers: Mapping[str, str]) -> Reply:
    coding = choose_coding(request) if len(body) >= MIN_BYTES else None
    if coding is not None:
        body = await compress(coding, body)
    return Reply(body=body, headers={**headers, **_name_coding(coding)})


async def _send(request: web.Request, pieces: list[bytes], headers: Mapping[str, str]) -> Stream:
    length = sum(map(len, pieces))
    stream = Stream(request[REQUEST_ID], headers["Content-Type"], {**headers, "Content-Length": str(length)})
    async with stream.open(request), asyncio.timeout(SEND_SECONDS + length / SEND_BYTES_PER_SECOND):
        for piece in pieces:
            await stream.send(piece)
    return stream


def _name_coding(coding: str | None) -> dict[str, str]:
    return {} if coding is None else {"Content-Encoding": coding}


def link_to_next(request: web.Request, span: Span[PlaceT], place: PlaceT | None) -> dict[str, str]:
    """Return the `Link` header to the page after this place, or nothing at the end of the list."""
    if place is None:
        return {}
    limit = min(span.most, MAX_LIMIT)
    url = request.rel_url.update_query({"limit": limit, "cursor": make_cursor(request, place)})
    return {"Link": f'<{url}>; rel="next"'}


def make_cursor(request: web.Request, place: object) -> str:
    """Return the cursor of a place in the list that this request asks for."""
    body = msgspec.json.encode(place)
    return base64url(_compute_mac(request, body) + body)


def read_cursor(request: web.Request, kind: type[PlaceT]) -> PlaceT | None:
    """Return the place where the page begins; None for the first page. Raises `Refused` for another list's cursor."""
    text = CURSOR.read(request)
    if text is None:
        return None
    raw = _decode(text) if len(text) <= MAX_CURSOR_LENGTH else b""
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _compute_mac(request, body)):
        CURSOR.refuse("must be that of a `Link` to a next page of this list")
    return msgspec.json.decode(body, type=kind)


def _compute_mac(request: web.Request, body: bytes) -> bytes:
    filters = sorted((name, value) for name, value in request.query.items() if name not in FREE)
    scope = msgspec.json.encode((request[ACTOR].user_id, request.path.split("/", 2)[-1], filters))
    return hmac.digest(request.app[RUNTIME].cursor_key, scope + b"\n" + body, "sha256")[:_MAC_BYTES]


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return b""
    return raw if base64url(raw) == text else b""
