"""The log: an account's entries and events, all events as pages or as a feed, and the trial balance."""

from collections.abc import Sequence

from aiohttp import web

from ledger.audit import as_of, entries
from ledger.audit.entries import Period
from ledger.projections import account_owners
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import EVENT_TOPICS, MAX_POSITION, EventFilter
from web.handlers.accounts import find_spans
from web.handlers.effective_entries import list_by_effective_time, wants_effective_times
from web.http.account_refs import read_path_account
from web.http.json import answer
from web.http.pagination import Chunk, Span, answer_list, read_span
from web.http.params import (
    AFTER,
    EFFECTIVE_AT,
    choice_parameter,
    id_parameter,
    integer_parameter,
    read_period,
    read_point_in_time,
)
from web.http.replica import reader
from web.http.request import RUNTIME
from web.http.response import Reply, Stream
from web.http.sse import send_feed, wants_feed

ORDER = choice_parameter(
    "order",
    "`asc`: oldest first; `desc`: newest first",
    ("asc", "desc"),
    schema={"enum": ["asc", "desc"], "default": "desc"},
)
FROM_VERSION = integer_parameter("from_version", "The first version")
TO_VERSION = integer_parameter("to_version", "The last version")
BEFORE = integer_parameter("before", "Only entries before this version")
TOPIC = choice_parameter("topic", "Only events of this topic", sorted(EVENT_TOPICS))
STREAM = id_parameter("stream", "Only events of this stream")
LAST_EVENT_ID = integer_parameter("Last-Event-ID", "The position of the last event received", place="header")


async def list_account_entries(request: web.Request) -> Reply | Stream:
    """GET /accounts/{id}/entries: entries with the balance after each, newest first unless `order=asc`.

    `from_version`, `to_version`, `from_time` and `to_time` are inclusive bounds. Entries after a
    point in time are left out.
    """
    account_id, ascending = await read_path_account(request), ORDER.read(request) == "asc"
    if wants_effective_times(request, (FROM_VERSION, TO_VERSION, AFTER, BEFORE)):
        spans = await find_spans(request, account_id)
        return await list_by_effective_time(request, account_id, spans, ascending=ascending)
    span = read_span(request, int)
    period = Period(
        FROM_VERSION.read(request),
        TO_VERSION.read(request),
        *read_period(request),
    )
    first, last = AFTER.read(request) or 0, BEFORE.read(request)
    last = MAX_POSITION if last is None else last
    if (moment := read_point_in_time(request)) is not None:
        source = reader(request)
        position = await as_of.position_of(source, moment)
        last = min(last, await event_reader.version_at(source, account_id, position) + 1)
    spans = await find_spans(request, account_id)

    async def walk(source: Reader, place: int | None, limit: int) -> Chunk[int]:
        after = first if place is None or not ascending else max(first, place)
        before = last if place is None or ascending else min(last, place)
        lines = await entries.list_entries(
            source, account_id, period, spans, after=after, before=before, ascending=ascending, limit=limit + 1
        )
        return Chunk(lines[:limit], lines[limit - 1]["version"] if len(lines) > limit else None)

    return await answer_list(request, span, walk)


async def list_account_events(request: web.Request) -> Reply | Stream:
    """GET /accounts/{id}/events: the stored events of an account, in order."""
    after, span, account_id = AFTER.read(request), read_span(request, int), await read_path_account(request)
    spans = await find_spans(request, account_id)
    return await _answer_events(request, span, EventFilter(stream_id=account_id), after or 0, spans)


async def list_events(request: web.Request) -> Reply | Stream:
    """GET /events: stored events in order, of a `topic` or `stream`; as a feed with `Accept: text/event-stream`.

    A page may have fewer events than `limit`, or none, although it has a `Link` to the next one.
    """
    chosen = EventFilter(TOPIC.read(request), STREAM.read(request))
    after = AFTER.read(request) or 0
    if not wants_feed(request):
        return await _answer_events(request, read_span(request, int), chosen, after)
    last = request.headers.get(LAST_EVENT_ID.name)
    return await send_feed(request, chosen, LAST_EVENT_ID.parse(last) if last else after)


async def get_trial_balance(request: web.Request) -> Reply:
    """GET /ledger/trial-balance: the trial balance now or at a point in time, and as of an effective time."""
    pool, moment, effective_at = reader(request), read_point_in_time(request), EFFECTIVE_AT.read(request)
    return answer(await as_of.trial_balance(pool, await as_of.position_of(pool, moment), effective_at))


async def _answer_events(
    request: web.Request,
    span: Span[int],
    chosen: EventFilter,
    after: int,
    parts: Sequence[account_owners.Span] = (account_owners.WHOLE,),
) -> Reply | Stream:
    """Answer with the chosen events of these parts of the log, which are given oldest first."""
    durable = await request.app[RUNTIME].durable_end.get()
    ends = [durable if part.next_position is None else part.next_position - 1 for part in parts]

    async def walk(source: Reader, place: int | None, limit: int) -> Chunk[int]:
        start = after if place is None else max(after, place)
        number = next((number for number, end in enumerate(ends) if start < end), len(ends) - 1)
        start = max(start, parts[number].first_position - 1)
        stretch = await event_reader.read(source, start, limit=limit, matching=chosen, upto=ends[number])
        is_last = stretch.is_last and number == len(ends) - 1
        return Chunk([event.body() for event in stretch.events], None if is_last else max(stretch.reached, start))

    return await answer_list(request, span, walk)
