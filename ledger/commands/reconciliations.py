"""Reconciling an account with statements of its bank, and undoing that.

What is matched was decided on the entries as they were read. The commands therefore apply only to the version of the
account's reconciliations at that time, so no entry and no line is ever matched twice.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from ledger.commands.command import Command, Decision, States
from ledger.commands.expected_version import Versioned
from ledger.errors import Refusal, Refused, StaleCommandError
from ledger.events.reconciliations import (
    By,
    EntryReconciled,
    ReconciliationUndone,
    StatementReconciled,
    reconciliation_stream,
)

MAX_LINES = 5000  # of one statement
MAX_ENTRIES = 10_000  # of the account in the days of a statement


def reconciliation_not_found() -> Refusal:
    """Refuse to undo a reconciliation that the account does not have, or that was undone."""
    return Refusal("resource_not_found", "the account has no such reconciliation")


def too_many_entries() -> Refusal:
    """Refuse a statement whose days have more entries of the account than can be compared at once."""
    message = f"the account has more than {MAX_ENTRIES:,} entries on these days: reconcile fewer days at a time"
    return Refusal("validation_error", message, detail={"pointer": "/lines"})


class MatchedLine(msgspec.Struct, frozen=True, array_like=True):
    """A line and the entry that it is."""

    key: str
    day: date
    entry_version: int
    transaction_id: UUID
    by: By


class Statement(msgspec.Struct, frozen=True, array_like=True):
    """What a statement says beside its lines."""

    first_day: date
    last_day: date
    source: str | None = None
    opening_cents: int | None = None
    closing_cents: int | None = None


class ReconcileStatement(Command, frozen=True, kw_only=True):
    """Record which lines of a statement are which entries; nothing without a match.

    The client gets the `report`, a JSON object as text.
    """

    name: ClassVar[str] = "ReconcileStatement"
    always_appends: ClassVar[bool] = False

    account_id: UUID
    reconciliation_id: UUID
    known_version: int
    statement: Statement
    matched: tuple[MatchedLine, ...]
    report: str

    @property
    def resource_id(self) -> UUID:
        """Return the id of the reconciliation."""
        return self.reconciliation_id

    def streams(self) -> Iterable[UUID]:
        """Return the account's reconciliations."""
        return (reconciliation_stream(self.account_id),)

    def depends_on_versions(self) -> bool:
        """Return True: what is matched depends on what was matched before."""
        return True

    def decide(self, states: States) -> Decision:
        """Return an event for the statement and for each line. Raises `StaleCommandError` after another change."""
        stream = reconciliation_stream(self.account_id)
        _check_known(states, stream, self.known_version)
        report: dict[str, Any] = msgspec.json.decode(self.report)
        if not self.matched:
            return Decision([], report)
        statement = self.statement
        begun = StatementReconciled(
            self.reconciliation_id,
            self.account_id,
            statement.first_day,
            statement.last_day,
            len(self.matched),
            statement.source,
            statement.opening_cents,
            statement.closing_cents,
        )
        entries = [
            EntryReconciled(self.reconciliation_id, one.entry_version, one.transaction_id, one.key, one.day, one.by)
            for one in self.matched
        ]
        return Decision([(stream, begun), *((stream, entry) for entry in entries)], report)


class Undone(msgspec.Struct, frozen=True, array_like=True):
    """A reconciliation, and the entries that it has matched."""

    reconciliation_id: UUID
    entry_versions: tuple[int, ...]


class UndoReconciliations(Command, frozen=True, kw_only=True):
    """Undo reconciliations of an account, so that their entries and lines can be matched again."""

    name: ClassVar[str] = "UndoReconciliations"
    always_appends: ClassVar[bool] = True

    account_id: UUID
    known_version: int
    undone: tuple[Undone, ...]

    def streams(self) -> Iterable[UUID]:
        """Return the account's reconciliations."""
        return (reconciliation_stream(self.account_id),)

    def depends_on_versions(self) -> bool:
        """Return True: what is undone was read before."""
        return True

    def decide(self, states: States) -> Decision:
        """Return an event for each reconciliation. Raises `StaleCommandError` after another change."""
        stream = reconciliation_stream(self.account_id)
        _check_known(states, stream, self.known_version)
        if not self.undone or states[stream] is None:
            raise Refused(reconciliation_not_found())
        result = {
            "undone": [str(one.reconciliation_id) for one in self.undone],
            "entries": sum(len(one.entry_versions) for one in self.undone),
        }
        events = [ReconciliationUndone(one.reconciliation_id, one.entry_versions) for one in self.undone]
        return Decision([(stream, event) for event in events], result)


def _check_known(states: States, stream: UUID, version: int) -> None:
    assert isinstance(states, Versioned)  # noqa: S101 - the commit group passes versions to these commands
    if states.versions[stream] != version:
        raise StaleCommandError
