"""The service as an operator meets it: starts, stops and killed workers."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from rich.console import Console

from ledger.cli.welcome import Admin, prepare_admin, welcome
from ledger.runtime import Runtime, open_runtime
from ledger.settings import Settings
from ledger.store.pool import connect
from tests.support.controls import ADMIN_PASSWORD, transfer_body, user_body
from tests.support.processes import DEADLINE_SECONDS, ROOT, Ledger, is_alive, until
from tests.support.serving import call, log_in, messages, no_process_left

SHOWN = re.compile(r"The first admin is (\S+); the password is in (\S+)")


async def test_the_first_start_names_the_file_with_the_admins_password_which_works(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lessons 31 and 39: one command starts everything. What is no terminal may be a log that others read."""
    running = run("serve", **alone, FORCE_COLOR="1", TERM="dumb")
    url = await running.url()
    ((username, file),) = await until(lambda: SHOWN.findall(running.log.read_text()))
    password = (data_dir / "admin-password").read_text().strip()
    assert str(data_dir / "admin-password") == file
    assert f"Read and try the API at {url}/docs" in messages(running)
    status, _ = await call("GET", f"{url}/v1/users", token=await log_in(url, username, password))
    assert ("admin", 200) == (username, status)
    assert password not in running.log.read_text()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_new_password_is_shown_on_a_terminal_only(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson 31: colours may be forced where there is no terminal, as CI does."""
    written = StringIO()
    monkeypatch.setattr("ledger.cli.welcome.console", Console(file=written, force_terminal=True, color_system=None))
    monkeypatch.setattr(sys, "stderr", StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        welcome(listener, Admin("admin", Path("/data/admin-password"), "a new password"))

    assert is_terminal is ("a new password" in written.getvalue())
    assert "/data/admin-password" in written.getvalue()


async def test_generated_secrets_are_readable_by_their_owner_only(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lesson 31."""
    running = run("serve", **alone)
    await running.url()
    kept = data_dir / "admin-password"
    assert [("admin", str(kept))] == await until(lambda: SHOWN.findall(running.log.read_text()))
    files = [kept, data_dir / "jwt-secret", data_dir / "seal-key.pem"]
    assert [0o600] * 3 == [file.stat().st_mode & 0o777 for file in files]


async def test_a_second_start_uses_the_same_data_and_secrets_and_shows_none(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    first = run("serve", **alone)
    url = await first.url()
    password = (data_dir / "admin-password").read_text().strip()
    token = await log_in(url, "admin", password)
    status, user = await call("POST", f"{url}/v1/users", user_body(), token)
    assert (201, 0) == (status, await first.stop())

    second = run("serve", **alone)
    url = await second.url()
    found = await call("GET", f"{url}/v1/users/{user['id']}", token=token)
    await log_in(url, "admin", password)
    assert (200, user) == found
    assert [] == messages(second)
    assert password not in second.log.read_text()
    (record,) = second.logged("serving")
    assert (f"{url}/docs", str(data_dir / "admin-password")) == (record["docs"], record["admin_password_file"])
    assert 0 == await second.stop()

    third = run("serve", **alone, LEDGER_LOG_FORMAT="json", TTY_COMPATIBLE="1", TERM="dumb")
    url = await third.url()
    said = await until(lambda: messages(third)[1:] and messages(third))
    assert [
        f"Look at the books at {url}/console",
        f"Read and try the API at {url}/docs",
        f"The first admin is admin; the password is in {data_dir / 'admin-password'}",
    ] == said


async def test_a_kept_password_that_no_longer_works_is_not_mentioned(settings: Settings, tmp_path: Path) -> None:
    """A later start names the file with the first admin's password as long as that is still the password."""
    embedded = settings.model_copy(update={"ledger_data_dir": tmp_path})
    file = tmp_path / "admin-password"
    file.write_text(f"{ADMIN_PASSWORD}\n")
    async with open_runtime(embedded) as runtime:
        assert Admin("admin", file, ADMIN_PASSWORD) == await prepare_admin(runtime)
        assert Admin("admin", file) == await prepare_admin(runtime)
        file.write_text("another\n")
        assert Admin("admin") == await prepare_admin(runtime)
        file.write_text(f"{ADMIN_PASSWORD}\n")
        await runtime.pool.fetch("UPDATE credentials SET hash = $1", await runtime.passwords.hash("changed since"))
        assert Admin("admin") == await prepare_admin(runtime)


async def test_each_start_asks_for_another_password_until_the_generated_one_is_changed(
    settings: Settings, tmp_path: Path
) -> None:
    embedded = settings.model_copy(update={"ledger_data_dir": tmp_path})
    (tmp_path / "admin-password").write_text(f"{ADMIN_PASSWORD}\n")

    async def count_warnings(runtime: Runtime) -> int:
        with structlog.testing.capture_logs() as logs:
            await prepare_admin(runtime)
        return sum("still has the generated password" in entry["event"] for entry in logs)

    async with open_runtime(embedded) as runtime:
        assert [0, 1, 1] == [await count_warnings(runtime) for _ in range(3)]
        await runtime.pool.fetch("UPDATE credentials SET hash = $1", await runtime.passwords.hash("changed since"))
        assert 0 == await count_warnings(runtime)


async def test_a_configured_password_is_not_shown(run: Callable[..., Ledger], alone: dict[str, str]) -> None:
    """Lesson 31: the operator knows the password, and others may read the log."""
    running = run("serve", LEDGER_ADMIN_PASSWORD=ADMIN_PASSWORD, **alone)
    await log_in(await running.url(), "admin", ADMIN_PASSWORD)
    assert 0 == await running.stop()
    assert [] == messages(running)
    assert ADMIN_PASSWORD not in running.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_sigterm_and_sigint_stop_everything_with_status_zero(
    number: signal.Signals, run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lesson 38. A terminal sends SIGINT to all its processes, and so does this test."""
    running = run("serve", "--workers", "2", **alone)
    await running.url()
    workers = running.workers()
    os.killpg(running.pid, number) if number is signal.SIGINT else running.send(number)
    assert (2, 0) == (len(workers), await running.status())
    assert no_process_left(data_dir)
    assert [] == [pid for pid in workers if is_alive(pid)]
    assert "Traceback" not in running.log.read_text()


async def test_a_killed_service_leaves_no_worker_and_no_server(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lesson 38."""
    running = run("serve", "--workers", "2", **alone)
    await running.url()
    workers = running.workers()
    running.send(signal.SIGKILL)
    assert -signal.SIGKILL == await running.status()
    await until(lambda: not any(map(is_alive, workers)))
    await until(lambda: no_process_left(data_dir))


async def test_a_service_stopped_during_its_start_leaves_nothing(
    run: Callable[..., Ledger], alone: dict[str, str], data_dir: Path
) -> None:
    """Lesson 38."""
    running = run("serve", **alone)
    await until((data_dir / "pg.new").exists)
    await running.stop()
    await until(lambda: no_process_left(data_dir))


async def test_a_killed_worker_is_restarted(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    running = run("serve", **shared)
    url = await running.url()
    (worker,) = running.workers()
    os.kill(worker, signal.SIGKILL)
    status, _ = await call("GET", f"{url}/v1/health")
    assert 200 == status
    assert [-signal.SIGKILL] == [record["exit_code"] for record in running.logged("worker died")]
    assert [worker] != running.workers()


async def test_workers_that_keep_dying_end_the_service_with_one_line(
    run: Callable[..., Ledger], shared: dict[str, str], tmp_path: Path
) -> None:
    """Lesson 36."""
    broken = tmp_path / "broken" / "web"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(f"__path__.append({str(ROOT / 'web')!r})\n")
    (broken / "worker.py").write_text("raise SystemExit(3)\n")
    running = run("serve", **shared, PYTHONPATH=f"{broken.parent}{os.pathsep}{ROOT}")
    assert 1 == await running.status()
    assert ["ledger: the workers keep dying; see the log above"] == messages(running)


@asynccontextmanager
async def blocked_transfer(settings: Settings, url: str) -> AsyncIterator["asyncio.Task[tuple[int, Any]]"]:
    """Start a transfer, and block it with a lock on its accounts until the context ends."""
    token = await log_in(url, "admin", ADMIN_PASSWORD)
    _, user = await call("POST", f"{url}/v1/users", user_body(), token)
    body = {"user_id": user["id"], "balance_cents": 100}
    opened = [(await call("POST", f"{url}/v1/accounts", body, token))[1] for _ in range(2)]
    holder, eyes = await connect(settings, application_name="holder"), await connect(settings, application_name="eyes")
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM stream_heads FOR UPDATE")
            transfer = asyncio.create_task(
                call("POST", f"{url}/v1/transactions/transfer", transfer_body(opened[0], opened[1], 1), token)
            )
            waiting = """SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            await until(lambda: eyes.fetchval(waiting))
            yield transfer
    finally:
        await holder.close()
        await eyes.close()


async def test_requests_in_flight_are_answered_before_the_service_stops(
    run: Callable[..., Ledger], settings: Settings, shared: dict[str, str]
) -> None:
    """Lesson 37."""
    running = run("serve", **shared)
    async with blocked_transfer(settings, await running.url()) as transfer:
        running.send(signal.SIGTERM)
        await until(lambda: running.logged("draining"))
    status, _ = await transfer
    assert (200, 0) == (status, await running.status())


async def test_a_worker_that_cannot_stop_does_not_outlive_a_killed_service(
    run: Callable[..., Ledger], settings: Settings, shared: dict[str, str]
) -> None:
    """Lesson 38. The worker waits for a lock that another connection holds."""
    running = run("serve", LEDGER_SHUTDOWN_SECONDS="0.1", **shared)
    async with blocked_transfer(settings, await running.url()) as transfer:
        (worker,) = running.workers()
        running.send(signal.SIGKILL)
        await until(lambda: not is_alive(worker))
        with pytest.raises(aiohttp.ClientError):
            await transfer


async def test_a_draining_service_accepts_no_connections(
    run: Callable[..., Ledger], settings: Settings, shared: dict[str, str]
) -> None:
    """A client that is refused can try another machine; one that is accepted would wait in vain."""
    running = run("serve", **shared)
    address = await running.address()
    async with blocked_transfer(settings, await running.url()) as transfer:
        running.send(signal.SIGTERM)
        await until(lambda: running.logged("draining"))
        await until(lambda: is_refused(address))
    assert 200 == (await transfer)[0]


def is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=DEADLINE_SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False
