"""Webhooks of services whose processes are killed: no event is lost, and each keeps its place, id and content."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ledger.concurrency.tasks import running
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, transfer_body, user_body
from tests.support.faults.signals import send
from tests.support.processes import Ledger, run_ledger, until
from tests.support.receiver import Received, Receiver, receive
from tests.support.serving import call, log_in, serving

KILLS = 4


async def test_killed_processes_lose_no_event(tmp_path: Path, settings: Settings, connection: Any) -> None:
    """Two instances with two workers and a writer each, an endpoint that fails at times, and both orders."""
    async with receive() as receiver:
        receiver.answer = _fail_at_times()
        with ExitStack() as stack:
            services = [_start(stack, tmp_path / str(number), settings) for number in range(2)]
            url = await services[0].url()
            token = await log_in(url, "admin", ADMIN_PASSWORD)
            accounts = [await _open_account(url, token) for _ in range(6)]
            webhooks = [await _create(url, token, receiver, order) for order in ("webhook", "account")]
            await services[1].url()
            async with _transfers(services, token, accounts):
                for number in range(KILLS):
                    wanted = len(receiver.received) + 50
                    await until(lambda count=wanted: len(receiver.received) >= count)
                    if number % 2:
                        send(signal.SIGKILL, services[1].writers())
                    else:
                        os.killpg(services[0].pid, signal.SIGKILL)
                        await services[0].status()
                        services[0] = _start(stack, tmp_path / f"again {number}", settings)
                        await services[0].url()
            sql = "SELECT notification_id FROM stored_events WHERE topic = 'MoneyTransferred' AND notification_id > $1"
            rows = await connection.fetch(f"{sql} ORDER BY 1", webhooks[-1])
            moved = [row[0] for row in rows]
            for path in ("/webhook", "/account"):
                await until(lambda path=path: {*moved} <= {*receiver.positions(path)})
        assert moved == [one for one in dict.fromkeys(receiver.positions("/webhook")) if one in {*moved}]
        for account in accounts:
            assert _in_order([one for one in receiver.received if one.path == "/account"], account)
        for path in ("/webhook", "/account"):
            contents = {(one.id, one.body) for one in receiver.received if one.path == path}
            assert len({one for one, _ in contents}) == len(contents)
    assert 0 == (await run_ledger("audit", "verify", variables=settings.environment())).status


def _fail_at_times() -> Any:
    failed: set[tuple[str, int]] = set()

    async def answer(one: Received) -> web.StreamResponse:
        place = (one.path, one.position)
        if one.position % 40 == 0 and place not in failed:
            failed.add(place)
            return web.Response(status=503)
        await asyncio.sleep(0.002)
        return web.Response(status=204)

    return answer


def _in_order(received: list[Received], account: str) -> bool:
    """Return whether the events of an account arrived in order, when each arrived for the first time."""
    named = [one for one in received if account in one.body.decode()]
    accepted = [*dict.fromkeys(one.position for one in named if one.position % 40)]
    return accepted == sorted(accepted)


def _start(stack: ExitStack, folder: Path, settings: Settings) -> Ledger:
    return stack.enter_context(serving(folder, settings, workers=2))


async def _open_account(url: str, token: str) -> str:
    _, user = await call("POST", f"{url}/v1/users", user_body(password=PASSWORD), token)
    body = {"user_id": user["id"], "balance_cents": 1_000_000}
    status, account = await call("POST", f"{url}/v1/accounts", body, token)
    assert 201 == status, account
    return str(account["id"])


async def _create(url: str, token: str, receiver: Receiver, order: str) -> int:
    """Create a webhook, and return the position of its creation."""
    body = {"url": receiver.url(f"/{order}"), "topics": ["MoneyTransferred"], "order": order}
    status, webhook = await call("POST", f"{url}/v1/webhooks", body, token)
    assert 201 == status, webhook
    _, events = await call("GET", f"{url}/v1/events?stream={webhook['id']}", token=token)
    return int(events[0]["position"])


@asynccontextmanager
async def _transfers(services: list[Ledger], token: str, accounts: list[str]) -> AsyncIterator[None]:
    """Move money between the accounts for the length of a block, over whichever service answers."""

    async def work(number: int) -> None:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            count = number
            while True:
                count += 1
                source, destination = accounts[count % 6], accounts[(count + 1 + number) % 6]
                with suppress(aiohttp.ClientError, OSError, IndexError):
                    url = services[count % 2].logged("serving")[0]["url"]
                    body = transfer_body(source, destination, 1)
                    async with session.post(f"{url}/v1/transactions/transfer", json=body) as response:
                        await response.read()
                await asyncio.sleep(0.01)

    async with running(work(0)), running(work(1)):
        yield
