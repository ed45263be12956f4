"""Who did what, and what the answer was, is sealed with the events: a change in the command log is found and named."""

from typing import Any
from uuid import UUID

import pytest

from ledger.settings import Settings
from ledger.values.ids import new_id
from tests.support.processes import run_ledger
from tests.support.sealed import BLOCK, Sealed

EVE = "018f0000-0000-7000-8000-00000000ee0e"
TRANSFERS = "SELECT command_id FROM command_log WHERE name = 'TransferMoney' AND outcome"
ACCEPTED = f"({TRANSFERS} = 'accepted' ORDER BY recorded_at LIMIT 1)"
REFUSED = f"({TRANSFERS} = 'refused' ORDER BY recorded_at LIMIT 1)"
ANSWERED = "(SELECT command_id FROM command_log WHERE name = 'OpenAccount' ORDER BY recorded_at LIMIT 1)"

CHANGES = {
    "the actor": f"actor_id = '{EVE}'",
    "no actor": "actor_id = NULL",
    "the session": f"session_id = '{EVE}'",
    "the token": f"jti = '{EVE}'",
    "the request": "request_id = 'another'",
    "no request": "request_id = NULL",
    "the hash of the request": r"request_hash = '\x00'",
    "the name": "name = 'CloseAccount'",
    "the answer": """answer = '{"id": "another"}'""",
    "the answer in its old column": """result = '{"id": "another"}'""",
    "the time": "recorded_at = recorded_at + interval '1 microsecond'",
}


@pytest.mark.parametrize("command", [ACCEPTED, ANSWERED, REFUSED], ids=["derived answer", "stored answer", "refused"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_changed_command_is_found(change: str, command: str, sealed: Sealed) -> None:
    command_id = await sealed.connection.fetchval(command)
    await sealed.tamper(f"UPDATE command_log SET {change} WHERE command_id = '{command_id}'")
    findings = await sealed.findings()
    assert findings
    assert all(finding.block is not None and str(command_id) in finding.problem for finding in findings)


async def test_an_answer_that_is_spelt_otherwise_is_found(sealed: Sealed) -> None:
    """A replay has the bytes of the first answer, so a blank is a change."""
    await sealed.tamper(f"UPDATE command_log SET answer = (answer::text || ' ')::json WHERE command_id = {ANSWERED}")
    assert await sealed.findings()


@pytest.mark.parametrize("outcome", ["accepted", "refused"])
async def test_an_outcome_that_was_turned_around_is_found(outcome: str, sealed: Sealed) -> None:
    command = ACCEPTED if outcome == "refused" else REFUSED
    await sealed.tamper(f"UPDATE command_log SET outcome = '{outcome}', answer = NULL WHERE command_id = {command}")
    assert await sealed.findings()


async def test_a_deleted_command_is_named_by_its_events(sealed: Sealed) -> None:
    command_id = await sealed.connection.fetchval(ACCEPTED)
    sql = "SELECT notification_id FROM stored_events WHERE command_id = $1 ORDER BY notification_id"
    events = [row[0] for row in await sealed.connection.fetch(sql, command_id)]
    await sealed.tamper(f"DELETE FROM command_log WHERE command_id = '{command_id}'")
    found = [(finding.position, finding.problem) for finding in await sealed.findings()]
    assert [(position, f"the command {command_id} of the event is missing") for position in events] == found


async def test_deleted_refusals_are_found(sealed: Sealed) -> None:
    await sealed.tamper("DELETE FROM command_log WHERE outcome = 'refused'")
    assert ["commands without events are missing: 2"] == [finding.problem for finding in await sealed.findings()]


async def test_a_refusal_that_was_invented_later_is_found(sealed: Sealed) -> None:
    forged = new_id()
    await sealed.tamper(
        f"""INSERT INTO command_log (command_id, name, actor_id, outcome, answer, recorded_at)
            SELECT '{forged}', name, '{EVE}', outcome, answer, recorded_at FROM command_log
            WHERE command_id = {REFUSED}"""
    )
    (finding,) = await sealed.findings()
    assert f"the command {forged} was changed or added later" == finding.problem


async def test_a_command_that_got_another_one_s_events_is_found(sealed: Sealed) -> None:
    """The event names another command, which exists."""
    first, second = await sealed.connection.fetch(f"{TRANSFERS} = 'accepted' ORDER BY recorded_at LIMIT 2")
    await sealed.tamper(f"UPDATE stored_events SET command_id = '{second[0]}' WHERE command_id = '{first[0]}'")
    assert len(await sealed.findings()) == 3


async def test_refusals_are_sealed_however_many_there_are(sealed: Sealed) -> None:
    trees = [block.signed_header.block.commands for block in await sealed.blocks()]
    found = [tree for tree in trees if tree is not None]
    assert len(trees) == len(found)
    assert [tree.before for tree in found[:-1]] == [tree.since for tree in found[1:]]
    answered = "SELECT count(*) FROM command_log WHERE outcome = 'refused' OR answer IS NOT NULL"
    assert await sealed.connection.fetchval(answered) == sum(tree.count for tree in found)
    assert BLOCK == len((await sealed.blocks())[0].leaves)


async def test_a_flood_of_refusals_is_sealed_by_the_blocks_that_follow(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block has a limit of commands, too."""
    monkeypatch.setattr("ledger.seals.sealing.MAX_COMMANDS", 3)
    await sealed.connection.execute(
        """INSERT INTO command_log (command_id, name, outcome, answer, recorded_at)
           SELECT gen_random_uuid(), 'n', 'refused', '[]', clock_timestamp() FROM generate_series(1, 10)"""
    )
    for _ in range(4):
        await sealed.connection.execute(
            "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ($1, 1, 'X', '{}')",
            new_id(),
        )
        await sealed.seal()
    trees = [block.signed_header.block.commands for block in await sealed.blocks()]
    counts = [tree.count for tree in trees[-4:] if tree is not None]
    assert (10, True) == (sum(counts), max(counts) <= 4)
    assert [] == await sealed.findings()


async def test_a_forged_event_without_a_command_is_found_by_verify(sealed: Sealed, settings: Settings) -> None:
    """Lesson 57: a working admin was made like this, and the books were right."""
    user_id = await sealed.connection.fetchval("SELECT id FROM users")
    await sealed.tamper("DELETE FROM stored_events WHERE command_id IS NULL")  # of the fixture
    await forge_admin(sealed, user_id)
    ran = await run_ledger("audit", "verify", "--json", variables=settings.environment())
    assert 1 == ran.status
    (finding,) = ran.documents
    assert ("every event has a command", str(user_id)) == (finding["rule"], finding["stream_id"])


async def forge_admin(sealed: Sealed, user_id: UUID) -> None:
    """Append an event that makes a user an admin, with the head and the row that follow from it."""
    connection: Any = sealed.connection
    version = 1 + await connection.fetchval("SELECT version FROM stream_heads WHERE originator_id = $1", user_id)
    await sealed.tamper(
        f"""INSERT INTO stored_events (originator_id, originator_version, topic, state)
            VALUES ('{user_id}', {version}, 'UserRolesChanged', '{{"roles":["admin"]}}')""",
        f"""UPDATE stream_heads SET version = {version},
                   state = convert_to(replace(convert_from(state, 'UTF8'), '["customer"]', '["admin"]'), 'UTF8')
            WHERE originator_id = '{user_id}'""",
        f"""UPDATE users SET roles = 'admin', updated_at = (SELECT max(recorded_at) FROM stored_events)
            WHERE id = '{user_id}'""",
    )
