"""Receipts: proofs that an event is in the log, which anyone can check offline with the ledger's public key."""

import math
from uuid import UUID

import msgspec
from aiohttp import web

from ledger import errors
from ledger.errors import Refused
from ledger.events import StoredRow, decode_event
from ledger.events.accounts import AccountEvent
from ledger.events.transactions import JournalEntryPosted, TransactionScheduled
from ledger.projections import transactions
from ledger.projections.account_owners import did_belong
from ledger.seals import sealing
from ledger.seals.receipts import SealMismatchError
from ledger.store.connections import Reader
from ledger.store.rows import read_rows_beside, read_stream_rows
from ledger.store.sql import Party
from web.handlers.accounts import find_spans, readable_owner
from web.http.account_refs import read_path_account
from web.http.json import answer
from web.http.params import integer_parameter, read_path_id
from web.http.replica import reader
from web.http.request import RUNTIME
from web.http.response import Reply

REACH = 100  # positions between a transaction's event and its entries

AT_VERSION = integer_parameter("at_version", "The event's version", minimum=1)


async def get_transaction_receipt(request: web.Request) -> Reply:
    """GET /transactions/{id}/proof: the receipt of a transaction and its entries.

    An entry shows the balance after it, and a journal entry all postings, so customers get the events of their own
    accounts only.
    """
    pool, transaction_id, party_id = reader(request), read_path_id(request), readable_owner(request)
    if await transactions.find(pool, transaction_id, party_id=party_id) is None:
        raise Refused(errors.transaction_not_found(transaction_id))
    rows = await read_rows_beside(pool, transaction_id, reach=REACH)
    parts = [row for row in rows if await _is_part(pool, row, transaction_id, party_id)]
    if not parts:  # so it is for a scheduled journal entry with the accounts of others
        raise Refused(errors.transaction_not_found(transaction_id))
    return await answer_receipt(request, parts)


async def get_account_receipt(request: web.Request) -> Reply:
    """GET /accounts/{id}/proof: the receipt of an account's last event, or of the one at `at_version`.

    A customer gets events of the time in which the account was theirs, a client those that its limits include.
    """
    version, account_id = AT_VERSION.read(request), await read_path_account(request)
    spans = await find_spans(request, account_id)
    if version is None and spans[-1].next_version is not None:
        version = spans[-1].next_version - 1
    if version is not None and not any(span.has_version(version) for span in spans):
        raise Refused(errors.account_not_found(account_id))
    rows = await read_stream_rows(reader(request), account_id, version=version, limit=1)
    if not rows:
        raise Refused(errors.account_not_found(account_id))
    return await answer_receipt(request, rows)


async def get_seal_keys(request: web.Request) -> Reply:
    """GET /.well-known/ledger-seal.json: the public key that verifies seals (RFC 7517); an empty set without one."""
    public = request.app[RUNTIME].seal_public
    return answer({"keys": [] if public is None else [public]})


async def _is_part(pool: Reader, row: StoredRow, transaction_id: UUID, party_id: Party | None) -> bool:
    """Return whether an event belongs to a transaction and, for a party, to one of its accounts."""
    event = decode_event(row.topic, row.state)
    if row.originator_id == transaction_id:  # a journal entry shows the postings of other users
        entry = event.journal_entry if isinstance(event, TransactionScheduled) else event
        return party_id is None or not isinstance(entry, JournalEntryPosted)
    if not isinstance(event, AccountEvent) or getattr(event, "transaction_id", None) != transaction_id:
        return False
    return party_id is None or await did_belong(pool, row.originator_id, party_id, row.notification_id)


async def answer_receipt(request: web.Request, rows: list[StoredRow]) -> Reply:
    """Answer with the receipt of these events. Raises `Refused` unless they are sealed."""
    runtime = request.app[RUNTIME]
    try:
        receipt = await sealing.build_receipt(runtime.pool, rows)
    except SealMismatchError as error:
        raise Refused(errors.seal_mismatch(error.position)) from error
    if receipt is not None:
        return Reply(status=200, body=msgspec.json.encode(receipt), content_type="application/json")
    if runtime.settings.ledger_seal_key_file is None:
        raise Refused(errors.sealing_is_off())
    raise Refused(errors.not_sealed_yet(math.ceil(runtime.settings.ledger_seal_seconds)))
