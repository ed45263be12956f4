"""Closed periods: admins close and reopen them, and auditors read them."""

from datetime import date
from typing import Any

from aiohttp import web

from ledger import errors
from ledger.audit import periods
from ledger.audit.periods import Closing
from ledger.commands.periods import ClosePeriod, ReopenPeriod
from ledger.errors import Refused
from ledger.events.periods import PERIODS
from ledger.store.connections import Reader
from ledger.store.rows import read_stream_rows
from web.handlers.receipts import AT_VERSION, answer_receipt
from web.http.dry_run import find_dry_run
from web.http.json import REPLAYED, answer, answer_outcome, parse, read_json, read_json_if_any
from web.http.pagination import Page, answer_list, read_span, walk_by_position
from web.http.replica import reader
from web.http.request import RUNTIME
from web.http.response import Reply, Stream
from web.http.submit import submit
from web.periods import NewClosing, Reopening


async def list_periods(request: web.Request) -> Reply | Stream:
    """GET /periods: the closed periods, newest first."""

    async def query(source: Reader, before: int, limit: int) -> Page:
        closings = [closing for closing in await periods.read_closings(source) if closing.position < before]
        return [(closing.position, _body(closing)) for closing in reversed(closings)][:limit]

    return await answer_list(request, read_span(request, int), walk_by_position(query))


async def close_period(request: web.Request) -> Reply:
    """POST /periods/close."""
    body = parse(NewClosing, await read_json(request))
    pool = request.app[RUNTIME].pool
    command = ClosePeriod(through=body.through, today=await _read_today(request))
    outcome = await submit(request, command, body.canonical)
    assert outcome.position is not None  # noqa: S101 - `submit` returns that of a replay as well
    through = date.fromisoformat(outcome.result["through"])
    sums = await periods.read_sums(pool, through, outcome.position)
    members = {name: sums[name] for name in ("position", "balanced", "currencies")}
    closing = {**outcome.result, "closed_at": outcome.recorded_at, **members}
    return answer(closing, headers=REPLAYED if outcome.replayed else None, position=outcome.position)


async def reopen_period(request: web.Request) -> Reply:
    """POST /periods/reopen."""
    body = parse(Reopening, await read_json_if_any(request) or b"{}")
    outcome = await submit(request, ReopenPeriod(through=body.through), body.canonical)
    return answer_outcome(outcome, "reopened_at", status=200)


async def get_period_receipt(request: web.Request) -> Reply:
    """GET /periods/proof: the receipt of the last closing or reopening, or of the one at `at_version`."""
    rows = await read_stream_rows(reader(request), PERIODS, version=AT_VERSION.read(request), limit=1)
    if not rows:
        raise Refused(errors.closing_not_found())
    return await answer_receipt(request, rows)


async def _read_today(request: web.Request) -> date:
    dry_run = find_dry_run(request)
    then = None if dry_run is None else dry_run.time
    return then.date() if then else await periods.read_today(request.app[RUNTIME].pool)


def _body(closing: Closing) -> dict[str, Any]:
    return {**closing._asdict(), "through": closing.through.isoformat()}
