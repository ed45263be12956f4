"""Balance monitors, as `/monitors` shows them and the follower reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.monitors import (
    Monitor,
    MonitorCreated,
    MonitorDeleted,
    MonitorEvent,
    MonitorReset,
    MonitorTriggered,
    Rule,
)
from ledger.projections.resource import Resource
from ledger.projections.table import CHANGE, POSITION, TIME, Column, Index, Table, encode_columns, insert, update
from ledger.store.connections import Reader
from ledger.store.sql import HEAD_VERSIONS
from ledger.store.statements import Statement, uuids

HANDLED = frozenset(get_args(MonitorEvent))

MONITORS = Table(
    name="monitors",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("account_id", "uuid", optional=True),
        Column("code_prefix", "text", optional=True),
        Column("currency", "text", optional=True),
        Column("condition", "text"),
        Column("operator", "text"),
        Column("amount_cents", "bigint"),
        Column("triggered", "boolean"),
        Column("seen_version", "bigint"),
        Column("found_cents", "bigint", optional=True),
        Column("position", "bigint", POSITION),
        Column("created_at", "timestamptz", TIME),
        Column("updated_at", "timestamptz", TIME, CHANGE),
    ),
    indexes=(Index("monitors_position_idx", '("position")', unique=True),),
    changes="update",
)
_CHANGING = ("id", "triggered", "seen_version", "found_cents", "updated_at")
_RULE = ("account_id", "condition", "operator", "amount_cents", "code_prefix", "currency")


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts, updates and deletes of monitors, each row at most once."""
    rows: dict[UUID, _Row] = {}
    for recorded in events:
        if type(recorded.event) in HANDLED:
            row = rows.setdefault(recorded.stream_id, _Row(recorded.stream_id))
            row.change(recorded, cast("MonitorEvent", recorded.event))
    created = [row for row in rows.values() if row.position is not None and not row.deleted]
    changed = [row for row in rows.values() if row.position is None and not row.deleted]
    deleted = [row.id for row in rows.values() if row.position is None and row.deleted]
    return [
        *([insert(MONITORS, encode_columns(MONITORS, MONITORS.names, created))] if created else []),
        *([update(MONITORS, encode_columns(MONITORS, _CHANGING, changed))] if changed else []),
        *([Statement("DELETE FROM monitors WHERE id = ANY($1::uuid[])", (uuids(deleted),))] if deleted else []),
    ]


@dataclass(slots=True)
class _Row:
    """The values that a run of events gives the columns of one monitor; None leaves a column unchanged."""

    id: UUID
    rule: Rule | None = None
    triggered: bool | None = None
    seen_version: int | None = None
    found_cents: int | None = None
    position: int | None = None
    created_at: Any = None
    updated_at: Any = None
    deleted: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rule, name)

    def change(self, recorded: Recorded, event: MonitorEvent) -> None:
        self.updated_at = recorded.recorded_at
        match event:
            case MonitorCreated():
                self.position, self.created_at = recorded.position, recorded.recorded_at
                self.rule, self.triggered, self.seen_version = event.rule, event.triggered, event.seen_version
            case MonitorTriggered() | MonitorReset():
                self.triggered = isinstance(event, MonitorTriggered)
                self.seen_version, self.found_cents = event.seen_version, event.found_cents
            case MonitorDeleted():
                self.deleted = True
            case _:
                assert_never(event)


def row_of(monitor: Monitor) -> dict[str, Any]:
    """Return the columns that follow from the state of a monitor."""
    rule = {name: getattr(monitor.rule, name) for name in _RULE}
    return {**rule, "triggered": monitor.triggered, "seen_version": monitor.seen_version}


class Watched(NamedTuple):
    """A monitor, with the version of its account now, which the monitor of a sum does not have."""

    id: UUID
    rule: Rule
    triggered: bool
    seen_version: int
    position: int
    version_now: int | None


async def list_watched(reader: Reader) -> list[Watched]:
    """Return all monitors, those of an account or of a sum next to each other."""
    rows = await reader.fetch(
        f"""SELECT id, {", ".join(_RULE)}, triggered, seen_version, "position", version FROM monitors
            LEFT JOIN ({HEAD_VERSIONS}) AS heads ON stream_id = account_id
            ORDER BY account_id, lower(code_prefix), currency, "position\""""
    )
    return [Watched(row[0], Rule(*row[1:7]), *row[7:]) for row in rows]


async def find(reader: Reader, monitor_id: UUID) -> Resource | None:
    """Return one monitor, or None, with the version from the head of its stream."""
    row = await reader.fetchrow(
        f"""SELECT monitors.*, version FROM monitors JOIN ({HEAD_VERSIONS}) AS heads ON stream_id = monitors.id
            WHERE monitors.id = $1""",
        monitor_id,
    )
    return Resource(_body(row), str(row["version"])) if row else None


async def page(reader: Reader, *, before: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` monitors created before a position, newest first, each with its position."""
    rows = await reader.fetch(
        "SELECT * FROM monitors WHERE position < $1 ORDER BY position DESC LIMIT $2", before, limit
    )
    return [(row["position"], _body(row)) for row in rows]


def _body(row: Record) -> dict[str, Any]:
    members = ("id", *_RULE, "triggered", "found_cents", "created_at", "updated_at")
    return {name: row[name] for name in members if row[name] is not None}
