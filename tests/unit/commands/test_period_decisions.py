"""Closed periods, and what a plain transfer pays for them: nothing."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from ledger.commands import COMMANDS
from ledger.commands.batch import TransferBatch
from ledger.commands.command import Command
from ledger.commands.holds import CaptureHold, PlaceHold
from ledger.commands.imports import ImportAccounts, ImportedBalance, ImportTransfers
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.periods import ClosePeriod, ReopenPeriod
from ledger.commands.reversals import ReverseTransaction
from ledger.events import Recorded
from ledger.events.periods import PERIODS, PeriodClosed, PeriodReopened, Periods, evolve
from ledger.projections import INLINE, apply_all, dated_entries
from tests.support.ledgers import ALICE, NOON, PURSE, TILL, TRANSFER, TWO_ACCOUNTS, Given, transfer_command

THROUGH = date(2026, 3, 31)
CLOSED = [*TWO_ACCOUNTS, (PERIODS, PeriodClosed(THROUGH))]
LAST = datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC)
SIDES: dict[str, Any] = {"source_account_id": PURSE, "destination_account_id": TILL}


def commands(effective_at: datetime | None) -> list[Command]:
    """Return each command that can have an effective time, with one."""
    transfer = transfer_command(5, effective_at=effective_at)
    postings = (NewPosting(PURSE, -5), NewPosting(TILL, 5))
    imported = ImportedBalance(
        account_id=PURSE, owner_id=ALICE, cents=5, transaction_id=TRANSFER, effective_at=effective_at
    )
    return [
        transfer,
        TransferBatch((transfer,)),
        TransferBatch((transfer,), seem_new=True),
        PostJournalEntry(transaction_id=TRANSFER, postings=postings, effective_at=effective_at),
        PlaceHold(
            transaction_id=TRANSFER,
            **SIDES,
            amount_cents=5,
            now=NOON,
            expires_at=NOON + timedelta(1),
            limit_seconds=100_000,
            effective_at=effective_at,
        ),
        CaptureHold(transaction_id=TRANSFER, **SIDES, now=NOON, amount_cents=5, effective_at=effective_at),
        ReverseTransaction(
            reversal_id=UUID(int=9), transaction_id=TRANSFER, account_ids=(PURSE, TILL), effective_at=effective_at
        ),
        ImportAccounts(currency="USD", balances=(imported,)),
        ImportTransfers((transfer,)),
    ]


def test_the_list_has_each_command_with_an_effective_time() -> None:
    named: set[Any] = {kind for kind in COMMANDS if "effective_at" in kind.__struct_fields__} | {
        TransferBatch,
        ImportAccounts,
        ImportTransfers,
    }
    never = {"VoidHold", "ExpireHold"}  # which have the details of a capture, and no use for them
    assert {type(command) for command in commands(NOON)} == {kind for kind in named if kind.name not in never}


def test_each_command_reads_the_periods_only_if_it_has_an_effective_time() -> None:
    for command, plain in zip(commands(NOON), commands(None), strict=True):
        assert PERIODS in set(command.streams()), command.name
        assert PERIODS not in set(plain.streams()), command.name


def test_a_plain_transfer_reads_and_writes_nothing_more() -> None:
    command = transfer_command(5)
    assert {PURSE, TILL} == set(command.streams())
    events = [Recorded(0, stream, 1, None, event) for stream, event in Given(TWO_ACCOUNTS).when(command)]
    others = [one for one in INLINE if one.tables != (dated_entries.DATED_ENTRIES,)]
    assert [] == dated_entries.apply(events)
    assert apply_all(others, events) == apply_all(INLINE, events)


@pytest.mark.parametrize("effective_at", [LAST, datetime(2026, 3, 31, 1, tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
def test_a_closed_period_refuses(effective_at: datetime) -> None:
    assert ["period_closed"] == Given(CLOSED).refuses(transfer_command(5, effective_at=effective_at))


@pytest.mark.parametrize("effective_at", [None, LAST + timedelta(microseconds=1), NOON])
def test_an_open_day_does_not(effective_at: datetime | None) -> None:
    assert Given(CLOSED).when(transfer_command(5, effective_at=effective_at))


def test_a_day_must_have_ended_and_be_open_to_be_closed() -> None:
    close = ClosePeriod(through=date(2026, 4, 30), today=date(2026, 5, 1))
    assert [(PERIODS, PeriodClosed(date(2026, 4, 30)))] == Given(CLOSED).when(close)
    for through, code in ((date(2026, 5, 1), "validation_error"), (THROUGH, "period_closed")):
        assert [code] == Given(CLOSED).refuses(msgspec.structs.replace(close, through=through))


def test_reopening_goes_back_to_the_end_of_the_period_before() -> None:
    ends = [date(2026, month, 1) for month in (1, 2, 3)]
    state: Any = None
    for end in ends:
        state = evolve(state, PeriodClosed(end))
    assert ends[-1] == state.through
    assert Periods((ends[0],)) == evolve(state, PeriodReopened(ends[1]))
    assert ["validation_error"] == Given([]).refuses(ReopenPeriod())
