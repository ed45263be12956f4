"""Accounts, as `/accounts` shows them: one row each, with the current balance."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias, assert_never, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Recorded
from ledger.events.account_labels import AccountDescribed
from ledger.events.accounts import (
    Account,
    AccountClosed,
    AccountCredited,
    AccountDebited,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountOwnerChanged,
    AccountReopened,
    AccountUnfrozen,
    Freeze,
    FundsHeld,
    FundsReleased,
    IncomingHeld,
    IncomingReleased,
    MaxBalanceChanged,
    OverdraftLimitChanged,
)
from ledger.projections.account_labels import LABELS, WITH_LABELS, LabelFilters, labels_in
from ledger.projections.resource import Resource
from ledger.projections.table import CHANGE, POSITION, TIME, Column, Index, Table, encode_columns, insert, update
from ledger.store.connections import Reader
from ledger.store.reader import Bounds
from ledger.store.sql import Party, belongs_to, where_clause
from ledger.store.statements import Statement, integers, times, uuids

HANDLED = frozenset(get_args(AccountEvent))
_Entry: TypeAlias = AccountDebited | AccountCredited
_ENTRIES = frozenset(get_args(_Entry))
_OTHERS = HANDLED - _ENTRIES
_NO_LIMIT = -(2**63)  # in an update, where null leaves a column unchanged

Status = Literal["open", "closed"]

ACCOUNTS = Table(
    name="accounts",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("user_id", "uuid", optional=True),
        Column("currency", "text"),
        Column("balance_cents", "bigint"),
        Column("status", "text"),
        Column("version", "bigint", change=CHANGE),
        Column("position", "bigint", POSITION),
        Column("created_at", "timestamptz", TIME),
        Column("updated_at", "timestamptz", TIME, CHANGE),
        Column("held_cents", "bigint", optional=True),
        Column("overdraft_limit_cents", "bigint", optional=True),
        Column("frozen", "text", optional=True),
        Column(
            "max_balance_cents",
            "bigint",
            value=f"nullif(new.{{name}}, {_NO_LIMIT})",
            change=f"nullif(coalesce(new.{{name}}, {{table}}.{{name}}), {_NO_LIMIT})",
            optional=True,
        ),
    ),
    indexes=(
        Index("accounts_position_idx", '("position")', unique=True),
        Index("accounts_user_idx", '(user_id, "position")'),
        Index("accounts_currency_idx", '(currency, "position")'),
        Index("accounts_closed_idx", '("position")', where="(status = 'closed'::text)"),
    ),
    changes="update",
)
_FUNDS = ("held_cents", "overdraft_limit_cents", "frozen", "max_balance_cents")
_CHANGING = tuple(name for name in ACCOUNTS.names if name not in {"currency", "position", "created_at"})
_WITHOUT_FUNDS = tuple(name for name in _CHANGING if name not in _FUNDS)


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts of opened accounts and one update of each other account that changed."""
    types = {type(row.event) for row in events}
    if types.isdisjoint(_OTHERS):
        return _update_balances([row for row in events if type(row.event) in _ENTRIES])
    rows: dict[UUID, _Row] = {}
    for recorded in events:
        if type(recorded.event) in HANDLED:
            rows.setdefault(recorded.stream_id, _Row(recorded.stream_id)).change(recorded)
    opened = [row for row in rows.values() if row.position is not None]
    changed = [row for row in rows.values() if row.position is None]
    names = _CHANGING if any(row.changes_funds for row in changed) else _WITHOUT_FUNDS
    return [
        *([insert(ACCOUNTS, encode_columns(ACCOUNTS, ACCOUNTS.names, opened))] if opened else []),
        *([update(ACCOUNTS, encode_columns(ACCOUNTS, names, changed))] if changed else []),
    ]


def _update_balances(entries: Sequence[Recorded]) -> list[Statement]:
    """Return the update of accounts that only have entries, which is all that nearly every commit group needs."""
    last = list({row.stream_id: row for row in entries}.values())
    if not last:
        return []
    values = {
        "id": uuids([row.stream_id for row in last]),
        "version": integers([row.version for row in last]),
        "updated_at": times([row.recorded_at for row in last]),
        "balance_cents": integers([cast("_Entry", row.event).balance_cents for row in last]),
    }
    return [update(ACCOUNTS, values)]


@dataclass(slots=True)
class _Row:
    """The values that a run of events gives the columns of one account; None leaves a column unchanged."""

    id: UUID
    user_id: UUID | None = None
    currency: str | None = None
    balance_cents: int | None = None
    status: Status | None = None
    version: int = 0
    position: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    held_cents: int | None = None
    overdraft_limit_cents: int | None = None
    frozen: Freeze | None = None
    max_balance_cents: int | None = None

    @property
    def changes_funds(self) -> bool:
        """Return whether a column of `_FUNDS` changes; transfers change none."""
        return any(getattr(self, name) is not None for name in _FUNDS)

    def change(self, recorded: Recorded) -> None:  # noqa: C901 - one arm per event
        """Apply one event."""
        self.version, self.updated_at = recorded.version, recorded.recorded_at
        event = cast("AccountEvent", recorded.event)
        match event:
            case AccountDebited(balance_cents=balance) | AccountCredited(balance_cents=balance):
                self.balance_cents = balance
            case AccountOpened():
                self._open(recorded, event)
            case AccountOwnerChanged(owner_id=owner_id):
                self.user_id = owner_id
            case AccountClosed() | AccountReopened():
                self.status = "closed" if isinstance(event, AccountClosed) else "open"
            case IncomingHeld() | IncomingReleased() | AccountDescribed():
                pass  # what is held for an account has no column here, and labels have tables: only the version changes
            case FundsHeld(held_cents=held) | FundsReleased(held_cents=held):
                self.held_cents = held
            case OverdraftLimitChanged(overdraft_limit_cents=limit):
                self.overdraft_limit_cents = limit
            case MaxBalanceChanged(max_balance_cents=limit):
                self.max_balance_cents = _NO_LIMIT if limit is None else limit
            case AccountFrozen(frozen=frozen):
                self.frozen = frozen
            case AccountUnfrozen():
                self.frozen = "none"
            case _:
                assert_never(event)

    def _open(self, recorded: Recorded, event: AccountOpened) -> None:
        self.position, self.created_at = recorded.position, recorded.recorded_at
        self.user_id, self.currency, self.status = event.owner_id, event.currency, "open"
        self.balance_cents = self.held_cents = self.overdraft_limit_cents = 0
        self.frozen = "none"


# What overdue holds hold of an account is free, whether or not their expiry is recorded.
_ROW = f"""accounts.*, {LABELS}, CASE WHEN held_cents = 0 THEN 0 ELSE (
    SELECT coalesce(sum(amount_cents - coalesce(captured_cents, 0)), 0)::bigint FROM transfers
    WHERE status = 'pending' AND source_account_id = accounts.id AND expires_at <= now()) END AS freed_cents"""


async def find(reader: Reader, account_id: UUID, *, owner_id: Party | None = None) -> Resource | None:
    """Return one account, or None. With `owner_id`, an account of another party is None as well.

    The tag begins with the version. It names funds that became free since, because no event records that.
    """
    where, values = where_clause(((belongs_to(owner_id), owner_id),), first=2)
    row = await reader.fetchrow(f"SELECT {_ROW} FROM accounts {WITH_LABELS} WHERE id = $1 {where}", account_id, *values)
    if row is None:
        return None
    version, freed = row["version"], row["freed_cents"]
    return Resource(_body(row), f"{version}.{freed}" if freed else str(version))


class Filters(NamedTuple):
    """The filters of a list of accounts, which all apply. None filters nothing."""

    owner_id: Party | None = None
    user_id: UUID | None = None
    currency: str | None = None
    status: Status | None = None
    world: bool = False  # include the accounts of the ledger itself
    labels: LabelFilters = LabelFilters()


async def page(reader: Reader, filters: Filters, bounds: Bounds, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` accounts opened between two positions, newest first, each with its position."""
    where, values = where_clause(
        (
            (belongs_to(filters.owner_id), filters.owner_id),
            ("user_id = {}", filters.user_id),
            ("currency = {}", filters.currency),
            *filters.labels.terms(),
        ),
        first=4,
    )
    status = "" if filters.status is None else f"AND status = '{filters.status}'"  # spelt out, as in the index
    owned = "" if filters.world else "AND user_id IS NOT NULL"  # the one account per currency without an owner
    rows = await reader.fetch(
        f"""SELECT {_ROW} FROM accounts {WITH_LABELS} WHERE position > $1 AND position < $2 {where} {status} {owned}
            ORDER BY position DESC LIMIT $3""",
        *(*bounds, limit, *values),
    )
    return [(row["position"], _body(row)) for row in rows]


async def open_ids(reader: Reader, owner_id: UUID) -> tuple[UUID, ...]:
    """Return the ids of the open accounts of one user."""
    rows = await reader.fetch("SELECT id FROM accounts WHERE user_id = $1 AND status = 'open'", owner_id)
    return tuple(row["id"] for row in rows)


def _body(row: Record) -> dict[str, Any]:
    members = {member: row[member] for member in ("currency", "status", "created_at", "updated_at")}
    return {
        "id": row["id"],
        "user_id": row["user_id"],
        **funds_in(row),
        **labels_in(row).members(),
        **members,
    }


def funds_in(row: Record) -> dict[str, int | str | None]:
    """Return the amounts and restrictions in a row, as clients see them."""
    return Account(
        row["user_id"],
        row["currency"],
        row["balance_cents"],
        held_cents=row["held_cents"] - row["freed_cents"],
        overdraft_limit_cents=row["overdraft_limit_cents"],
        frozen=row["frozen"],
        max_balance_cents=row["max_balance_cents"],
    ).funds()
