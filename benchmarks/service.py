"""A real service to measure: one worker, the embedded servers, and a ledger full of accounts."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

BALANCE_CENTS = 10**11
START_SECONDS = 60
AT_ONCE = 64
WORKER, WRITER, PUBLISHER = b"web.worker", b"ledger.writer", b"web.publisher"  # the modules that the processes run
LEDGER = (sys.executable, "-m", "ledger")


@dataclass(frozen=True)
class Service:
    """A running service, and its database."""

    url: str
    token: str
    owner_id: str
    database_url: str
    redis_url: str
    worker_pids: tuple[int, ...]
    writer_pids: tuple[int, ...]  # none if the committer is in the worker
    pid: int
    password: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which a `ledger` command works on the same ledger."""
        return {**os.environ, **self.address}

    @property
    def address(self) -> dict[str, str]:
        """Return the settings with which another process works on the same ledger, with a key of its own for tokens."""
        servers = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        return {**servers, "JWT_SECRET": secrets.token_urlsafe(32)}

    async def open_accounts(self, count: int) -> list[str]:
        """Open accounts with more money than a run can move."""
        gate = asyncio.Semaphore(AT_ONCE)
        body = {"user_id": self.owner_id, "balance_cents": BALANCE_CENTS}
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session:

            async def one() -> str:
                async with gate:
                    return str((await _post(session, f"{self.url}/v1/accounts", body))["id"])

            return list(await asyncio.gather(*(one() for _ in range(count))))


def resident_mebibytes(pid: int) -> float:
    """Return a process's peak resident memory so far; 0 once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) / 1024 if match else 0.0


@contextlib.asynccontextmanager
async def running(*, workers: int = 1, beside: Service | None = None, **settings: str) -> AsyncIterator[Service]:
    """Start the service as its users do, with these settings and its log in a file, and stop it at the end.

    With `beside`, it is another instance on the database of that one.
    """
    with tempfile.TemporaryDirectory(prefix="ledger-bench-", ignore_cleanup_errors=True) as folder:
        data, log = Path(folder) / "data", Path(folder) / "service.log"
        Path(folder).chmod(0o755)
        password = secrets.token_urlsafe() if beside is None else beside.password
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("POSTGRES_", "REDIS_"))},
            "LEDGER_DATA_DIR": str(data),
            "LEDGER_ADMIN_PASSWORD": password,
            "SERVICE_PORT": "0",
            **settings,
        }
        environment.pop("DATABASE_URL", None)
        environment |= {} if beside is None else beside.address
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(*LEDGER, "serve", "--workers", str(workers)), stderr=file, env=environment
            )
        try:
            url = await _url(log, process)
            yield await _described(url, password, data, process.pid, beside)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it did not start
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def _url(log: Path, process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            for line in log.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if event.get("event") == "serving":
                        return str(event["url"])
            await asyncio.sleep(0.05)
    raise RuntimeError(f"the service did not start: {log.read_text()}")


async def _described(url: str, password: str, data: Path, pid: int, beside: Service | None) -> Service:
    async with aiohttp.ClientSession() as session:
        login = {"username": "admin", "password": password}
        token = (await _post(session, f"{url}/v1/auth/login", login))["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        owner = {"username": "owner", "email": "owner@example.com", "password": password, "roles": "customer"}
        owner_id = beside.owner_id if beside else (await _post(session, f"{url}/v1/users", owner))["id"]
    database, redis = f"postgresql://ledger@/ledger?host={data / 'run'}&port=5432", f"unix://{data}/run/valkey.sock"
    if beside is not None:
        database, redis = beside.database_url, beside.redis_url
    worker_pids, writer_pids = (list_children(pid, module) for module in (WORKER, WRITER))
    return Service(url, token, owner_id, database, redis, worker_pids, writer_pids, pid, password)


def list_children(pid: int, module: bytes) -> tuple[int, ...]:
    """Return the child processes that run this module."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return tuple(int(child) for child in children if module in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"))


async def _post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(url, json=body) as response:
        response.raise_for_status()
        answer: dict[str, Any] = await response.json()
        return answer
