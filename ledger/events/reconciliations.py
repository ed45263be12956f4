"""The events of an account's reconciliations with statements of its bank, and the state they fold into.

They are on a stream beside the account's own, so they neither wait for transactions nor delay them.
"""

from datetime import date
from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from ledger.values.derived import derived_id

By = Literal["reference", "day", "window"]  # what an entry and a line have in common, beside the amount


def reconciliation_stream(account_id: UUID) -> UUID:
    """Return the stream of an account's reconciliations."""
    return derived_id("reconciliations", str(account_id))


class StatementReconciled(msgspec.Struct, frozen=True, omit_defaults=True):
    """Lines of a statement were matched with entries of the account; an event for each of them follows.

    `source` identifies the file. The balances are those of the statement.
    """

    TOPIC: ClassVar[str] = "StatementReconciled"

    reconciliation_id: UUID
    account_id: UUID
    first_day: date
    last_day: date
    matched: int
    source: str | None = None
    opening_cents: int | None = None
    closing_cents: int | None = None


class EntryReconciled(msgspec.Struct, frozen=True):
    """An entry of the account, by its version there, is a line of the statement, which counts on `line_day`."""

    TOPIC: ClassVar[str] = "EntryReconciled"

    reconciliation_id: UUID
    entry_version: int
    transaction_id: UUID
    line_key: str
    line_day: date
    by: By


class ReconciliationUndone(msgspec.Struct, frozen=True):
    """A reconciliation was undone: its entries can be matched again."""

    TOPIC: ClassVar[str] = "ReconciliationUndone"

    reconciliation_id: UUID
    entry_versions: tuple[int, ...]


ReconciliationEvent = StatementReconciled | EntryReconciled | ReconciliationUndone


class Reconciliation(msgspec.Struct, frozen=True):
    """The state of an account's reconciliations: how many of its entries are matched with a line."""

    TOPIC: ClassVar[str] = "Reconciliation"

    account_id: UUID
    reconciled_entries: int = 0


def evolve(state: Reconciliation | None, event: ReconciliationEvent) -> Reconciliation:
    """Fold one event into the state; the first event of a stream is that of a statement."""
    match event:
        case StatementReconciled(account_id=account_id):
            return state or Reconciliation(account_id)
        case EntryReconciled():
            return _count(state, 1)
        case ReconciliationUndone(entry_versions=versions):
            return _count(state, -len(versions))
        case _:
            assert_never(event)


def _count(state: Reconciliation | None, more: int) -> Reconciliation:
    if state is None:
        raise ValueError("the history of reconciliations starts with a statement")
    return msgspec.structs.replace(state, reconciled_entries=state.reconciled_entries + more)
