"""Flows between groups of accounts in a period."""

from aiohttp import web

from ledger import errors
from ledger.audit import as_of
from ledger.audit.flows import MAX_EVENTS, MAX_FLOWS, Request, read_flows
from ledger.errors import Refused
from ledger.store import reader as event_reader
from ledger.store.reader import MAX_POSITION
from ledger.values.account_codes import MAX_CODE_LENGTH, MAX_SEGMENTS, PREFIX_PATTERN, check_code
from web.handlers.assets import read_currency
from web.handlers.balance_series import FROM, TO
from web.http.json import answer
from web.http.params import (
    Parameter,
    choice_parameter,
    integer_parameter,
    read_point_in_time,
)
from web.http.replica import reader
from web.http.response import Reply

DEFAULT_FLOWS = 50
DEPTH = integer_parameter(
    "depth", "How many segments of the codes after the prefix tell groups apart; by default 1", maximum=MAX_SEGMENTS
)
BY = choice_parameter(
    "by",
    "`group`: between groups of accounts by their codes; `account`: between single accounts",
    ("group", "account"),
    schema={"enum": ["group", "account"], "default": "group"},
)
MOST = integer_parameter(
    "most",
    f"The most flows to return; {DEFAULT_FLOWS} by default. The others are added up",
    minimum=1,
    maximum=MAX_FLOWS,
)


def _check_prefix(text: str) -> str:
    check_code(text.removesuffix(":"))
    return text


PREFIX = Parameter(
    "prefix",
    "Only flows of accounts with this code, or with one below it; with a colon at the end, only of those below it",
    _check_prefix,
    schema={"type": "string", "maxLength": MAX_CODE_LENGTH + 1, "pattern": PREFIX_PATTERN},
)


async def get_flows(request: web.Request) -> Reply:
    """GET /ledger/flows. Raises `Refused` for a period of too many events."""
    source, depth = reader(request), DEPTH.read(request)
    by_account, prefix, most = BY.read(request) == "account", PREFIX.read(request), MOST.read(request)
    currency, end = await read_currency(request), await as_of.position_of(source, read_point_in_time(request))
    bounds = await event_reader.find_bounds(source, FROM.read(request), TO.read(request), MAX_POSITION)
    upto = min(end, bounds.before - 1)
    after = min(bounds.after, upto)
    if upto - after > MAX_EVENTS:
        too_long = f"the period must have at most {MAX_EVENTS} events of the log"
        raise Refused(errors.invalid_parameter(FROM.name, too_long))
    asked = Request(
        after,
        upto,
        depth=1 if depth is None else depth,
        by_account=by_account,
        prefix=prefix,
        currency=currency,
        most=most or DEFAULT_FLOWS,
    )
    return answer({"after_position": after, "position": upto, **await read_flows(source, asked)})
