"""Holds that were overdue at a past position of the log, although their expiry was recorded later, or is not yet."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from ledger.events.transactions import HoldExpired
from ledger.projections.holds import DUE, DueHold
from ledger.store.connections import Reader
from ledger.store.sql import streams_with_later

MAX_LATER = 1000  # expiries after the position that are looked at: the service records them within seconds


async def find_holds_due_at(
    reader: Reader,
    position: int,
    now: datetime,
    account_ids: Collection[UUID],
    transaction_ids: Collection[UUID],
    left_out: Collection[UUID],
    limit: int,
) -> list[DueHold]:
    """Return up to `limit` holds of or for these accounts that were overdue at a position, whose time is `now`.

    Of the given transactions, return those that were overdue, or had ended without moving money.
    """
    rows = await reader.fetch(
        f"""WITH candidates AS (
                SELECT id FROM transfers WHERE status = 'pending' AND expires_at <= $1
                UNION {streams_with_later(HoldExpired, "$6", MAX_LATER)}
                UNION SELECT unnest($3::uuid[]))
            SELECT {DUE} FROM transfers
            WHERE id IN (SELECT id FROM candidates) AND position <= $6 AND id <> ALL($4)
              AND (source_account_id = ANY($2) OR destination_account_id = ANY($2) OR id = ANY($3))
              AND (expires_at <= $1 OR (id = ANY($3) AND status IN ('voided', 'expired') AND settled_position <= $6))
            LIMIT $5""",
        *(now, account_ids, transaction_ids, left_out, limit, position),
    )
    return [DueHold(*row) for row in rows]
