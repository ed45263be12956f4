"""The list of transactions, newest first: all of them, or those that filters choose.

Where the candidates of a page come from depends on what is asked: from an account's lines and holds, from an index that
plain transfers are not in, from the bands of amounts, or from the log itself. A page looks at a bounded number of
candidates, so it may be short, or empty, while there is a next one.
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
from ledger.store.sql import NEWEST_BETWEEN, where_clause

SCAN = 1000  # candidates of a page that filters choose from
SCANNED_EVENTS = 5000  # of the log, for a page


class Wanted(NamedTuple):
    """Which transactions are wanted: those for which all of it holds. None is no matter.

    With `party_id`, only those of the accounts that are that user's now, who sees of a journal entry the own legs only.
    """

    party_id: UUID | None = None
    user_id: UUID | None = None
    account_id: UUID | None = None
    currency: str | None = None
    status: str | None = None
    kind: str | None = None
    references: tuple[str, str, str] | None = None  # spellings of one
    min_amount_cents: int | None = None
    max_amount_cents: int | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None

    @property
    def is_of_accounts(self) -> bool:
        """Whether only some accounts matter."""
        return any(one is not None for one in (self.party_id, self.user_id, self.account_id))

    @property
    def may_be_holds(self) -> bool:
        """Whether holds can be among them."""
        return self.kind in {None, "hold"} and self.status != "posted"

    @property
    def may_be_others(self) -> bool:
        """Whether something else than holds can be among them."""
        return self.kind != "hold" and self.status in {None, "posted"}


class Found(NamedTuple):
    """A page of transactions, and the position down to which all are found; None: there are no more."""

    bodies: list[dict[str, Any]]
    reached: int | None


class _Candidates(NamedTuple):
    ids: Sequence[UUID]
    reached: int | None


async def page(reader: Reader, wanted: Wanted, *, before: int, limit: int) -> Found:
    """Up to `limit` transactions that began before a position, newest first."""
    bounds = await event_reader.find_bounds(reader, wanted.from_time, wanted.to_time, before)
    is_chosen = wanted != Wanted(wanted.party_id, wanted.user_id, wanted.account_id)
    candidates = await _candidates(reader, wanted, bounds, limit + 1, SCAN if is_chosen else limit + 1)
    rows = await _rows(reader, wanted, bounds, candidates.ids)
    shown = [(row["position"], body) for row in rows if (body := format_visible(row, wanted.party_id)) is not None]
    found = [(position, body) for position, body in shown if _has_leg(body, wanted)]
    reached = found[limit - 1][0] if len(found) > limit else candidates.reached
    return Found([body for _, body in found[:limit]], reached)


async def _candidates(reader: Reader, wanted: Wanted, bounds: Bounds, needed: int, count: int) -> _Candidates:
    """At most `count`, among which some may be unwanted, from each place; `needed`, where few are."""
    if wanted.references is not None:
        return await _indexed(reader, "reference IN ($4, $5, $6)", wanted.references, bounds, count)
    if wanted.is_of_accounts:
        return await _of_accounts(reader, wanted, bounds, count)
    if wanted.status not in {None, "posted"}:
        return await _indexed(reader, "status = $4", (wanted.status,), bounds, count)
    if wanted.kind not in {None, "transfer"}:
        return await _indexed(reader, "kind = $4 AND kind <> 'transfer'", (wanted.kind,), bounds, count)
    if (wanted.currency, wanted.min_amount_cents, wanted.max_amount_cents) != (None, None, None):
        return await _in_bands(reader, wanted, bounds, needed, count)
    return await _in_the_log(reader, bounds, count)


async def _indexed(reader: Reader, condition: str, values: Sequence[object], bounds: Bounds, count: int) -> _Candidates:
    rows = await reader.fetch(
        f"""SELECT id, position FROM transfers WHERE position > $1 AND position < $2 AND {condition}
            ORDER BY position DESC LIMIT $3""",
        *(*bounds, count, *values),
    )
    return _Candidates([row["id"] for row in rows], rows[-1]["position"] if len(rows) == count else None)


async def _in_bands(reader: Reader, wanted: Wanted, bounds: Bounds, needed: int, count: int) -> _Candidates:
    """All of a band are wanted, but of the first and the last one; fewer, if something else is asked for as well."""
    if (wanted.status, wanted.kind) != (None, None):
        needed = count
    lowest = bisect_right(BANDS, wanted.min_amount_cents or 0)
    highest = len(BANDS) if wanted.max_amount_cents is None else bisect_right(BANDS, wanted.max_amount_cents)
    rows = await reader.fetch(_IN_BANDS, *bounds, wanted.currency, lowest, highest, needed, count)
    parts: dict[tuple[str, int], list[Record]] = {}
    for row in rows:
        parts.setdefault((row["currency"], row["band"]), []).append(row)
    ends = [part[-1]["position"] for part in parts.values() if len(part) == part[0]["most"]]
    reached = max(ends + ([rows[-1]["position"]] if len(rows) == count else []), default=None)
    return _Candidates([row["id"] for row in rows if row["position"] >= (reached or 0)], reached)


_IN_BANDS = f"""
WITH RECURSIVE used AS (  -- the currencies that there are
         SELECT coalesce($3, (SELECT min(currency) FROM accounts)) AS currency
         UNION ALL SELECT (SELECT min(currency) FROM accounts WHERE currency > used.currency) FROM used
         WHERE $3::text IS NULL AND used.currency IS NOT NULL),
     bands AS MATERIALIZED (
         SELECT currency, band, CASE WHEN band IN ($4, $5) THEN $7::bigint ELSE $6::bigint END AS most
         FROM used, generate_series($4::int, $5::int) AS band),
     entries AS MATERIALIZED (
         SELECT id, position FROM transfers WHERE postings IS NOT NULL AND position > $1 AND position < $2
         ORDER BY position DESC LIMIT $7)
SELECT bands.*, found.* FROM bands, LATERAL (
    SELECT id, position FROM transfers
    WHERE currency = bands.currency AND width_bucket(amount_cents, {BANDS_SQL}) = band
      AND position > $1 AND position < $2
    ORDER BY position DESC LIMIT most) AS found
UNION ALL SELECT '', 0, $7::bigint, id, position FROM entries
ORDER BY position DESC LIMIT $7
"""


async def _in_the_log(reader: Reader, bounds: Bounds, count: int) -> _Candidates:
    rows = await reader.fetch(_IN_THE_LOG, *bounds, SCANNED_EVENTS, count)
    ids = [row["id"] for row in rows]
    if len(rows) == count:
        return _Candidates(ids, rows[-1]["position"])
    return _Candidates(ids, await reader.fetchval(_END_OF_SCAN, *bounds, SCANNED_EVENTS))


_BEGINNINGS = ", ".join(f"'{TOPICS[kind]}'" for kind in (MoneyTransferred, JournalEntryPosted, HoldPlaced))
_IN_THE_LOG = f"""SELECT stream_id AS id, position FROM ({NEWEST_BETWEEN} LIMIT $3) AS stretch
                  WHERE topic IN ({_BEGINNINGS}) LIMIT $4"""
_END_OF_SCAN = f"SELECT position FROM ({NEWEST_BETWEEN} OFFSET $3::bigint - 1 LIMIT 1) AS last"


async def _of_accounts(reader: Reader, wanted: Wanted, bounds: Bounds, count: int) -> _Candidates:
    mine, chosen = where_clause(
        (("user_id = {}", wanted.party_id), ("user_id = {}", wanted.user_id), ("id = {}", wanted.account_id)), first=4
    )
    values = [*bounds, count, *chosen]
    lines = await reader.fetch(_LINES.format(mine=mine), *values) if wanted.may_be_others else []
    holds = await reader.fetch(_HOLDS.format(mine=mine), *values) if wanted.may_be_holds else []
    ends = [_end(rows) for rows in (lines, holds) if len(rows) == count]
    reached = max(ends, default=None)
    others = [row for row in lines if row["kind"] != "hold"]  # what was captured is found among the holds
    return _Candidates(
        list(dict.fromkeys(row["id"] for row in (*others, *holds) if row["begun"] >= (reached or 0))), reached
    )


def _end(rows: Sequence[Record]) -> int:
    """Where a search ended. The lines of a transaction come after its beginning, and before the next one's."""
    last = rows[-1]
    end: int = last["position"] if last["kind"] == "hold" else last["begun"]
    return end


_LINES = """
WITH mine AS MATERIALIZED (SELECT id FROM accounts WHERE true {mine}),
     latest AS MATERIALIZED (  -- no more accounts can have the lines of a page
         SELECT mine.id, line.* FROM mine, LATERAL (
             SELECT version, position FROM entries
             WHERE account_id = mine.id AND version <= (SELECT version_at(mine.id, $2::bigint - 1))
             ORDER BY version DESC LIMIT 1) AS line
         ORDER BY line.position DESC LIMIT $3),
     lines AS MATERIALIZED (
         SELECT line.* FROM latest, LATERAL (
             SELECT transfer_id, position FROM entries WHERE account_id = latest.id AND version <= latest.version
             ORDER BY version DESC LIMIT $3) AS line
         WHERE line.position > $1 ORDER BY line.position DESC LIMIT $3)
SELECT transfers.id, kind, transfers.position AS begun, lines.position
FROM lines JOIN transfers ON transfers.id = transfer_id ORDER BY lines.position DESC
"""
_HOLDS = """
WITH mine AS MATERIALIZED (SELECT id FROM accounts WHERE true {mine})
SELECT DISTINCT hold.id, 'hold' AS kind, hold.position AS begun, hold.position FROM mine, LATERAL (
    (SELECT transfers.id, position FROM transfers
     WHERE source_account_id = mine.id AND kind = 'hold' AND position > $1 AND position < $2
     ORDER BY position DESC LIMIT $3)
    UNION ALL
    (SELECT transfers.id, position FROM transfers
     WHERE destination_account_id = mine.id AND kind = 'hold' AND position > $1 AND position < $2
     ORDER BY position DESC LIMIT $3)) AS hold
ORDER BY hold.position DESC LIMIT $3
"""


async def _rows(reader: Reader, wanted: Wanted, bounds: Bounds, ids: Sequence[UUID]) -> list[Record]:
    """Those of the candidates for which all holds that can be said of a transaction as a whole."""
    chosen, values = where_clause(
        (
            ("coalesce(status, 'posted') = {}", wanted.status),
            ("kind = {}", wanted.kind),
            ("reference = ANY({})", wanted.references),
            ("(postings IS NOT NULL OR currency = {})", wanted.currency),
            ("(postings IS NOT NULL OR amount_cents >= {})", wanted.min_amount_cents),
            ("(postings IS NOT NULL OR amount_cents <= {})", wanted.max_amount_cents),
        ),
        first=5,
    )
    rows = await reader.fetch(
        f"""SELECT transfers.*, {OWN.format("$4")} FROM transfers
            WHERE id = ANY($1) AND position > $2 AND position < $3 {chosen} ORDER BY position DESC""",
        *(ids, *bounds, wanted.party_id, *values),
    )
    return list(rows)


def _has_leg(body: dict[str, Any], wanted: Wanted) -> bool:
    """Whether one of the legs of a journal entry that are shown is as wanted; of others that is known already."""
    return "postings" not in body or any(
        wanted.currency in {None, posting["currency"]}
        and (wanted.min_amount_cents or 0) <= abs(posting["amount_cents"])
        and (wanted.max_amount_cents is None or abs(posting["amount_cents"]) <= wanted.max_amount_cents)
        for posting in body["postings"]
    )
