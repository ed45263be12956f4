"""The consumers in `examples/consumer` count each event once, although they are killed and events come again.

Their commands are those of examples/README.md. Each runs where its language is installed, and everywhere with
GENERATED_CLIENTS=all, as in CI.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, transfer_body, user_body
from tests.support.processes import ROOT, environment, run_program, until
from tests.support.serving import call, log_in, serving

README = (ROOT / "examples" / "README.md").read_text()
GENERATED = shutil.ignore_patterns("node_modules", "dist", ".venv", "consumer.db", "journal.jsonl")
INSTALL_SECONDS = 600
OPENING_CENTS, TRANSFERS = 1000, 20
NPM = {f"npm_config_{name}": "false" for name in ("audit", "fund", "update_notifier")} | {
    f"npm_config_{name}": "true" for name in ("prefer_offline", "ignore_scripts")
}


class Program(NamedTuple):
    """A consumer: its name in the README, and the command that its language needs."""

    name: str
    needs: str

    @property
    def commands(self) -> list[str]:
        """The commands of the README: the last one starts it, the others install it."""
        (found,) = re.findall(rf"<!-- {self.name} -->\n```sh\n(.*?)```", README, re.DOTALL)
        return str(found).strip().split("\n")


PROGRAMS = (Program("consumer-python", "python3"), Program("consumer-typescript", "npm"))
RUN = [program for program in PROGRAMS if os.environ.get("GENERATED_CLIENTS") == "all" or shutil.which(program.needs)]


@pytest.mark.parametrize("program", RUN, ids=lambda program: program.name)
async def test_a_killed_consumer_counts_each_event_once(tmp_path: Path, settings: Settings, program: Program) -> None:
    assert shutil.which(program.needs), f"{program.needs} is not installed, and GENERATED_CLIENTS=all wants it"
    folder = Path(shutil.copytree(ROOT / "examples/consumer", tmp_path / "consumer", ignore=GENERATED))
    await _install(program, folder)
    with serving(tmp_path / "service", settings, variables={"LEDGER_WEBHOOK_ALLOW": "127.0.0.1"}) as service:
        ledger = f"{await service.url()}/v1"
        token = await log_in(await service.url(), "admin", ADMIN_PASSWORD)
        accounts = [await _open_account(ledger, token) for _ in range(2)]
        port = _find_free_port()
        hook = {"url": f"http://127.0.0.1:{port}/", "from_position": 1}
        status, webhook = await call("POST", f"{ledger}/webhooks", hook, token)
        assert 201 == status, webhook
        variables = {"WEBHOOK_SECRET": webhook["secret"], "PORT": str(port), **NPM}

        known: dict[str, int] = {}
        for _ in range(3):
            moving = asyncio.create_task(_move(ledger, token, accounts))
            with _consuming(program, folder, variables):
                known = await until(lambda known=known: _read_others(port, known))
            await moving
        with _consuming(program, folder, variables):
            expected = {
                account: (await call("GET", f"{ledger}/accounts/{account}", token=token))[1]["balance_cents"]
                for account in accounts
            }
            await until(lambda: _has_these(port, expected))
            balances = await _read_balances(port)
            redelivered = await call(
                "POST", f"{ledger}/webhooks/{webhook['id']}/redeliver", {"from_position": 1}, token
            )
            assert redelivered[0] < 300, redelivered
            await until(lambda: _has_arrived(ledger, token, webhook["id"]))
            assert 401 == await _send_forgery(port)
            assert balances == await _read_balances(port)


async def _install(program: Program, folder: Path) -> None:
    commands = "\n".join(program.commands[:-1])
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": "", "PIP_QUIET": "1", **NPM}
    shell = ("bash", "-euo", "pipefail", "-c", commands)
    ran = await run_program(*shell, folder=folder, deadline_seconds=INSTALL_SECONDS, variables=variables)
    assert 0 == ran.status, f"{ran.output}{ran.error}\n(the first run needs the network to install what is locked)"


@contextmanager
def _consuming(program: Program, folder: Path, variables: dict[str, str]) -> Iterator[None]:
    """Run a consumer, and kill it and its children at the end of the block."""
    given = environment({**variables, "PYTHONPATH": ""})
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            program.commands[-1].split(), cwd=folder, env=given, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _open_account(ledger: str, token: str) -> str:
    _, user = await call("POST", f"{ledger}/users", user_body(password=PASSWORD), token)
    body = {"user_id": user["id"], "balance_cents": OPENING_CENTS}
    status, account = await call("POST", f"{ledger}/accounts", body, token)
    assert 201 == status, account
    return str(account["id"])


async def _move(ledger: str, token: str, accounts: list[str]) -> None:
    for number in range(TRANSFERS):
        payer, payee = accounts if number % 3 else reversed(accounts)
        body = transfer_body(payer, payee, number + 1)
        status, answer = await call("POST", f"{ledger}/transactions/transfer", body, token)
        assert 200 == status, answer


async def _read_balances(port: int) -> dict[str, int] | None:
    with suppress(aiohttp.ClientError):
        status, found = await call_plain("GET", port)
        assert 200 == status
        return dict(found)
    return None


async def call_plain(method: str, port: int, **given: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, f"http://127.0.0.1:{port}/", **given) as got:
        return got.status, await got.json(content_type=None) if method == "GET" else None


async def _read_others(port: int, known: dict[str, int]) -> dict[str, int] | None:
    """Return the balances of a consumer unless they are these."""
    found = await _read_balances(port)
    return None if found == known else found


async def _has_these(port: int, expected: dict[str, int]) -> bool:
    found = await _read_balances(port)
    return found is not None and expected.items() <= found.items()


async def _has_arrived(ledger: str, token: str, webhook_id: str) -> bool:
    _, progress = await call("GET", f"{ledger}/webhooks/{webhook_id}/progress", token=token)
    return bool(progress["position"] == progress["log_end"] and progress["pending"] == 0)


async def _send_forgery(port: int) -> int:
    headers = {"webhook-id": "1:1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    status, _ = await call_plain("POST", port, data=b"{}", headers=headers)
    return status
