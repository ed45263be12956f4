"""Transactions: transfers, batches, journal entries, holds and reversals."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
from aiohttp import web

from ledger import errors
from ledger.commands.holds import CaptureHold, PlaceHold, VoidHold
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.reversals import ReverseTransaction
from ledger.commands.transfers import TransferMoney
from ledger.errors import Refused
from ledger.events.transactions import Status, copy_details
from ledger.money import MAX_CENTS
from ledger.projections import captures, holds, transaction_search, transactions
from ledger.projections.resource import Resource
from ledger.projections.transaction_search import Filters
from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION
from ledger.values.ids import new_id
from ledger.values.text import MAX_REFERENCE_LENGTH, spellings
from ledger.values.timestamps import parse_end, parse_start, rfc3339
from ledger.write.group import Outcome
from web import requests, response_fields
from web.handlers import batch, batch_stream, schedules
from web.handlers.accounts import readable_owner
from web.handlers.assets import read_currency
from web.handlers.batch import BATCH_LIMIT, MAX_BATCHES_OF_ADMIN
from web.handlers.past_transactions import get_past_transaction, list_past_transactions
from web.http.account_refs import account_parameter, all_with_account_ids, find_id, with_account_ids
from web.http.dry_run import read_clock
from web.http.idempotency import make_origin, read_idempotency_key
from web.http.json import REPLAYED, answer, answer_outcome, parse, read_json, read_json_if_any
from web.http.pagination import Chunk, answer_list, read_span
from web.http.params import (
    choice_parameter,
    id_parameter,
    integer_parameter,
    read_path_id,
    read_period,
    read_point_in_time,
    text_parameter,
    time_parameter,
)
from web.http.preconditions import answer_resource, read_expected_versions
from web.http.replica import reader
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply, Stream
from web.http.submit import submit
from web.plain_transfer import PlainTransfer, parse_plain_transfer

USER_ID = id_parameter("user_id", "Only transactions of accounts that this user owns now")
ACCOUNT_ID = account_parameter("account_id", "Only transactions of this account, named by its id or its code")
STATUS = choice_parameter("status", "Only with this status", sorted(get_args(Status)))
KIND = choice_parameter("kind", "Only of this kind", response_fields.KIND["enum"], schema=response_fields.KIND)
REFERENCE = text_parameter("reference", "Only with this reference", max_length=MAX_REFERENCE_LENGTH)
MIN_AMOUNT = integer_parameter(
    "min_amount_cents", "The smallest amount; for a journal entry, of a posting", maximum=MAX_CENTS
)
MAX_AMOUNT = integer_parameter(
    "max_amount_cents", "The largest amount; for a journal entry, of a posting", maximum=MAX_CENTS
)
AUTHORIZED_FROM = time_parameter("authorized_from", "Only holds placed at this time or later", parse_start)
AUTHORIZED_TO = time_parameter("authorized_to", "Only holds placed at this time or earlier", parse_end)


class _Payer(NamedTuple):
    """The user, or the client, whose money the caller may spend; None for any user's."""

    owner_id: UUID | None
    is_client: bool


async def create_transfer(request: web.Request) -> Reply:
    """POST /transactions/transfer. Customers pay from their own accounts only."""
    raw = await read_json(request)
    sent = parse_plain_transfer(raw) or parse(requests.ConditionalTransfer, raw)
    body = sent if isinstance(sent, PlainTransfer) else await with_account_ids(request, sent)
    transfer = _make_transfer(body, _payer(request))
    if isinstance(body, requests.ConditionalTransfer) and body.execute_at is not None:
        return await schedules.schedule(request, transfer, body.execute_at, sent.canonical)
    command = _add_preconditions(request, body, transfer)
    return answer_outcome(await submit(request, command, sent.canonical), "created_at", status=200)


async def create_transfer_batch(request: web.Request) -> Reply | Stream:
    """POST /transactions/batch, as JSON, or as JSON Lines whose results are streamed."""
    payer, actor = _payer(request), request[ACTOR]
    places = MAX_BATCHES_OF_ADMIN if actor.has("admin") else None
    async with request.app[BATCH_LIMIT].admit(actor.user_id, each=places):
        if request.content_type in batch_stream.MEDIA:
            return await batch_stream.execute_stream(request, lambda body: _make_transfer(body, payer))
        parsed = await batch.parse_batch(
            await read_json(request, request.app[RUNTIME].settings.ledger_bulk_limit_bytes)
        )
        items = await all_with_account_ids(request, parsed.items)
        commands = tuple(_make_transfer(item, payer) for item in items)
        canonical = b"" if read_idempotency_key(request) is None else await asyncio.to_thread(parsed.canonical)
        source = make_origin(request, lambda: canonical)
        if parsed.atomic:
            command = await batch.make_chunk(request, commands, atomic=True)
            results = await batch.execute_chunk(request, command, source)
        else:
            results = await batch.execute_chunks(request, commands, source)
        headers = REPLAYED if results.replayed else None
        return answer({"results": results.items}, headers=headers, position=results.position)


async def post_journal_entry(request: web.Request) -> Reply:
    """POST /transactions. Customers pay from their own accounts only."""
    sent = parse(requests.JournalEntry, await read_json(request))
    body = await with_account_ids(request, sent)
    payer = _payer(request)
    entry = PostJournalEntry(
        transaction_id=body.id or new_id(),
        postings=tuple(NewPosting(posting.account_id, posting.amount_cents) for posting in body.postings),
        reference=body.reference,
        only_owner_id=payer.owner_id,
        id_was_chosen=body.id is not None,
        by_client=payer.is_client,
    )
    entry = copy_details(body, entry)
    if body.execute_at is not None:
        return await schedules.schedule(request, entry, body.execute_at, sent.canonical)
    return answer_outcome(await submit(request, entry, sent.canonical), "created_at", status=200)


async def place_hold(request: web.Request) -> Reply:
    """POST /transactions/hold. Customers hold money of their own accounts only."""
    sent = parse(requests.Hold, await read_json(request))
    body = await with_account_ids(request, sent)
    settings, now = request.app[RUNTIME].settings, read_clock(request)
    seconds = body.expires_in_seconds or settings.ledger_hold_seconds
    payer = _payer(request)
    hold = PlaceHold(
        transaction_id=body.id or new_id(),
        source_account_id=body.source_account_id,
        destination_account_id=body.destination_account_id,
        amount_cents=body.amount_cents,
        now=now,
        expires_at=body.expires_at or now + timedelta(seconds=seconds),
        limit_seconds=settings.ledger_hold_limit_seconds,
        expiry_pointer="/expires_at" if body.expires_at is not None else "/expires_in_seconds",
        reference=body.reference,
        only_owner_id=payer.owner_id,
        id_was_chosen=body.id is not None,
        by_client=payer.is_client,
    )
    return answer_outcome(await submit(request, copy_details(body, hold), sent.canonical), "created_at", status=200)


async def capture_hold(request: web.Request) -> Reply:
    """POST /transactions/{id}/capture."""
    body = parse(requests.Capture, await read_json_if_any(request) or b"{}")
    known = (await find_transaction(request, read_path_id(request))).body
    accounts = transactions.accounts_of(known)
    command = CaptureHold(
        transaction_id=known["id"],
        source_account_id=accounts[0],
        destination_account_id=accounts[1],
        hold_reference=known["reference"],
        payer_ids=await _find_payers(request, known),
        now=read_clock(request),
        amount_cents=body.amount_cents,
        final=body.final,
        reference=body.reference,
    )
    return await _answer_hold(request, known, await submit(request, copy_details(body, command), body.canonical))


async def void_hold(request: web.Request) -> Reply:
    """POST /transactions/{id}/void: release a hold, or cancel a scheduled transaction."""
    body = parse(requests.Nothing, await read_json_if_any(request) or b"{}")
    transaction_id = read_path_id(request)
    await schedules.check_may_void(request, transaction_id)
    known = (await find_transaction(request, transaction_id)).body
    if "execute_at" in known:
        return await schedules.cancel(request, known, body.canonical)
    accounts = transactions.accounts_of(known)
    command = VoidHold(
        transaction_id=known["id"],
        source_account_id=accounts[0],
        destination_account_id=accounts[1],
        hold_reference=known["reference"],
        payer_ids=await _find_payers(request, known),
        now=read_clock(request),
    )
    return await _answer_hold(request, known, await submit(request, command, body.canonical))


async def _find_payers(request: web.Request, hold: Mapping[str, Any]) -> tuple[UUID, ...]:
    """Return those who may own the reference of a hold, if it has one."""
    return () if hold["reference"] is None else await holds.find_payers(request.app[RUNTIME].pool, hold["id"])


async def _answer_hold(request: web.Request, known: Mapping[str, Any], outcome: Outcome) -> Reply:
    """Answer with a hold as it was after a command, and its captures up to then."""
    hold = dict(outcome.result) | {"id": known["id"], "created_at": rfc3339(known["created_at"])}
    parts = await captures.add_captures(request.app[RUNTIME].pool, [hold])
    if hold["status"] == "captured":
        hold["settled_at"] = parts[known["id"]][-1]["created_at"]
    elif hold["status"] != "pending":
        hold["settled_at"] = rfc3339(known.get("settled_at", outcome.recorded_at))
    return answer_outcome(msgspec.structs.replace(outcome, result=hold), status=200)


async def reverse_transaction(request: web.Request) -> Reply:
    """POST /transactions/{id}/reverse."""
    sent = parse(requests.Reversal, await read_json_if_any(request) or b"{}")
    body = await with_account_ids(request, sent)
    known = (await find_transaction(request, read_path_id(request))).body
    command = ReverseTransaction(
        reversal_id=body.id or new_id(),
        transaction_id=known["id"],
        account_ids=transactions.accounts_of(known),
        amount_cents=body.amount_cents,
        destination_account_id=body.destination_account_id,
        force=body.force,
        reference=body.reference,
        id_was_chosen=body.id is not None,
    )
    outcome = await submit(request, copy_details(body, command), sent.canonical)
    return answer_outcome(outcome, "created_at", status=200)


async def list_transactions(request: web.Request) -> Reply | Stream:
    """GET /transactions: all transactions, or a customer's own, newest first, now or at a point in time.

    A page may have fewer items than `limit`, or none, although it has a `Link` to the next one.
    """
    span = read_span(request, int)
    reference, account = REFERENCE.read(request), ACCOUNT_ID.read(request)
    filters = Filters(
        readable_owner(request),
        USER_ID.read(request),
        None if account is None else await find_id(request, account),
        await read_currency(request),
        STATUS.read(request),
        KIND.read(request),
        None if reference is None else spellings(reference),
        MIN_AMOUNT.read(request),
        MAX_AMOUNT.read(request),
        *read_period(request),
        AUTHORIZED_FROM.read(request),
        AUTHORIZED_TO.read(request),
    )
    if (moment := read_point_in_time(request)) is not None:
        return await list_past_transactions(request, filters, moment)

    async def walk(source: Reader, before: int | None, limit: int) -> Chunk[int]:
        return Chunk(
            *await transaction_search.page(
                source, filters, before=MAX_POSITION if before is None else before, limit=limit
            )
        )

    return await answer_list(request, span, walk)


async def get_transaction(request: web.Request) -> Reply:
    """GET /transactions/{id}, now or at a point in time."""
    if (moment := read_point_in_time(request)) is not None:
        return await get_past_transaction(request, read_path_id(request), moment)
    return answer_resource(request, *await find_transaction(request, read_path_id(request)))


def _add_preconditions(
    request: web.Request, body: requests.ConditionalTransfer | PlainTransfer, command: TransferMoney
) -> TransferMoney:
    """Return the command with the preconditions of `If-Match`, `source_version` and `conditions`."""
    expected, conditions = read_expected_versions(request), body.conditions
    if body.source_version is not None:
        only = frozenset({body.source_version})
        expected = only if expected is None else only & expected
    if expected is None and conditions is None:
        return command
    minimum = None if conditions is None else conditions.source_available_min_cents
    return msgspec.structs.replace(command, expected=expected, source_available_min_cents=minimum)


def _make_transfer(body: requests.Transfer | PlainTransfer, payer: _Payer) -> TransferMoney:
    transfer = TransferMoney(
        transaction_id=body.id or new_id(),
        source_account_id=body.source_account_id,
        destination_account_id=body.destination_account_id,
        amount_cents=body.amount_cents,
        reference=body.reference,
        only_owner_id=payer.owner_id,
        id_was_chosen=body.id is not None,
        by_client=payer.is_client,
    )
    return copy_details(body, transfer)


def _payer(request: web.Request) -> _Payer:
    actor = request[ACTOR]
    return _Payer(None if actor.has("admin") and not actor.is_client else actor.user_id, actor.is_client)


async def find_transaction(request: web.Request, transaction_id: UUID) -> Resource:
    """Return a transaction that the caller may read. Raises `Refused`."""
    found = await transactions.find(reader(request), transaction_id, party_id=readable_owner(request))
    if found is None:
        raise Refused(errors.transaction_not_found(transaction_id))
    return found
