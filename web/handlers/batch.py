"""Batches: many transfers in one request, parsed like single ones and executed in chunks, each with its result."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from aiohttp import web

from ledger.commands.batch import ItemResult, TransferBatch
from ledger.commands.transfers import TransferMoney, transfer_result
from ledger.errors import LedgerError, Refusal, Refused
from ledger.projections import transactions
from ledger.store.connections import UNREACHABLE
from ledger.store.heads import any_exists
from ledger.values.timestamps import rfc3339
from ledger.write.group import Origin, Outcome
from web import requests
from web.handlers.monitoring import METRICS
from web.http.account_refs import name_as_sent
from web.http.catalogue import CATALOGUE
from web.http.concurrency import ConcurrencyLimit
from web.http.errors import MALFORMED, entry, refusals_of
from web.http.idempotency import make_part
from web.http.json import check_json, format_times, parse_checked
from web.http.request import REQUEST_ID, RUNTIME
from web.http.submit import submit_from
from web.http.wording import MAX_REFUSALS
from web.plain_transfer import PlainTransfer, parse_plain_transfer

CHUNK = 1000  # items of one command; a retry with an idempotency key relies on it
SLICE = 500  # items parsed before other requests get their turn
MAX_BATCHES = 16  # requests that a worker processes at once, because each may be large
MAX_BATCHES_EACH = 4  # of one caller; an admin may have more
MAX_BATCHES_OF_ADMIN = 12

BATCH_LIMIT = web.AppKey("BATCH_LIMIT", ConcurrencyLimit)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """A batch whose items are still to be parsed."""

    atomic: bool
    items: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=requests.MAX_ITEMS)]


class Batch(NamedTuple):
    """A batch whose items are parsed."""

    atomic: bool
    items: Sequence[requests.Transfer | PlainTransfer]

    def canonical(self) -> bytes:
        """Return the canonical form: the same bytes for equivalent batches, like `Body.canonical`."""
        items = b",".join(item.canonical() for item in self.items)
        return b'{"atomic":%b,"items":[%b]}' % (b"true" if self.atomic else b"false", items)


async def parse_batch(raw: bytes) -> Batch:
    """Return the batch in a body. Raises `Refused`: one entry per offending member, up to a bound."""
    await asyncio.to_thread(check_json, raw)  # in a thread: a body can have megabytes
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
    except (msgspec.MsgspecError, RecursionError):
        raise Refused(*_explain_envelope(raw)) from None
    items: list[requests.Transfer | PlainTransfer] = []
    refusals: list[Refusal] = []
    for number, item in enumerate(envelope.items):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        try:
            members = bytes(item)
            items.append(parse_plain_transfer(members) or parse_checked(requests.Transfer, members))
        except Refused as refused:
            refusals += (refusal.within(f"/items/{number}") for refusal in refused.refusals)
        if len(refusals) >= MAX_REFUSALS:
            break
    if refusals:
        raise Refused(*refusals[:MAX_REFUSALS])
    return Batch(envelope.atomic, items)


def _explain_envelope(raw: bytes) -> Sequence[Refusal]:
    """Return the refusals of a body whose envelope is not that of a batch."""
    try:
        parse_checked(requests.Batch, raw)
    except Refused as refused:
        return refused.refusals
    return (MALFORMED,)


class Results(NamedTuple):
    """The result of each item, whether the request was replayed, and its last position in the log."""

    items: list[dict[str, Any]]
    replayed: bool
    position: int | None


async def execute_chunk(request: web.Request, command: TransferBatch, origin: Origin) -> Results:
    """Execute a chunk. Raises `Refused` or a `LedgerError` if no transfer of it is known to be posted."""
    return await read_results(request, command, await submit_chunk(request, command, origin))


async def make_chunk(
    request: web.Request, transfers: Sequence[TransferMoney], *, atomic: bool = False
) -> TransferBatch:
    """Return the command of a chunk, which need not read the streams of chosen ids and references that are new."""
    command = TransferBatch(tuple(transfers), atomic=atomic)
    chosen = command.reserves()
    if not chosen or await any_exists(request.app[RUNTIME].pool, chosen):
        return command
    return msgspec.structs.replace(command, seem_new=True)


async def submit_chunk(request: web.Request, command: TransferBatch, origin: Origin) -> Outcome:
    """Execute a chunk, and return its outcome. Raises as `execute_chunk` does."""
    return await submit_from(request, command, origin, weight=len(command.transfers))


async def read_results(request: web.Request, command: TransferBatch, outcome: Outcome) -> Results:
    """Return the result of each transfer of an executed chunk."""
    results = parse_results(outcome)
    replayed = [result.id for result in results if result.id is not None and result.currency is None]
    before = await transactions.find_all(request.app[RUNTIME].pool, replayed) if replayed else {}
    items = _format_results(request, command.transfers, results, outcome.recorded_at, before)
    return Results(items, outcome.replayed, outcome.position)


async def execute_chunks(request: web.Request, commands: Sequence[TransferMoney], whole: Origin) -> Results:
    """Execute the chunks in order. If a later chunk fails, its items and all after it get the error as their result."""
    items: list[dict[str, Any]] = []
    replayed, position = True, None
    for number, start in enumerate(range(0, len(commands), CHUNK)):
        try:
            command = await make_chunk(request, commands[start : start + CHUNK])
            results = await execute_chunk(request, command, make_part(whole, number) if number else whole)
        except (LedgerError, *UNREACHABLE) as error:
            if number == 0:
                raise
            items += [format_refusal(request, refusals_of(error))] * (len(commands) - start)
            break
        items += results.items
        replayed, position = replayed and results.replayed, results.position
    return Results(items, replayed, position)


def parse_results(outcome: Outcome) -> list[ItemResult]:
    """Return the result of each item of an executed chunk."""
    return msgspec.convert(outcome.result["results"], list[ItemResult])


def _format_results(
    request: web.Request,
    commands: Sequence[TransferMoney],
    results: Sequence[ItemResult],
    recorded_at: datetime,
    before: Mapping[UUID, dict[str, Any]],
) -> list[dict[str, Any]]:
    at = rfc3339(recorded_at)
    items: list[dict[str, Any]] = []
    for transfer, result in zip(commands, results, strict=True):
        if result.id is None:
            items.append(format_refusal(request, result.refusals))
        elif result.currency is None:
            items.append({"status": 200, "replayed": True, "transaction": format_times(before[result.id])})
        else:
            body = transfer_result(result.id, transfer.to_event(result.currency))
            body["created_at"] = at
            items.append({"status": 200, "transaction": body})
    return items


def format_refusal(request: web.Request, refusals: Sequence[Refusal]) -> dict[str, Any]:
    """Return the result of a refused item or line: the status and the entries of a problem."""
    request.app[METRICS].count_refusals(refusals)
    now, refusals = rfc3339(datetime.now(UTC)), name_as_sent(request, refusals)
    return {
        "status": CATALOGUE[refusals[0].code].status,
        "errors": [entry(refusal, request.path, request[REQUEST_ID], now) for refusal in refusals],
    }
