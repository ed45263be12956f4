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
from ledger.events.transactions import HoldPlaced, JournalEntryPosted, MoneyTransferred
from ledger.projections.transactions import BANDS, BANDS_SQL, OWN, format_visible
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import Bounds
from ledger.store.sql import ENTRY_EVENTS, ENTRY_TRANSACTION, NEWEST_BETWEEN, where_clause

SCAN = 1000  # candidates of a page with filters
SCANNED_EVENTS = 5000  # of the log, per page


class Filters(NamedTuple):
    """The filters of a list of transactions, which all apply. None filters nothing.

    With `party_id`, only transactions of accounts that this user owns now, and only their postings of a journal entry.
    """

    party_id: UUID | None = None
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

    @property
    def is_of_accounts(self) -> bool:
        """Return whether the filters choose accounts."""
        return any(one is not None for one in (self.party_id, self.user_id, self.account_id))

    @property
    def may_be_holds(self) -> bool:
        """Return whether holds can match."""
        return self.kind in {None, "hold"} and self.status != "posted"

    @property
    def may_be_others(self) -> bool:
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
    """Return up to `limit` transactions that began before a position, newest first."""
    bounds = await event_reader.find_bounds(reader, filters.from_time, filters.to_time, before)
    is_filtered = filters != Filters(filters.party_id, filters.user_id, filters.account_id)
    candidates = await _find_candidates(reader, filters, bounds, limit + 1, SCAN if is_filtered else limit + 1)
    rows = await _fetch_matching(reader, filters, bounds, candidates.ids)
    visible = [(row["position"], body) for row in rows if (body := format_visible(row, filters.party_id)) is not None]
    found = [(position, body) for position, body in visible if _has_matching_posting(body, filters)]
    reached = found[limit - 1][0] if len(found) > limit else candidates.reached
    return Found([body for _, body in found[:limit]], reached)


async def _find_candidates(reader: Reader, filters: Filters, bounds: Bounds, needed: int, count: int) -> _Candidates:
    """Find at most `count` candidates, some of which may not match. Where nearly all match, `needed` suffice."""
    if filters.references is not None:
        return await _find_by_index(reader, "reference IN ($4, $5, $6)", filters.references, bounds, count)
    if filters.is_of_accounts:
        return await _find_of_accounts(reader, filters, bounds, count)
    if filters.status not in {None, "posted"}:
        return await _find_by_index(reader, "status = $4", (filters.status,), bounds, count)
    if filters.kind not in {None, "transfer"}:
        return await _find_by_index(reader, "kind = $4 AND kind <> 'transfer'", (filters.kind,), bounds, count)
    if (filters.currency, filters.min_amount_cents, filters.max_amount_cents) != (None, None, None):
        return await _find_in_bands(reader, filters, bounds, needed, count)
    return await _find_in_log(reader, bounds, count)


async def _find_by_index(
    reader: Reader, condition: str, values: Sequence[object], bounds: Bounds, count: int
) -> _Candidates:
    rows = await reader.fetch(
        f"""SELECT id, position FROM transfers WHERE position > $1 AND position < $2 AND {condition}
            ORDER BY position DESC LIMIT $3""",
        *(*bounds, count, *values),
    )
    return _Candidates([row["id"] for row in rows], rows[-1]["position"] if len(rows) == count else None)


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
      AND position > $1 AND position < $2
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


_BEGINNINGS = ", ".join(f"'{TOPICS[kind]}'" for kind in (MoneyTransferred, JournalEntryPosted, HoldPlaced))
_IN_THE_LOG = f"""SELECT stream_id AS id, position FROM ({NEWEST_BETWEEN} LIMIT $3) AS stretch
                  WHERE topic IN ({_BEGINNINGS}) LIMIT $4"""
_END_OF_SCAN = f"SELECT position FROM ({NEWEST_BETWEEN} OFFSET $3::bigint - 1 LIMIT 1) AS last"


async def _find_of_accounts(reader: Reader, filters: Filters, bounds: Bounds, count: int) -> _Candidates:
    where, values = where_clause(
        (("user_id = {}", filters.party_id), ("user_id = {}", filters.user_id), ("id = {}", filters.account_id)),
        first=4,
    )
    arguments = [*bounds, count, *values]
    entries = await reader.fetch(_ENTRIES.format(where=where), *arguments) if filters.may_be_others else []
    holds = await reader.fetch(_HOLDS.format(where=where), *arguments) if filters.may_be_holds else []
    ends = [_end_of(rows) for rows in (entries, holds) if len(rows) == count]
    reached = max(ends, default=None)
    others = [row for row in entries if row["kind"] != "hold"]  # captured holds are among the holds
    return _Candidates(
        list(dict.fromkeys(row["id"] for row in (*others, *holds) if row["begun"] >= (reached or 0))), reached
    )


def _end_of(rows: Sequence[Record]) -> int:
    """Return where a search ended. A transaction's entries come after its beginning and before the next one's."""
    last = rows[-1]
    end: int = last["position"] if last["kind"] == "hold" else last["begun"]
    return end


_ENTRIES = f"""
WITH chosen AS MATERIALIZED (SELECT id FROM accounts WHERE true {{where}}),
     latest AS MATERIALIZED (  -- the entries of a page belong to at most so many accounts
         SELECT chosen.id, entry.* FROM chosen, LATERAL (
             SELECT version, position FROM ({ENTRY_EVENTS}) AS event
             WHERE account_id = chosen.id AND version <= (SELECT version_at(chosen.id, $2::bigint - 1))
             ORDER BY version DESC LIMIT 1) AS entry
         ORDER BY entry.position DESC LIMIT $3),
     newest AS MATERIALIZED (
         SELECT entry.* FROM latest, LATERAL (
             SELECT state, position FROM ({ENTRY_EVENTS}) AS event
             WHERE account_id = latest.id AND version <= latest.version
             ORDER BY version DESC LIMIT $3) AS entry
         WHERE entry.position > $1 ORDER BY entry.position DESC LIMIT $3)
SELECT transfers.id, kind, transfers.position AS begun, newest.position
FROM newest JOIN transfers ON transfers.id = {ENTRY_TRANSACTION} ORDER BY newest.position DESC
"""
_HOLDS = """
WITH chosen AS MATERIALIZED (SELECT id FROM accounts WHERE true {where})
SELECT DISTINCT hold.id, 'hold' AS kind, hold.position AS begun, hold.position FROM chosen, LATERAL (
    (SELECT transfers.id, position FROM transfers
     WHERE source_account_id = chosen.id AND kind = 'hold' AND position > $1 AND position < $2
     ORDER BY position DESC LIMIT $3)
    UNION ALL
    (SELECT transfers.id, position FROM transfers
     WHERE destination_account_id = chosen.id AND kind = 'hold' AND position > $1 AND position < $2
     ORDER BY position DESC LIMIT $3)) AS hold
ORDER BY hold.position DESC LIMIT $3
"""


async def _fetch_matching(reader: Reader, filters: Filters, bounds: Bounds, ids: Sequence[UUID]) -> list[Record]:
    """Fetch the candidates that match all filters on a transaction as a whole."""
    where, values = where_clause(
        (
            ("coalesce(status, 'posted') = {}", filters.status),
            ("kind = {}", filters.kind),
            ("reference = ANY({})", filters.references),
            ("(postings IS NOT NULL OR currency = {})", filters.currency),
            ("(postings IS NOT NULL OR amount_cents >= {})", filters.min_amount_cents),
            ("(postings IS NOT NULL OR amount_cents <= {})", filters.max_amount_cents),
        ),
        first=5,
    )
    rows = await reader.fetch(
        f"""SELECT transfers.*, {OWN.format("$4")} FROM transfers
            WHERE id = ANY($1) AND position > $2 AND position < $3 {where} ORDER BY position DESC""",
        *(ids, *bounds, filters.party_id, *values),
    )
    return list(rows)


def _has_matching_posting(body: dict[str, Any], filters: Filters) -> bool:
    """Return whether a visible posting of a journal entry matches; other transactions have been matched already."""
    return "postings" not in body or any(
        filters.currency in {None, posting["currency"]}
        and (filters.min_amount_cents or 0) <= abs(posting["amount_cents"])
        and (filters.max_amount_cents is None or abs(posting["amount_cents"]) <= filters.max_amount_cents)
        for posting in body["postings"]
    )
