"""Amendments of transactions: admins change what a transaction says, and its readers see all that it said."""

from aiohttp import web

from ledger.audit.amendments import read_texts
from ledger.commands.amendments import AmendTransaction
from web.amendments import TransactionPatch
from web.handlers.transactions import find_transaction
from web.http.json import answer, parse, read_json
from web.http.params import read_path_id
from web.http.preconditions import answer_resource, read_expected_versions
from web.http.replica import reader
from web.http.response import Reply
from web.http.submit import submit


async def patch_transaction(request: web.Request) -> Reply:
    """PATCH /transactions/{id}: change only the given members (RFC 7396)."""
    body = parse(TransactionPatch, await read_json(request))
    known = (await find_transaction(request, read_path_id(request))).body
    command = AmendTransaction(
        transaction_id=known["id"], amendment=body.amendment(), expected=read_expected_versions(request)
    )
    outcome = await submit(request, command)
    return answer_resource(request, *await find_transaction(request, known["id"]), position=outcome.position)


async def list_amendments(request: web.Request) -> Reply:
    """GET /transactions/{id}/amendments: what the transaction said, first as it was made, then after each amendment."""
    known = (await find_transaction(request, read_path_id(request))).body
    return answer(await read_texts(reader(request), known["id"]))
