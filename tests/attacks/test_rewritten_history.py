"""With the password of the database alone, nobody rewrites history unseen: the service signs no other chain."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD
from tests.support.processes import Ledger, until
from tests.support.rewriting import DELETE_SEALS, REWRITE, Victim, prepare_victim, problems, record_history, transfer
from tests.support.serving import call, log_in

STOPPED = "a follower has stopped"
TRUNCATIONS = {"all blocks": DELETE_SEALS, "all but two blocks": "DELETE FROM seals WHERE number > 2"}
BLOCKS = "SELECT count(*) FROM seals"


@pytest.fixture
def victim(settings: Settings, connection: Any, tmp_path: Path) -> Victim:
    return prepare_victim(settings, connection, tmp_path)


async def assert_refuses(running: Ledger, transaction_id: str) -> None:
    """Assert that the service says once that it seals no more, degrades, and signs nothing for the forgery."""
    (record,) = await until(lambda: running.logged(STOPPED))
    assert "verify-seals" in record["error"]
    assert "error" == record["level"]
    url = await running.url()
    token = await log_in(url, "admin", ADMIN_PASSWORD)

    async def is_degraded() -> bool:
        return bool((await call("GET", f"{url}/v1/readyz"))[1]["checks"]["seals"] == "stopped")

    await until(is_degraded)
    status, answer = await call("GET", f"{url}/v1/transactions/{transaction_id}/proof", None, token)
    assert (409, "not_sealed_yet") == (status, answer["errors"][0]["code"])


@pytest.mark.parametrize("truncation", TRUNCATIONS.values(), ids=TRUNCATIONS)
async def test_a_rewritten_history_is_not_sealed_again_by_a_restart(truncation: str, victim: Victim) -> None:
    """Lesson 56: the memory of the last block ended with the process, and so did the evidence."""
    with victim.serve() as running:
        source, _, transaction_id = await record_history(victim, running)
        assert 0 == await running.stop()
    assert 0 == (await victim.run("verify-seals")).status

    await victim.attack(*REWRITE, truncation, account=source)
    left = await victim.connection.fetchval(BLOCKS)
    assert any("missing here" in problem for problem in problems(await victim.run("verify-seals")))
    with victim.serve("again") as running:
        await assert_refuses(running, transaction_id)
        assert 1 == len(running.logged(STOPPED))
        assert 0 == await running.stop()
    assert left == await victim.connection.fetchval(BLOCKS)
    assert 1 == (await victim.run("verify-seals")).status


@pytest.mark.parametrize("truncation", TRUNCATIONS.values(), ids=TRUNCATIONS)
async def test_a_rewritten_history_is_not_sealed_again_by_the_running_service(truncation: str, victim: Victim) -> None:
    with victim.serve() as running:
        source, _, transaction_id = await record_history(victim, running)
        await victim.attack(*REWRITE, truncation, account=source)
        await assert_refuses(running, transaction_id)
        assert any("missing here" in problem for problem in problems(await victim.run("verify-seals")))


async def test_a_chain_of_another_ledger_identity_is_not_begun(victim: Victim) -> None:
    """The identity is in the database as well, and each block names it."""
    with victim.serve() as running:
        await record_history(victim, running)
        assert 0 == await running.stop()
    await victim.attack("UPDATE ledger_identity SET id = gen_random_uuid()", DELETE_SEALS)
    with victim.serve("again") as running:
        (record,) = await until(lambda: running.logged(STOPPED))
        assert "LEDGER_SEAL_HEAD_FILE" in record["error"]
    assert 1 == (await victim.run("verify-seals")).status
    assert 0 == await victim.connection.fetchval(BLOCKS)


async def test_an_operator_accepts_a_chain_by_a_command_that_the_log_records(victim: Victim) -> None:
    """Auditors see the reason, and headers kept elsewhere still reveal it."""
    with victim.serve() as running:
        await record_history(victim, running)
        assert 0 == await running.stop()
    heads = victim.folder / "heads.jsonl"
    heads.write_text((await victim.run("export-heads")).output)
    await victim.attack(DELETE_SEALS)
    refused = await victim.run("seal")
    assert (1, True) == (refused.status, "accept-head" in refused.error)

    with victim.serve("again") as running:
        await until(lambda: running.logged(STOPPED))
        accepted = await victim.run("accept-head", "--reason", "restored without its seals", "--json")
        assert {"accepted_block": 0} == accepted.document
        await until(victim.is_sealed)
    sql = "SELECT state FROM stored_events WHERE topic = 'SealHeadAccepted'"
    event = json.loads(await victim.connection.fetchval(sql))
    assert ("restored without its seals", 0, True) == (event["reason"], event["number"], event["previous_number"] > 2)
    assert 0 == (await victim.run("verify-seals")).status
    assert 1 == (await victim.run("verify-seals", "--against", str(heads))).status


async def test_the_chain_of_an_earlier_version_is_adopted(victim: Victim) -> None:
    """It has blocks, but no file with their head."""
    head_file = victim.folder / "seal-key.head"
    with victim.serve() as running:
        await record_history(victim, running)
        assert 0 == await running.stop()
    head_file.unlink()
    assert 0 == (await victim.run("verify-seals")).status
    with victim.serve("again") as running:
        await until(head_file.exists)
        await record_history(victim, running)
        assert 1 == len(running.logged("the chain of seals is adopted"))
    assert 0 == (await victim.run("verify-seals")).status


async def test_an_instance_with_a_file_of_its_own_continues_the_chain_only_if_it_extends_its_head(
    victim: Victim,
) -> None:
    """Its head is older than the chain. Instances that do not seal keep their files up to date."""
    files = {name: str(victim.folder / f"{name}.head") for name in ("first", "second")}
    with victim.serve("first", LEDGER_SEAL_HEAD_FILE=files["first"]) as first:
        source = (await record_history(victim, first)).source
        await asyncio.to_thread(shutil.copy, files["first"], files["second"])
        await record_history(victim, first)
        with victim.serve("second", LEDGER_SEAL_HEAD_FILE=files["second"]) as second:
            await until(lambda: number_in(files["first"]) == number_in(files["second"]) > 2)
            assert 0 == await first.stop()
            await record_history(victim, second)
            assert number_in(files["second"]) > number_in(files["first"])
            assert 0 == await second.stop()
    for file in files.values():
        assert 0 == (await victim.run("verify-seals", LEDGER_SEAL_HEAD_FILE=file)).status

    await victim.attack(*REWRITE, "DELETE FROM seals WHERE number > 2", account=source)
    for name, file in files.items():
        assert problems(await victim.run("verify-seals", LEDGER_SEAL_HEAD_FILE=file))
        with victim.serve(f"{name} again", LEDGER_SEAL_HEAD_FILE=file) as running:
            await until(lambda service=running: service.logged(STOPPED))


def number_in(file: str) -> int:
    return int(json.loads(Path(file).read_bytes())["chain"]["head"]["block"]["number"])


async def test_events_that_wait_for_their_seal_for_too_long_are_found(victim: Victim) -> None:
    with victim.serve() as running:
        history = await record_history(victim, running)
        assert 0 == await running.stop()
    with victim.serve("unsealed", LEDGER_SEAL_KEY_FILE="") as running:
        url = await running.url()
        await transfer(url, await log_in(url, "admin", ADMIN_PASSWORD), history.source, history.destination)
    assert 0 == (await victim.run("verify-seals")).status
    (problem,) = problems(await victim.run("verify-seals", LEDGER_READY_LAG_SECONDS="0.001"))
    assert "have not been sealed for" in problem
