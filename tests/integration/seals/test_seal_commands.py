"""The `ledger audit` commands for seals: output and exit status."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.identity.keys import private_key, public_pem
from ledger.settings import Settings
from ledger.values.ids import new_id
from tests.support.processes import Ran, run_ledger
from tests.support.sealed import INSERT, keep_no_head

Audit = Callable[..., Awaitable[Ran]]
COUNT = 7


@pytest.fixture
async def audit(settings: Settings, connection: Any, key_file: Path) -> Audit:
    """Return a function that runs `ledger audit` on a ledger with some events."""
    await keep_no_head(connection, key_file)
    for _ in range(COUNT):
        await connection.execute(INSERT, new_id())

    async def run_audit(*arguments: str, **variables: str) -> Ran:
        return await run_ledger(
            "audit", *arguments, variables={**settings.environment(), "LEDGER_SEAL_EVENTS": "3", **variables}
        )

    return run_audit


async def test_seals_are_verified_and_compared_with_exported_headers(
    audit: Audit, connection: Any, key_file: Path, tmp_path: Path
) -> None:
    key = {"LEDGER_SEAL_KEY_FILE": str(key_file)}
    assert (0, f"sealed {COUNT} events\n") == (await audit("seal", **key))[:2]
    _, exported, _ = await audit("export-heads")
    heads, pem = tmp_path / "heads", tmp_path / "public.pem"
    heads.write_text(exported)
    _, published, _ = await audit("seal-key", **key)
    pem.write_text(published)
    assert public_pem(private_key(key_file)) == published

    options = ("--against", str(heads), "--public-key", str(pem), "--json")
    status, said, _ = await audit("verify-seals", *options)
    expected = {"blocks": 3, "events": COUNT, "heads_compared": 3, "unsealed_events": 0, "findings": [], "omitted": {}}
    assert (0, expected) == (status, json.loads(said))

    await connection.execute("SET session_replication_role = replica")  # no trigger fires
    await connection.execute("UPDATE stored_events SET state = state || ' ' WHERE notification_id = 5")
    status, said, _ = await audit("verify-seals", **key)
    assert (1, "block 2, position 5: the event was changed") == (status, said.splitlines()[0])
    status, said, _ = await audit("verify-seals", *options)
    finding = {"block": 2, "position": 5, "problem": "the event was changed"}
    assert (1, [finding]) == (status, json.loads(said)["findings"])


async def test_the_status_shows_by_how_much_the_seals_lag_behind(audit: Audit) -> None:
    status, said, _ = await audit("seal-status", "--json")
    shown = json.loads(said)
    assert (0, COUNT, 0) == (status, shown["unsealed_events"], shown["sealed_position"])
    assert shown["oldest_unsealed_at"].endswith("Z")
    assert f"unsealed events: {COUNT}\n" in (await audit("seal-status"))[1]


async def test_nothing_is_sealed_or_verified_without_a_key(audit: Audit) -> None:
    """The database must not decide whose signatures count."""
    for command in ("seal", "verify-seals", "seal-key"):
        status, said, error = await audit(command)
        assert (2, "", True) == (status, said, "LEDGER_SEAL_KEY_FILE" in error)


async def test_a_file_without_block_headers_is_refused(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("{}\n")
    for name, problem in (("heads", "not a file of block headers"), ("none", "No such file")):
        status, _, error = await audit("verify-seals", "--against", str(tmp_path / name))
        assert (2, True) == (status, problem in error)
