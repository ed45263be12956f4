"""The rules of reconciliations, without a database: what was decided on an older version is decided again."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from ledger.commands.command import Decision
from ledger.commands.reconciliations import (
    MatchedLine,
    ReconcileStatement,
    Statement,
    Undone,
    UndoReconciliations,
)
from ledger.errors import StaleCommandError
from ledger.events import Event, Recorded
from ledger.events.reconciliations import (
    EntryReconciled,
    Reconciliation,
    ReconciliationUndone,
    StatementReconciled,
    evolve,
    reconciliation_stream,
)
from ledger.projections.reconciliations import apply
from ledger.values.ids import new_id
from ledger.write.group import CommitGroup
from tests.support.ledgers import PURSE, commit_group, named_id

STREAM = reconciliation_stream(PURSE)
MAY = Statement(date(2026, 5, 1), date(2026, 5, 31), "may.xml", 100, 200)
FIRST, SECOND = named_id("first"), named_id("second")
TABLES = ("INSERT INTO reconciliations", "UPDATE reconciliations", "INSERT INTO reconciled_entries", "DELETE")


def reconcile(name: UUID, known_version: int, *versions: int) -> ReconcileStatement:
    matched = tuple(MatchedLine(f"key {version}", MAY.first_day, version, name, "day") for version in versions)
    return ReconcileStatement(
        account_id=PURSE,
        reconciliation_id=name,
        known_version=known_version,
        statement=MAY,
        matched=matched,
        report=f'{{"id":"{name}"}}',
    )


def undo(known_version: int, *undone: Undone) -> UndoReconciliations:
    return UndoReconciliations(account_id=PURSE, known_version=known_version, undone=undone)


def reconciled(name: UUID, *versions: int) -> list[Event]:
    begun = StatementReconciled(name, PURSE, MAY.first_day, MAY.last_day, len(versions), "may.xml", 100, 200)
    return [
        begun,
        *(EntryReconciled(name, version, name, f"key {version}", MAY.first_day, "day") for version in versions),
    ]


def decide(group: CommitGroup, command: ReconcileStatement | UndoReconciliations) -> list[Event]:
    decision = group.decide(command, new_id())
    assert isinstance(decision, Decision), decision
    assert {stream for stream, _ in decision.events} <= {STREAM}
    return [event for _, event in decision.events]


def test_a_match_is_an_event_and_an_undo_names_what_it_frees() -> None:
    group = commit_group([])
    assert reconciled(FIRST, 2, 3) == decide(group, reconcile(FIRST, 0, 2, 3))
    assert [ReconciliationUndone(FIRST, (2, 3))] == decide(group, undo(3, Undone(FIRST, (2, 3))))
    assert reconciled(SECOND, 3) == decide(group, reconcile(SECOND, 4, 3))


def test_without_a_match_nothing_is_recorded() -> None:
    assert [] == decide(commit_group([]), reconcile(FIRST, 0))


def test_two_reconciliations_of_one_version_do_not_both_count() -> None:
    """Whatever they match, the second was decided without knowing the first."""
    group = commit_group([])
    decide(group, reconcile(FIRST, 0, 2))
    for command in (
        reconcile(SECOND, 0, 2),
        reconcile(SECOND, 0, 7),
        reconcile(SECOND, 0),
        undo(1, Undone(FIRST, (2,))),
    ):
        assert isinstance(group.decide(command, new_id()), StaleCommandError)
    assert reconciled(SECOND, 7) == decide(group, reconcile(SECOND, 2, 7))


def test_the_state_counts_the_entries_that_are_reconciled() -> None:
    state: Reconciliation | None = None
    for event in (*reconciled(FIRST, 2, 3), ReconciliationUndone(FIRST, (2, 3)), *reconciled(SECOND, 3)):
        state = evolve(state, event)  # type: ignore[arg-type]
    assert Reconciliation(PURSE, 1) == state
    with pytest.raises(ValueError, match="starts with a statement"):
        evolve(None, ReconciliationUndone(FIRST, (2,)))


@pytest.mark.parametrize(
    ("events", "changed"),
    [
        (reconciled(FIRST, 2), (1, 0, 1, 0)),
        ([ReconciliationUndone(FIRST, (2, 3))], (0, 1, 0, 1)),
        ([*reconciled(FIRST, 2), ReconciliationUndone(FIRST, (2,))], (1, 0, 0, 0)),
        ([ReconciliationUndone(FIRST, (2,)), *reconciled(SECOND, 2)], (1, 1, 1, 0)),
        ([ReconciliationUndone(FIRST, (2, 3)), *reconciled(SECOND, 2)], (1, 1, 1, 1)),
        ([*reconciled(FIRST, 2), ReconciliationUndone(FIRST, (2,)), *reconciled(SECOND, 2)], (1, 0, 1, 0)),
    ],
)
def test_a_run_of_events_changes_each_row_once(events: Sequence[Event], changed: tuple[int, ...]) -> None:
    """A rebuild applies many events at once, and the parts of its statement run in no order."""
    at = datetime(2026, 6, 1, tzinfo=UTC)
    rows = [Recorded(number, STREAM, number, at, event) for number, event in enumerate(events, 1)]
    statements = [statement.sql.strip() for statement in apply(rows)]
    assert changed == tuple(sum(sql.startswith(f"{name} ") for sql in statements) for name in TABLES)
    replaces = sum("ON CONFLICT" in sql for sql in statements)
    assert replaces == (isinstance(events[0], ReconciliationUndone) and len(events) > 1)
