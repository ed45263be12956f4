"""Transactions as they were at a position of the log: each follows from its own events up to there.

A list is in the order of `ledger.projections.transaction_search`, except that holds which are chosen by their kind or
status are in the order in which they were placed. Filters apply to the state of then. A page examines a bounded number
of candidates, so it may be short, or even empty, although there is a next page.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from ledger.events import Recorded
from ledger.events.transactions import (
    HoldCaptured,
    HoldPlaced,
    JournalEntryPosted,
    TransactionEvent,
    TransactionScheduled,
)
from ledger.projections import captures, transactions
from ledger.projections.account_owners import belonged_to, ever_of
from ledger.projections.resource import Resource
from ledger.projections.transaction_search import Filters, Found
from ledger.store import beginnings
from ledger.store import reader as event_reader
from ledger.store.beginnings import Candidates
from ledger.store.connections import Reader
from ledger.store.reader import Bounds
from ledger.store.sql import Party
from ledger.store.streams_at import read_streams_at

SCAN = 1000  # candidates of a page with filters
MAX_LATER = 1000  # holds that ended later in each way, among which the pending ones are looked for
HOLD_STATUSES = frozenset({"pending", "captured", "expired"})
MADE_AT_ONCE = frozenset({"opening", "adjustment", "reversal"})  # kinds that are never scheduled


class _Past(NamedTuple):
    """A transaction at a position: as clients see it, its version, from where it counts, and when it changed."""

    body: dict[str, Any]
    version: int
    counted: int
    placed: int
    moments: Sequence[int]


async def find(reader: Reader, transaction_id: UUID, position: int, *, party_id: Party | None) -> Resource | None:
    """Return a transaction at a position, or None if it began later, or a party may not see it."""
    found = await _read(reader, [transaction_id], position, party_id)
    if not found:
        return None
    await captures.add_captures(reader, [found[0].body])
    return Resource(found[0].body, str(found[0].version))


async def page(reader: Reader, filters: Filters, position: int, *, before: int, limit: int) -> Found:
    """Return up to `limit` transactions at a position that count from before another one, newest first."""
    bounds = await event_reader.find_bounds(reader, filters.from_time, filters.to_time, min(before, position + 1))
    is_filtered = filters != Filters(filters.party_id, account_id=filters.account_id)
    search = _Search(reader, filters, position, bounds, SCAN if is_filtered else limit + 1)
    candidates = await search.find()
    past = await _read(reader, candidates.ids, position, filters.party_id)
    await captures.add_captures(reader, [one.body for one in past])
    lowest = max(bounds.after + 1, candidates.reached or 0)
    counted = [(one.placed if search.is_by_placing else one.counted, one.body) for one in past]
    listed = [one for one in counted if lowest <= one[0] < bounds.before and _matches(one[1], filters)]
    listed.sort(key=lambda one: one[0], reverse=True)
    reached = listed[limit - 1][0] if len(listed) > limit else candidates.reached
    return Found([body for _, body in listed[:limit]], reached)


class _Search(NamedTuple):
    """A search for up to `most` candidates between two positions."""

    reader: Reader
    filters: Filters
    position: int
    bounds: Bounds
    most: int

    @property
    def is_by_placing(self) -> bool:
        """Whether only holds can match, which are found by when they were placed."""
        return self.filters.kind == "hold" or (self.filters.kind is None and self.filters.status in HOLD_STATUSES)

    async def find(self) -> Candidates:
        """Find candidates where the fewest are examined in vain."""
        filters = self.filters
        if filters.references is not None:
            return await self._find_by_reference(filters.references)
        if filters.account_id is not None or filters.party_id is not None:
            return await self._find_of_accounts()
        if self.is_by_placing and filters.status == "pending":
            return await self._find_pending()
        if filters.kind in MADE_AT_ONCE:
            return await self._find_by_index("kind = $4 AND kind <> 'transfer'", filters.kind)
        if topics := self._topics:
            return await beginnings.find_by_topic(self.reader, topics, self.bounds, self.most)
        return await beginnings.find_in_log(self.reader, self.bounds, self.most)

    @property
    def _topics(self) -> tuple[type, ...]:
        """The topics that the filters choose, if an index has them."""
        if self.is_by_placing:
            return (HoldPlaced,)
        if self.filters.kind == "journal":
            return (JournalEntryPosted, TransactionScheduled)
        return (TransactionScheduled,) if self.filters.status in {"scheduled", "failed"} else ()

    async def _find_by_index(self, condition: str, value: object) -> Candidates:
        return self._end(
            await self.reader.fetch(
                f"""SELECT id, position FROM transfers WHERE position > $1 AND position < $2 AND {condition}
                    ORDER BY position DESC LIMIT $3""",
                *(*self.bounds, self.most, value),
            )
        )

    async def _find_pending(self) -> Candidates:
        """Find the holds that are pending now or that ended later; if very many ended later, all holds."""
        later = await beginnings.find_ended_later(self.reader, self.position, MAX_LATER)
        if len(later) >= MAX_LATER:
            return await beginnings.find_by_topic(self.reader, (HoldPlaced,), self.bounds, self.most)
        return await self._find_by_index("(status = 'pending' OR (kind = 'hold' AND id = ANY($4)))", later)

    async def _find_by_reference(self, references: tuple[str, ...]) -> Candidates:
        """Find the transactions, and the holds by their captures, with a reference: wherever they count from now."""
        rows = await self.reader.fetch(
            """SELECT id FROM transfers WHERE reference = ANY($1)
               UNION SELECT transaction_id FROM captures WHERE reference = ANY($1) LIMIT $2""",
            list(references),
            SCAN,
        )
        return Candidates([row[0] for row in rows], None)

    async def _find_of_accounts(self) -> Candidates:
        account_ids = await self._choose_accounts()
        values = (*self.bounds, self.most, account_ids)
        parts = [self._end(await self.reader.fetch(_HOLDS, *values))]
        if not self.is_by_placing:
            parts.append(self._end(await self.reader.fetch(_SCHEDULED, *values)))
            parts.append(await beginnings.find_by_entries(self.reader, account_ids, self.bounds, self.most))
        return beginnings.merge(*parts)

    async def _choose_accounts(self) -> list[UUID]:
        """Return the account to look at, or the accounts that were ever of the party."""
        if self.filters.account_id is not None:
            return [self.filters.account_id]
        assert self.filters.party_id is not None  # noqa: S101 - only one of both can be absent
        rows = await self.reader.fetch(ever_of(self.filters.party_id).format("$1"), self.filters.party_id)
        return [row[0] for row in rows]

    def _end(self, rows: Sequence[Any]) -> Candidates:
        return Candidates([row[0] for row in rows], rows[-1][1] if len(rows) == self.most else None)


_HOLDS = """
SELECT hold.id, hold.position FROM unnest($4::uuid[]) AS account(id), LATERAL (
    (SELECT transfers.id, position FROM transfers
     WHERE source_account_id = account.id AND kind = 'hold' AND position > $1 AND position < $2
     ORDER BY position DESC LIMIT $3)
    UNION ALL
    (SELECT transfers.id, position FROM transfers
     WHERE destination_account_id = account.id AND kind = 'hold' AND position > $1 AND position < $2
     ORDER BY position DESC LIMIT $3)) AS hold
ORDER BY hold.position DESC LIMIT $3"""
_SCHEDULED = """
SELECT found.id, found.position FROM unnest($4::uuid[]) AS account(id), LATERAL (
    SELECT transaction_id AS id, position FROM scheduled_accounts
    WHERE account_id = account.id AND position > $1 AND position < $2
    ORDER BY position DESC LIMIT $3) AS found
ORDER BY found.position DESC LIMIT $3"""


async def _read(reader: Reader, ids: Collection[UUID], position: int, party_id: Party | None) -> list[_Past]:
    """Return those of the transactions that had begun at a position, as a party sees them."""
    runs: dict[UUID, list[Recorded]] = {}
    for row in await read_streams_at(reader, list(ids), position):
        if isinstance(row.event, TransactionEvent):
            runs.setdefault(row.stream_id, []).append(row)
    past = [_fold(run, position) for run in runs.values()]
    return past if party_id is None else await _show_own(reader, past, party_id)


def _fold(run: Sequence[Recorded], position: int) -> _Past:
    row = transactions.fold_row(run)
    captured = [one.position for one in run if isinstance(one.event, HoldCaptured)]
    moments = [row["position"], *captured, *([] if row["settled_position"] is None else [row["settled_position"]])]
    if row["status_now"] in {"pending", "scheduled"}:
        moments.append(position)
    counted = row["position"] if row["captured_cents"] is None else row["settled_position"]
    return _Past(transactions.format_transaction(row), run[-1].version, counted, run[0].position, moments)


async def _show_own(reader: Reader, past: Sequence[_Past], party_id: Party) -> list[_Past]:
    """Return the transactions of accounts that belonged to a party when they were made, moved money or ended."""
    sides = [
        (one.body["id"], account_id, moment)
        for one in past
        for account_id in transactions.accounts_of(one.body)
        for moment in one.moments
    ]
    rows = await reader.fetch(
        f"""SELECT DISTINCT side.id, side.account_id
            FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS side(id, account_id, moment)
            WHERE {belonged_to(party_id, "side.account_id", "side.moment").format("$1")}""",
        party_id,
        *([side[number] for side in sides] for number in range(3)),
    )
    own: dict[UUID, set[UUID]] = {}
    for transaction_id, account_id in rows:
        own.setdefault(transaction_id, set()).add(account_id)
    return [one._replace(body=_hide(one.body, own[one.body["id"]])) for one in past if one.body["id"] in own]


def _hide(body: dict[str, Any], own: Collection[UUID]) -> dict[str, Any]:
    """Return a transaction with no other postings than those of own accounts."""
    if "postings" not in body:
        return body
    return {**body, "postings": [one for one in body["postings"] if UUID(one["account_id"]) in own]}


def _matches(body: Mapping[str, Any], filters: Filters) -> bool:
    accounts = transactions.accounts_of(body)
    return (
        filters.kind in {None, body["kind"]}
        and filters.status in {None, body["status"]}
        and (filters.account_id is None or filters.account_id in accounts)
        and (filters.references is None or _has_reference(body, filters.references))
        and any(_has_amount(part, filters) for part in body.get("postings", (body,)))
    )


def _has_reference(body: Mapping[str, Any], references: Collection[str]) -> bool:
    return any(part.get("reference") in references for part in (body, *body.get("captures", ())))


def _has_amount(part: Mapping[str, Any], filters: Filters) -> bool:
    """Return whether a transaction, or a posting of one, has the currency and an amount within the bounds."""
    cents = abs(part.get("captured_cents", part["amount_cents"]))
    return (
        filters.currency in {None, part["currency"]}
        and (filters.min_amount_cents or 0) <= cents
        and (filters.max_amount_cents is None or cents <= filters.max_amount_cents)
    )
