"""Commands of scheduled transactions, balance monitors and reconciliations, drawn for the tests of decisions."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from ledger.commands.command import Command
from ledger.commands.monitors import CreateMonitor, Crossing, DeleteMonitor, RecordCrossings
from ledger.commands.schedules import CancelSchedule, ExecuteSchedule, ScheduleTransaction
from ledger.commands.transfers import TransferMoney
from ledger.events.monitors import Monitor, Rule
from ledger.events.transactions import MoneyTransferred, TransactionScheduled
from tests.support import reconciliation_commands, webhook_commands
from tests.support.ledgers import ACCOUNTS, BOB, NOBODY, NOON, PURSE, TILL, Ledger, named_id, transaction_ids

NOTHING = TransactionScheduled(
    transfer=MoneyTransferred(
        source_account_id=TILL,
        destination_account_id=PURSE,
        amount_cents=1,
        currency="USD",
        kind="transfer",
        reference=None,
    ),
    execute_at=NOON,
    actor_id=BOB,
)


def schedule(
    _: Ledger, transaction_id: UUID, sides: tuple[UUID, UUID], cents: int, reference: str | None, owner_id: UUID | None
) -> Command:
    source, destination = sides
    planned = TransferMoney(
        transaction_id=transaction_id,
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=cents,
        reference=reference,
        only_owner_id=owner_id,
        id_was_chosen=True,
        effective_at=NOON,
    )
    later = NOON + timedelta(seconds=10)
    return ScheduleTransaction(planned=planned, actor_id=BOB, now=NOON, execute_at=later, limit_seconds=100)


def find(ledger: Ledger, number: int) -> tuple[UUID, TransactionScheduled]:
    """Return a scheduled transaction, counted from the last (0), ended or not; an unknown one if there are none."""
    found = [(row.stream_id, row.event) for row in ledger.history if isinstance(row.event, TransactionScheduled)]
    return found[-1 - number % len(found)] if found else (NOBODY, NOTHING)


def execute(ledger: Ledger, number: int, now: int) -> Command:
    transaction_id, scheduled = find(ledger, number)
    return ExecuteSchedule(transaction_id=transaction_id, scheduled=scheduled, now=NOON + timedelta(seconds=now))


def cancel(ledger: Ledger, number: int) -> Command:
    transaction_id, scheduled = find(ledger, number)
    return CancelSchedule(transaction_id=transaction_id, scheduled=scheduled)


def watch(_: Ledger, monitor_id: UUID, account_id: UUID, cents: int) -> Command:
    return CreateMonitor(monitor_id=monitor_id, rule=Rule(account_id, "balance_cents", "<", cents))


def cross(ledger: Ledger, monitor_id: UUID, steps: int) -> Command:
    """Record as many crossings after the last one that the monitor knows, and that one again."""
    known = ledger.states().get(monitor_id)
    triggered, version = (known.triggered, known.seen_version) if isinstance(known, Monitor) else (False, 0)
    return RecordCrossings(
        monitor_id=monitor_id,
        crossings=tuple(
            Crossing(triggered == (step % 2 == 0), version + step, seen_position=version + step, found_cents=step)
            for step in range(steps)
        ),
    )


def delete(_: Ledger, monitor_id: UUID) -> Command:
    return DeleteMonitor(monitor_id=monitor_id)


_accounts, _numbers = st.sampled_from(ACCOUNTS), st.integers(0, 5)
_monitors = st.sampled_from([named_id(f"monitor {number}") for number in range(3)])


def _draw(
    make: Callable[..., Command], *drawn: st.SearchStrategy[Any]
) -> st.SearchStrategy[Callable[[Ledger], Command]]:
    return st.tuples(*drawn).map(lambda given: lambda ledger: make(ledger, *given))


makers: st.SearchStrategy[Callable[[Ledger], Command]] = st.one_of(
    _draw(
        schedule,
        transaction_ids,
        st.tuples(_accounts, _accounts),
        st.integers(1, 200),
        st.sampled_from([None, None, "rent", "fees"]),
        st.sampled_from([BOB, BOB, None]),
    ),
    _draw(execute, _numbers, st.sampled_from([9, 10, 100])),
    _draw(cancel, _numbers),
    _draw(watch, _monitors, _accounts, st.integers(0, 300)),
    _draw(cross, _monitors, _numbers),
    _draw(delete, _monitors),
    reconciliation_commands.makers,
    webhook_commands.makers,
)


def live_through(ledger: Ledger) -> None:
    """Let schedules be posted, fail and be cancelled, a monitor be triggered, and a reconciliation be undone.

    Random sequences rarely get there.
    """
    for number, cents in enumerate((5, 1_000_000, 6)):
        ledger.execute(schedule(ledger, named_id(f"scheduled {number}"), (TILL, PURSE), cents, f"plan {number}", BOB))
        ledger.execute(cancel(ledger, 0) if cents == 6 else execute(ledger, 0, 10))
    monitor_id = named_id("monitor 0")
    ledger.execute(watch(ledger, monitor_id, TILL, 50))
    ledger.execute(cross(ledger, monitor_id, 3))
    ledger.execute(delete(ledger, monitor_id))
    reconciliation_commands.live_through(ledger)
    webhook_commands.live_through(ledger)
