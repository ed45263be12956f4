"""How far webhooks have come, and what was delivered: the tables that the delivery keeps beside the log.

A cursor says which events were sent: all up to a position, but for those that are pending. It is written after their
delivery. So an event may be sent again after a crash, and none is ever left out.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from ledger.store.connections import Connection, Reader

KEPT_DELIVERIES = 1000  # of a webhook, the newest

Kind = Literal["event", "redelivery", "test"]


class Pending(msgspec.Struct, omit_defaults=True):
    """An event that a webhook has begun to send. Times are in seconds since the epoch.

    Its delivery has failed so many times in a row, first at `failed_since`, and is tried again at `next_attempt_at`.
    """

    position: int
    failures: int = 0
    failed_since: float | None = None
    next_attempt_at: float = 0.0

    def reset(self) -> None:
        """Forget the failures."""
        self.failures, self.failed_since, self.next_attempt_at = 0, None, 0.0


class Cursor(msgspec.Struct):
    """All events up to `position` were sent, but for those pending.

    `started_by` is the position of the event that last set the place to start from, and `redelivered_upto` that of the
    last request of a redelivery that was carried out.
    """

    webhook_id: UUID
    started_by: int
    position: int
    pending: list[Pending]
    redelivered_upto: int


class Delivery(NamedTuple):
    """An attempt to deliver an event, or a test."""

    webhook_id: UUID
    id: UUID
    kind: Kind
    position: int | None
    topic: str
    attempt: int
    status: int | None
    error: str | None
    answer: str
    milliseconds: int
    sent_at: datetime


async def read_cursors(reader: Reader, webhook_ids: Collection[UUID]) -> dict[UUID, Cursor]:
    """Return the cursors of these webhooks, by webhook; one that has never sent anything has none."""
    rows = await reader.fetch(
        """SELECT webhook_id, started_by, "position", pending, redelivered_upto FROM webhook_cursors
           WHERE webhook_id = ANY($1)""",
        webhook_ids,
    )
    return {
        row[0]: Cursor(row[0], row[1], row[2], msgspec.json.decode(row[3], type=list[Pending]), row[4]) for row in rows
    }


async def save(connection: Connection, cursors: Sequence[Cursor], deliveries: Sequence[Delivery]) -> None:
    """Write cursors and deliveries, in one round trip."""
    columns = [[*column] for column in zip(*deliveries, strict=True)] or [[] for _ in Delivery._fields]
    await connection.execute(
        _SAVE,
        [cursor.webhook_id for cursor in cursors],
        [cursor.started_by for cursor in cursors],
        [cursor.position for cursor in cursors],
        [msgspec.json.encode(cursor.pending) for cursor in cursors],
        [cursor.redelivered_upto for cursor in cursors],
        *columns,
    )


async def record(reader: Reader, delivery: Delivery) -> None:
    """Write one delivery."""
    await reader.fetch(_RECORD, *([value] for value in delivery))


async def prune(connection: Connection, webhook_ids: Collection[UUID]) -> None:
    """Delete all but the newest deliveries of these webhooks."""
    await connection.execute(
        """DELETE FROM webhook_deliveries AS deliveries
           USING unnest($1::uuid[]) AS full_one (id),
                 LATERAL (SELECT id FROM webhook_deliveries WHERE webhook_id = full_one.id
                          ORDER BY id DESC OFFSET $2 LIMIT 1) AS oldest
           WHERE deliveries.webhook_id = full_one.id AND deliveries.id <= oldest.id""",
        webhook_ids,
        KEPT_DELIVERIES,
    )


async def list_strays(reader: Reader) -> list[UUID]:
    """Return the webhooks that have a cursor or deliveries, and are in no read table any more.

    Deliveries are skipped by their index, from one webhook to the next: each may have `KEPT_DELIVERIES`.
    """
    rows = await reader.fetch(
        """WITH RECURSIVE delivering (webhook_id) AS (
               (SELECT webhook_id FROM webhook_deliveries ORDER BY webhook_id LIMIT 1)
               UNION ALL
               SELECT following.webhook_id
               FROM delivering, LATERAL (SELECT webhook_id FROM webhook_deliveries AS later
                                         WHERE later.webhook_id > delivering.webhook_id
                                         ORDER BY webhook_id LIMIT 1) AS following)
           SELECT webhook_id FROM (SELECT webhook_id FROM webhook_cursors
                                   UNION SELECT webhook_id FROM delivering) AS kept
           WHERE NOT EXISTS (SELECT FROM webhooks WHERE id = webhook_id)"""
    )
    return [row[0] for row in rows]


async def delete(connection: Connection, webhook_ids: Collection[UUID]) -> None:
    """Delete the cursors and deliveries of webhooks."""
    for table in ("webhook_cursors", "webhook_deliveries"):
        await connection.execute(f"DELETE FROM {table} WHERE webhook_id = ANY($1)", webhook_ids)


async def find_position(reader: Reader, webhook_id: UUID, delivery_id: UUID) -> int | None:
    """Return the position of the event of a delivery; None if there is no such delivery, or it was a test."""
    position: int | None = await reader.fetchval(
        'SELECT "position" FROM webhook_deliveries WHERE webhook_id = $1 AND id = $2', webhook_id, delivery_id
    )
    return position


async def page(reader: Reader, webhook_id: UUID, before: UUID, limit: int) -> list[dict[str, Any]]:
    """Return up to `limit` deliveries of a webhook before one of them, newest first."""
    rows = await reader.fetch(
        """SELECT id, kind, "position", topic, attempt, status, error, answer, milliseconds, sent_at
           FROM webhook_deliveries WHERE webhook_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3""",
        webhook_id,
        before,
        limit,
    )
    return [dict(row) for row in rows]


_TYPES = ("uuid", "uuid", "text", "bigint", "text", "bigint", "bigint", "text", "text", "bigint", "timestamptz")


def _insert_deliveries(first: int) -> str:
    """Return the insert of deliveries, whose columns are the parameters from `first` on."""
    names = ", ".join(f'"{name}"' for name in Delivery._fields)
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(_TYPES, first))
    return f"INSERT INTO webhook_deliveries ({names}) SELECT * FROM unnest({arrays})"


_RECORD = _insert_deliveries(1)
_SAVE = f"""
WITH saved AS (
    INSERT INTO webhook_cursors (webhook_id, started_by, "position", pending, redelivered_upto, updated_at)
    SELECT *, now() FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::jsonb[], $5::bigint[])
    ON CONFLICT (webhook_id) DO UPDATE
    SET started_by = excluded.started_by, "position" = excluded."position", pending = excluded.pending,
        redelivered_upto = excluded.redelivered_upto, updated_at = excluded.updated_at)
{_insert_deliveries(6)}"""
