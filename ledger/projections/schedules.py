"""Scheduled transactions: which wait for their time, and which accounts each of them concerns.

The rows of `transfers` show them to clients. A plain transfer has no row here.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, cast
from uuid import UUID

from ledger.events import Recorded, decode_event
from ledger.events.transactions import ScheduleCancelled, ScheduleExecuted, ScheduleFailed, TransactionScheduled
from ledger.projections.table import POSITION, Column, Index, Table, encode_columns, insert, update
from ledger.store.connections import Reader
from ledger.store.sql import FIRST_EVENTS
from ledger.store.statements import Statement

MAX_COUNTED = 100_000
_ENDS = (ScheduleExecuted, ScheduleFailed, ScheduleCancelled)
HANDLED = frozenset({TransactionScheduled, *_ENDS})

SCHEDULES = Table(
    name="schedules",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("execute_at", "timestamptz", optional=True),
        Column("waiting", "boolean"),
    ),
    indexes=(Index("schedules_due_idx", "(execute_at, id)", where="waiting"),),
    changes="update",
)
SCHEDULED_ACCOUNTS = Table(
    name="scheduled_accounts",
    key=("transaction_id", "account_id"),
    stream="transaction_id",
    columns=(
        Column("transaction_id", "uuid"),
        Column("account_id", "uuid"),
        Column("position", "bigint", POSITION),
    ),
    indexes=(Index("scheduled_accounts_position_idx", '(account_id, "position")'),),
    changes="never",
)


class _Schedule(NamedTuple):
    id: UUID
    execute_at: datetime | None
    waiting: bool


class _Concerned(NamedTuple):
    transaction_id: UUID
    account_id: UUID
    position: int


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts of new schedules and of their accounts, and the updates of those that ended."""
    new: dict[UUID, _Schedule] = {}
    ended: dict[UUID, _Schedule] = {}
    for row in events:
        if isinstance(row.event, TransactionScheduled):
            new[row.stream_id] = _Schedule(row.stream_id, row.event.execute_at, waiting=True)
        elif isinstance(row.event, _ENDS):
            known = new if row.stream_id in new else ended
            first = new.get(row.stream_id)
            known[row.stream_id] = _Schedule(row.stream_id, first and first.execute_at, waiting=False)
    concerned = [*_list_concerned(events)]
    names = SCHEDULES.names
    return [
        *([insert(SCHEDULES, encode_columns(SCHEDULES, names, [*new.values()]))] if new else []),
        *([update(SCHEDULES, encode_columns(SCHEDULES, names, [*ended.values()]))] if ended else []),
        *(
            [insert(SCHEDULED_ACCOUNTS, encode_columns(SCHEDULED_ACCOUNTS, SCHEDULED_ACCOUNTS.names, concerned))]
            if concerned
            else []
        ),
    ]


def _list_concerned(events: Sequence[Recorded]) -> Iterator[_Concerned]:
    for row in events:
        if isinstance(row.event, TransactionScheduled):
            for account_id in dict.fromkeys(row.event.account_ids):
                yield _Concerned(row.stream_id, account_id, row.position)


class DueSchedule(NamedTuple):
    """A scheduled transaction whose time has come, at `now` by the clock of the database."""

    transaction_id: UUID
    scheduled: TransactionScheduled
    now: datetime


async def list_due(reader: Reader, limit: int) -> list[DueSchedule]:
    """Return up to `limit` scheduled transactions that are due by the database's clock, in the order of their times."""
    rows = await reader.fetch(
        f"""SELECT id, topic, state, now() FROM (
                SELECT id, execute_at FROM schedules WHERE waiting AND execute_at <= now()
                ORDER BY execute_at, id LIMIT $1) AS due
            JOIN ({FIRST_EVENTS}) AS first ON stream_id = id ORDER BY execute_at, id""",
        limit,
    )
    return [
        DueSchedule(row["id"], cast("TransactionScheduled", decode_event(row["topic"], row["state"])), row[3])
        for row in rows
    ]


class Schedules(NamedTuple):
    """The number of scheduled transactions, up to `MAX_COUNTED`, and for how many seconds the first is overdue."""

    waiting: int
    overdue_seconds: float


async def count(reader: Reader) -> Schedules:
    """Count the scheduled transactions, and return for how long the first is overdue."""
    row = await reader.fetchrow(
        """SELECT (SELECT count(*) FROM (SELECT FROM schedules WHERE waiting LIMIT $1) AS counted),
                  greatest(0, extract(epoch FROM clock_timestamp() - (SELECT min(execute_at) FROM schedules
                                                                      WHERE waiting)))::float8""",
        MAX_COUNTED,
    )
    assert row is not None  # noqa: S101 - it has no FROM
    return Schedules(*row)


async def find(reader: Reader, transaction_id: UUID) -> TransactionScheduled | None:
    """Return what was scheduled under an id, or None if nothing was."""
    row = await reader.fetchrow(
        f"""SELECT topic, state FROM ({FIRST_EVENTS}) AS first
            WHERE stream_id = $1 AND stream_id IN (SELECT id FROM schedules WHERE id = $1)""",
        transaction_id,
    )
    return None if row is None else cast("TransactionScheduled", decode_event(*row))
