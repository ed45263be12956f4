"""Check double entry: transactions against their entries, entries against balances, and the sums of balances.

The queries read the tables of transactions, entries and accounts as the log has them: the ledger's own, where
`ledger.audit.verify.corrections` has put views of the projected rows in the place of rows that differ.
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import asyncpg
from asyncpg import Record

from ledger.audit.verify.dated import dated_sql, judge_dated
from ledger.audit.verify.findings import Finding
from ledger.audit.verify.reading import Scope, read_pages
from ledger.money import CURRENCIES
from ledger.store.connections import Connection
from ledger.store.tables import STORED_EVENTS

_SIDES = "the entries of a transaction match its postings"

# The legs of every transaction; a hold has two for each capture, and one of each account without an amount. What is
# scheduled, has failed or was cancelled has no legs with an amount. Only what moved its money at once has no status.
_LEGS = """
SELECT id, account_id, sign * CASE WHEN status IS NULL THEN amount_cents END AS cents, currency
FROM transfers
CROSS JOIN LATERAL (VALUES (source_account_id, -1), (destination_account_id, 1)) AS side(account_id, sign)
UNION ALL
SELECT id, account_id, sign * captures.amount_cents, currency
FROM captures JOIN transfers ON id = transaction_id
CROSS JOIN LATERAL (VALUES (source_account_id, -1), (destination_account_id, 1)) AS side(account_id, sign)
UNION ALL
SELECT id, (posting ->> 'account_id')::uuid, (posting ->> 'amount_cents')::bigint, posting ->> 'currency'
FROM transfers CROSS JOIN LATERAL jsonb_array_elements(postings) AS posting
WHERE postings IS NOT NULL AND status IS NULL
"""

_UNEQUAL = """
SELECT string_agg(sums.currency, ', ') AS unequal
FROM (SELECT posting ->> 'currency' AS currency FROM jsonb_array_elements(postings) AS posting
      GROUP BY 1 HAVING sum((posting ->> 'amount_cents')::bigint) <> 0) AS sums
"""

# Finds the suspects with a few joins of whole tables, and only of these says what is wrong.
_TRANSFERS = f"""
WITH legs AS NOT MATERIALIZED ({_LEGS}),
suspects AS (
    SELECT id FROM (SELECT id, account_id, cents, 1 AS side FROM legs WHERE cents IS NOT NULL
                    UNION ALL
                    SELECT transfer_id, account_id, amount_cents, -1 FROM entries WHERE position > $1) AS sides
    GROUP BY id, account_id, cents HAVING sum(side) <> 0
    UNION SELECT id FROM transfers WHERE amount_cents <= 0
    UNION SELECT legs.id FROM legs JOIN accounts ON accounts.id = account_id WHERE accounts.currency <> legs.currency
    UNION SELECT id FROM transfers CROSS JOIN LATERAL ({_UNEQUAL}) AS summed
          WHERE postings IS NOT NULL AND unequal IS NOT NULL
)
SELECT id, coalesce(transfers.position, entered.position) AS position, sides, amount_cents, expected, currencies,
       unequal
FROM suspects
LEFT JOIN transfers USING (id)
LEFT JOIN (SELECT transfer_id AS id, min(position) AS position,
                  string_agg(concat_ws(' ', account_id, amount_cents), ', ' ORDER BY amount_cents, account_id) AS sides
           FROM entries WHERE transfer_id IN (SELECT id FROM suspects) GROUP BY transfer_id) AS entered USING (id)
LEFT JOIN (SELECT id, string_agg(concat_ws(' ', account_id, cents), ', ' ORDER BY cents, account_id) AS expected,
                  string_agg(accounts.currency, ', ') FILTER (WHERE accounts.currency <> leg.currency) AS currencies
           FROM legs AS leg
           LEFT JOIN (SELECT id AS account_id, currency FROM accounts) AS accounts USING (account_id)
           WHERE cents IS NOT NULL AND id IN (SELECT id FROM suspects) GROUP BY id) AS written USING (id)
CROSS JOIN LATERAL ({_UNEQUAL}) AS summed
WHERE coalesce(transfers.position, entered.position) > $1
  AND (expected IS DISTINCT FROM sides OR amount_cents <= 0 OR currencies IS NOT NULL OR unequal IS NOT NULL)
"""

_CAPTURES = """
SELECT transfers.id, transfers.position, captured_cents, coalesce(sum(captures.amount_cents), 0) AS expected
FROM transfers LEFT JOIN captures ON transaction_id = id
WHERE kind = 'hold' AND transfers.position > $1
GROUP BY transfers.id, transfers.position, captured_cents
HAVING coalesce(captured_cents, 0) <> coalesce(sum(captures.amount_cents), 0)
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


async def check_books(connection: Connection, scope: Scope) -> AsyncGenerator[Finding, None]:
    """Yield a finding for each violation of double entry. A caller that leaves before the end closes the generator."""
    judges: tuple[tuple[str, tuple[object, ...], Callable[[Record], Iterator[Finding]]], ...] = (
        (_TRANSFERS, (scope.since,), _judge_transfer),
        (_CAPTURES, (scope.since,), _judge_captures),
        (_ENTRIES, (scope.since,), _judge_entry),
        (_ACCOUNTS, (), _judge_account),
        (_held_sql(scope), (), _judge_held),
        (_currencies_sql(scope), (), _judge_currency),
        (dated_sql(scope), (scope.since,), judge_dated),
        (_unknown_assets_sql(scope), (sorted(CURRENCIES),), _judge_unknown_asset),
    )
    for sql, values, judge in judges:
        try:
            async with connection.transaction():
                async for rows in read_pages(connection, sql, *values):
                    for row in rows:
                        for finding in judge(row):
                            yield finding
        except asyncpg.DataError as error:  # of an event that the view `entries` cannot read
            yield Finding("the entries can be read", None, type(error).__name__, table=STORED_EVENTS)


def _held_sql(scope: Scope) -> str:
    return f"""SELECT accounts.id, accounts.version, accounts.held_cents, coalesce(held.cents, 0) AS expected
               FROM {scope.schema}.accounts
               LEFT JOIN (SELECT source_account_id, sum(amount_cents - coalesce(captured_cents, 0)) AS cents
                          FROM {scope.schema}.transfers
                          WHERE status = 'pending' GROUP BY source_account_id) AS held ON source_account_id = id
               WHERE accounts.held_cents <> coalesce(held.cents, 0)"""


def _currencies_sql(scope: Scope) -> str:
    return f"""SELECT currency, sum(balance_cents) AS balance_cents FROM {scope.schema}.accounts
               GROUP BY currency HAVING sum(balance_cents) <> 0"""


def _unknown_assets_sql(scope: Scope) -> str:
    return f"""SELECT DISTINCT currency FROM {scope.schema}.accounts
               WHERE currency <> ALL($1::text[])
                 AND NOT EXISTS (SELECT FROM {scope.schema}.assets WHERE code = currency)"""


def _judge_transfer(row: Record) -> Iterator[Finding]:
    expected, sides = row["expected"], row["sides"]
    place: dict[str, Any] = {"stream_id": row["id"], "position": row["position"], "table": "transfers"}
    place["row"] = str(row["id"])
    if expected is None:
        yield Finding("every entry belongs to a transaction", "a transaction", sides, **place)
    elif expected != sides:
        yield Finding(_SIDES, expected, sides, **place)
    if row["amount_cents"] is not None and row["amount_cents"] <= 0:
        yield Finding(
            "the amount of a transaction is positive",
            "more than 0",
            row["amount_cents"],
            column="amount_cents",
            **place,
        )
    if row["unequal"] is not None:
        rule = "the postings of a journal entry sum to zero in each currency"
        yield Finding(rule, None, row["unequal"], column="postings", **place)
    if row["currencies"] is not None:
        yield Finding(
            "every posting has the currency of its account",
            None,
            row["currencies"],
            column="currency",
            **place,
        )


def _judge_captures(row: Record) -> Iterator[Finding]:
    yield Finding(
        _SIDES,
        int(row["expected"]),
        row["captured_cents"],
        stream_id=row["id"],
        position=row["position"],
        table="transfers",
        row=str(row["id"]),
        column="captured_cents",
    )


def _judge_entry(row: Record) -> Iterator[Finding]:
    yield Finding(
        "the balance after an entry is the balance before it plus its amount",
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
        "the balance of an account is the balance after its last entry",
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
        "the held amount of an account is the sum of its pending holds",
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
        "the balances of each currency sum to zero",
        0,
        int(row["balance_cents"]),
        table="accounts",
        row=row["currency"],
        column="balance_cents",
    )


def _judge_unknown_asset(row: Record) -> Iterator[Finding]:
    rule = "every account is in a currency of ISO 4217 or in a registered asset"
    yield Finding(rule, None, row["currency"], table="accounts", column="currency")
