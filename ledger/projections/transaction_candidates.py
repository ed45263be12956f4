"""Where a page of transactions comes from: searches that each read a bounded number of rows of one index.

A search finds all transactions that match some of the filters, down to the position where it ended.
"""

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, date
from typing import NamedTuple, TypeAlias
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
from ledger.projections.account_labels import CODES
from ledger.projections.account_owners import ever_of, spans_of
from ledger.projections.transaction_filters import Filters
from ledger.projections.transaction_terms import COUNTED, cover_days
from ledger.projections.transactions import ACCOUNTS, BANDS, BANDS_SQL
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import Bounds
from ledger.store.sql import ENTRY_EVENTS, ENTRY_TRANSACTION, NEWEST_BETWEEN, where_clause

SCANNED_EVENTS = 5000  # of the log, per page
MAX_TERMS = 16  # that are compared to find the rarest


class Candidates(NamedTuple):
    """Transactions of which some may not match, and the position down to which they are all; None if they all are."""

    ids: Sequence[UUID]
    reached: int | None


_Search: TypeAlias = Callable[[Reader, Filters, Bounds, int, int], Awaitable[Candidates]]


async def find(reader: Reader, filters: Filters, bounds: Bounds, needed: int, count: int) -> Candidates:
    """Find at most about `count` candidates. Where nearly all match, `needed` suffice.

    Of several searches, the one that gets furthest has the least candidates that do not match.
    """
    searches = [*_choose_searches(filters)] or [_find_in_log]
    best = await searches[0](reader, filters, bounds, needed, count)
    for search in searches[1:]:
        if best.reached is None:
            break
        found = await search(reader, filters, bounds, needed, count)
        if found.reached is None or found.reached < best.reached:
            best = found
    return best


def _choose_searches(filters: Filters) -> Iterator[_Search]:
    """Yield the searches that the filters make possible.

    For a party, search own accounts only: how far a search gets must not tell of the transactions of others.
    """
    if filters.references is not None:
        yield _find_by_reference
        return
    is_by_terms = filters.party_id is None and (filters.terms or filters.is_by_effective_time)
    if is_by_terms and filters.terms:
        yield _find_by_terms
    if filters.is_of_accounts:
        yield _find_of_accounts
    elif filters.status not in {None, "posted"}:
        yield _find_by_status
    elif filters.kind not in {None, "transfer"}:
        yield _find_by_kind
    elif not is_by_terms and (filters.currency, filters.min_amount_cents, filters.max_amount_cents) != (None,) * 3:
        yield _find_by_amount
    if is_by_terms and filters.is_by_effective_time:
        yield _find_by_effective_time


async def find_authorized(reader: Reader, filters: Filters, bounds: Bounds, count: int) -> Candidates:
    """Find holds by when they were placed."""
    if not filters.is_of_accounts:
        return await _find_by_index(reader, "kind = 'hold'", (), bounds, count)
    chosen, values = _choose_accounts(filters)
    return _end_search(await reader.fetch(_HOLDS.format(chosen=chosen, more=""), *bounds, count, *values), count)


async def _find_by_status(reader: Reader, filters: Filters, bounds: Bounds, _: int, count: int) -> Candidates:
    statuses = ["expired", "pending"] if filters.status == "expired" else [filters.status]
    condition = "status = ANY($4) AND captured_cents IS NULL"
    return await _add_captured(reader, filters, bounds, count, (condition, (statuses,)))


async def _find_by_kind(reader: Reader, filters: Filters, bounds: Bounds, _: int, count: int) -> Candidates:
    condition = "kind = $4 AND kind <> 'transfer' AND captured_cents IS NULL"
    return await _add_captured(reader, filters, bounds, count, (condition, (filters.kind,)))


async def _find_by_amount(reader: Reader, filters: Filters, bounds: Bounds, needed: int, count: int) -> Candidates:
    others = await _find_in_bands(reader, filters, bounds, needed, count)
    return _merge(others, await _find_captured(reader, filters, bounds, count))


async def _find_by_terms(reader: Reader, filters: Filters, bounds: Bounds, _: int, count: int) -> Candidates:
    """Find the transactions with the term of the filters that is the rarest within the bounds."""
    rows = await reader.fetch(_BY_TERMS, *bounds, count, filters.terms[:MAX_TERMS])
    return Candidates([row["id"] for row in rows], rows[-1]["position"] if len(rows) == count else None)


_WITH_TERM = """SELECT transaction_id AS id, position FROM transaction_terms
                WHERE term = asked.term AND position > $1 AND position < $2 ORDER BY position DESC"""
_BY_TERMS = f"""
WITH ends AS MATERIALIZED (
         SELECT term, (SELECT position FROM ({_WITH_TERM} OFFSET $3::bigint - 1 LIMIT 1) AS last) AS position
         FROM unnest($4::bigint[]) AS asked(term)),
     rarest AS MATERIALIZED (SELECT term FROM ends ORDER BY position NULLS FIRST LIMIT 1)
SELECT found.* FROM rarest AS asked, LATERAL ({_WITH_TERM} LIMIT $3) AS found ORDER BY position DESC
"""


async def _find_by_effective_time(
    reader: Reader, filters: Filters, bounds: Bounds, needed: int, count: int
) -> Candidates:
    """Find the transactions with an effective time in the period, and those that were recorded in it."""
    first, last = filters.effective_from, filters.effective_to
    cover = cover_days(
        date.min if first is None else first.astimezone(UTC).date(),
        date.max if last is None else last.astimezone(UTC).date(),
    )
    years = (cover.years.start, cover.years.stop)
    most = needed if filters.is_by_effective_time_alone else count
    rows = await reader.fetch(_BY_EFFECTIVE_TIME, *bounds, count, cover.others, *years, most)
    recorded = await event_reader.find_bounds(reader, first, last, bounds.before)
    recorded = Bounds(max(recorded.after, bounds.after), recorded.before)
    return _merge(_end_parts(rows, "term", count), await _find_in_log(reader, filters, recorded, needed, count))


def _end_parts(rows: Sequence[Record], part: str, count: int) -> Candidates:
    """Return the candidates of a search for `count`, of which each part has `most` rows at the most."""
    parts: dict[object, list[Record]] = {}
    for row in rows:
        parts.setdefault(row[part], []).append(row)
    ends = [some[-1]["position"] for some in parts.values() if len(some) == some[0]["most"]]
    reached = max(ends + ([rows[-1]["position"]] if len(rows) == count else []), default=None)
    return Candidates([row["id"] for row in rows if row["position"] >= (reached or 0)], reached)


_NEXT_YEAR = "SELECT min(one.term) FROM transaction_terms AS one WHERE one.term >= {first} AND one.term < $6::bigint"
_BY_EFFECTIVE_TIME = f"""
WITH RECURSIVE years AS (  -- in which something is effective
         SELECT ({_NEXT_YEAR.format(first="$5::bigint")}) AS term
         UNION ALL SELECT ({_NEXT_YEAR.format(first="years.term + 1")}) FROM years WHERE years.term IS NOT NULL),
     asked AS MATERIALIZED (SELECT term FROM years WHERE term IS NOT NULL UNION ALL SELECT unnest($4::bigint[]))
SELECT asked.term, $7::bigint AS most, found.* FROM asked, LATERAL ({_WITH_TERM} LIMIT $7) AS found
ORDER BY position DESC LIMIT $3
"""


async def _add_captured(
    reader: Reader, filters: Filters, bounds: Bounds, count: int, others: tuple[str, Sequence[object]]
) -> Candidates:
    """Find the holds with a capture, and the transactions that an index finds."""
    return _merge(
        await _find_by_index(reader, *others, bounds, count), await _find_captured(reader, filters, bounds, count)
    )


def _merge(*parts: Candidates) -> Candidates:
    """Return all candidates. They are complete down to where the first of the searches ended."""
    ends = [part.reached for part in parts if part.reached is not None]
    return Candidates(list(dict.fromkeys(id_ for part in parts for id_ in part.ids)), max(ends, default=None))


async def _find_captured(reader: Reader, filters: Filters, bounds: Bounds, count: int) -> Candidates:
    """Find holds by their last captures."""
    if not filters.may_be_captured:
        return Candidates([], None)
    return await _find_by_index(reader, "captured_cents IS NOT NULL", (), bounds, count, counted="settled_position")


async def _find_by_reference(reader: Reader, filters: Filters, bounds: Bounds, _: int, count: int) -> Candidates:
    """Find the transactions, and the holds by their captures, with a reference, which several users may have."""
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
) -> Candidates:
    rows = await reader.fetch(
        f"""SELECT id, {counted} AS counted FROM transfers WHERE {counted} > $1 AND {counted} < $2 AND {condition}
            ORDER BY {counted} DESC LIMIT $3""",
        *(*bounds, count, *values),
    )
    return Candidates([row["id"] for row in rows], rows[-1]["counted"] if len(rows) == count else None)


async def _find_in_bands(reader: Reader, filters: Filters, bounds: Bounds, needed: int, count: int) -> Candidates:
    """Find candidates by amount. All match in the bands between the first and the last, unless other filters apply."""
    if (filters.status, filters.kind, filters.code_keys) != (None, None, None):
        needed = count
    lowest = bisect_right(BANDS, filters.min_amount_cents or 0)
    highest = len(BANDS) if filters.max_amount_cents is None else bisect_right(BANDS, filters.max_amount_cents)
    rows = await reader.fetch(_IN_BANDS, *bounds, filters.currency, lowest, highest, needed, count)
    return _end_parts(rows, "part", count)


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
SELECT currency || band AS part, most, found.* FROM bands, LATERAL (
    SELECT id, position FROM transfers
    WHERE currency = bands.currency AND width_bucket(amount_cents, {BANDS_SQL}) = band
      AND position > $1 AND position < $2 AND captured_cents IS NULL
    ORDER BY position DESC LIMIT most) AS found
UNION ALL SELECT '', $7::bigint, id, position FROM journal
ORDER BY position DESC LIMIT $7
"""


async def _find_in_log(reader: Reader, _filters: Filters, bounds: Bounds, _: int, count: int) -> Candidates:
    rows = await reader.fetch(_IN_THE_LOG, *bounds, SCANNED_EVENTS, count)
    ids = [row["id"] for row in rows]
    if len(rows) == count:
        return Candidates(ids, rows[-1]["position"])
    return Candidates(ids, await reader.fetchval(_END_OF_SCAN, *bounds, SCANNED_EVENTS))


_BEGINNINGS = ", ".join(
    f"'{TOPICS[kind]}'"
    for kind in (MoneyTransferred, JournalEntryPosted, HoldPlaced, HoldCaptured, TransactionScheduled)
)
_IN_THE_LOG = f"""SELECT stream_id AS id, position FROM ({NEWEST_BETWEEN} LIMIT $3) AS stretch
                  WHERE topic IN ({_BEGINNINGS}) LIMIT $4"""
_END_OF_SCAN = f"SELECT position FROM ({NEWEST_BETWEEN} OFFSET $3::bigint - 1 LIMIT 1) AS last"


async def _find_of_accounts(reader: Reader, filters: Filters, bounds: Bounds, _: int, count: int) -> Candidates:
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
        (
            ("accounts.user_id = {}", filters.user_id),
            ("accounts.id = {}", filters.account_id),
            (CODES, None if filters.code_keys is None else [*filters.code_keys]),
        ),
        first=first,
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


def _end_search(rows: Sequence[Record], count: int) -> Candidates:
    """Return the candidates of a search for `count`, and where it ended.

    A transaction's entries come after its beginning and before those of the next one. Only an entry of a capture before
    the last one comes before the position from which the hold counts.
    """
    ids = [row["id"] for row in rows]
    return Candidates(ids, min(rows[-1]["position"], rows[-1]["counted"]) if len(rows) == count else None)


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
