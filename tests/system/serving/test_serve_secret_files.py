"""A service whose environment and settings file have no secret: a vault has put each into a file."""

from collections.abc import Callable
from pathlib import Path

import aiohttp

from ledger.settings import SECRETS
from tests.support.controls import ADMIN_PASSWORD
from tests.support.processes import Ledger

METRICS_TOKEN = "a token of the tests for Prometheus"


async def test_a_service_reads_all_its_secrets_from_files(
    run: Callable[..., Ledger], shared: dict[str, str], tmp_path: Path
) -> None:
    given = {**shared, "LEDGER_METRICS_TOKEN": METRICS_TOKEN}
    secrets = {name: value for name, value in given.items() if name in SECRETS}
    for name, value in secrets.items():
        (tmp_path / name).write_text(f"{value}\n")
    others = {name: value for name, value in given.items() if name not in secrets}

    running = run("serve", **others, **{f"{name}_FILE": str(tmp_path / name) for name in secrets})
    url = await running.url()

    assert {"DATABASE_URL", "REDIS_URL", "JWT_SECRET", "LEDGER_ADMIN_PASSWORD", "LEDGER_METRICS_TOKEN"} == set(secrets)
    async with aiohttp.ClientSession() as session:
        login = {"username": "admin", "password": ADMIN_PASSWORD}
        async with session.post(f"{url}/v1/auth/login", json=login) as answer:
            assert 200 == answer.status
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        async with session.get(f"{url}/metrics", headers=headers) as answer:
            assert 200 == answer.status
