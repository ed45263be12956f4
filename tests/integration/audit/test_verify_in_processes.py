"""Processes that share the check of a log find the same, and a check whose process dies fails."""

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

from ledger.audit.verify import Finding, Processes, Sources, verify
from ledger.audit.verify.processes import CheckProcessError
from ledger.settings import Settings
from tests.integration.audit.conftest import DEBIT, TRANSFER, Progress, check, edit_row, plant
from tests.support.processes import until
from tests.support.traffic import BOB, EUROS, PAYMENT_COMMAND

PLANTED = {
    "a changed amount": edit_row(DEBIT, "amount_cents", "2499"),
    "a forged balance": edit_row(DEBIT, "balance_cents", "1000000"),
    "a negative amount": edit_row(TRANSFER, "amount_cents", "-1"),
    "an event that no table can hold": edit_row(TRANSFER, "amount_cents", "1" + "0" * 30),
    "an entry without its transfer": f"DELETE FROM stored_events WHERE {TRANSFER}",
    "a transfer without its entry": f"DELETE FROM stored_events WHERE {DEBIT}",
    "an unknown topic": f"UPDATE stored_events SET topic = 'os:system' WHERE {DEBIT}",
    "a time that goes back": f"UPDATE stored_events SET recorded_at = '2000-01-01' WHERE {TRANSFER}",
    "a deleted command": f"DELETE FROM command_log WHERE command_id = '{PAYMENT_COMMAND}'",
    "a deleted head": f"DELETE FROM stream_heads WHERE originator_id = '{EUROS}'",
    "a changed account": f"UPDATE accounts SET balance_cents = balance_cents + 1 WHERE id = '{EUROS}'",
    "changed entries": edit_row("topic = 'AccountDebited'", "amount_cents", "1"),
    "no transactions": "DELETE FROM transfers",
    "a deleted user": f"DELETE FROM users WHERE id = '{BOB}'",
    "no credentials": "DELETE FROM credentials",
    "changed tokens": "UPDATE tokens SET revoked_position = NULL",
}


@pytest.fixture
async def processes(copy: Settings) -> Processes:
    """Two processes, which share even the shortest log."""
    return Processes(copy, 2, least_events=0)


def texts(findings: list[Finding]) -> list[str]:
    return sorted(finding.text() for finding in findings)


def children() -> list[int]:
    """The processes that this one has started for a check."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids if b"verify.process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_there_is_nothing_to_find_in_books_that_are_right(copied: Sources, processes: Processes) -> None:
    progress = Progress()
    assert [] == [finding async for finding in verify(copied, progress, processes=processes)]
    assert sum(rows for _, rows in progress.parts) == progress.rows == await count_events(copied)
    assert [] == children()


async def count_events(copied: Sources) -> int:
    count: int = await copied.now.fetchval("SELECT count(*) FROM stored_events")
    return count


@pytest.mark.parametrize("planted", PLANTED)
async def test_processes_find_what_one_process_finds(planted: str, copied: Sources, processes: Processes) -> None:
    await plant(copied.now, PLANTED[planted])
    alone = await check(copied)
    assert [] != alone
    assert texts(alone) == texts(await check(copied, processes=processes))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_check_fails_if_a_process_of_it_is_killed(
    number: signal.Signals, copied: Sources, processes: Processes
) -> None:
    checking = asyncio.create_task(check(copied, processes=processes))
    await until(lambda: len(children()) == processes.number)
    os.kill(children()[0], number)
    with pytest.raises(CheckProcessError, match=f"has ended with status -{number}"):
        await checking
    assert [] == children()


async def test_a_check_that_is_cancelled_ends_its_processes(copied: Sources, processes: Processes) -> None:
    checking = asyncio.create_task(check(copied, processes=processes))
    await until(lambda: len(children()) == processes.number)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    assert [] == children()


async def test_a_check_that_is_left_ends_its_processes(copied: Sources, processes: Processes) -> None:
    await plant(copied.now, PLANTED["changed entries"])
    async with aclosing(verify(copied, Progress(), processes=processes)) as findings:
        await anext(findings)
    assert [] == children()


async def test_the_error_of_a_process_is_that_of_the_check(copied: Sources, processes: Processes) -> None:
    gone = processes._replace(settings=processes.settings.model_copy(update={"ledger_schema": "nowhere"}))
    with pytest.raises(CheckProcessError, match="a process of the check has failed: UndefinedTableError"):
        await check(copied, processes=gone)
