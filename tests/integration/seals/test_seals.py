"""Any tampering with a sealed log or with its seals is found. Lesson 18."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from ledger.events import StoredRow, decode_event, encode_event
from ledger.events.accounts import AccountCredited
from ledger.identity.keys import private_key
from ledger.seals import blocks
from ledger.seals.blocks import CommandPeriod
from ledger.seals.chain import BrokenChainError
from ledger.seals.sealing import Sealer
from ledger.seals.verifying import Finding
from ledger.store.citus import find_table
from ledger.store.command_rows import CommandRow, digests_of, read_command_rows
from ledger.values.ids import new_id
from tests.support.sealed import BLOCK, INSERT, Sealed, block_of, write_key_file

# Every event, once.


async def test_every_event_is_in_exactly_one_block_and_the_blocks_make_a_chain(sealed: Sealed) -> None:
    heads, rows = await sealed.heads(), await sealed.rows()
    assert [] == await sealed.findings()
    assert len(rows) == sum(head.block.count for head in heads)
    assert list(range(1, len(heads) + 1)) == [head.block.number for head in heads]
    assert [blocks.NO_BLOCK, *(head.block.hash() for head in heads[:-1])] == [head.block.previous for head in heads]
    ends = [head.block.last_position for head in heads]
    assert [1, *(end + 1 for end in ends[:-1])] == [head.block.first_position for head in heads]
    assert rows[-1].notification_id == ends[-1]
    assert 0 == await sealed.seal()


async def test_a_leaf_covers_every_column_there_is(sealed: Sealed) -> None:
    """Lesson 18: a hash that leaves out a field. A new column must be added here."""
    columns = await sealed.connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'stored_events'"
    )
    assert {row[0] for row in columns} == set(StoredRow._fields)
    row = (await sealed.rows())[0]
    others: dict[str, Any] = {
        "originator_id": new_id(),
        "originator_version": row.originator_version + 1,
        "topic": row.topic + "X",
        "state": row.state + b" ",
        "notification_id": row.notification_id + 1,
        "recorded_at": row.recorded_at.replace(microsecond=row.recorded_at.microsecond ^ 1),
        "command_id": None,
    }
    changed = [blocks.event_leaf(row._replace(**{name: value})) for name, value in others.items()]
    no_command, zero_command = row._replace(command_id=None), row._replace(command_id=UUID(int=0))
    moved = row._replace(topic=row.topic + "{", state=row.state[1:])
    leaves = [blocks.event_leaf(some) for some in (row, zero_command, moved)]
    assert len(others) + 3 == len({*changed, *leaves})
    assert blocks.event_leaf(no_command) in changed


async def test_a_digest_covers_every_column_of_a_command(sealed: Sealed) -> None:
    """Lesson 18. PostgreSQL and Python compute the same digest, also of nulls."""
    columns = await sealed.connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'command_log'"
    )
    assert {row[0] for row in columns} == set(CommandRow._fields)
    row = CommandRow(new_id(), "n", new_id(), new_id(), new_id(), "r", b"h", "accepted", "{}", "{}", NOW)
    others: dict[str, Any] = {
        **dict.fromkeys(("command_id", "actor_id", "session_id", "jti"), new_id()),
        **dict.fromkeys(("name", "request_id", "outcome", "result", "answer"), "x"),
        "request_hash": b"x",
        "recorded_at": NOW.replace(microsecond=1),
    }
    changed = [row._replace(**{name: value}) for name, value in others.items()]
    none: Any = None
    nulls = [row._replace(**{name: none}) for name in CommandRow._fields[2:]]
    moved = row._replace(request_id=None, request_hash=b"r", result="h")
    rows = [row, *changed, *nulls, moved]
    assert len(rows) == len({blocks.command_digest(some) for some in rows})
    stored = await sealed.connection.fetch(f"SELECT command_id, digest FROM ({digests_of(ALL_COMMANDS)}) AS digests")
    known = await read_command_rows(sealed.pool, [found[0] for found in stored])
    assert [blocks.command_digest(known[found[0]]) for found in stored] == [found[1] for found in stored]


ALL_COMMANDS = "SELECT command_id FROM command_log"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TENTH = "notification_id = 10"
CHANGES = {
    "originator_id": f"UPDATE stored_events SET originator_id = gen_random_uuid() WHERE {TENTH}",
    "originator_version": f"UPDATE stored_events SET originator_version = 1000 WHERE {TENTH}",
    "topic": f"UPDATE stored_events SET topic = topic || 'X' WHERE {TENTH}",
    "state": f"UPDATE stored_events SET state = state || ' ' WHERE {TENTH}",
    "recorded_at": f"UPDATE stored_events SET recorded_at = recorded_at + interval '1 microsecond' WHERE {TENTH}",
    "no time": f"UPDATE stored_events SET recorded_at = 'infinity' WHERE {TENTH}",
    "command_id": f"UPDATE stored_events SET command_id = gen_random_uuid() WHERE {TENTH}",
    "no command": f"UPDATE stored_events SET command_id = NULL WHERE {TENTH}",
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_of_any_column_is_found_and_named(what: str, sealed: Sealed) -> None:
    await sealed.tamper(CHANGES[what])
    ((number, position, problem),) = await sealed.findings()
    assert (3, 10) == (number, position)
    assert re.fullmatch(r"the event (or its command \S+ )?was changed|the command \S+ of the event is missing", problem)


async def test_a_removed_event_is_found(sealed: Sealed) -> None:
    await sealed.tamper(f"DELETE FROM stored_events WHERE {TENTH}")
    assert [Finding(3, 10, "events missing from here on: 1")] == await sealed.findings()


async def test_a_block_whose_events_are_all_gone_is_found(sealed: Sealed) -> None:
    await sealed.tamper("DELETE FROM stored_events WHERE notification_id BETWEEN 9 AND 12")
    assert [Finding(3, 9, "events missing from here on: 4")] == await sealed.findings()


async def test_an_event_inserted_into_a_gap_is_found(sealed: Sealed) -> None:
    """Lesson 18: a lower id that was committed late."""
    gap = await sealed.connection.fetchval("SELECT max(notification_id) - 1 FROM stored_events")
    await sealed.tamper(
        f"""INSERT INTO stored_events SELECT gen_random_uuid(), 1, topic, state, {gap}, recorded_at, NULL
            FROM stored_events WHERE {TENTH}"""
    )
    ((number, position, problem),) = await sealed.findings()
    assert (len(await sealed.heads()), gap, "the event was added later") == (number, position, problem)


@pytest.mark.parametrize("position", [0, -1])
async def test_an_event_below_all_positions_is_found(position: int, sealed: Sealed) -> None:
    """Lesson 18: such an event is in no block, and a reader from the first position never sees it."""
    await sealed.tamper(
        f"""INSERT INTO stored_events SELECT gen_random_uuid(), 1, topic, state, {position}, recorded_at, NULL
            FROM stored_events WHERE {TENTH}"""
    )
    assert [position] == [finding.position for finding in await sealed.findings()]


async def test_two_swapped_events_are_found(sealed: Sealed) -> None:
    await sealed.tamper(
        "UPDATE stored_events SET notification_id = 1000000 WHERE notification_id = 10",
        "UPDATE stored_events SET notification_id = 10 WHERE notification_id = 11",
        "UPDATE stored_events SET notification_id = 11 WHERE notification_id = 1000000",
    )
    assert [(3, 10), (3, 11)] == [finding[:2] for finding in await sealed.findings()]


async def test_an_event_that_was_moved_behind_the_seals_is_found(sealed: Sealed) -> None:
    await sealed.tamper("UPDATE stored_events SET notification_id = 1000000 WHERE notification_id = 10")
    await sealed.seal()
    assert [(3, 10)] == [finding[:2] for finding in await sealed.findings()]


async def test_a_change_with_all_its_consequences_is_found(sealed: Sealed) -> None:
    """Read tables, heads, leaves, root and chain agree with the false event; the signature does not."""
    rows, heads = await sealed.rows(), await sealed.heads()
    decoded = [(row, decode_event(row.topic, row.state)) for row in rows if row.topic == "AccountCredited"]
    credited = [(row, event) for row, event in decoded if isinstance(event, AccountCredited)]
    changed, event = next((row, event) for row, event in credited if event.balance_cents != 1000)
    state = encode_event(msgspec.structs.replace(event, amount_cents=event.amount_cents + 8)).hex()
    await sealed.tamper(
        f"UPDATE stored_events SET state = '\\x{state}' WHERE notification_id = {changed.notification_id}",
        f"UPDATE accounts SET balance_cents = balance_cents + 8 WHERE id = '{changed.originator_id}'",
    )
    previous, now = None, await sealed.rows()
    commands = await read_command_rows(sealed.pool, {row.command_id for row in now if row.command_id})
    for before in await sealed.blocks():
        head = before.signed_header.block
        assert head.commands is not None
        inside = [row for row in now if head.first_position <= row.notification_id <= head.last_position]
        period = CommandPeriod(before.command_leaves, head.commands.since, head.commands.before)
        known: Any = commands
        block = block_of(
            sealed.ledger_id, previous, inside, known, period=period, sealed_at=head.sealed_at, key=sealed.key
        )
        previous = block.signed_header.block
        await sealed.tamper(
            f"""UPDATE seals SET root = '\\x{previous.root.hex()}', previous = '\\x{previous.previous.hex()}',
                       leaves = '\\x{b"".join(block.leaves).hex()}' WHERE number = {previous.number}"""
        )
    findings = await sealed.findings()
    number = next(head.block.number for head in heads if head.block.last_position >= changed.notification_id)
    assert list(range(number, len(heads) + 1)) == [finding.block for finding in findings]
    assert {"its header does not match its signature"} == {finding.problem for finding in findings}


# The seals themselves.

SEAL_CHANGES = {
    "number": "UPDATE seals SET number = 1000 WHERE number = 3",
    "first_position": "UPDATE seals SET first_position = first_position + 1 WHERE number = 3",
    "last_position": "UPDATE seals SET last_position = last_position + 100 WHERE number = 3",
    "count": "UPDATE seals SET count = count + 1 WHERE number = 3",
    "root": "UPDATE seals SET root = sha256(root) WHERE number = 3",
    "long root": "UPDATE seals SET root = root || '\\x00' WHERE number = 3",
    "previous": "UPDATE seals SET previous = sha256(previous) WHERE number = 3",
    "sealed_at": "UPDATE seals SET sealed_at = sealed_at + interval '1 microsecond' WHERE number = 3",
    "no time": "UPDATE seals SET sealed_at = 'infinity' WHERE number = 3",
    "key_id": "UPDATE seals SET key_id = key_id || 'X' WHERE number = 3",
    "signature": "UPDATE seals SET signature = sha256(signature) || sha256(signature) WHERE number = 3",
    "leaves": "UPDATE seals SET leaves = overlay(leaves placing '\\x00ff00ff' from 5) WHERE number = 3",
    "no leaves": "UPDATE seals SET leaves = '' WHERE number = 3",
    "gone": "DELETE FROM seals WHERE number = 3",
    "the first one gone": "DELETE FROM seals WHERE number = 1",
    "another ledger": "UPDATE ledger_identity SET id = gen_random_uuid()",
}


@pytest.mark.parametrize("what", SEAL_CHANGES)
async def test_a_change_of_any_part_of_a_seal_is_found(what: str, sealed: Sealed) -> None:
    await sealed.tamper(SEAL_CHANGES[what])
    findings = await sealed.findings()
    assert findings
    assert all(finding.block is not None for finding in findings)


async def test_seals_refuse_to_be_changed(sealed: Sealed) -> None:
    seals = await find_table(sealed.connection, "seals")
    for statement in (SEAL_CHANGES["root"], SEAL_CHANGES["gone"], f"TRUNCATE {seals}"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await sealed.connection.execute(statement)


async def test_a_log_resealed_with_another_key_is_found(sealed: Sealed, tmp_path: Path) -> None:
    count = len(await sealed.heads())
    await sealed.tamper(CHANGES["state"], "DELETE FROM seals")
    await sealed.seal(private_key(write_key_file(tmp_path / "another.pem")))
    assert list(range(1, count + 1)) == [finding.block for finding in await sealed.findings()]


async def test_a_log_resealed_with_the_same_key_is_found_by_exported_headers(sealed: Sealed) -> None:
    """Lesson 18: verification that needs the very database it distrusts."""
    kept = await sealed.heads()
    await sealed.tamper(CHANGES["state"], "DELETE FROM seals")
    await sealed.seal()
    assert [] == await sealed.findings()
    assert {finding.block for finding in await sealed.findings(kept)} == {head.block.number for head in kept}


async def test_a_truncated_log_is_found_by_exported_headers(sealed: Sealed) -> None:
    kept = await sealed.heads()
    last = kept[-1].block
    await sealed.tamper(
        f"DELETE FROM stored_events WHERE notification_id >= {last.first_position}",
        f"DELETE FROM seals WHERE number = {last.number}",
    )
    assert [] == await sealed.findings()
    findings = await sealed.findings(kept)
    assert [Finding(last.number, None, "it is in the exported headers but missing here")] == findings


async def test_a_running_sealer_continues_only_the_chain_it_knows(unsealed: Sealed) -> None:
    sealer = Sealer(unsealed.ledger_id, unsealed.key, limit=BLOCK)
    await sealer.seal(unsealed.connection)
    await unsealed.tamper(CHANGES["state"], "DELETE FROM seals")
    with pytest.raises(BrokenChainError):
        await sealer.seal(unsealed.connection)
    assert [] == await unsealed.heads()


async def test_a_sealer_continues_no_block_with_a_wrong_signature(sealed: Sealed) -> None:
    await sealed.tamper("UPDATE seals SET root = sha256(root)")
    await sealed.connection.execute(INSERT, new_id())
    with pytest.raises(BrokenChainError):
        await sealed.seal()
