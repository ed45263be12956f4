"""Commands of reconciliations, drawn for the tests of decisions."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from ledger.commands.command import Command
from ledger.commands.reconciliations import MatchedLine, ReconcileStatement, Statement, Undone, UndoReconciliations
from ledger.events.reconciliations import EntryReconciled, ReconciliationUndone, reconciliation_stream
from ledger.store.heads import NO_STREAM
from tests.support.ledgers import ACCOUNTS, NOBODY, PURSE, Ledger

DAY = date(2026, 5, 1)


def read_matched(ledger: Ledger, account_id: UUID) -> Mapping[int, UUID]:
    """Return the reconciliation of each matched entry of an account, from the history."""
    matched: dict[int, UUID] = {}
    for row in ledger.history:
        if row.stream_id == reconciliation_stream(account_id):
            if isinstance(row.event, EntryReconciled):
                matched[row.event.entry_version] = row.event.reconciliation_id
            elif isinstance(row.event, ReconciliationUndone):
                for version in row.event.entry_versions:
                    del matched[version]
    return matched


def read_version(ledger: Ledger, account_id: UUID, *, is_current: bool) -> int:
    """Return the version of an account's reconciliations, or one that it does not have."""
    stream, group = reconciliation_stream(account_id), ledger.group
    return (group.changed.get(stream) or group.heads.get(stream, NO_STREAM)).version + (0 if is_current else 1)


def reconcile(ledger: Ledger, account_id: UUID, versions: frozenset[int], is_current: bool) -> Command:
    """Match the entries of these versions that are not matched yet."""
    known, run_id = read_matched(ledger, account_id), ledger.fresh_id()
    matched = tuple(
        MatchedLine(f"line {version}", DAY, version, NOBODY, "day") for version in sorted(versions - known.keys())
    )
    return ReconcileStatement(
        account_id=account_id,
        reconciliation_id=run_id,
        known_version=read_version(ledger, account_id, is_current=is_current),
        statement=Statement(DAY, DAY),
        matched=matched,
        report=f'{{"matched":{len(matched)}}}',
    )


def undo(ledger: Ledger, account_id: UUID, is_current: bool) -> Command:
    """Undo a reconciliation that stands, or none."""
    known = read_matched(ledger, account_id)
    run_id = next(iter(known.values()), NOBODY)
    versions = tuple(version for version, one in known.items() if one == run_id)
    return UndoReconciliations(
        account_id=account_id,
        known_version=read_version(ledger, account_id, is_current=is_current),
        undone=(Undone(run_id, versions),) if versions else (),
    )


_accounts, _mostly = st.sampled_from(ACCOUNTS), st.sampled_from([True, True, True, False])


def _draw(
    make: Callable[..., Command], *drawn: st.SearchStrategy[Any]
) -> st.SearchStrategy[Callable[[Ledger], Command]]:
    return st.tuples(*drawn).map(lambda given: lambda ledger: make(ledger, *given))


makers: st.SearchStrategy[Callable[[Ledger], Command]] = st.one_of(
    _draw(reconcile, _accounts, st.frozensets(st.integers(1, 9), max_size=3), _mostly),
    _draw(undo, _accounts, _mostly),
)


def live_through(ledger: Ledger) -> None:
    """Let a reconciliation be made and undone."""
    ledger.execute(reconcile(ledger, PURSE, frozenset({2, 3}), is_current=True))
    ledger.execute(undo(ledger, PURSE, is_current=True))
