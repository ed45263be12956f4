"""The service's metrics: what is counted, for all workers, and which callers may read it."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeAlias

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from ledger.followers.follower import STATES
from ledger.publish.webhooks import lookups
from ledger.service import metrics
from ledger.service.metrics import Family, Layout, Meter
from ledger.settings import Settings
from tests.support.controls import Api, transfer_body
from tests.support.processes import until
from tests.support.receiver import receive
from tests.support.serving import serving
from tests.support.webhooks import create, move

Series: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]
Serve = Callable[[Settings], Awaitable[Api]]

SECRET = "a-secret-for-prometheus-that-is-long-enough"


def parse(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    return series.get((name, frozenset(labels.items())), 0)


async def scrape(api: Api) -> Series:
    answer = await api.get("/metrics")
    assert 200 == answer.status, answer
    return parse(answer.body)


# Counters


async def test_requests_are_counted_by_route_and_status_across_versions(api: Api) -> None:
    account = await api.new_account()
    before = await scrape(api)
    for path in (f"/v1/accounts/{account['id']}", f"/v2/accounts/{account['id']}"):
        await api.get(path)
    await api.get("/v1/accounts/:none")
    after = await scrape(api)

    route = {"method": "GET", "route": "/accounts/{id}"}
    assert 2 == value(after, "ledger_http_requests_total", status="200", **route)
    assert 1 == value(after, "ledger_http_requests_total", status="422", **route)
    assert 0 == value(before, "ledger_http_requests_total", status="200", **route)
    assert 3 == value(after, "ledger_http_request_seconds_count", **route)
    assert 3 == value(after, "ledger_http_request_seconds_bucket", le="+Inf", **route)
    assert 0 < value(after, "ledger_http_request_seconds_sum", **route) < 60


async def test_unknown_paths_create_no_series(api: Api) -> None:
    """Lesson 36: requests for many unknown paths create no series."""
    for number in range(3):
        await api.nobody.get(f"/v1/nothing-{number}")
        await api.nobody.call("PATCH", f"/{number}")
    found = await scrape(api)
    assert 6 == value(found, "ledger_http_requests_total", method="", route="", status="404")
    assert not [labels for _, labels in found if "nothing" in str(labels)]


async def test_malformed_http_is_counted_too(api: Api) -> None:
    reader, writer = await asyncio.open_connection(api.client.host, api.client.port)
    writer.write(b"nonsense\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    found = await scrape(api)
    assert 1 == value(found, "ledger_http_requests_total", method="", route="", status="400")
    assert 1 == value(found, "ledger_refusals_total", code="malformed_request")


async def test_refusals_are_counted_by_code(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=1), await api.new_account()
    await api.transfer(source, destination, 2)
    await api.transfer(source, source, 2)
    found = await scrape(api)
    assert 2 == value(found, "ledger_refusals_total", code="transfer_insufficient_funds")
    assert 1 == value(found, "ledger_refusals_total", code="transfer_accounts_are_same")


async def test_a_batch_is_counted_with_its_commands(api: Api) -> None:
    before = await scrape(api)
    await api.new_account(balance_cents=1)  # a user, an account
    after = await scrape(api)
    for name in ("ledger_batch_commands_sum", "ledger_batch_commands_count", "ledger_commit_seconds_count"):
        assert 2 == value(after, name) - value(before, name), name
    assert 0 < value(after, "ledger_commit_seconds_sum") < 60


async def test_the_sizes_of_the_ledger_are_metrics(api: Api) -> None:
    await api.new_account(balance_cents=1)
    found = await scrape(api)
    assert (
        0
        == value(found, "ledger_commands_waiting", worker="0")
        == value(found, "ledger_commands_in_flight", worker="0")
    )
    assert 1 <= sum(value(found, "ledger_database_connections", worker="0", state=state) for state in ("idle", "used"))
    assert 1 == value(found, "ledger_database_up")
    assert os.getpid() == value(found, "ledger_worker_pid", worker="0")
    assert 1 == value(found, "ledger_worker_starts_total")
    assert 0 < value(found, "ledger_log_position")
    assert 1_000_000 < value(found, "process_resident_memory_bytes", worker="0")
    assert 0 < value(found, "process_cpu_seconds_total", worker="0")
    assert [] == [key for key in found if not key[0].startswith(("ledger_", "process_"))]


async def test_the_lag_and_progress_of_followers_are_metrics(api: Api) -> None:
    found = await scrape(api)  # sealing is off
    assert value(found, "ledger_log_position") == value(found, "ledger_follower_lag_events", follower="seals") > 0
    assert 0 < value(found, "ledger_follower_lag_seconds", follower="seals")
    states = {state: value(found, "ledger_follower_state", follower="seals", state=state) for state in STATES}
    assert {"following": 0, "failing": 0, "stopped": 0, "not running": 1} == states
    assert ("ledger_follower_lag_events", frozenset({("follower", "mirror")})) in found


async def test_pending_holds_and_the_delay_of_their_expiry_are_metrics(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=5), await api.new_account()
    before = await scrape(api)
    answer = await api.post("/v1/transactions/hold", transfer_body(source, destination, 3))
    assert answer.status < 300, answer
    after = await scrape(api)
    assert [0, 1] == [value(found, "ledger_holds_pending") for found in (before, after)]
    assert [0, 0] == [value(found, "ledger_holds_overdue_seconds") for found in (before, after)]
    assert ("ledger_holds_overdue_seconds", frozenset()) in after


async def test_webhooks_and_their_deliveries_are_metrics(api: Api) -> None:
    async def count(state: str) -> float:
        return value(await scrape(api), "ledger_webhooks", state=state)

    accounts = await api.new_account(balance_cents=5), await api.new_account()
    async with receive() as receiver:
        receiver.answer = lambda one: 500 if one.path == "/failing" else 204
        *_, disabled = [await create(api, receiver, path) for path in ("/working", "/failing", "/disabled")]
        assert 200 == (await api.post(f"/v1/webhooks/{disabled['id']}/disable")).status
        await move(api, accounts, 1)
        await until(lambda: len(receiver.received) >= 2)
        for state in ("delivering", "failing", "disabled"):
            await until(lambda state=state: _is_one(count, state))
        found = await scrape(api)
    assert 1 == value(found, "ledger_webhook_attempts_total", outcome="delivered")
    assert 1 <= value(found, "ledger_webhook_attempts_total", outcome="failed")
    assert 1 == value(found, "ledger_webhook_delay_seconds_count")
    assert 0 < value(found, "ledger_webhooks_behind_seconds")


async def test_names_that_wait_to_be_looked_up_are_a_metric(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def hang(host: str) -> NoReturn:
        is_over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, host)

    async def count() -> tuple[float, float]:
        found = await scrape(api)
        name = "ledger_webhook_lookups_waiting"
        many, few = (value(found, name, threads=threads, worker="0") for threads in ("many", "few"))
        return many, few

    async def is_waiting(expected: tuple[float, float]) -> bool:
        return await count() == expected

    monkeypatch.setattr(lookups, "_look_up", hang)
    names = [f"https://{number}.example.com" for number in range(lookups.AT_ONCE + 2)]
    asked = [asyncio.create_task(api.post("/v1/webhooks", {"url": name})) for name in names]
    try:
        await until(lambda: is_waiting((2, 0)))
    finally:
        is_over.set()
    assert {422} == {answer.status for answer in await asyncio.gather(*asked)}
    await until(lambda: is_waiting((0, 0)))


async def _is_one(count: Callable[[str], Awaitable[float]], state: str) -> bool:
    return await count(state) == 1


async def test_metrics_are_served_while_the_database_is_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("web.app.read_health", away)
    found = await scrape_with(api, SECRET)
    assert 0 == value(found, "ledger_database_up")
    assert ("ledger_log_position", frozenset()) not in found


@pytest.fixture
async def api(serve: Serve, settings: Settings) -> Api:
    return await serve(settings.model_copy(update={"ledger_metrics_token": SecretStr(SECRET)}))


async def scrape_with(api: Api, secret: str) -> Series:
    answer = await api.nobody.get("/metrics", headers={"Authorization": f"Bearer {secret}"})
    assert 200 == answer.status, answer
    return parse(answer.body)


# Access


async def test_the_secret_of_the_settings_gives_access(api: Api) -> None:
    assert await scrape_with(api, SECRET)


@pytest.mark.parametrize("given", ["", "Bearer", f"Bearer {SECRET}x", f"Basic {SECRET}", "Bearer \udcff"])
async def test_any_other_secret_gives_no_access(api: Api, given: str) -> None:
    answer = await api.nobody.get("/metrics", headers={"Authorization": given})
    assert (401, ["authentication_wrong_credentials"]) == (answer.status, answer.codes)


async def test_the_secret_gives_access_to_nothing_else(api: Api) -> None:
    answer = await api.nobody.get("/v1/users", headers={"Authorization": f"Bearer {SECRET}"})
    assert 401 == answer.status


async def test_without_a_configured_secret_no_secret_gives_access(serve: Serve, settings: Settings) -> None:
    api = await serve(settings)
    for given in ("Bearer ", "Bearer None", "Bearer"):
        answer = await api.nobody.get("/metrics", headers={"Authorization": given})
        assert 401 == answer.status


# All workers


async def get(session: aiohttp.ClientSession, path: str) -> str:
    async with session.get(path, headers={"Connection": "close"}) as response:
        assert 200 == response.status
        return await response.text()


async def test_any_worker_reports_the_metrics_of_all_and_they_survive_it(settings: Settings, tmp_path: Path) -> None:
    with serving(tmp_path, settings, workers=2, variables={"LEDGER_METRICS_TOKEN": SECRET}) as running:
        authorized = {"Authorization": f"Bearer {SECRET}"}
        async with aiohttp.ClientSession(await running.url(), headers=authorized) as session:
            for _ in range(20):
                await get(session, "/v1/health")
            found: Series = {}
            for _ in range(4):
                found = parse(await get(session, "/metrics"))
                assert 20 == value(found, "ledger_http_requests_total", method="GET", route="/health", status="200")
            pids = {int(value(found, "ledger_worker_pid", worker=number)) for number in ("1", "2")}
            assert set(running.workers()) == pids
            assert running.writers() == [int(value(found, "ledger_worker_pid", worker="0"))]

            os.kill(int(value(found, "ledger_worker_pid", worker="1")), signal.SIGKILL)

            async def restarted() -> Series | None:
                try:
                    now = parse(await get(session, "/metrics"))
                except aiohttp.ClientConnectionError:  # the killed worker had accepted it
                    return None
                return now if value(now, "ledger_worker_starts_total") == 4 else None

            found = await until(restarted)
            assert 20 == value(found, "ledger_http_requests_total", method="GET", route="/health", status="200")


@contextmanager
def create_file(slots: int) -> Iterator[int]:
    descriptor = metrics.create_shared_file(slots)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


A = Family("a", "", "counter")
B = Family("b", "", "histogram", bounds=(1, 2))


def test_slots_of_another_version_are_discarded() -> None:
    with create_file(2) as file:
        old = Meter(Layout([*metrics.FAMILIES, B, A]), file, 0)
        old.add(A)
        other = Meter(Layout([*metrics.FAMILIES, A, B]), file, 1)
        other.add(A)
        assert [((), [1])] == list(other.sum_series(A))
        Meter(Layout([*metrics.FAMILIES, A, B]), file, 0)
        assert [((), [1])] == list(other.sum_series(A))


def test_a_value_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    meter = Meter(Layout([*metrics.FAMILIES, B]))
    for number in (0, 1, 2, 3, 4):
        meter.histogram(B).observe(number)
    ((_, cells),) = meter.sum_series(B)
    assert ([("1.0", 2), ("2.0", 3), ("+Inf", 5)], 10) == metrics.cumulate_buckets(B, cells)


def test_too_many_series_are_detected_at_the_start() -> None:
    """Lesson 36."""
    with pytest.raises(ValueError, match="do not fit"):
        Layout([Family("a", "", "counter", ("label",), [(str(number),) for number in range(metrics.SLOT_BYTES)])])
