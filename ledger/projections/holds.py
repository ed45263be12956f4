"""Holds that are pending or overdue, as the commands on holds, their expiry and the metrics need them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger.projections.account_owners import owner_at
from ledger.store.connections import Reader
from ledger.store.sql import sender_of

MAX_COUNTED = 100_000


class Holds(NamedTuple):
    """The number of pending holds, up to `MAX_COUNTED`, and the seconds for which the oldest due hold is overdue."""

    pending: int
    overdue_seconds: float


async def count_holds(reader: Reader) -> Holds:
    """Count the pending holds, and return for how long the oldest is overdue."""
    row = await reader.fetchrow(
        """SELECT (SELECT count(*) FROM (SELECT FROM transfers WHERE status = 'pending' LIMIT $1) AS counted),
                  greatest(0, extract(epoch FROM clock_timestamp() - (SELECT min(expires_at) FROM transfers
                                                                      WHERE status = 'pending')))::float8""",
        MAX_COUNTED,
    )
    assert row is not None  # noqa: S101 - it has no FROM
    return Holds(*row)


class DueHold(NamedTuple):
    """A hold to end, with what a command on it needs to know."""

    transaction_id: UUID
    source_account_id: UUID
    destination_account_id: UUID
    reference: str | None
    payer_ids: Sequence[UUID]


async def list_due_holds(reader: Reader, now: datetime, limit: int) -> list[DueHold]:
    """Return up to `limit` pending holds that expire at `now` or earlier, in the order in which they expire."""
    rows = await reader.fetch(
        f"SELECT {DUE} FROM transfers WHERE status = 'pending' AND expires_at <= $1 ORDER BY expires_at LIMIT $2",
        now,
        limit,
    )
    return [DueHold(*row) for row in rows]


async def find_due_holds(
    reader: Reader,
    now: datetime,
    account_ids: Collection[UUID],
    transaction_ids: Collection[UUID],
    left_out: Collection[UUID],
    limit: int,
) -> list[DueHold]:
    """Return up to `limit` holds of or for these accounts that are overdue at `now`, except those left out.

    Of the given transactions, return those that are overdue, or have ended without moving money.
    """
    rows = await reader.fetch(
        f"""WITH due AS (
                SELECT id FROM transfers WHERE status = 'pending' AND source_account_id = ANY($2) AND expires_at <= $1
                UNION
                SELECT id FROM transfers WHERE status = 'pending' AND destination_account_id = ANY($2)
                                           AND expires_at <= $1
                UNION
                SELECT id FROM transfers
                WHERE id = ANY($3) AND (status IN ('voided', 'expired') OR (status = 'pending' AND expires_at <= $1)))
            SELECT {DUE} FROM transfers WHERE id IN (SELECT id FROM due WHERE id <> ALL($4) LIMIT $5)""",
        *(now, account_ids, transaction_ids, left_out, limit),
    )
    return [DueHold(*row) for row in rows]


async def have_incoming_holds(reader: Reader, account_ids: Collection[UUID]) -> list[UUID]:
    """Return those of the accounts that a pending hold pays to."""
    rows = await reader.fetch(
        """SELECT DISTINCT destination_account_id FROM transfers
           WHERE status = 'pending' AND destination_account_id = ANY($1) AND expires_at > now()""",
        account_ids,
    )
    return [row[0] for row in rows]


# Those who may own the reference of a hold: who owned its source when it was placed, and who placed it.
_PAYERS = f"""CASE WHEN reference IS NULL THEN ARRAY[]::uuid[] ELSE array_remove(ARRAY[
    {owner_at("source_account_id", "transfers.position")}, {sender_of("transfers.id")}], NULL) END"""
DUE = f"id, source_account_id, destination_account_id, reference, {_PAYERS}"


async def find_payers(reader: Reader, hold_id: UUID) -> tuple[UUID, ...]:
    """Return those who may own the reference of a hold, if it has one."""
    return tuple(await reader.fetchval(f"SELECT {_PAYERS} FROM transfers WHERE id = $1", hold_id) or ())
