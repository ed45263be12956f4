"""The sums of an account's entries in a range, by the time of recording or by effective time."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger.store.connections import Reader

_SUMS = """count(*) FILTER (WHERE amount_cents > 0) AS credits, count(*) FILTER (WHERE amount_cents < 0) AS debits,
           coalesce(sum(amount_cents) FILTER (WHERE amount_cents > 0), 0)::text AS credit_cents,
           coalesce(-sum(amount_cents) FILTER (WHERE amount_cents < 0), 0)::text AS debit_cents"""
_NOT_DATED = """AND NOT EXISTS (SELECT FROM dated_entries AS dated
                                WHERE dated.account_id = $1 AND dated.position = entries.position)"""


class Sums(NamedTuple):
    """The numbers of credits and debits, and what each of both adds up to."""

    credits: int = 0
    debits: int = 0
    credit_cents: int = 0
    debit_cents: int = 0

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums of both."""
        return Sums(*(mine + others for mine, others in zip(self, other, strict=True)))


async def find_versions(
    reader: Reader, account_id: UUID, first: datetime, last: datetime, position: int
) -> tuple[int, int]:
    """Return the account's versions before and at the end of a time, both included, as known at a position."""
    # As an array, because asyncpg sends the first time of the calendar as minus infinity.
    row = await reader.fetchrow(
        """SELECT version_at($1, position_at(($2::timestamptz[])[1] - interval '1 microsecond')),
                  version_at($1, least($3, position_at(($2::timestamptz[])[2])))""",
        account_id,
        [first, last],
        position,
    )
    return (0, 0) if row is None else (row[0] or 0, row[1] or 0)


async def sum_recorded(reader: Reader, account_id: UUID, after: int, upto: int, *, without_dated: bool = False) -> Sums:
    """Return the sums of the entries after a version and up to another one."""
    row = await reader.fetchrow(
        f"""SELECT {_SUMS} FROM entries WHERE account_id = $1 AND version > $2 AND version <= $3
            {_NOT_DATED if without_dated else ""}""",
        account_id,
        after,
        upto,
    )
    return Sums() if row is None else Sums(*map(int, row))


async def sum_dated(
    reader: Reader, account_id: UUID, first: datetime, last: datetime, *, after: int, position: int
) -> Sums:
    """Return the sums of the dated entries that count in a time, recorded after a version and up to a position."""
    row = await reader.fetchrow(
        f"""SELECT {_SUMS} FROM dated_entries
            WHERE account_id = $1 AND effective_at >= ($2::timestamptz[])[1] AND effective_at <= ($2::timestamptz[])[2]
              AND version > $3 AND position <= $4""",
        account_id,
        [first, last],
        after,
        position,
    )
    return Sums() if row is None else Sums(*map(int, row))


async def find_balance(reader: Reader, account_id: UUID, version: int) -> int:
    """Return the balance of an account at a version; 0 before its first entry."""
    balance: int | None = await reader.fetchval(
        """SELECT balance_cents FROM entries WHERE account_id = $1 AND version <= $2
           ORDER BY version DESC LIMIT 1""",
        account_id,
        version,
    )
    return balance or 0
