"""Reconciliations of accounts with statements, and the entries that each has matched with a line."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple, assert_never, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.reconciliations import (
    EntryReconciled,
    ReconciliationEvent,
    ReconciliationUndone,
    StatementReconciled,
    reconciliation_stream,
)
from ledger.projections.table import (
    CHANGE,
    POSITION,
    TIME,
    Column,
    Index,
    Table,
    encode_columns,
    insert,
    update,
    upsert,
)
from ledger.store.connections import Reader
from ledger.store.sql import HEAD_VERSIONS
from ledger.store.statements import Statement, columns, integers, uuids

MAX_UNDONE = 100  # reconciliations that one command undoes
HANDLED = frozenset(get_args(ReconciliationEvent))

RECONCILIATIONS = Table(
    name="reconciliations",
    key=("id",),
    stream="stream_id",
    columns=(
        Column("id", "uuid"),
        Column("stream_id", "uuid"),
        Column("account_id", "uuid"),
        Column("source", "text", optional=True),
        Column("first_day", "text"),
        Column("last_day", "text"),
        Column("matched", "bigint"),
        Column("opening_cents", "bigint", optional=True),
        Column("closing_cents", "bigint", optional=True),
        Column("position", "bigint", POSITION),
        Column("created_at", "timestamptz", TIME),
        Column("undone", "boolean"),
        Column("updated_at", "timestamptz", TIME, CHANGE),
    ),
    indexes=(Index("reconciliations_position_idx", '(account_id, "position")'),),
    changes="update",
)
RECONCILED_ENTRIES = Table(
    name="reconciled_entries",
    key=("stream_id", "version"),
    stream="stream_id",
    columns=(
        Column("stream_id", "uuid"),
        Column("version", "bigint"),
        Column("reconciliation_id", "uuid"),
        Column("line_key", "text"),
        Column("line_day", "text"),
    ),
    indexes=(
        Index("reconciled_entries_line_idx", "(stream_id, line_key)"),
        Index("reconciled_entries_reconciliation_idx", "(reconciliation_id)"),
    ),
    changes="upsert",
)
_Key = tuple[UUID, int]


@dataclass(slots=True)
class _Run:
    """A reconciliation in a run of events; without a statement, one of before that was undone."""

    id: UUID
    stream_id: UUID
    updated_at: datetime | None
    undone: bool = False
    position: int | None = None
    created_at: datetime | None = None
    event: StatementReconciled | None = None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.event, name)
        return value.isoformat() if isinstance(value, date) else value


class _Entry(NamedTuple):
    stream_id: UUID
    version: int
    reconciliation_id: UUID
    line_key: str
    line_day: str


@dataclass(slots=True)
class _Changes:
    """What a run of events changes, each row at most once; entries that were `freed` may have had a row before."""

    runs: dict[UUID, _Run] = field(default_factory=dict)
    entries: dict[_Key, _Entry] = field(default_factory=dict)
    freed: set[_Key] = field(default_factory=set)

    def take(self, recorded: Recorded, event: ReconciliationEvent) -> None:
        stream_id, at = recorded.stream_id, recorded.recorded_at
        match event:
            case StatementReconciled(reconciliation_id=run_id):
                self.runs[run_id] = _Run(run_id, stream_id, at, False, recorded.position, at, event)
            case EntryReconciled(entry_version=version):
                self.entries[stream_id, version] = _Entry(
                    stream_id, version, event.reconciliation_id, event.line_key, event.line_day.isoformat()
                )
            case ReconciliationUndone(reconciliation_id=run_id):
                run = self.runs.setdefault(run_id, _Run(run_id, stream_id, at))
                run.undone, run.updated_at = True, at
                for version in event.entry_versions:
                    if self.entries.pop((stream_id, version), None) is None:
                        self.freed.add((stream_id, version))
            case _:
                assert_never(event)


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the changes of rows. An entry that was freed and matched again in this run replaces its row."""
    changes = _Changes()
    for recorded in events:
        if type(recorded.event) in HANDLED:
            changes.take(recorded, cast("ReconciliationEvent", recorded.event))
    created = [run for run in changes.runs.values() if run.event is not None]
    undone = [run for run in changes.runs.values() if run.event is None]
    new = [entry for key, entry in changes.entries.items() if key not in changes.freed]
    again = [entry for key, entry in changes.entries.items() if key in changes.freed]
    gone = changes.freed - changes.entries.keys()
    names = RECONCILED_ENTRIES.names
    return [
        *(
            [insert(RECONCILIATIONS, encode_columns(RECONCILIATIONS, RECONCILIATIONS.names, created))]
            if created
            else []
        ),
        *([update(RECONCILIATIONS, encode_columns(RECONCILIATIONS, _CHANGING, undone))] if undone else []),
        *([insert(RECONCILED_ENTRIES, encode_columns(RECONCILED_ENTRIES, names, new))] if new else []),
        *([upsert(RECONCILED_ENTRIES, encode_columns(RECONCILED_ENTRIES, names, again))] if again else []),
        *([_delete(gone)] if gone else []),
    ]


_CHANGING = ("id", "undone", "updated_at")


def _delete(keys: Collection[_Key]) -> Statement:
    return Statement(
        f"""DELETE FROM reconciled_entries USING {columns("uuid", "bigint")} AS gone(stream_id, version)
            WHERE reconciled_entries.stream_id = gone.stream_id AND reconciled_entries.version = gone.version""",
        (uuids([stream_id for stream_id, _ in keys]), integers([version for _, version in keys])),
    )


class Matched(NamedTuple):
    """An entry that is matched with a line."""

    version: int
    reconciliation_id: UUID
    line_key: str
    line_day: date


async def read_version(reader: Reader, account_id: UUID) -> int:
    """Return the version of an account's reconciliations; 0 if there is none."""
    version = await reader.fetchval(
        f"SELECT version FROM ({HEAD_VERSIONS}) AS heads WHERE stream_id = $1", reconciliation_stream(account_id)
    )
    return version or 0


async def find_matched(reader: Reader, account_id: UUID, versions: Collection[int]) -> dict[int, Matched]:
    """Return which of these entries of an account are matched, by version."""
    rows = await reader.fetch(
        f"{_SELECT_MATCHED} WHERE stream_id = $1 AND version = ANY($2)", reconciliation_stream(account_id), versions
    )
    return {row["version"]: _to_matched(row) for row in rows}


async def find_lines(reader: Reader, account_id: UUID, keys: Collection[str]) -> dict[str, Matched]:
    """Return which of these lines are matched with an entry of an account, by key."""
    rows = await reader.fetch(
        f"{_SELECT_MATCHED} WHERE stream_id = $1 AND line_key = ANY($2)", reconciliation_stream(account_id), keys
    )
    return {row["line_key"]: _to_matched(row) for row in rows}


_SELECT_MATCHED = "SELECT version, reconciliation_id, line_key, line_day FROM reconciled_entries"


def _to_matched(row: Record) -> Matched:
    version, reconciliation_id, line_key, line_day = row
    return Matched(version, reconciliation_id, line_key, date.fromisoformat(line_day))


async def find_undoable(
    reader: Reader, account_id: UUID, *, reconciliation_id: UUID | None, source: str | None
) -> Mapping[UUID, tuple[int, ...]]:
    """Return the newest reconciliations of an account with this id or source that stand, and the entries of each."""
    rows = await reader.fetch(
        """SELECT id, array(SELECT version FROM reconciled_entries
                            WHERE reconciliation_id = reconciliations.id ORDER BY version) AS versions
           FROM reconciliations
           WHERE account_id = $1 AND (id = $2 OR source = $3) AND NOT undone ORDER BY position DESC LIMIT $4""",
        *(account_id, reconciliation_id, source, MAX_UNDONE),
    )
    return {row["id"]: tuple(row["versions"]) for row in rows}


async def page(reader: Reader, account_id: UUID, *, before: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` reconciliations of an account before a position, newest first, each with its position."""
    rows = await reader.fetch(
        "SELECT * FROM reconciliations WHERE account_id = $1 AND position < $2 ORDER BY position DESC LIMIT $3",
        *(account_id, before, limit),
    )
    return [(row["position"], _body(row)) for row in rows]


_SHOWN = ("id", "account_id", "source", "first_day", "last_day", "matched")


def _body(row: Record) -> dict[str, Any]:
    balances = {
        "opening_balance_cents": row["opening_cents"],
        "closing_balance_cents": row["closing_cents"],
        "undone_at": row["updated_at"] if row["undone"] else None,
    }
    shown = {**{name: row[name] for name in _SHOWN}, **balances}
    return {name: value for name, value in shown.items() if value is not None} | {"created_at": row["created_at"]}
