"""The books: whether every transfer moves what it says, every balance follows, everything together is zero.

The questions are asked of the tables of transfers, entries and accounts; in a full check those are projected from the
log and not the ledger's own, which are compared with them.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asyncpg import Record

from ledger.audit.verify.findings import Finding
from ledger.audit.verify.reading import Scope, pages
from ledger.store.connections import Connection

# What a transaction should have moved: the legs of a journal entry; of a hold, what was captured.
_TRANSFERS = """
SELECT id, coalesce(transfers.position, entered.position) AS position, sides, amount_cents, expected, currencies,
       unequal
FROM transfers
FULL JOIN (SELECT transfer_id AS id, min(position) AS position,
                  string_agg(concat_ws(' ', account_id, amount_cents), ', ' ORDER BY amount_cents, account_id) AS sides
           FROM entries GROUP BY transfer_id) AS entered USING (id)
CROSS JOIN LATERAL (
    SELECT string_agg(concat_ws(' ', leg.account_id, cents), ', ' ORDER BY cents, leg.account_id) AS expected,
           string_agg(accounts.currency, ', ') FILTER (WHERE accounts.currency <> leg.currency) AS currencies
    FROM (SELECT (posting ->> 'account_id')::uuid, (posting ->> 'amount_cents')::bigint, posting ->> 'currency'
          FROM jsonb_array_elements(postings) AS posting
          UNION ALL
          SELECT account_id, sign * CASE kind WHEN 'hold' THEN captured_cents ELSE amount_cents END, currency
          FROM (VALUES (source_account_id, -1), (destination_account_id, 1)) AS side(account_id, sign)
         ) AS leg(account_id, cents, currency)
    LEFT JOIN accounts ON accounts.id = leg.account_id
    WHERE cents IS NOT NULL) AS written
CROSS JOIN LATERAL (
    SELECT string_agg(sums.currency, ', ') AS unequal
    FROM (SELECT posting ->> 'currency' AS currency FROM jsonb_array_elements(postings) AS posting
          GROUP BY 1 HAVING sum((posting ->> 'amount_cents')::bigint) <> 0) AS sums) AS summed
WHERE coalesce(transfers.position, entered.position) > $1
  AND (expected IS DISTINCT FROM sides OR amount_cents <= 0 OR currencies IS NOT NULL OR unequal IS NOT NULL)
"""

_ENTRIES = """
SELECT * FROM (
    SELECT *, coalesce(lag(balance_cents) OVER (PARTITION BY account_id ORDER BY version), 0)::numeric
              + amount_cents AS expected
    FROM entries) AS numbered
WHERE balance_cents <> expected AND position > $1
"""

_ACCOUNTS = """
SELECT accounts.id, accounts.version, accounts.balance_cents, coalesce(last.balance_cents, 0) AS expected
FROM accounts
LEFT JOIN (SELECT DISTINCT ON (account_id) account_id, balance_cents FROM entries
           ORDER BY account_id, version DESC) AS last ON account_id = id
WHERE accounts.balance_cents <> coalesce(last.balance_cents, 0)
"""


async def check_books(connection: Connection, scope: Scope) -> AsyncIterator[Finding]:
    """Everything about the money that is not as double entry wants it."""
    judges: tuple[tuple[str, tuple[object, ...], Callable[[Record], Iterator[Finding]]], ...] = (
        (_TRANSFERS, (scope.since,), _judge_transfer),
        (_ENTRIES, (scope.since,), _judge_entry),
        (_ACCOUNTS, (), _judge_account),
        (_held(scope), (), _judge_held),
        (_currencies(scope), (), _judge_currency),
    )
    for sql, values, judge in judges:
        async for rows in pages(connection, sql, *values):
            for row in rows:
                for finding in judge(row):
                    yield finding


def _held(scope: Scope) -> str:
    return f"""SELECT accounts.id, accounts.version, accounts.held_cents, coalesce(held.cents, 0) AS expected
               FROM {scope.schema}.accounts
               LEFT JOIN (SELECT source_account_id, sum(amount_cents) AS cents FROM {scope.schema}.transfers
                          WHERE status = 'pending' GROUP BY source_account_id) AS held ON source_account_id = id
               WHERE accounts.held_cents <> coalesce(held.cents, 0)"""


def _currencies(scope: Scope) -> str:
    return f"""SELECT currency, sum(balance_cents) AS balance_cents FROM {scope.schema}.accounts
               GROUP BY currency HAVING sum(balance_cents) <> 0"""


def _judge_transfer(row: Record) -> Iterator[Finding]:
    expected, sides = row["expected"], row["sides"]
    place: dict[str, Any] = {"stream_id": row["id"], "position": row["position"], "table": "transfers"}
    place["row"] = str(row["id"])
    if expected is None:
        yield Finding("every entry belongs to a transfer", "a transfer", sides, **place)
    elif expected != sides:
        yield Finding("a transaction has the entries that it calls for", expected, sides, **place)
    if row["amount_cents"] is not None and row["amount_cents"] <= 0:
        yield Finding("money moves forwards", "more than 0", row["amount_cents"], column="amount_cents", **place)
    if row["unequal"] is not None:
        rule = "the legs of a journal entry sum to zero in each currency"
        yield Finding(rule, None, row["unequal"], column="postings", **place)
    if row["currencies"] is not None:
        yield Finding(
            "all accounts of a transaction are in its currency",
            None,
            row["currencies"],
            column="currency",
            **place,
        )


def _judge_entry(row: Record) -> Iterator[Finding]:
    yield Finding(
        "the balance after an entry is the one before it and the amount",
        int(row["expected"]),
        row["balance_cents"],
        stream_id=row["account_id"],
        version=row["version"],
        position=row["position"],
        table="entries",
        row=f"{row['account_id']} {row['version']}",
        column="balance_cents",
    )


def _judge_account(row: Record) -> Iterator[Finding]:
    yield Finding(
        "the balance of an account is that of its last entry",
        row["expected"],
        row["balance_cents"],
        stream_id=row["id"],
        version=row["version"],
        table="accounts",
        row=str(row["id"]),
        column="balance_cents",
    )


def _judge_held(row: Record) -> Iterator[Finding]:
    yield Finding(
        "what is held of an account is what its pending holds hold",
        int(row["expected"]),
        row["held_cents"],
        stream_id=row["id"],
        version=row["version"],
        table="accounts",
        row=str(row["id"]),
        column="held_cents",
    )


def _judge_currency(row: Record) -> Iterator[Finding]:
    yield Finding(
        "all balances of a currency sum to zero",
        0,
        int(row["balance_cents"]),
        table="accounts",
        row=row["currency"],
        column="balance_cents",
    )
