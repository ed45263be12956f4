"""Transfers, journal entries, holds and reversals: transactions, under the name that the public URLs give them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.commands.holds import CaptureHold, PlaceHold, VoidHold
from ledger.commands.journal import Leg, PostJournalEntry
from ledger.commands.reversals import ReverseTransfer
from ledger.commands.transfers import TransferMoney
from ledger.errors import Refused
from ledger.ids import new_id
from ledger.projections import transfers
from ledger.times import rfc3339
from web import schemas
from web.bodies import answer, outcome_of, read_json, read_json_if_any
from web.context import ACTOR, RUNTIME, path_id
from web.handlers.accounts import own_only
from web.reading import reader
from web.reply import Reply
from web.writing import submit


async def transfer(request: web.Request) -> Reply:
    """POST /transactions/transfer. A customer moves money from own accounts only."""
    raw = await read_json(request)
    body = schemas.parse(schemas.Transfer, raw)
    command = TransferMoney(
        body.id or new_id(),
        body.source_account_id,
        body.destination_account_id,
        body.amount_cents,
        body.reference,
        _payer(request),
        body.id is not None,
        body.description,
        body.metadata or None,
        body.effective_at,
    )
    return outcome_of(await submit(request, command, raw), "created_at", status=200)


async def post_entry(request: web.Request) -> Reply:
    """POST /transactions. A customer takes money out of own accounts only."""
    raw = await read_json(request)
    body = schemas.parse(schemas.JournalEntry, raw)
    command = PostJournalEntry(
        body.id or new_id(),
        tuple(Leg(posting.account_id, posting.amount_cents) for posting in body.postings),
        body.reference,
        _payer(request),
        body.id is not None,
        body.description,
        body.metadata or None,
        body.effective_at,
    )
    return outcome_of(await submit(request, command, raw), "created_at", status=200)


async def place_hold(request: web.Request) -> Reply:
    """POST /transactions/hold. A customer sets money of own accounts aside only."""
    raw = await read_json(request)
    body = schemas.parse(schemas.Hold, raw)
    settings, now = request.app[RUNTIME].settings, datetime.now(UTC)
    seconds = body.expires_in_seconds or settings.ledger_hold_seconds
    command = PlaceHold(
        body.id or new_id(),
        body.source_account_id,
        body.destination_account_id,
        body.amount_cents,
        now,
        body.expires_at or now + timedelta(seconds=seconds),
        settings.ledger_hold_limit_seconds,
        "/expires_at" if body.expires_at is not None else "/expires_in_seconds",
        body.reference,
        _payer(request),
        body.id is not None,
        body.description,
        body.metadata or None,
        body.effective_at,
    )
    return outcome_of(await submit(request, command, raw), "created_at", status=200)


async def capture_hold(request: web.Request) -> Reply:
    """POST /transactions/{id}/capture."""
    raw = await read_json_if_any(request)
    body = schemas.parse(schemas.Capture, raw or b"{}")
    known = await _found(request, path_id(request))
    accounts = transfers.accounts_of(known)
    command = CaptureHold(known["id"], accounts[0], accounts[1], body.amount_cents, datetime.now(UTC))
    outcome = await submit(request, command, raw)
    return outcome_of(outcome, "settled_at", status=200, created_at=rfc3339(known["created_at"]))


async def void_hold(request: web.Request) -> Reply:
    """POST /transactions/{id}/void."""
    raw = await read_json_if_any(request)
    schemas.parse(schemas.Nothing, raw or b"{}")
    known = await _found(request, path_id(request))
    command = VoidHold(known["id"], transfers.accounts_of(known)[0], datetime.now(UTC))
    outcome = await submit(request, command, raw)
    return outcome_of(outcome, "settled_at", status=200, created_at=rfc3339(known["created_at"]))


async def reverse(request: web.Request) -> Reply:
    """POST /transactions/{id}/reverse."""
    raw = await read_json_if_any(request)
    body = schemas.parse(schemas.Reversal, raw or b"{}")
    known = await _found(request, path_id(request))
    command = ReverseTransfer(
        body.id or new_id(),
        known["id"],
        transfers.accounts_of(known),
        body.force,
        body.description,
        body.id is not None,
    )
    return outcome_of(await submit(request, command, raw), "created_at", status=200)


async def get_transaction(request: web.Request) -> Reply:
    """GET /transactions/{id}."""
    return answer(await _found(request, path_id(request)))


def _payer(request: web.Request) -> UUID | None:
    """The user whose money the caller may spend; None for everybody's."""
    actor = request[ACTOR]
    return None if actor.has("admin") else actor.user_id


async def _found(request: web.Request, transfer_id: UUID) -> dict[str, Any]:
    """The transaction, if there is one that the caller may see. Raises `Refused`."""
    found = await transfers.find(reader(request), transfer_id, party_id=own_only(request))
    if found is None:
        raise Refused(errors.transaction_not_found(transfer_id))
    return found
