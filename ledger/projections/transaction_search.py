"""The list of transactions, newest first, with filters.

The filters decide where the candidates of a page come from: the entries and holds of accounts, an index without plain
transfers, the bands of amounts, or the log itself. A page examines a bounded number of candidates, so it may be short,
or even empty, although there is a next page.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.events import TOPICS
from ledger.events.transactions import (
    HoldCaptured,
    HoldPlaced,
    JournalEntryPosted,
    MoneyTransferred,
    TransactionScheduled,
)
from ledger.projections import captures
from ledger.projections.account_owners import ever_of, spans_of
from ledger.projections.transactions import ACCOUNTS, BANDS, BANDS_SQL, COUNTED, ROW, format_visible, own
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION, Bounds
from ledger.store.sql import ENTRY_EVENTS, ENTRY_TRANSACTION, NEWEST_BETWEEN, Party, where_clause

SCAN = 1000  # candidates of a page with filters
SCANNED_EVENTS = 5000  # of the log, per page


class Filters(NamedTuple):
    """The filters of a list of transactions, which all apply. None filters nothing.

    With `party_id`, only transactions of accounts that belonged to this party at that time, and of a journal entry only
    their postings.
    """

    party_id: Party | None = None
    user_id: UUID | None = None
    account_id: UUID | None = None
    currency: str | None = None
    status: str | None = None
    kind: str | None = None
    references: tuple[str, str, str] | None = None  # spellings of one reference
    min_amount_cents: int | None = None
    max_amount_cents: int | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None
    authorized_from: datetime | None = None
    authorized_to: datetime | None = None

    @property
    def is_by_authorization(self) -> bool:
        """Return whether the list is of holds, by the time at which they were placed."""
        return (self.authorized_from, self.authorized_to) != (None, None)

    @property
    def is_of_accounts(self) -> bool:
        """Return whether the filters choose accounts."""
        return any(one is not None for one in (self.party_id, self.user_id, self.account_id))

    @property
    def may_be_uncaptured(self) -> bool:
        """Return whether holds without a capture can match."""
        return self.kind in {None, "hold"} and self.status not in {"posted", "captured"}

    @property
    def may_be_captured(self) -> bool:
        """Return whether holds with a capture can match."""
        return self.kind in {None, "hold"} and self.status in {None, "pending", "captured"}

    @property
    def may_be_scheduled(self) -> bool:
        """Return whether transactions can match that were scheduled and have moved no money."""
        return self.kind in {None, "transfer", "journal"} and self.status in {None, "scheduled", "failed", "voided"}

    @property
    def may_be_posted(self) -> bool:
        """Return whether transfers and journal entries can match."""
        return self.kind != "hold" and self.status in {None, "posted"}


class Found(NamedTuple):
    """A page of transactions, and the position down to which it is complete, or None if there are no more."""

    bodies: list[dict[str, Any]]
    reached: int | None


class _Candidates(NamedTuple):
    ids: Sequence[UUID]
    reached: int | None


async def page(reader: Reader, filters: Filters, *, before: int, limit: int) -> Found:
    """Return up to `limit` transactions that count from before a position, newest first.

    A hold counts from its last capture, or if it has none, from when it was placed. With `is_by_authorization`, every
    hold counts from when it was placed.
    """
    period = await event_reader.find_bounds(reader, filters.from_time, filters.to_time, MAX_POSITION)
    if filters.is_by_authorization:
        bounds = await event_reader.find_bounds(reader, filters.authorized_from, filters.authorized_to, before)
        candidates = await _find_authorized(reader, filters, bounds, SCAN)
    else:
        period = bounds = Bounds(period.after, min(period.before, before))
        is_filtered = filters != Filters(filters.party_id, filters.user_id, filters.account_id)
        candidates = await _find_candidates(reader, filters, bounds, limit + 1, SCAN if is_filtered else limit + 1)
    lowest = Bounds(max(bounds.after, (candidates.reached or 0) - 1), bounds.before)
    rows = await _fetch_matching(reader, filters, lowest, period, candidates.ids)
    visible = [(row["counted"], body) for row in rows if (body := format_visible(row, filters.party_id)) is not None]
    found = [(position, body) for position, body in visible if _has_matching_posting(body, filters)]
    reached = found[limit - 1][0] if len(found) > limit else candidates.reached
    bodies = [body for _, body in found[:limit]]
    await captures.add_captures(reader, bodies)
    return Found(bodies, reached)


async def _find_candidates(reader: Reader, filters: Filters, bounds: Bounds, needed: int, count: int) -> _Candidates:
    """Find at most `count` candidates, some of which may not match. Where nearly all match, `needed` suffice."""
    if filters.references is not None:
        return await _find_by_reference(reader, filters, bounds, count)
    if filters.is_of_accounts:
        return await _find_of_accounts(reader, filters, bounds, count)
    if filters.status not in {None, "posted"}:
        statuses = ["expired", "pending"] if filters.status == "expired" else [filters.status]
        condition = "status = ANY($4) AND captured_cents IS NULL"
        return await _add_captured(reader, filters, bounds, count, (condition, (statuses,)))
    if filters.kind not in {None, "transfer"}:
        condition = "kind = $4 AND kind <> 'transfer' AND captured_cents IS NULL"
        return await _add_captured(reader, filters, bounds, count, (condition, (filters.kind,)))
    if (filters.currency, filters.min_amount_cents, filters.max_amount_cents) != (None, None, None):
        others = await _find_in_bands(reader, filters, bounds, needed, count)
        return _merge(others, await _find_captured(reader, filters, bounds, count))
    return await _find_in_log(reader, bounds, count)


async def _find_authorized(reader: Reader, filters: Filters, bounds: Bounds, count: int) -> _Candidates:
    """Find holds by when they were placed."""
    if not filters.is_of_accounts:
        return await _find_by_index(reader, "kind = 'hold'", (), bounds, count)
    chosen, values = _choose_accounts(filters)
    return _end_search(await reader.fetch(_HOLDS.format(chosen=chosen, more=""), *bounds, count, *values), count)


async def _add_captured(
    reader: Reader, filters: Filters, bounds: Bounds, count: int, others: tuple[str, Sequence[object]]
) -> _Candidates:
    """Find the holds with a capture, and the transactions that an index finds."""
    return _merge(
        await _find_by_index(reader, *others, bounds, count), await _find_captured(reader, filters, bounds, count)
    )


def _merge(*parts: _Candidates) -> _Candidates:
    """Return all candidates. They are complete down to where the first of the searches ended."""
    ends = [part.reached for part in parts if part.reached is not None]
    return _Candidates(list(dict.fromkeys(id_ for part in parts for id_ in part.ids)), max(ends, default=None))


async def _find_captured(reader: Reader, filters: Filters, bounds: Bounds, count: int) -> _Candidates:
    """Find holds by their last captures."""
    if not filters.may_be_captured:
        return _Candidates([], None)
    return await _find_by_index(reader, "captured_cents IS NOT NULL", (), bounds, count, counted="settled_position")


async def _find_by_reference(reader: Reader, filters: Filters, bounds: Bounds, count: int) -> _Candidates:
    """Find the transactions, and the holds by their captures, with a reference, which several users may have.

    For a party, search own accounts only: how far the search gets must not tell of the references of others.
    """
    party, references = filters.party_id, (filters.references,)
    of_party = "true" if party is None else f"{ACCOUNTS} && ARRAY({ever_of(party).format('$5')})"
    values = references if party is None else (*references, party)
    captured = f"""captured_cents IS NOT NULL AND {of_party} AND (reference = ANY($4) OR id IN (
                       SELECT transaction_id FROM captures WHERE captures.reference = ANY($4)))"""
    return _merge(
        await _find_by_index(
            reader, f"reference = ANY($4) AND captured_cents IS NULL AND {of_party}", values, bounds, count
        ),
        await _find_by_index(reader, captured, values, bounds, count, counted="settled_position"),
    )


async def _find_by_index(
    reader: Reader,
    condition: str,
    values: Sequence[object],
    bounds: Bounds,
    count: int,
    *,
    counted: str = "position",
) -> _Candidates:
    rows = await reader.fetch(
        f"""SELECT id, {counted} AS counted FROM transfers WHERE {counted} > $1 AND {counted} < $2 AND {condition}
            ORDER BY {counted} DESC LIMIT $3""",
        *(*bounds, count, *values),
    )
    return _Candidates([row["id"] for row in rows], rows[-1]["counted"] if len(rows) == count else None)


async def _find_in_bands(reader: Reader, filters: Filters, bounds: Bounds, needed: int, count: int) -> _Candidates:
    """Find candidates by amount. All match in the bands between the first and the last, unless other filters apply."""
    if (filters.status, filters.kind) != (None, None):
        needed = count
    lowest = bisect_right(BANDS, filters.min_amount_cents or 0)
    highest = len(BANDS) if filters.max_amount_cents is None else bisect_right(BANDS, filters.max_amount_cents)
    rows = await reader.fetch(_IN_BANDS, *bounds, filters.currency, lowest, highest, needed, count)
    parts: dict[tuple[str, int], list[Record]] = {}
    for row in rows:
        parts.setdefault((row["currency"], row["band"]), []).append(row)
    ends = [part[-1]["position"] for part in parts.values() if len(part) == part[0]["most"]]
    reached = max(ends + ([rows[-1]["position"]] if len(rows) == count else []), default=None)
    return _Candidates([row["id"] for row in rows if row["position"] >= (reached or 0)], reached)


_IN_BANDS = f"""
WITH RECURSIVE used AS (  -- the currencies in use
         SELECT coalesce($3, (SELECT min(currency) FROM accounts)) AS currency
         UNION ALL SELECT (SELECT min(currency) FROM accounts WHERE currency > used.currency) FROM used
         WHERE $3::text IS NULL AND used.currency IS NOT NULL),
     bands AS MATERIALIZED (
         SELECT currency, band, CASE WHEN band IN ($4, $5) THEN $7::bigint ELSE $6::bigint END AS most
         FROM used, generate_series($4::int, $5::int) AS band),
     journal AS MATERIALIZED (
         SELECT id, position FROM transfers WHERE postings IS NOT NULL AND position > $1 AND position < $2
         ORDER BY position DESC LIMIT $7)
SELECT bands.*, found.* FROM bands, LATERAL (
    SELECT id, position FROM transfers
    WHERE currency = bands.currency AND width_bucket(amount_cents, {BANDS_SQL}) = band
      AND position > $1 AND position < $2 AND captured_cents IS NULL
    ORDER BY position DESC LIMIT most) AS found
UNION ALL SELECT '', 0, $7::bigint, id, position FROM journal
ORDER BY position DESC LIMIT $7
"""


async def _find_in_log(reader: Reader, bounds: Bounds, count: int) -> _Candidates:
    rows = await reader.fetch(_IN_THE_LOG, *bounds, SCANNED_EVENTS, count)
    ids = [row["id"] for row in rows]
    if len(rows) == count:
        return _Candidates(ids, rows[-1]["position"])
    return _Candidates(ids, await reader.fetchval(_END_OF_SCAN, *bounds, SCANNED_EVENTS))


_BEGINNINGS = ", ".join(
    f"'{TOPICS[kind]}'"
    for kind in (MoneyTransferred, JournalEntryPosted, HoldPlaced, HoldCaptured, TransactionScheduled)
)
_IN_THE_LOG = f"""SELECT stream_id AS id, position FROM ({NEWEST_BETWEEN} LIMIT $3) AS stretch
                  WHERE topic IN ({_BEGINNINGS}) LIMIT $4"""
_END_OF_SCAN = f"SELECT position FROM ({NEWEST_BETWEEN} OFFSET $3::bigint - 1 LIMIT 1) AS last"


async def _find_of_accounts(reader: Reader, filters: Filters, bounds: Bounds, count: int) -> _Candidates:
    chosen, values = _choose_accounts(filters)
    arguments = [*bounds, count, *values]
    may_have_entries = filters.may_be_posted or filters.may_be_captured
    entries = await reader.fetch(_ENTRIES.format(chosen=chosen), *arguments) if may_have_entries else []
    sql = _HOLDS.format(chosen=chosen, more="AND captured_cents IS NULL")
    holds = await reader.fetch(sql, *arguments) if filters.may_be_uncaptured else []
    scheduled = await reader.fetch(_SCHEDULED.format(chosen=chosen), *arguments) if filters.may_be_scheduled else []
    return _merge(*(_end_search(rows, count) for rows in (entries, holds, scheduled)))


def _choose_accounts(filters: Filters) -> tuple[str, list[object]]:
    """Return the query for the accounts, with the part of the history of each, and its values.

    For a party these are the parts in which the account was theirs, for others the whole history.
    """
    first = 4 if filters.party_id is None else 5
    where, values = where_clause(
        (("accounts.user_id = {}", filters.user_id), ("accounts.id = {}", filters.account_id)), first=first
    )
    if filters.party_id is None:
        none = "NULL::bigint"
        return f"SELECT id, 0 AS first, {none} AS ends FROM accounts WHERE true {where}", values
    spans = spans_of(filters.party_id).format("$4")
    return (
        f"""SELECT id, first_version AS first, next_position AS ends
            FROM ({spans}) AS owned JOIN accounts ON id = account_id WHERE true {where}""",
        [filters.party_id, *values],
    )


def _end_search(rows: Sequence[Record], count: int) -> _Candidates:
    """Return the candidates of a search for `count`, and where it ended.

    A transaction's entries come after its beginning and before those of the next one. Only an entry of a capture before
    the last one comes before the position from which the hold counts.
    """
    ids = [row["id"] for row in rows]
    return _Candidates(ids, min(rows[-1]["position"], rows[-1]["counted"]) if len(rows) == count else None)


_ENTRIES = f"""
WITH chosen AS MATERIALIZED ({{chosen}}),
     latest AS MATERIALIZED (  -- the entries of a page belong to at most so many accounts
         SELECT chosen.id, first, entry.* FROM chosen, LATERAL (
             SELECT version, position FROM ({ENTRY_EVENTS}) AS event
             WHERE account_id = chosen.id AND version <= (SELECT version_at(chosen.id, least($2::bigint, ends) - 1))
                   AND version >= first
             ORDER BY version DESC LIMIT 1) AS entry
         ORDER BY entry.position DESC LIMIT $3),
     newest AS MATERIALIZED (
         SELECT entry.* FROM latest, LATERAL (
             SELECT state, position FROM ({ENTRY_EVENTS}) AS event
             WHERE account_id = latest.id AND version <= latest.version AND version >= first
             ORDER BY version DESC LIMIT $3) AS entry
         WHERE entry.position > $1 ORDER BY entry.position DESC LIMIT $3)
SELECT moved.id, counted, newest.position
FROM newest JOIN (SELECT id, {COUNTED} AS counted FROM transfers) AS moved ON moved.id = {ENTRY_TRANSACTION}
ORDER BY newest.position DESC
"""
_HOLDS = """
WITH chosen AS MATERIALIZED ({chosen})
SELECT DISTINCT hold.id, hold.position AS counted, hold.position FROM chosen, LATERAL (
    (SELECT transfers.id, position FROM transfers
     WHERE source_account_id = chosen.id AND kind = 'hold' {more}
           AND position > $1 AND position < least($2::bigint, ends)
     ORDER BY position DESC LIMIT $3)
    UNION ALL
    (SELECT transfers.id, position FROM transfers
     WHERE destination_account_id = chosen.id AND kind = 'hold' {more}
           AND position > $1 AND position < least($2::bigint, ends)
     ORDER BY position DESC LIMIT $3)) AS hold
ORDER BY hold.position DESC LIMIT $3
"""
_SCHEDULED = """
WITH chosen AS MATERIALIZED ({chosen})
SELECT DISTINCT found.id, found.position AS counted, found.position FROM chosen, LATERAL (
    SELECT transaction_id AS id, position FROM scheduled_accounts
    WHERE account_id = chosen.id AND position > $1 AND position < least($2::bigint, ends)
    ORDER BY position DESC LIMIT $3) AS found
ORDER BY found.position DESC LIMIT $3
"""


async def _fetch_matching(
    reader: Reader, filters: Filters, bounds: Bounds, period: Bounds, ids: Sequence[UUID]
) -> list[Record]:
    """Fetch the candidates that match all filters on a transaction as a whole, and count from within the bounds.

    In a list by authorization, `period` is where they would count from otherwise.
    """
    where, values = where_clause(
        (
            ("status_now = {}", filters.status),
            ("kind = {}", filters.kind),
            (f"({_HAS_REFERENCE})", filters.references),
            ("(postings IS NOT NULL OR currency = {})", filters.currency),
            ("(postings IS NOT NULL OR coalesce(captured_cents, amount_cents) >= {})", filters.min_amount_cents),
            ("(postings IS NOT NULL OR coalesce(captured_cents, amount_cents) <= {})", filters.max_amount_cents),
        ),
        first=7,
    )
    if filters.references is not None or filters.is_by_authorization:  # others are found by their accounts
        of_accounts, chosen = where_clause(
            (
                (f"{{}} = ANY({ACCOUNTS})", filters.account_id),
                (
                    f"EXISTS (SELECT FROM accounts WHERE user_id = {{}} AND accounts.id = ANY({ACCOUNTS}))",
                    filters.user_id,
                ),
            ),
            first=7 + len(values),
        )
        where, values = where + of_accounts, [*values, *chosen]
    counted = "position" if filters.is_by_authorization else COUNTED
    rows = await reader.fetch(
        f"""SELECT *, {own(filters.party_id, "$6")} FROM (
                SELECT {ROW}, {counted} AS counted, {COUNTED} AS moved FROM transfers WHERE id = ANY($1)) AS transfers
            WHERE counted > $2 AND counted < $3 AND moved > $4 AND moved < $5 {where} ORDER BY counted DESC""",
        *(ids, *bounds, *period, filters.party_id, *values),
    )
    return list(rows)


_HAS_REFERENCE = """reference = ANY({0})
                    OR EXISTS (SELECT FROM captures WHERE transaction_id = id AND captures.reference = ANY({0}))"""


def _has_matching_posting(body: dict[str, Any], filters: Filters) -> bool:
    """Return whether a visible posting of a journal entry matches; other transactions have been matched already."""
    return "postings" not in body or any(
        filters.currency in {None, posting["currency"]}
        and (filters.min_amount_cents or 0) <= abs(posting["amount_cents"])
        and (filters.max_amount_cents is None or abs(posting["amount_cents"]) <= filters.max_amount_cents)
        for posting in body["postings"]
    )
