"""The sum of the balances of all accounts with a code at or below a prefix, at a position and move by move.

An account counts as long as its code is one of these, by the history of its labels.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

from ledger.store.connections import Reader
from ledger.values.account_codes import key_range


class SumKey(NamedTuple):
    """The accounts of a sum: a prefix of their codes, without regard to case, and their currency."""

    code_prefix: str
    currency: str


class Move(NamedTuple):
    """A change of a sum: a posting, or an account whose code has changed, which belongs to no transaction."""

    position: int
    transaction_id: UUID | None
    amount_cents: int


POSITIONS = 50_000  # of the log, that one query reads

# An account may be a member several times: from one change of its labels to the next.
_MEMBERS = """WITH members AS MATERIALIZED (
    SELECT account_id, since, until FROM (
        SELECT account_id, "position" AS since, lower(code) AS code_key,
               lead("position") OVER (PARTITION BY account_id ORDER BY "position") AS until
        FROM account_label_history) AS labels
    JOIN accounts ON accounts.id = account_id AND accounts.currency = $3
    WHERE code_key = $1 OR starts_with(code_key, $2))"""
_BALANCE_AT = """SELECT entries.balance_cents FROM entries
                 WHERE entries.account_id = members.account_id
                   AND entries.version <= (SELECT version_at(members.account_id, {0}))
                 ORDER BY entries.version DESC LIMIT 1"""
_SUM_AT = f"""{_MEMBERS}
    SELECT coalesce(sum(last.balance_cents), 0)::text
    FROM members, LATERAL ({_BALANCE_AT.format("$4")}) AS last
    WHERE since <= $4 AND (until IS NULL OR until > $4)"""
_MOVES = f"""{_MEMBERS}
    SELECT entries."position", transfer_id, amount_cents FROM entries JOIN members USING (account_id)
    WHERE entries."position" > $4 AND entries."position" <= $5
      AND entries."position" > since AND (until IS NULL OR entries."position" < until)
    UNION ALL
    SELECT since, NULL, last.balance_cents FROM members, LATERAL ({_BALANCE_AT.format("since")}) AS last
    WHERE since > $4 AND since <= $5
    UNION ALL
    SELECT until, NULL, -last.balance_cents FROM members, LATERAL ({_BALANCE_AT.format("until")}) AS last
    WHERE until > $4 AND until <= $5
    ORDER BY 1"""


async def sum_at(reader: Reader, key: SumKey, position: int) -> int:
    """Return the sum at a position. The cost grows with the number of labelled accounts, not with their history."""
    return int(await reader.fetchval(_SUM_AT, *_parameters(key), position))


async def read_moves(reader: Reader, key: SumKey, after: int, until: int) -> AsyncIterator[Move]:
    """Yield the changes of the sum after one position and up to another, in order. Those of a transaction adjoin."""
    for start in range(after, until, POSITIONS):
        for row in await reader.fetch(_MOVES, *_parameters(key), start, min(until, start + POSITIONS)):
            yield Move(*row)


def _parameters(key: SumKey) -> tuple[str, str, str]:
    prefix, below, _ = key_range(key.code_prefix)
    return prefix, below, key.currency
