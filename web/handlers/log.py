"""An account's entries, and the trial balance."""

from aiohttp import web

from ledger.audit import as_of, entries
from ledger.audit.entries import Period
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION
from web.handlers.accounts import find_spans
from web.handlers.effective_entries import list_by_effective_time, wants_effective_times
from web.handlers.reconciled_entries import RECONCILED, choose_entries
from web.http.account_refs import read_path_account
from web.http.json import answer
from web.http.pagination import Chunk, answer_list, read_span
from web.http.params import (
    AFTER,
    EFFECTIVE_AT,
    choice_parameter,
    integer_parameter,
    read_period,
    read_point_in_time,
)
from web.http.replica import reader
from web.http.response import Reply, Stream

ORDER = choice_parameter(
    "order",
    "`asc`: oldest first; `desc`: newest first",
    ("asc", "desc"),
    schema={"enum": ["asc", "desc"], "default": "desc"},
)
FROM_VERSION = integer_parameter("from_version", "The first version")
TO_VERSION = integer_parameter("to_version", "The last version")
BEFORE = integer_parameter("before", "Only entries before this version")


async def list_account_entries(request: web.Request) -> Reply | Stream:
    """GET /accounts/{id}/entries: entries with the balance after each, newest first unless `order=asc`.

    `from_version`, `to_version`, `from_time` and `to_time` are inclusive bounds. Entries after a
    point in time are left out.
    """
    account_id, ascending = await read_path_account(request), ORDER.read(request) == "asc"
    reconciled = RECONCILED.read(request)
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
        following = lines[limit - 1]["version"] if len(lines) > limit else None
        return Chunk(await choose_entries(source, account_id, lines[:limit], reconciled), following)

    return await answer_list(request, span, walk)


async def get_trial_balance(request: web.Request) -> Reply:
    """GET /ledger/trial-balance: the trial balance now or at a point in time, and as of an effective time."""
    pool, moment, effective_at = reader(request), read_point_in_time(request), EFFECTIVE_AT.read(request)
    return answer(await as_of.trial_balance(pool, await as_of.position_of(pool, moment), effective_at))
