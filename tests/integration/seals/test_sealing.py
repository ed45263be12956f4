"""Under concurrent writers, sealers and crashes, every event is sealed once, in one chain. Lesson 18."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from structlog.testing import capture_logs

from ledger.cli.seals import log_if_unsealed
from ledger.commands.transfers import TransferMoney
from ledger.environment.variables import SettingsError
from ledger.identity.keyring import load_sealing_key
from ledger.runtime import Runtime
from ledger.seals import sealing, store
from ledger.seals.sealing import Sealer
from ledger.seals.verifying import verify
from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.processes import ledger, until
from tests.support.sealed import BLOCK, INSERT, Sealed

WAITS = """SELECT true FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


async def test_nothing_is_sealed_past_a_writer_who_can_still_commit_a_smaller_position(
    settings: Settings, sealed: Sealed
) -> None:
    """Lesson 18, and decision 2 even without its trigger: then events commit in any order."""
    late, early = await connect(settings), await connect(settings)
    for writer in (late, early):
        await writer.execute("SET session_replication_role = replica; BEGIN")
        await writer.execute(INSERT, new_id())
    await early.execute("COMMIT")
    sealing_now = asyncio.create_task(sealed.seal())
    await until(lambda: waits_for_writers(late))
    assert not sealing_now.done()
    await late.execute("COMMIT")
    assert 2 == await sealing_now
    assert [] == await sealed.findings()
    assert len(await sealed.rows()) == sum(head.block.count for head in await sealed.heads())
    for writer in (late, early):
        await writer.close()


async def waits_for_writers(connection: Any) -> bool:
    """Return whether a sealer waits for writers. `pg_stat_activity` does not change within a transaction."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return bool(
        await connection.fetchval(
            """SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                              AND pid <> pg_backend_pid() AND query LIKE 'SELECT EXISTS (SELECT virtualtransaction%')"""
        )
    )


async def test_the_wait_for_a_writer_is_bounded(
    settings: Settings, sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 36."""
    writer = await connect(settings)
    await writer.execute("SET session_replication_role = replica; BEGIN")
    await sealed.connection.execute(INSERT, new_id())
    await writer.execute("LOCK TABLE stored_events IN ROW EXCLUSIVE MODE")
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "PATIENCE_SECONDS", 0.05)
        with pytest.raises(TimeoutError):
            await sealed.seal()
    await writer.close()
    await until(sealed.seal)
    assert [] == await sealed.findings()


async def test_concurrent_sealers_and_writers_leave_one_chain(
    settings: Settings, runtime: Runtime, unsealed: Sealed
) -> None:
    done = asyncio.Event()

    async def keep_sealing() -> None:
        connection, sealer = await connect(settings), Sealer(unsealed.ledger_id, unsealed.key, limit=BLOCK)
        while not done.is_set():
            await sealer.seal(connection, wait=False)
        await connection.close()

    async def keep_inserting() -> None:
        connection = await connect(settings)
        for number in range(40):
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(INSERT, new_id())
            await (transaction.rollback() if number % 5 == 0 else transaction.commit())
        await connection.close()

    async def keep_transferring() -> None:
        for _ in range(20):
            source, destination = unsealed.accounts
            command = TransferMoney(
                transaction_id=new_id(), source_account_id=source, destination_account_id=destination, amount_cents=1
            )
            await runtime.committer.submit(command, Origin(new_id()))

    sealers = [asyncio.create_task(keep_sealing()) for _ in range(3)]
    await asyncio.gather(keep_inserting(), keep_inserting(), keep_transferring())
    done.set()
    await asyncio.gather(*sealers)
    await unsealed.seal()
    report = await verify(unsealed.pool, {unsealed.key.kid: unsealed.key})
    assert (0, []) == (report.unsealed_events, report.findings)
    assert len(await unsealed.rows()) == report.events


async def test_sealing_continues_after_a_kill(
    settings: Settings, unsealed: Sealed, key_file: Path, tmp_path: Path
) -> None:
    """Lesson 14: a block is written completely or not at all."""
    variables = {**settings.environment(), "LEDGER_SEAL_KEY_FILE": str(key_file), "LEDGER_SEAL_EVENTS": "3"}
    await unsealed.connection.execute(
        """CREATE FUNCTION stop_at_the_third() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
           CREATE TRIGGER stop AFTER INSERT ON seals FOR EACH ROW WHEN (NEW.number = 3)
           EXECUTE FUNCTION stop_at_the_third();
           SELECT pg_advisory_lock(7)"""
    )
    with ledger(tmp_path / "killed", "audit", "seal", **variables) as killed:
        await until(lambda: unsealed.pool.fetchval(WAITS))
        killed.process.kill()
        killed.process.wait()
    await unsealed.connection.execute("SELECT pg_advisory_unlock(7)")
    await unsealed.seal()
    assert [] == await unsealed.findings()
    assert [3, 3, BLOCK] == [head.block.count for head in await unsealed.heads()][:3]


# As part of a service.


async def test_a_service_with_a_key_seals_and_reports_its_status(
    settings: Settings, unsealed: Sealed, key_file: Path
) -> None:
    update = {"ledger_seal_key_file": key_file, "ledger_seal_seconds": 0.01, "ledger_seal_events": BLOCK}
    before = await store.read_status(unsealed.pool)
    async with sealing.sealing(settings.model_copy(update=update)):
        await until(unsealed.is_whole)
    after = await store.read_status(unsealed.pool)
    assert (0, 0, len(await unsealed.rows())) == (before.blocks, before.sealed_position, before.unsealed_events)
    assert (after.last_position, None) == (after.sealed_position, after.oldest_unsealed_at)
    assert [] == await unsealed.findings()


def test_a_key_that_cannot_sign_seals_stops_the_start(tmp_path: Path) -> None:
    """The message names the variable, and shows nothing of the file."""
    nonsense, rsa = tmp_path / "nonsense.pem", tmp_path / "rsa.pem"
    nonsense.write_text("not a key")
    rsa.write_bytes(generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for path in (nonsense, rsa, tmp_path / "none"):
        with pytest.raises(SettingsError, match=r"^LEDGER_SEAL_KEY_FILE: must be "):
            load_sealing_key(Settings.load(ledger_seal_key_file=path))


def test_a_start_without_a_key_logs_one_line(settings: Settings, key_file: Path) -> None:
    with capture_logs() as said:
        log_if_unsealed(settings.model_copy(update={"ledger_seal_key_file": key_file}))
        assert [] == said
        log_if_unsealed(settings)
    (line,) = said
    assert "LEDGER_SEAL_KEY_FILE" in line["event"]
