"""Schemathesis runs all its checks on the live service and its OpenAPI document, as each role."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import PASSWORD, Api
from tests.support.processes import ROOT

SECONDS = int(os.environ.get("LEDGER_FUZZ_SECONDS", "40"))  # for all roles together
SEED = os.environ.get("LEDGER_FUZZ_SEED", "1")
OPTIONS = ("--checks", "all", "--generation-database", "none", "--warnings", "off", "--no-color", "--seed", SEED)
ST = (sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests/fuzz/schemathesis.toml"))


@pytest.fixture
async def api(serve: Callable[[Settings], Awaitable[Api]], settings: Settings) -> Api:
    """Serve without waiting for positions that never appear."""
    return await serve(settings.model_copy(update={"ledger_position_wait_seconds": 0}))


@pytest.mark.parametrize(("role", "share"), [("admin", 0.4), ("customer", 0.25), ("auditor", 0.2), ("guest", 0.15)])
async def test_every_response_conforms_to_the_document(api: Api, tmp_path: Path, role: str, share: float) -> None:
    """There is no 5xx and no undescribed status, body or header; valid requests are accepted, and others refused."""
    caller = await api.new_user(roles=role)
    given = {
        "url": str(api.client.make_url("/")).removesuffix("/"),
        "username": caller["username"],
        "password": PASSWORD,
        "spared_ids": [caller["id"], *(user["id"] for user in (await api.get("/v1/users")).body)],
        "known_ids": await known_ids(api, caller["id"]),
    }

    process = await asyncio.create_subprocess_exec(
        *(*ST, "run", f"{given['url']}/openapi.json", *OPTIONS, "--max-time", str(round(SECONDS * share))),
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.support.fuzzing",
            "LEDGER_FUZZ": json.dumps(given),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    sys.stdout.write(output.decode())  # the number of cases, which `pytest -rP` shows
    assert 0 == process.returncode


async def known_ids(api: Api, user_id: str) -> list[str]:
    """Return the ids of the caller's and another user's accounts, of a transfer each way, and of both users."""
    own, other = [await api.new_account(owner, balance_cents=10_000) for owner in (user_id, None)]
    transfers = [await api.transfer(own, other, 100), await api.transfer(other, own, 100)]
    things: list[dict[str, Any]] = [own, other, *(transfer.body for transfer in transfers)]
    return [*(thing["id"] for thing in things), other["user_id"], user_id]
