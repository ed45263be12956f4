"""The balance of an account over time, for those who may read its entries."""

from aiohttp import web

from ledger.audit import as_of
from ledger.audit.balance_series import MAX_POINTS, MIN_POINTS, Request, read_series
from web.handlers.accounts import find_spans
from web.http.account_refs import read_path_account
from web.http.json import answer, format_times
from web.http.params import FROM_TIME, TO_TIME, integer_parameter, read_point_in_time
from web.http.replica import reader
from web.http.response import Reply

FROM, TO = FROM_TIME.named("from"), TO_TIME.named("to")
DEFAULT_POINTS = 200
POINTS = integer_parameter(
    "points", f"The most points to return; {DEFAULT_POINTS} by default", minimum=MIN_POINTS, maximum=MAX_POINTS
)


async def get_balance_series(request: web.Request) -> Reply:
    """GET /accounts/{id}/balance-series: the balance in a period, as it was recorded by a point in time."""
    account_id, points = await read_path_account(request), POINTS.read(request) or DEFAULT_POINTS
    moment, asked = read_point_in_time(request), (FROM.read(request), TO.read(request))
    spans, source = await find_spans(request, account_id), reader(request)
    position = await as_of.position_of(source, moment)
    found, complete = await read_series(source, account_id, spans, Request(*asked, position, points))
    return answer(
        {"account_id": account_id, "position": position, "complete": complete, "points": list(map(format_times, found))}
    )
