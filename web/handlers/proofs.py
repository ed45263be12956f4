"""Receipts, with which whoever has the ledger's public key can check, without asking it, what its log holds."""

import math

import msgspec
from aiohttp import web

from ledger import errors, store
from ledger.errors import Refused
from ledger.events import StoredRow
from ledger.projections import transfers
from ledger.seals import sealing
from web.bodies import answer
from web.context import RUNTIME, path_id
from web.handlers.accounts import found, own_only
from web.query import number_in
from web.reply import Reply

MAX_EVENTS = 100  # of one transfer


async def prove_transaction(request: web.Request) -> Reply:
    """GET /transactions/{id}/proof: the receipt of a transfer, for whoever may read it."""
    pool, transfer_id = request.app[RUNTIME].pool, path_id(request)
    if await transfers.find(pool, transfer_id, party_id=own_only(request)) is None:
        raise Refused(errors.transaction_not_found(transfer_id))
    return await _receipt(request, await store.read_stream_rows(pool, transfer_id, version=None, limit=MAX_EVENTS))


async def prove_account(request: web.Request) -> Reply:
    """GET /accounts/{id}/proof: the receipt of an account's last event, or of that with the version `at_version`."""
    account_id, version = path_id(request), number_in(request, "at_version", minimum=1)
    await found(request, account_id)
    rows = await store.read_stream_rows(request.app[RUNTIME].pool, account_id, version=version, limit=1)
    if not rows:
        raise Refused(errors.account_not_found(account_id))
    return await _receipt(request, rows)


async def seal_keys(request: web.Request) -> Reply:
    """GET /.well-known/ledger-seal.json: the public key that signs the seals (RFC 7517); none if there are none."""
    key = request.app[RUNTIME].settings.seal_key()
    return answer({"keys": [] if key is None else [key.public]})


async def _receipt(request: web.Request, rows: list[StoredRow]) -> Reply:
    runtime = request.app[RUNTIME]
    receipt = await sealing.receipt(runtime.pool, rows)
    if receipt is not None:
        return Reply(status=200, body=msgspec.json.encode(receipt), content_type="application/json")
    if runtime.settings.ledger_seal_key_file is None:
        raise Refused(errors.sealing_is_off())
    raise Refused(errors.not_sealed_yet(math.ceil(runtime.settings.ledger_seal_seconds)))
