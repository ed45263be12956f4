"""Check dated entries against the transactions, captures and entries that they follow from, and their running sums."""

from collections.abc import Iterator

from asyncpg import Record

from ledger.audit.verify.findings import Difference, Finding, judge_difference
from ledger.audit.verify.reading import Scope
from ledger.projections.dated_entries import DATED_ENTRIES

_SUMS = {"total_cents": "", "year_cents": ", year", "month_cents": ", month", "day_cents": ", day"}


def dated_sql(scope: Scope) -> str:
    """Return the query for dated entries after a position, which is the parameter, that are not as they should be.

    A check of changes trusts other streams, so it reads the ledger's own tables. The entries of a transaction follow
    its event, and those of a capture come after at most two releases.
    """
    own = f"{scope.schema}." if scope.since else ""
    names = ", ".join(name for name in DATED_ENTRIES.names if name not in _SUMS)
    sums = ", ".join(
        f"sum(amount_cents) OVER (PARTITION BY account_id{within} ORDER BY position) AS {name}"
        for name, within in _SUMS.items()
    )
    return f"""
        WITH dated AS (
            SELECT id, position, effective_at, coalesce(jsonb_array_length(postings), 2) AS reach
            FROM {own}transfers WHERE effective_at IS NOT NULL AND kind <> 'hold'
            UNION ALL
            SELECT transaction_id, position, effective_at, 4 FROM {own}captures WHERE effective_at IS NOT NULL),
        counted AS (
            SELECT entry.*, effective_at, extract(year FROM at)::bigint AS year,
                   (12 * extract(year FROM at) + extract(month FROM at) - 1)::bigint AS month,
                   (at::date - '0001-01-01'::date + 1)::bigint AS day
            FROM dated, LATERAL (SELECT effective_at AT TIME ZONE 'UTC' AS at) AS utc,
                 LATERAL (SELECT account_id, position, version, amount_cents FROM {own}entries AS entry
                          WHERE entry.position > dated.position AND entry.position <= dated.position + reach
                            AND entry.transfer_id = dated.id) AS entry)
        SELECT concat_ws(' ', account_id, position) AS key, to_jsonb(expected) AS expected, to_jsonb(found) AS found
        FROM (SELECT * FROM {own}dated_entries) AS found
        FULL JOIN (SELECT {names}, {sums} FROM counted) AS expected USING (account_id, position)
        WHERE expected IS DISTINCT FROM found AND position > $1"""


def judge_dated(row: Record) -> Iterator[Finding]:
    """Yield the findings about a row."""
    yield from judge_difference(Difference(DATED_ENTRIES.name, row["key"], row["expected"], row["found"]))
