"""The extent of the log, and the sums of all balances as they are now."""

from typing import Any

from ledger.audit.as_of import format_sums_of
from ledger.store.connections import Reader
from ledger.store.reader import read_ends


async def read_present_sums(reader: Reader) -> dict[str, Any]:
    """Return the sums of negative (debit) and positive balances (credit) of each currency, from the read table.

    They are added up each time, so they agree only if the balances do. The cost grows with the number of accounts.
    """
    rows = await reader.fetch(
        """SELECT currency, count(*) AS accounts,
                  coalesce(-sum(balance_cents) FILTER (WHERE balance_cents < 0), 0) AS debit,
                  coalesce(sum(balance_cents) FILTER (WHERE balance_cents > 0), 0) AS credit
           FROM accounts GROUP BY currency ORDER BY currency"""
    )
    currencies = [format_sums_of(row) for row in rows]
    return {"balanced": all(one["sum_cents"] == 0 for one in currencies), "currencies": currencies}


async def read_extent(reader: Reader) -> dict[str, Any]:
    """Return the first and the last position of the log with their times; null in an empty log."""
    first, last = await read_ends(reader)
    return {
        "position": last.position,
        "recorded_at": last.recorded_at,
        "first_position": first.position,
        "first_recorded_at": first.recorded_at,
    }
