"""Transfers, under the name that the public URLs give them."""

from aiohttp import web

from ledger import errors
from ledger.commands.transfers import TransferMoney
from ledger.errors import Refused
from ledger.ids import new_id
from ledger.projections import transfers
from web import schemas
from web.bodies import answer, outcome_of, read_json
from web.context import ACTOR, RUNTIME, origin, path_id
from web.handlers.accounts import own_only
from web.reply import Reply


async def transfer(request: web.Request) -> Reply:
    """POST /transactions/transfer. A customer moves money from own accounts only."""
    raw = await read_json(request)
    body = schemas.parse(schemas.Transfer, raw)
    actor = request[ACTOR]
    command = TransferMoney(
        body.id or new_id(),
        body.source_account_id,
        body.destination_account_id,
        body.amount_cents,
        body.reference,
        None if actor.has("admin") else actor.user_id,
        id_was_chosen=body.id is not None,
    )
    outcome = await request.app[RUNTIME].committer.submit(command, origin(request, raw))
    return outcome_of(outcome, "created_at", status=200)


async def get_transaction(request: web.Request) -> Reply:
    """GET /transactions/{id}."""
    transfer_id = path_id(request)
    found = await transfers.find(request.app[RUNTIME].pool, transfer_id, party_id=own_only(request))
    if found is None:
        raise Refused(errors.transaction_not_found(transfer_id))
    return answer(found)
