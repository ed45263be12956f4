"""HTTP calls to a `ledger` process, and its messages, for its tests."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from ledger.settings import Settings
from tests.support.processes import DEADLINE_SECONDS, Ledger, ledger, processes


@contextmanager
def serving(
    folder: Path, settings: Settings, *, workers: int = 1, variables: Mapping[str, str] | None = None
) -> Iterator[Ledger]:
    """Run a service on a free port with these settings, and end it with its workers."""
    given = {**settings.environment(), "SERVICE_PORT": "0", **(variables or {})}
    with ledger(folder, "serve", "--workers", str(workers), **given) as running:
        yield running


def no_process_left(data: Path) -> bool:
    """Return whether no process uses the folder: servers hold its lock, other processes name it."""
    try:
        with (data / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:  # no server got that far
        pass
    return not [process for process in processes() if str(data) in process.command]


async def call(method: str, url: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(DEADLINE_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        response = await session.request(method, url, json=body)
        return response.status, await response.json(content_type=None)  # None for an empty body


async def log_in(url: str, username: str, password: str) -> str:
    status, answer = await call("POST", f"{url}/v1/auth/login", {"username": username, "password": password})
    assert 200 == status, answer
    return str(answer["access_token"])


def messages(running: Ledger) -> list[str]:
    """Return the lines on standard error that are not log records."""
    return [line for line in running.lines if not line.startswith("{")]


async def startup_error(running: Ledger) -> str:
    """Return the single line with which a start must have failed."""
    assert 1 == await running.status()
    (line,) = messages(running)
    assert line.startswith("ledger: ")
    assert "Traceback" not in running.log.read_text()
    return line
