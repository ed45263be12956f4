"""An account's entries by effective time: in the order in which they count, with the balance after each."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.audit import as_of, effective_entries
from ledger.audit.effective_entries import FIRST, LAST, Period, Place, Visible
from ledger.errors import Refused
from ledger.projections.account_owners import Span
from ledger.store.connections import Reader
from web.http.pagination import Chunk, answer_list, read_span
from web.http.params import EFFECTIVE_AT, POINT_IN_TIME, Parameter, choice_parameter, read_period, read_point_in_time
from web.http.replica import reader
from web.http.response import Reply, Stream

BY = choice_parameter(
    "by",
    "`recorded`: in the order of recording; `effective`: in that of effective times, with the balances by these",
    ("recorded", "effective"),
    schema={"enum": ["recorded", "effective"], "default": "recorded"},
)
PARAMETERS: tuple[Parameter[Any], ...] = (BY, EFFECTIVE_AT, *POINT_IN_TIME)


def wants_effective_times(request: web.Request, by_version: Sequence[Parameter[Any]]) -> bool:
    """Return whether the caller asks for the entries by effective time. Raises `Refused` if it mixes both.

    Only entries in the order of recording can be chosen `by_version`, and only the others by an effective time.
    """
    is_effective = BY.read(request) == "effective" or (
        EFFECTIVE_AT.name in request.query and BY.name not in request.query
    )
    wrong = by_version if is_effective else (EFFECTIVE_AT,)
    if given := [parameter.name for parameter in wrong if parameter.name in request.query]:
        message = "must not be given with by=effective" if is_effective else "must be given with by=effective"
        raise Refused(*(errors.invalid_parameter(name, message) for name in given))
    return is_effective


async def list_by_effective_time(
    request: web.Request, account_id: UUID, spans: Sequence[Span], *, ascending: bool
) -> Reply | Stream:
    """Answer with the entries that count between `from_time` and `to_time`, and by `effective_at`."""
    source = reader(request)
    begin, end = read_period(request)
    last = min(end or LAST, EFFECTIVE_AT.read(request) or LAST)
    position = await as_of.position_of(source, read_point_in_time(request))
    period = Period(begin or FIRST, last, position)
    visible = await Visible.of(source, spans)

    async def walk(source: Reader, place: Place | None, limit: int) -> Chunk[Place]:
        items, following = await effective_entries.list_entries(
            source, account_id, period, place, ascending=ascending, limit=limit
        )
        return Chunk([item for item in items if visible.shows(item)], following)

    return await answer_list(request, read_span(request, Place), walk)
