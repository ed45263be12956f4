"""The events of the log: as pages, as CloudEvents, and as a live feed."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from ledger import errors
from ledger.errors import Refused
from ledger.events import cloud
from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.projections import account_owners
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import EVENT_TOPICS, EventFilter, StoredEvent
from web.handlers.accounts import find_spans
from web.http.account_refs import read_path_account
from web.http.event_forms import FEED, JSON, choose_form, wants_cloud_events
from web.http.json import format_times
from web.http.negotiation import accept_of
from web.http.pagination import AS_JSON, LIMIT, Chunk, Span, answer_list, link_to_next, read_cursor, read_span
from web.http.params import AFTER, choice_parameter, id_parameter, integer_parameter
from web.http.replica import reader
from web.http.request import RUNTIME
from web.http.response import Reply, Stream
from web.http.sse import Show, Shown, send_feed

TOPIC = choice_parameter("topic", "Only events of this topic", sorted(EVENT_TOPICS))
STREAM = id_parameter("stream", "Only events of this stream")
LAST_EVENT_ID = integer_parameter("Last-Event-ID", "The position of the last event received", place="header")
FEW, MANY = 10, 500  # events that are read at once, at first and then, to find one that leaves the ledger
VARY = {"Vary": "Accept, Accept-Encoding"}


async def list_account_events(request: web.Request) -> Reply | Stream:
    """GET /accounts/{id}/events: the stored events of an account, in order."""
    after, span, account_id = AFTER.read(request), read_span(request, int), await read_path_account(request)
    spans = await find_spans(request, account_id)
    return await _answer_events(request, span, EventFilter(stream_id=account_id), after or 0, spans)


async def list_events(request: web.Request) -> Reply | Stream:
    """GET /events: stored events in order, of a `topic` or `stream`; `Accept` says in which form, or as a feed.

    A page may have fewer events than `limit`, or none, although it has a `Link` to the next one.
    """
    chosen = EventFilter(TOPIC.read(request), STREAM.read(request))
    accept, after = accept_of(request), AFTER.read(request) or 0
    form, is_cloud = choose_form(accept), wants_cloud_events(accept)
    if form != JSON and is_cloud and chosen.topic not in {None, *DISCLOSED_TOPICS}:
        TOPIC.refuse("must be a topic whose events leave the ledger, to get them as CloudEvents")
    if form == FEED:
        last = request.headers.get(LAST_EVENT_ID.name)
        after = LAST_EVENT_ID.parse(last) if last else after
        return await send_feed(request, chosen, after, _show_as_cloud_event(request) if is_cloud else _show)
    if form == cloud.MEDIA_TYPE:
        return await _answer_next(request, chosen, after)
    headers = {"Content-Type": form, **VARY}
    return await _answer_events(request, read_span(request, int), chosen, after, headers=headers)


async def _answer_next(request: web.Request, chosen: EventFilter, after: int) -> Reply:
    """Answer with the first of the chosen events that leaves the ledger, as a CloudEvent."""
    if LIMIT.read(request) not in {None, 1}:
        LIMIT.refuse(f"must be 1, or left out, for a single CloudEvent; {cloud.BATCH_MEDIA_TYPE} has several")
    source, end = reader(request), await request.app[RUNTIME].durable_end.get()
    reached, limit = max(after, read_cursor(request, int) or 0), FEW
    while True:
        stretch = await event_reader.read(source, reached, limit=limit, matching=chosen, upto=end)
        found = next((event for event in stretch.events if event.topic in DISCLOSED_TOPICS), None)
        if found is not None:
            place = found.position if found.position < stretch.log_end else None
            link = link_to_next(request, Span(1, None, is_page=True), place)
            body = cloud.encode_cloud_event(found, request.app[RUNTIME].ledger_id)
            return Reply(body=body, headers={"Content-Type": cloud.MEDIA_TYPE, **VARY, **link})
        if stretch.is_last:
            raise Refused(errors.no_event_after(max(after, reached)))
        reached, limit = stretch.reached, MANY


async def _answer_events(
    request: web.Request,
    span: Span[int],
    chosen: EventFilter,
    after: int,
    parts: Sequence[account_owners.Span] = (account_owners.WHOLE,),
    headers: Mapping[str, str] = AS_JSON,
) -> Reply | Stream:
    """Answer with the chosen events of these parts of the log, which are given oldest first."""
    durable, ledger_id = await request.app[RUNTIME].durable_end.get(), request.app[RUNTIME].ledger_id
    is_cloud = headers["Content-Type"] == cloud.BATCH_MEDIA_TYPE
    ends = [durable if part.next_position is None else part.next_position - 1 for part in parts]

    def show(events: Sequence[StoredEvent]) -> list[dict[str, Any]]:
        if not is_cloud:
            return [event.body() for event in events]
        return [cloud.to_cloud_event(event, ledger_id) for event in events if event.topic in DISCLOSED_TOPICS]

    async def walk(source: Reader, place: int | None, limit: int) -> Chunk[int]:
        start = after if place is None else max(after, place)
        number = next((number for number, end in enumerate(ends) if start < end), len(ends) - 1)
        start = max(start, parts[number].first_position - 1)
        stretch = await event_reader.read(source, start, limit=limit, matching=chosen, upto=ends[number])
        is_last = stretch.is_last and number == len(ends) - 1
        return Chunk(show(stretch.events), None if is_last else max(stretch.reached, start))

    return await answer_list(request, span, walk, headers)


def _show(event: StoredEvent) -> Shown:
    return Shown(event.topic, msgspec.json.encode(format_times(event.body())))


def _show_as_cloud_event(request: web.Request) -> Show:
    ledger_id = request.app[RUNTIME].ledger_id

    def show(event: StoredEvent) -> Shown | None:
        if event.topic not in DISCLOSED_TOPICS:
            return None
        return Shown(cloud.event_type(event.topic), cloud.encode_cloud_event(event, ledger_id))

    return show
