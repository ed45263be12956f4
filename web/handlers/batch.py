"""Many transfers in one request: parsed like single ones, carried out a chunk at a time, and what became of each."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from aiohttp import web

from ledger.commands.batch import ItemResult, TransferBatch
from ledger.commands.transfers import TransferMoney, transfer_result
from ledger.errors import LedgerError, OverloadedError, Refusal, Refused
from ledger.projections import transactions as transfers
from ledger.store.pool import UNREACHABLE
from ledger.values.timestamps import rfc3339
from ledger.write.group import Origin, Outcome
from web import requests
from web.handlers.monitoring import FIGURES
from web.http.catalogue import CATALOGUE
from web.http.errors import MALFORMED, entry, refusals_of
from web.http.idempotency import make_part
from web.http.json import check_json, format_times, parse_checked
from web.http.request import REQUEST_ID, RUNTIME
from web.http.submit import submit_from
from web.http.wording import MAX_REFUSALS

CHUNK = 1000  # items of one command; under an idempotency key, a retry relies on it
SLICE = 500  # items parsed before others get their turn
MAX_BULKS = 16  # requests of a worker that are under way at once: each may be large


class Places:
    """How many bulk requests a worker has under way."""

    def __init__(self) -> None:
        self.taken = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place for one more. Raises `OverloadedError` if there is none."""
        if self.taken >= MAX_BULKS:
            raise OverloadedError("no place for another bulk request")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


BULKS = web.AppKey("BULKS", Places)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """A batch whose items are still to be parsed."""

    atomic: bool
    items: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=requests.MAX_ITEMS)]


class Batch(NamedTuple):
    """A batch, each of its items parsed as if it were a body of its own."""

    atomic: bool
    items: Sequence[requests.Transfer]

    def canonical(self) -> bytes:
        """Return the same bytes for all batches that say the same, as a body's `canonical` does."""
        items = b",".join(item.canonical() for item in self.items)
        return b'{"atomic":%b,"items":[%b]}' % (b"true" if self.atomic else b"false", items)


async def parse_batch(raw: bytes) -> Batch:
    """Return the batch in a body. Raises `Refused`: one entry per offending member, up to a bound."""
    await asyncio.to_thread(check_json, raw)  # megabytes, and others wait for their turn
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
    except (msgspec.MsgspecError, RecursionError):
        raise Refused(*_against(raw)) from None
    items: list[requests.Transfer] = []
    refusals: list[Refusal] = []
    for number, item in enumerate(envelope.items):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        try:
            items.append(parse_checked(requests.Transfer, bytes(item)))
        except Refused as refused:
            refusals += (refusal.within(f"/items/{number}") for refusal in refused.refusals)
        if len(refusals) >= MAX_REFUSALS:
            break
    if refusals:
        raise Refused(*refusals[:MAX_REFUSALS])
    return Batch(envelope.atomic, items)


def _against(raw: bytes) -> Sequence[Refusal]:
    """What is wrong with a body that is no batch, whatever its items are."""
    try:
        parse_checked(requests.Batch, raw)
    except Refused as refused:
        return refused.refusals
    return (MALFORMED,)


class Results(NamedTuple):
    """What became of each item, as its client is told; whether it was so before; and where in the log that ends."""

    items: list[dict[str, Any]]
    replayed: bool
    position: int | None


async def carry_out(request: web.Request, command: TransferBatch, origin: Origin) -> Results:
    """Carry out a chunk. Raises `Refused` or a `LedgerError`: then none of it happened, as far as anybody knows."""
    outcome = await submit_from(request, command, origin, weight=len(command.transfers))
    results = _results_of(outcome)
    replayed = [result.id for result in results if result.id is not None and result.currency is None]
    before = await transfers.find_all(request.app[RUNTIME].pool, replayed) if replayed else {}
    told = _told(request, command.transfers, results, outcome.recorded_at, before)
    return Results(told, outcome.replayed, outcome.position)


async def carry_out_each(request: web.Request, made: Sequence[TransferMoney], whole: Origin) -> Results:
    """Carry out a chunk after the other. If one fails that is not the first, its items say so, and those after it."""
    told: list[dict[str, Any]] = []
    replayed, position = True, None
    for number, start in enumerate(range(0, len(made), CHUNK)):
        command = TransferBatch(tuple(made[start : start + CHUNK]))
        try:
            results = await carry_out(request, command, make_part(whole, number) if number else whole)
        except (LedgerError, *UNREACHABLE) as error:
            if number == 0:
                raise
            told += [refused(request, refusals_of(error))] * (len(made) - start)
            break
        told += results.items
        replayed, position = replayed and results.replayed, results.position
    return Results(told, replayed, position)


def _results_of(outcome: Outcome) -> list[ItemResult]:
    found = outcome.result["results"]
    return msgspec.convert(found, list[ItemResult]) if outcome.replayed else found


def _told(
    request: web.Request,
    made: Sequence[TransferMoney],
    results: Sequence[ItemResult],
    recorded_at: datetime,
    before: Mapping[UUID, dict[str, Any]],
) -> list[dict[str, Any]]:
    at = rfc3339(recorded_at)
    told: list[dict[str, Any]] = []
    for transfer, result in zip(made, results, strict=True):
        if result.id is None:
            told.append(refused(request, result.refusals))
        elif result.currency is None:
            told.append({"status": 200, "replayed": True, "transaction": format_times(before[result.id])})
        else:
            body = transfer_result(result.id, transfer.to_event(result.currency))
            body["created_at"] = at
            told.append({"status": 200, "transaction": body})
    return told


def refused(request: web.Request, refusals: Sequence[Refusal]) -> dict[str, Any]:
    """What is told of an item that was refused, or of a line: the entries of a problem, and its status."""
    request.app[FIGURES].refused(refusals)
    now = rfc3339(datetime.now(UTC))
    return {
        "status": CATALOGUE[refusals[0].code].status,
        "errors": [entry(refusal, request.path, request[REQUEST_ID], now) for refusal in refusals],
    }
