"""Entries of transactions with an effective time of their own, and balances as of an effective time.

All other entries count when they were recorded, and have no row here. So the balance as of an effective time is the
balance recorded by then, plus the dated entries that count by then, minus those that were recorded by then.

Each row has running sums: of all dated entries of the account, and of those of the same year, month and day in UTC. The
sum of any range of days is in a few rows found by index, as it was known at any position.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import NamedTuple, TypeAlias, cast
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.events.transactions import HoldCaptured, JournalEntryPosted, MoneyTransferred
from ledger.projections.table import POSITION, Column, Index, Table, encode_columns, insert
from ledger.store.connections import Reader
from ledger.store.statements import Statement

_Entry: TypeAlias = AccountDebited | AccountCredited
_MOVING = frozenset({MoneyTransferred, JournalEntryPosted, HoldCaptured})
_ENTRIES = frozenset({AccountDebited, AccountCredited})
HANDLED = frozenset({*_MOVING, *_ENTRIES})
_effective_at_of = attrgetter("effective_at")


def _sum_up(*within: str) -> str:
    """Return SQL for the running sum of an account's dated entries that agree in some columns.

    The sum so far is that of the last row. If it is out of date, so is the account's version, and the write fails.
    """
    before = " AND ".join(f"old.{name} = new.{name}" for name in ("account_id", *within))
    partition = ", ".join(f"new.{name}" for name in ("account_id", *within))
    return f"""coalesce((SELECT old.{{name}} FROM dated_entries AS old WHERE {before}
                         ORDER BY old.position DESC LIMIT 1), 0)
               + sum(new.{{name}}) OVER (PARTITION BY {partition} ORDER BY new.position)"""


DATED_ENTRIES = Table(
    name="dated_entries",
    key=("account_id", "position"),
    stream="account_id",
    columns=(
        Column("account_id", "uuid"),
        Column("position", "bigint", POSITION),
        Column("version", "bigint"),
        Column("effective_at", "timestamptz"),
        Column("amount_cents", "bigint"),
        Column("year", "bigint"),
        Column("month", "bigint"),
        Column("day", "bigint"),
        Column("total_cents", "numeric", _sum_up()),
        Column("year_cents", "numeric", _sum_up("year")),
        Column("month_cents", "numeric", _sum_up("month")),
        Column("day_cents", "numeric", _sum_up("day")),
    ),
    indexes=(
        Index("dated_entries_effective_idx", "(account_id, effective_at, version)"),
        Index("dated_entries_year_idx", '(account_id, year, "position")'),
        Index("dated_entries_month_idx", '(account_id, month, "position")'),
        Index("dated_entries_day_idx", '(account_id, day, "position")'),
    ),
)


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the insert of a row for each entry of a transaction with an effective time.

    The entries of a transaction follow its event, so `events` must have both.
    """
    if not [row for row in events if type(row.event) in _MOVING and _effective_at_of(row.event)]:  # as nearly always
        return []
    rows: list[_Row] = []
    dated: dict[UUID, datetime] = {}
    for row in events:
        kind = type(row.event)
        if kind in _MOVING:
            effective_at = _effective_at_of(row.event)
            if effective_at is not None:
                dated[row.stream_id] = effective_at
            elif dated:
                dated.pop(row.stream_id, None)  # an earlier capture of the same hold
        elif dated and kind in _ENTRIES:
            entry = cast("_Entry", row.event)
            if entry.transaction_id in dated:
                rows.append(_Row(row, entry, dated[entry.transaction_id]))
    return [insert(DATED_ENTRIES, encode_columns(DATED_ENTRIES, DATED_ENTRIES.names, rows))] if rows else []


class _Row:
    """The values of the columns of one entry; of a sum, what the entry adds."""

    __slots__ = ("account_id", "amount_cents", "day", "effective_at", "month", "position", "version", "year")

    def __init__(self, recorded: Recorded, entry: _Entry, effective_at: datetime) -> None:
        utc = effective_at.astimezone(UTC)
        self.account_id, self.position, self.version = recorded.stream_id, recorded.position, recorded.version
        self.effective_at = effective_at
        self.amount_cents = entry.amount_cents if type(entry) is AccountCredited else -entry.amount_cents
        self.year, self.month, self.day = utc.year, number_month(utc), utc.toordinal()

    @property
    def total_cents(self) -> int:
        """Return what the entry adds to each sum."""
        return self.amount_cents

    year_cents = month_cents = day_cents = total_cents


def number_month(day: date) -> int:
    """Return the number of a month; each month has the number after that of the month before it."""
    return 12 * day.year + day.month - 1


class EffectiveTime(NamedTuple):
    """The values of the parameters of `balance_sql`: an effective time, as it was known at a position."""

    times: Sequence[datetime]  # the time itself, and the beginning of its day, unless the day has ended by then
    position: int
    year: int
    month: int
    first_day: int  # of the month
    last_day: int  # that has ended by then

    @classmethod
    def of(cls, time: datetime, position: int) -> "EffectiveTime":
        """Return the parameters for a time and a position."""
        utc = time.astimezone(UTC)
        midnight = utc.replace(hour=0, minute=0, second=0, microsecond=0)
        ends = utc - midnight == _DAY - timedelta(microseconds=1)
        last = utc.toordinal() - (0 if ends else 1)
        first = utc.replace(day=1).toordinal()
        return cls([utc, utc if ends else midnight], position, utc.year, number_month(utc), first, last)


_DAY = timedelta(days=1)


def balance_sql(account_id: str, first: int = 1) -> str:
    """Return SQL for the balance of an account as of an `EffectiveTime`, whose values are parameters from `first` on.

    An account without dated entries costs one look-up more than its recorded balance.
    """
    times, position, year, month, first_day, last_day = (f"${first + number}" for number in range(6))
    # As an array, because asyncpg sends the first time of the calendar as minus infinity.
    time, day_begins = f"({times}::timestamptz[])[1]", f"({times}::timestamptz[])[2]"

    def last(column: str, value: str) -> str:
        return f"""(SELECT one.{column}_cents FROM dated_entries AS one
                    WHERE one.account_id = {account_id} AND one.{column} = {value} AND one.position <= {position}
                    ORDER BY one.position DESC LIMIT 1)"""

    def year_before(value: str) -> str:
        return f"""(SELECT one.year FROM dated_entries AS one WHERE one.account_id = {account_id}
                    AND one.year < {value} ORDER BY one.year DESC LIMIT 1)"""

    recorded = f"(SELECT least({position}::bigint, position_at({time})))"
    return f"""(
        coalesce((SELECT entries.balance_cents FROM entries
                  WHERE entries.account_id = {account_id}
                    AND entries.version <= (SELECT version_at({account_id}, {recorded}))
                  ORDER BY entries.version DESC LIMIT 1), 0)
        + CASE WHEN EXISTS (SELECT FROM dated_entries AS one WHERE one.account_id = {account_id}) THEN (
            WITH RECURSIVE years (year) AS (
                SELECT {year_before(f"{year}::bigint")}
                UNION ALL SELECT {year_before("years.year")} FROM years WHERE years.year IS NOT NULL)
            SELECT coalesce(sum(cents), 0) FROM (
                SELECT {last("year", "years.year")} AS cents FROM years
                UNION ALL SELECT {last("month", "ended.month")}
                          FROM generate_series(12 * {year}::bigint, {month}::bigint - 1) AS ended (month)
                UNION ALL SELECT {last("day", "ended.day")}
                          FROM generate_series({first_day}::bigint, {last_day}::bigint) AS ended (day)
                UNION ALL SELECT one.amount_cents FROM dated_entries AS one
                          WHERE one.account_id = {account_id} AND one.effective_at >= {day_begins}
                            AND one.effective_at <= {time} AND one.position <= {position}
                            AND one.day > {last_day}
                UNION ALL (SELECT -one.total_cents FROM dated_entries AS one
                           WHERE one.account_id = {account_id} AND one.position <= {recorded}
                           ORDER BY one.position DESC LIMIT 1)) AS parts (cents)
        ) ELSE 0 END)::bigint"""


async def balances_as_of(
    reader: Reader, account_ids: Collection[UUID], time: datetime, position: int
) -> Mapping[UUID, int]:
    """Return the balance of each account as of an effective time, as it was known at a position."""
    rows = await reader.fetch(
        f"SELECT id, {balance_sql('id', 2)} AS balance_cents FROM unnest($1::uuid[]) AS id",
        account_ids,
        *EffectiveTime.of(time, position),
    )
    return {row["id"]: row["balance_cents"] for row in rows}


async def read_keys(
    reader: Reader,
    account_id: UUID,
    between: tuple[tuple[datetime, int], tuple[datetime, int]],
    *,
    ascending: bool,
    limit: int,
) -> list[Record]:
    """Return the effective time, the version and the position of up to `limit` dated entries of an account, in order.

    They are `between` two pairs of an effective time and a version (exclusive).
    """
    direction = "ASC" if ascending else "DESC"
    (_, first), (_, last) = between
    return await reader.fetch(
        f"""SELECT effective_at, version, position FROM dated_entries
            WHERE account_id = $1 AND (effective_at, version) > (($2::timestamptz[])[1], $3)
              AND (effective_at, version) < (($2::timestamptz[])[2], $4)
            ORDER BY effective_at {direction}, version {direction} LIMIT $5""",
        account_id,
        [time for time, _ in between],
        *(first, last, limit),
    )
