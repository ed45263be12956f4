"""Scheduled transactions are executed exactly once, although the processes that execute them are killed."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ledger.settings import Settings
from ledger.values.ids import new_id
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, user_body
from tests.support.faults.signals import send
from tests.support.processes import Ledger, run_ledger, until
from tests.support.serving import call, log_in, serving

SCHEDULED, FUNDED = 130, 100  # the first of them are posted, the others fail
AHEAD_SECONDS = 20


async def test_killed_processes_execute_everything_once(tmp_path: Path, settings: Settings, connection: Any) -> None:
    """Two instances with two workers and a writer each: all of their processes are killed while much is due."""
    with ExitStack() as stack:
        services = [_start(stack, tmp_path / str(number), settings) for number in range(2)]
        url = await services[0].url()
        token = await log_in(url, "admin", ADMIN_PASSWORD)
        accounts = [await _open_account(url, token, cents) for cents in (FUNDED, 0)]
        due_at = datetime.now(UTC) + timedelta(seconds=AHEAD_SECONDS)
        for number in range(SCHEDULED):
            await _schedule(url, token, accounts, due_at + timedelta(milliseconds=number))
        await services[1].url()
        await until(lambda: datetime.now(UTC) > due_at)

        for kills in range(6):
            if kills % 2:
                send(signal.SIGKILL, services[1].writers())
            else:
                os.killpg(services[0].pid, signal.SIGKILL)
                await services[0].status()
                services[0] = _start(stack, tmp_path / f"again {kills}", settings)
            await asyncio.sleep(0.2 * kills)
        await until(lambda: _has_ended(connection))

    statuses = await connection.fetch("SELECT coalesce(status, 'posted') FROM transfers WHERE execute_at IS NOT NULL")
    assert {"posted": FUNDED, "failed": SCHEDULED - FUNDED} == Counter(row[0] for row in statuses)
    moved = await connection.fetch("SELECT transfer_id FROM entries WHERE account_id = $1 AND version > 1", accounts[1])
    assert FUNDED == len(moved) == len({row[0] for row in moved})
    early = "SELECT count(*) FROM transfers WHERE execute_at > coalesce(settled_at, recorded_at)"
    assert 0 == await connection.fetchval(early)
    assert 0 == (await run_ledger("audit", "verify", variables=settings.environment())).status


def _start(stack: ExitStack, folder: Path, settings: Settings) -> Ledger:
    return stack.enter_context(serving(folder, settings, workers=2))


async def _open_account(url: str, token: str, cents: int) -> str:
    _, user = await call("POST", f"{url}/v1/users", user_body(password=PASSWORD), token)
    status, account = await call("POST", f"{url}/v1/accounts", {"user_id": user["id"], "balance_cents": cents}, token)
    assert 201 == status, account
    return str(account["id"])


async def _schedule(url: str, token: str, accounts: list[str], execute_at: datetime) -> None:
    sides = {"source_account_id": accounts[0], "destination_account_id": accounts[1], "amount_cents": 1}
    body = {**sides, "id": str(new_id()), "execute_at": execute_at.isoformat()}
    status, answer = await call("POST", f"{url}/v1/transactions/transfer", body, token)
    assert 200 == status, answer


async def _has_ended(connection: Any) -> bool:
    return not await connection.fetchval("SELECT count(*) FROM schedules WHERE waiting")
