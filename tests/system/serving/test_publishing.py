"""A service publishes in a process of its own, and its status, metrics and log show the progress."""

import os
import re
import signal
from pathlib import Path

import aiohttp
from pydantic import SecretStr

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, user_body
from tests.support.nats import jetstream, running_nats
from tests.support.processes import until
from tests.support.serving import call, log_in, serving

PASSWORD = "keep-this-to-yourself"


async def follower_of(url: str, token: str) -> dict[str, object] | None:
    _, status = await call("GET", f"{url}/v1/ledger/status", token=token)
    return next((one for one in status["followers"] if one["name"] == "nats"), None)


async def metric(url: str, token: str, pattern: str) -> float | None:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{url}/metrics") as response:
        found = re.search(rf"^{pattern} (\S+)$", await response.text(), re.MULTILINE)
    return float(found[1]) if found else None


async def test_a_service_publishes_in_a_process_of_its_own(settings: Settings, tmp_path: Path) -> None:
    config = f'authorization: {{ user: ledger, password: "{PASSWORD}" }}'
    async with running_nats(tmp_path / "nats", config) as nats:
        url = f"nats://ledger:{PASSWORD}@127.0.0.1:{nats.port}"
        own = settings.model_copy(update={"ledger_nats_url": SecretStr(url)})
        with serving(tmp_path / "service", own) as service:
            base = await service.url()
            token = await log_in(base, "admin", ADMIN_PASSWORD)
            status, _ = await call("POST", f"{base}/v1/users", user_body(), token)
            assert 201 == status

            async def is_level() -> bool:
                found = await follower_of(base, token)
                return found is not None and found["state"] == "following" and found["lag_events"] == 0

            await until(is_level)
            async with jetstream(url) as js:
                stored = (await js.stream_info("ledger")).state.messages
            assert stored
            assert stored == await metric(base, token, r'ledger_published_events_total\{broker="nats"\}')
            assert 1.0 == await metric(base, token, r'ledger_follower_state\{follower="nats",state="following"\}')

            (publisher,) = service.publishers()
            os.kill(publisher, signal.SIGKILL)
            await until(lambda: service.publishers() not in ([], [publisher]))
            assert [-signal.SIGKILL] == [record["exit_code"] for record in service.logged("publisher died")]
            await until(is_level)

            await nats.kill()
            await until(lambda: is_failing(base, token))
            assert await until(lambda: metric(base, token, r'ledger_publish_failures_total\{broker="nats"\}'))
            await nats.start()
            await until(is_level)

            assert 0 == await service.stop()
            log = service.log.read_text()
            assert PASSWORD not in log
            assert 1 <= len(service.logged("events cannot be published now")) <= 3  # not for each attempt


async def is_failing(url: str, token: str) -> bool:
    found = await follower_of(url, token)
    return found is not None and found["state"] == "failing" and "NATS" in str(found["error"])


async def test_a_service_without_a_broker_has_no_publisher(settings: Settings, tmp_path: Path) -> None:
    with serving(tmp_path / "service", settings) as service:
        base = await service.url()
        token = await log_in(base, "admin", ADMIN_PASSWORD)
        assert [] == service.publishers()
        assert await follower_of(base, token) is None
