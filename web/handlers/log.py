"""What happened: statements and events of an account, the whole log as pages or as a feed, and the trial balance."""

from aiohttp import web

from ledger.audit import as_of as timetravel
from ledger.audit import entries as history
from ledger.audit.entries import Period
from ledger.store import reader as stored
from ledger.store.connections import Reader
from ledger.store.reader import EVENT_TOPICS, LAST, Chosen
from web.handlers.accounts import found
from web.http.context import path_id
from web.http.json import answer
from web.http.pages import Chunk, Span, list_of, span_in
from web.http.params import choice_in, id_in, moment_in, number_in, parse_number, period_in
from web.http.replica import reader
from web.http.response import Reply, Stream
from web.http.sse import feed, wants_feed


async def list_account_entries(request: web.Request) -> Reply | Stream:
    """GET /accounts/{id}/entries: lines with the balance after each, newest first, or the oldest with `order=asc`.

    `from_version`, `to_version`, `from_time` and `to_time` are bounds, themselves included.
    """
    account_id, span = path_id(request), span_in(request, int)
    ascending = choice_in(request, "order", ("asc", "desc")) == "asc"
    period = Period(
        number_in(request, "from_version"),
        number_in(request, "to_version"),
        *period_in(request),
    )
    first, last = number_in(request, "after") or 0, number_in(request, "before")
    last = LAST if last is None else last
    await found(request, account_id)

    async def walk(source: Reader, place: int | None, limit: int) -> Chunk[int]:
        after = first if place is None or not ascending else max(first, place)
        before = last if place is None or ascending else min(last, place)
        lines = await history.lines(
            source, account_id, period, after=after, before=before, ascending=ascending, limit=limit + 1
        )
        return Chunk(lines[:limit], lines[limit - 1]["version"] if len(lines) > limit else None)

    return await list_of(request, span, walk)


async def list_account_events(request: web.Request) -> Reply | Stream:
    """GET /accounts/{id}/events: what is stored of an account, in order."""
    account_id, after, span = path_id(request), number_in(request, "after"), span_in(request, int)
    await found(request, account_id)
    return await _events(request, span, Chosen(stream_id=account_id), after or 0)


async def list_events(request: web.Request) -> Reply | Stream:
    """GET /events: the whole log in order, or what `topic` and `stream` choose; with `Accept: text/event-stream`, live.

    A page may have fewer events than `limit`, or none, and a `Link` to the next one all the same.
    """
    chosen = Chosen(choice_in(request, "topic", EVENT_TOPICS), id_in(request, "stream"))
    after = number_in(request, "after") or 0
    if not wants_feed(request):
        return await _events(request, span_in(request, int), chosen, after)
    last = request.headers.get("Last-Event-ID")
    return await feed(request, chosen, parse_number(last, "Last-Event-ID", place="header") if last else after)


async def get_trial_balance(request: web.Request) -> Reply:
    """GET /ledger/trial-balance: of now, or of `at_position` or `at_time`."""
    pool, moment = reader(request), moment_in(request)
    return answer(await timetravel.trial_balance(pool, await timetravel.position_of(pool, moment)))


async def _events(request: web.Request, span: Span[int], chosen: Chosen, after: int) -> Reply | Stream:
    async def walk(source: Reader, place: int | None, limit: int) -> Chunk[int]:
        start = after if place is None else max(after, place)
        stretch = await stored.read(source, start, limit=limit, chosen=chosen)
        return Chunk([event.body() for event in stretch.events], None if stretch.is_last else stretch.reached)

    return await list_of(request, span, walk)
