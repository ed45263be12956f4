"""Sums of balances by code, and the reports of accountants, now or at a point in time, and by effective time."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from ledger import errors
from ledger.audit import report_queries
from ledger.audit.report_periods import BACKWARDS, Comparison, Period, find_other
from ledger.audit.report_queries import Activity, Scope, When
from ledger.audit.reports import Report, report_body
from ledger.audit.sums import TOO_MANY_GROUPS, Grouping, TooManyGroupsError
from ledger.errors import Refused
from ledger.store.connections import Reader
from ledger.values.account_codes import MAX_CODE_LENGTH, MAX_SEGMENTS, PREFIX_PATTERN, check_code
from ledger.values.timestamps import parse_end, parse_start
from web.handlers.assets import read_currency
from web.http.json import answer
from web.http.params import (
    CURRENCY,
    EFFECTIVE_AT,
    POINT_IN_TIME,
    Parameter,
    choice_parameter,
    integer_parameter,
    read_point_in_time,
    time_parameter,
)
from web.http.replica import reader
from web.http.response import Reply

T = TypeVar("T")


def _check_prefix(text: str) -> str:
    check_code(text.removesuffix(":"))
    return text


PREFIX = Parameter(
    "prefix",
    "Only accounts with this code, or with one below it; with a colon at the end, only those below it",
    _check_prefix,
    schema={"type": "string", "maxLength": MAX_CODE_LENGTH + 1, "pattern": PREFIX_PATTERN},
)
DEPTH_BELOW = integer_parameter(
    "depth", "How many segments of the codes after the prefix tell groups apart; by default 1", maximum=MAX_SEGMENTS
)
DEPTH = integer_parameter(
    "depth",
    "How many segments of the codes the lines have; by default all",
    minimum=1,
    maximum=MAX_SEGMENTS,
)
FROM = time_parameter("from", "The start of the period, inclusive; a date means its start (UTC)", parse_start)
TO = time_parameter("to", "The end of the period, inclusive; a date means its end (UTC)", parse_end)
BY = choice_parameter(
    "by",
    "The times that the period is about: those of recording, or effective times",
    ("recorded", "effective"),
    schema={"enum": ["recorded", "effective"], "default": "recorded"},
)
COMPARE = choice_parameter(
    "compare",
    "The period to compare: `previous`, the one before, of as many months if it is of whole months; `year`, the same "
    "one a year earlier",
    [comparison.value for comparison in Comparison],
)
BALANCES: tuple[Parameter[Any], ...] = (PREFIX, DEPTH_BELOW, CURRENCY, *POINT_IN_TIME, EFFECTIVE_AT)
STATE: tuple[Parameter[Any], ...] = (DEPTH, CURRENCY, *POINT_IN_TIME, EFFECTIVE_AT)
ACTIVITY: tuple[Parameter[Any], ...] = (FROM, TO, BY, COMPARE, DEPTH, CURRENCY, *POINT_IN_TIME)


async def get_balances(request: web.Request) -> Reply:
    """GET /ledger/balances."""
    depth = DEPTH_BELOW.read(request)
    grouping = Grouping(PREFIX.read(request) or "", 1 if depth is None else depth, await read_currency(request))
    return answer(await _bounded(report_queries.read_balances(reader(request), _read_when(request), grouping)))


async def get_trial_balance_report(request: web.Request) -> Reply:
    """GET /ledger/reports/trial-balance."""
    return await _answer_state(request, report_queries.read_trial_balance)


async def get_balance_sheet(request: web.Request) -> Reply:
    """GET /ledger/reports/balance-sheet."""
    return await _answer_state(request, report_queries.read_balance_sheet)


async def get_income_statement(request: web.Request) -> Reply:
    """GET /ledger/reports/income-statement."""
    point, activity, scope = read_point_in_time(request), _read_activity(request), await _read_scope(request)
    read = report_queries.read_income_statement(reader(request), point, activity, scope)
    return answer(report_body(await _bounded(read)))


async def _answer_state(request: web.Request, read: Callable[[Reader, When, Scope], Awaitable[Report]]) -> Reply:
    when, scope = _read_when(request), await _read_scope(request)
    return answer(report_body(await _bounded(read(reader(request), when, scope))))


async def _bounded(read: Awaitable[T]) -> T:
    try:
        return await read
    except TooManyGroupsError as error:
        raise Refused(errors.invalid_parameter(DEPTH.name, TOO_MANY_GROUPS)) from error


def _read_when(request: web.Request) -> When:
    return When(read_point_in_time(request), EFFECTIVE_AT.read(request))


async def _read_scope(request: web.Request) -> Scope:
    return Scope(DEPTH.read(request), await read_currency(request))


def _read_activity(request: web.Request) -> Activity:
    period = Period(FROM.read(request), TO.read(request))
    if period.first is not None and period.last is not None and period.last < period.first:
        TO.refuse(BACKWARDS)
    return Activity(period, _read_other(request, period), by_effective_time=BY.read(request) == "effective")


def _read_other(request: web.Request, period: Period) -> Period | None:
    compare = COMPARE.read(request)
    try:
        return None if compare is None else find_other(period, Comparison(compare))
    except ValueError as error:
        COMPARE.refuse(str(error))
