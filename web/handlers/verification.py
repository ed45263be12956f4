"""Verifications of the whole ledger, which admins and auditors start in the background."""

from typing import Any

from aiohttp import web

from ledger.service.operations.state import Operation
from web.handlers.projections import ACCEPTED, OPERATIONS, format_progress
from web.http.json import answer, parse, read_json_if_any
from web.http.request import ACTOR
from web.http.response import Reply
from web.operations import NewVerification


async def start_verification(request: web.Request) -> Reply:
    """POST /audit/verify: start a verification, and answer before it ends."""
    body = parse(NewVerification, await read_json_if_any(request) or b"{}")
    operation = await request.app[OPERATIONS].start_verification(request[ACTOR].user_id, fast=body.fast)
    return answer(_format(operation), status=ACCEPTED)


async def get_verification(request: web.Request) -> Reply:
    """GET /audit/verify: the progress and the findings of the last verification."""
    operation = await request.app[OPERATIONS].find("verification")
    return answer({"last": None if operation is None else _format(operation)})


async def cancel_verification(request: web.Request) -> Reply:
    """POST /audit/verify/cancel."""
    return answer(_format(await request.app[OPERATIONS].cancel_verification()), status=ACCEPTED)


def _format(operation: Operation) -> dict[str, Any]:
    return {
        **format_progress(operation),
        "fast": operation.fast,
        **({} if operation.found is None else {"found": operation.found}),
        "findings": operation.findings,
        "omitted": operation.omitted,
    }
