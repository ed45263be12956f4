"""Scheduled transactions: a transfer or journal entry that is to be made later, and its cancellation."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from aiohttp import web

from ledger import errors
from ledger.commands.schedules import CancelSchedule, Planned, ScheduleTransaction
from ledger.errors import Refused
from ledger.projections import schedules
from ledger.values.timestamps import rfc3339
from web.auth import LIMITED
from web.http.dry_run import read_clock
from web.http.idempotency import Canonical
from web.http.json import answer_outcome
from web.http.preconditions import read_expected_versions
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply
from web.http.submit import submit

NO_PRECONDITION = "must not be given together with execute_at"


async def schedule(request: web.Request, planned: Planned, execute_at: datetime, canonical: Canonical) -> Reply:
    """Schedule a transaction, and answer with it. Raises `Refused`."""
    if read_expected_versions(request) is not None:
        raise Refused(errors.invalid_parameter("If-Match", NO_PRECONDITION, "header"))
    command = ScheduleTransaction(
        planned=planned,
        actor_id=request[ACTOR].user_id,
        now=read_clock(request),
        execute_at=execute_at,
        limit_seconds=request.app[RUNTIME].settings.ledger_schedule_limit_seconds,
    )
    return answer_outcome(await submit(request, command, canonical), "created_at", status=200)


async def check_may_void(request: web.Request, transaction_id: UUID) -> None:
    """Raise `Refused` unless the caller is an admin without limits, or has scheduled this transaction."""
    actor = request[ACTOR]
    if actor.has("admin") and actor.limits is None:
        return
    scheduled = await schedules.find(request.app[RUNTIME].pool, transaction_id)
    if scheduled is None or scheduled.actor_id != actor.user_id:
        reason = None if actor.limits is None else LIMITED
        raise Refused(msgspec.structs.replace(errors.forbidden(), reason=reason))


async def cancel(request: web.Request, known: Mapping[str, Any], canonical: Canonical) -> Reply:
    """Cancel a scheduled transaction, and answer with it. Raises `Refused`."""
    scheduled = await schedules.find(request.app[RUNTIME].pool, known["id"])
    if scheduled is None:
        raise Refused(errors.transaction_not_found(known["id"]))
    outcome = await submit(request, CancelSchedule(transaction_id=known["id"], scheduled=scheduled), canonical)
    times = {"created_at": rfc3339(known["created_at"]), "settled_at": rfc3339(outcome.recorded_at)}
    return answer_outcome(outcome, status=200, **times)
