"""Accounts, as `/accounts` shows them: one row each, with the balance of now."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args
from uuid import UUID

from asyncpg import Record

from ledger.events import Event, Recorded
from ledger.events.accounts import (
    Account,
    AccountClosed,
    AccountCredited,
    AccountDebited,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountOwnerChanged,
    AccountUnfrozen,
    Freeze,
    FundsHeld,
    FundsReleased,
    OverdraftLimitChanged,
)
from ledger.store.connections import Reader
from ledger.store.pool import Resource, conditions
from ledger.store.reader import Bounds
from ledger.store.statements import Statement, columns, integers, texts, times, uuids, words

_CHANGES = frozenset(get_args(AccountEvent)) - {AccountOpened}
_INSERTED = ("uuid", "bigint", "timestamptz", "uuid", "text", "bigint", "text", "bigint", "timestamptz")
HANDLED = _CHANGES | {AccountOpened}
_Entry: TypeAlias = AccountDebited | AccountCredited
_ENTRIES = frozenset(get_args(_Entry))
_OTHERS = HANDLED - _ENTRIES

Status = Literal["open", "closed"]


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """New rows for accounts that were opened; of an account that changed, only what is so after the last event."""
    types = {type(row.event) for row in events}
    if types.isdisjoint(_OTHERS):
        return _move([row for row in events if type(row.event) in _ENTRIES])
    opened = [(row, row.event) for row in events if isinstance(row.event, AccountOpened)]
    changed: dict[UUID, list[Recorded]] = {}
    for row in events:
        if type(row.event) in _CHANGES:
            changed.setdefault(row.stream_id, []).append(row)
    new = {row.stream_id: changed.pop(row.stream_id, []) for row, _ in opened}
    statements = [_insert(opened, [_Change(new[row.stream_id]) for row, _ in opened])] if opened else []
    return [*statements, *([_update([_Change(rows) for rows in changed.values()])] if changed else [])]


def _move(entries: Sequence[Recorded]) -> list[Statement]:
    """The same of accounts between which money moved, and no more happened, as it nearly always is."""
    last = list({row.stream_id: row for row in entries}.values())
    if not last:
        return []
    return [
        Statement(
            f"""UPDATE accounts SET version = new.version, updated_at = coalesce(new.at, recorded_at),
                                    balance_cents = new.balance_cents
                FROM {columns("uuid", "bigint", "timestamptz", "bigint")} AS new(id, version, at, balance_cents),
                     reserved
                WHERE accounts.id = new.id""",
            (
                uuids(row.stream_id for row in last),
                integers(row.version for row in last),
                times([row.recorded_at for row in last]),
                integers(cast("_Entry", row.event).balance_cents for row in last),
            ),
        )
    ]


class _Change:
    """What a run of events of one account leaves behind; None is what it does not touch."""

    __slots__ = (
        "balance_cents",
        "frozen",
        "held_cents",
        "last",
        "overdraft_limit_cents",
        "owner_id",
        "status",
        "touches_funds",
    )

    def __init__(self, rows: Sequence[Recorded]) -> None:
        self.last = rows[-1] if rows else None
        self.balance_cents: int | None = None
        self.owner_id: UUID | None = None
        self.status: str | None = None
        self.held_cents: int | None = None
        self.overdraft_limit_cents: int | None = None
        self.frozen: Freeze | None = None
        self.touches_funds = False  # transfers do not
        for row in rows:
            match row.event:
                case AccountDebited(balance_cents=balance) | AccountCredited(balance_cents=balance):
                    self.balance_cents = balance
                case AccountOwnerChanged(owner_id=owner_id):
                    self.owner_id = owner_id
                case AccountClosed():
                    self.status = "closed"
                case other:
                    self._take_funds(other)

    def _take_funds(self, event: Event) -> None:
        self.touches_funds = True
        match event:
            case FundsHeld(held_cents=held) | FundsReleased(held_cents=held):
                self.held_cents = held
            case OverdraftLimitChanged(overdraft_limit_cents=limit):
                self.overdraft_limit_cents = limit
            case AccountFrozen(frozen=frozen):
                self.frozen = frozen
            case AccountUnfrozen():
                self.frozen = "none"
            case _:
                pass


_FUNDS = (("held_cents", "bigint"), ("overdraft_limit_cents", "bigint"), ("frozen", "text"))


def _insert(opened: Sequence[tuple[Recorded, AccountOpened]], changes: Sequence[_Change]) -> Statement:
    return Statement(
        f"""INSERT INTO accounts (id, position, created_at, user_id, currency, balance_cents, status, version,
                                  updated_at, held_cents, overdraft_limit_cents, frozen)
            SELECT id, first_position + number, coalesce(at, recorded_at), user_id, currency, balance_cents, status,
                   version, coalesce(changed_at, recorded_at), held_cents, overdraft_limit_cents, frozen
            FROM {columns(*_INSERTED, *(kind for _, kind in _FUNDS))}
                 AS new(id, number, at, user_id, currency, balance_cents, status, version, changed_at, held_cents,
                        overdraft_limit_cents, frozen), reserved""",
        (
            uuids(row.stream_id for row, _ in opened),
            integers(row.position for row, _ in opened),
            times([row.recorded_at for row, _ in opened]),
            uuids(change.owner_id or event.owner_id for (_, event), change in zip(opened, changes, strict=True)),
            words(event.currency for _, event in opened),
            integers(change.balance_cents or 0 for change in changes),
            words(change.status or "open" for change in changes),
            integers((change.last or row).version for (row, _), change in zip(opened, changes, strict=True)),
            times([(change.last or row).recorded_at for (row, _), change in zip(opened, changes, strict=True)]),
            integers(change.held_cents or 0 for change in changes),
            integers(change.overdraft_limit_cents or 0 for change in changes),
            words(change.frozen or "none" for change in changes),
        ),
    )


def _update(changes: Sequence[_Change]) -> Statement:
    last = [change.last for change in changes if change.last is not None]
    funds = _FUNDS if any(change.touches_funds for change in changes) else ()
    return Statement(
        f"""UPDATE accounts SET version = new.version, updated_at = coalesce(new.at, recorded_at),
                   balance_cents = coalesce(new.balance_cents, accounts.balance_cents),
                   user_id = coalesce(new.user_id, accounts.user_id),
                   status = coalesce(new.status, accounts.status)
                   {"".join(f", {name} = coalesce(new.{name}, accounts.{name})" for name, _ in funds)}
            FROM {columns("uuid", "bigint", "timestamptz", "bigint", "uuid", "text", *(kind for _, kind in funds))}
                 AS new(id, version, at, balance_cents, user_id, status {"".join(f", {name}" for name, _ in funds)}),
                 reserved
            WHERE accounts.id = new.id""",
        (
            uuids(row.stream_id for row in last),
            integers(row.version for row in last),
            times([row.recorded_at for row in last]),
            integers(change.balance_cents for change in changes),
            uuids(change.owner_id for change in changes),
            texts(change.status for change in changes),
            *(_funds_of(changes) if funds else ()),
        ),
    )


def _funds_of(changes: Sequence[_Change]) -> tuple[bytes, ...]:
    return (
        integers(change.held_cents for change in changes),
        integers(change.overdraft_limit_cents for change in changes),
        texts(change.frozen for change in changes),
    )


async def find(reader: Reader, account_id: UUID, *, owner_id: UUID | None = None) -> Resource | None:
    """One account; with `owner_id`, only if it is that user's."""
    row = await reader.fetchrow(
        "SELECT * FROM accounts WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2)", account_id, owner_id
    )
    return Resource(_body(row), str(row["version"])) if row else None


class Wanted(NamedTuple):
    """Which accounts are wanted: those for which all of it holds. None is no matter."""

    owner_id: UUID | None = None
    user_id: UUID | None = None
    currency: str | None = None
    status: Status | None = None
    world: bool = False  # the ledger's own as well


async def page(reader: Reader, wanted: Wanted, bounds: Bounds, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Up to `limit` accounts opened between two positions, newest first, each with its position."""
    chosen, values = conditions(
        (("user_id = {}", wanted.owner_id), ("user_id = {}", wanted.user_id), ("currency = {}", wanted.currency)),
        first=4,
    )
    status = "" if wanted.status is None else f"AND status = '{wanted.status}'"  # spelt out, as in the index
    owned = "" if wanted.world else "AND user_id IS NOT NULL"  # the others are one a currency: no index leaves them out
    rows = await reader.fetch(
        f"""SELECT * FROM accounts WHERE position > $1 AND position < $2 {chosen} {status} {owned}
            ORDER BY position DESC LIMIT $3""",
        *(*bounds, limit, *values),
    )
    return [(row["position"], _body(row)) for row in rows]


async def open_ids(reader: Reader, owner_id: UUID) -> tuple[UUID, ...]:
    """The open accounts of one user."""
    rows = await reader.fetch("SELECT id FROM accounts WHERE user_id = $1 AND status = 'open'", owner_id)
    return tuple(row["id"] for row in rows)


def _body(row: Record) -> dict[str, Any]:
    members = ("currency", "status", "created_at", "updated_at")
    return {"id": row["id"], "user_id": row["user_id"], **funds_in(row), **{member: row[member] for member in members}}


def funds_in(row: Record) -> dict[str, int | str]:
    """What a row says of the money of an account."""
    return Account(
        row["user_id"],
        row["currency"],
        row["balance_cents"],
        held_cents=row["held_cents"],
        overdraft_limit_cents=row["overdraft_limit_cents"],
        frozen=row["frozen"],
    ).funds()
