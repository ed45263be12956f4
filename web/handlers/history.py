"""What happened: statements and events of an account, the whole log as pages or as a feed, and the trial balance."""

from aiohttp import web

from ledger import stored
from ledger.audit import history, timetravel
from ledger.audit.history import Period
from ledger.stored import EVENT_TOPICS, LAST, Chosen
from web.bodies import answer
from web.context import path_id
from web.cursors import cursor_in
from web.feed import feed, wants_feed
from web.handlers.accounts import found
from web.pages import limit_of, link_to_next
from web.query import choice_in, id_in, moment_in, number_in, parse_number, period_in
from web.reading import reader
from web.reply import Reply, Stream


async def list_account_entries(request: web.Request) -> Reply:
    """GET /accounts/{id}/entries: lines with the balance after each, newest first, or the oldest with `order=asc`.

    `from_version`, `to_version`, `from_time` and `to_time` are bounds, themselves included.
    """
    account_id, limit = path_id(request), limit_of(request)
    ascending = choice_in(request, "order", ("asc", "desc")) == "asc"
    period = Period(
        number_in(request, "from_version"),
        number_in(request, "to_version"),
        *period_in(request),
    )
    after, before = number_in(request, "after") or 0, number_in(request, "before")
    before = LAST if before is None else before
    place = cursor_in(request, int)
    if place is not None:
        after, before = (max(after, place), before) if ascending else (after, min(before, place))
    await found(request, account_id)
    lines = await history.lines(
        reader(request),
        account_id,
        period,
        after=after,
        before=before,
        ascending=ascending,
        limit=limit + 1,
    )
    last = lines[limit - 1]["version"] if len(lines) > limit else None
    return answer(lines[:limit], headers=link_to_next(request, limit, last))


async def list_account_events(request: web.Request) -> Reply:
    """GET /accounts/{id}/events: what is stored of an account, in order."""
    account_id, after = path_id(request), number_in(request, "after")
    limit_of(request)
    await found(request, account_id)
    return await _events(request, Chosen(stream_id=account_id), after or 0)


async def list_events(request: web.Request) -> Reply | Stream:
    """GET /events: the whole log in order, or what `topic` and `stream` choose; with `Accept: text/event-stream`, live.

    A page may have fewer events than `limit`, or none, and a `Link` to the next one all the same.
    """
    chosen = Chosen(choice_in(request, "topic", EVENT_TOPICS), id_in(request, "stream"))
    after = number_in(request, "after") or 0
    if not wants_feed(request):
        return await _events(request, chosen, after)
    last = request.headers.get("Last-Event-ID")
    return await feed(request, chosen, parse_number(last, "Last-Event-ID", place="header") if last else after)


async def get_trial_balance(request: web.Request) -> Reply:
    """GET /ledger/trial-balance: of now, or of `at_position` or `at_time`."""
    pool, moment = reader(request), moment_in(request)
    return answer(await timetravel.trial_balance(pool, await timetravel.position_of(pool, moment)))


async def _events(request: web.Request, chosen: Chosen, after: int) -> Reply:
    limit, place = limit_of(request), cursor_in(request, int)
    start = after if place is None else max(after, place)
    stretch = await stored.read(reader(request), start, limit=limit, chosen=chosen)
    reached = None if stretch.is_last else stretch.reached
    return answer([event.body() for event in stretch.events], headers=link_to_next(request, limit, reached))
