"""The list of transactions, newest first, with filters.

The filters decide where the candidates of a page come from: see `transaction_candidates`. A page examines a bounded
number of candidates, so it may be short, or even empty, although there is a next page.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Record

from ledger.events import encode
from ledger.projections import account_labels, captures, transaction_candidates
from ledger.projections.account_owners import ever_of
from ledger.projections.transaction_filters import Filters
from ledger.projections.transaction_terms import COUNTED
from ledger.projections.transactions import ACCOUNTS, ROW, format_visible, own
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION, Bounds
from ledger.store.sql import where_clause
from ledger.values.words import has_phrases

SCAN = 1000  # candidates of a page with filters
FIRST_SCAN = 4  # for each item, which suffice where many match
MAX_ACCOUNTS = 1000  # with codes that a filter chooses, to look at the entries of each


class Found(NamedTuple):
    """A page of transactions, and the position down to which it is complete, or None if there are no more."""

    bodies: list[dict[str, Any]]
    reached: int | None


async def page(reader: Reader, filters: Filters, *, before: int, limit: int) -> Found:
    """Return up to `limit` transactions that count from before a position, newest first.

    A hold counts from its last capture, or if it has none, from when it was placed. With `is_by_authorization`, every
    hold counts from when it was placed.
    """
    filters = await _count_codes(reader, filters)
    period = await event_reader.find_bounds(reader, filters.from_time, filters.to_time, MAX_POSITION)
    bounds = Bounds(period.after, min(period.before, before))
    if filters.is_by_authorization:
        bounds = await event_reader.find_bounds(reader, filters.authorized_from, filters.authorized_to, before)
    is_filtered = filters != Filters(filters.party_id, filters.user_id, filters.account_id)
    most = SCAN if is_filtered else limit + 1
    first = min(FIRST_SCAN * (limit + 1), most)
    found = await _examine(reader, filters, _Part(bounds, period, limit, first))
    if found.reached is not None and len(found.bodies) < limit and first < most:
        found = await _examine(reader, filters, _Part(bounds, period, limit, most))
    await captures.add_captures(reader, found.bodies)
    return found


class _Part(NamedTuple):
    """Where to look for up to `limit` transactions: between some bounds, among up to `most` candidates.

    In a list by authorization, `period` is where they would count from otherwise; in any other, all of it is within.
    """

    bounds: Bounds
    period: Bounds
    limit: int
    most: int


async def _examine(reader: Reader, filters: Filters, part: _Part) -> Found:
    """Return those of the candidates that match."""
    bounds, most = part.bounds, part.most
    if filters.is_by_authorization:
        candidates = await transaction_candidates.find_authorized(reader, filters, bounds, most)
    else:
        candidates = await transaction_candidates.find(reader, filters, bounds, part.limit + 1, most)
    lowest = Bounds(max(bounds.after, (candidates.reached or 0) - 1), bounds.before)
    rows = await _fetch_matching(reader, filters, lowest, part.period, candidates.ids)
    visible = [(row["counted"], body) for row in rows if (body := format_visible(row, filters.party_id)) is not None]
    found = [(position, body) for position, body in visible if _has_matching_posting(body, filters)]
    reached = found[part.limit - 1][0] if len(found) > part.limit else candidates.reached
    return Found([body for _, body in found[: part.limit]], reached)


async def _count_codes(reader: Reader, filters: Filters) -> Filters:
    """Return the filters, which say whether too many accounts have one of the codes. Those of a party are few."""
    if filters.code_keys is None or (filters.party_id, filters.user_id, filters.account_id) != (None, None, None):
        return filters
    return filters._replace(has_many_codes=await account_labels.exceed(reader, filters.code_keys, MAX_ACCOUNTS))


async def _fetch_matching(
    reader: Reader, filters: Filters, bounds: Bounds, period: Bounds, ids: Sequence[UUID]
) -> list[Record]:
    """Fetch the candidates that match all filters on a transaction as a whole, and count from within the bounds.

    In a list by authorization, `period` is where they would count from otherwise.
    """
    metadata = None if filters.metadata is None else encode(filters.metadata).decode()
    where, values = where_clause(
        (
            ("status_now = {}", filters.status),
            ("kind = {}", filters.kind),
            (f"({_HAS_REFERENCE})", filters.references),
            ("(postings IS NOT NULL OR currency = {})", filters.currency),
            ("(postings IS NOT NULL OR coalesce(captured_cents, amount_cents) >= {})", filters.min_amount_cents),
            ("(postings IS NOT NULL OR coalesce(captured_cents, amount_cents) <= {})", filters.max_amount_cents),
            (f"({_HAS_METADATA})", metadata),
            ("reverses = {}", filters.reverses),
            (f"{_EFFECTIVE_AT} >= {{}}", filters.effective_from),
            (f"{_EFFECTIVE_AT} <= {{}}", filters.effective_to),
        ),
        first=7,
    )
    of_account, chosen = _match_account(filters, first=7 + len(values))
    where, values = where + of_account, [*values, *chosen]
    counted = "position" if filters.is_by_authorization else COUNTED
    rows = await reader.fetch(
        f"""SELECT *, {own(filters.party_id, "$6")}, {_CAPTURES_SAY} AS captures_say FROM (
                SELECT {ROW}, {counted} AS counted, {COUNTED} AS moved FROM transfers WHERE id = ANY($1)) AS transfers
            WHERE counted > $2 AND counted < $3 AND moved > $4 AND moved < $5 {where} ORDER BY counted DESC""",
        *(ids, *bounds, *period, filters.party_id, *values),
    )
    return [row for row in rows if _is_described(row, filters.phrases)]


def _match_account(filters: Filters, first: int) -> tuple[str, list[object]]:
    """Return the condition that one of the accounts matches, and its values; none if the search was of accounts.

    A party learns nothing of the codes of others.
    """
    is_of_accounts = filters.is_of_accounts and not (filters.terms or filters.is_by_effective_time)
    if is_of_accounts and filters.references is None and not filters.is_by_authorization:
        return "", []
    party = None if filters.code_keys is None else filters.party_id
    where, values = where_clause(
        (
            ("accounts.id = {}", filters.account_id),
            ("accounts.user_id = {}", filters.user_id),
            (account_labels.CODES, None if filters.code_keys is None else [*filters.code_keys]),
            ("" if party is None else f"accounts.id IN ({ever_of(party)})", party),
        ),
        first=first,
    )
    if not values:
        return "", []
    return f" AND EXISTS (SELECT FROM accounts WHERE accounts.id = ANY({ACCOUNTS}) {where})", values


_HAS_REFERENCE = """reference = ANY({0})
                    OR EXISTS (SELECT FROM captures WHERE transaction_id = id AND captures.reference = ANY({0}))"""
_HAS_METADATA = """metadata @> {0}::jsonb OR EXISTS (
                       SELECT FROM captures WHERE transaction_id = id AND captures.metadata @> {0}::jsonb)"""
_CAPTURES_SAY = """CASE WHEN captured_cents IS NOT NULL THEN (
    SELECT string_agg(captures.description, E'\n') FROM captures WHERE transaction_id = id) END"""
# When a transaction counts: a hold by its last capture, and what is scheduled by when it is to be executed.
_EFFECTIVE_AT = """CASE WHEN captured_cents IS NULL
    THEN coalesce(effective_at, CASE WHEN status IN ('scheduled', 'failed', 'voided') THEN execute_at END, recorded_at)
    ELSE (SELECT coalesce(last.effective_at, last.recorded_at) FROM captures AS last
          WHERE last.transaction_id = transfers.id ORDER BY last.version DESC LIMIT 1) END"""


def _is_described(row: Record, phrases: tuple[str, ...] | None) -> bool:
    """Return whether the description of a transaction, or of one of its captures, has all of these phrases."""
    if phrases is None:
        return True
    texts = (row["description"] or "", *(row["captures_say"] or "").split("\n"))
    return any(has_phrases(text, phrases) for text in texts)


def _has_matching_posting(body: dict[str, Any], filters: Filters) -> bool:
    """Return whether a visible posting of a journal entry matches; other transactions have been matched already."""
    return "postings" not in body or any(
        filters.currency in {None, posting["currency"]}
        and (filters.min_amount_cents or 0) <= abs(posting["amount_cents"])
        and (filters.max_amount_cents is None or abs(posting["amount_cents"]) <= filters.max_amount_cents)
        for posting in body["postings"]
    )
