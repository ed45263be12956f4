"""SQL reads the events of plain transfers in both of their stored forms, and entries from these events."""

from typing import Any

import asyncpg
import msgspec

from ledger.events import decode_event, encode
from ledger.store import reader as event_reader
from tests.support.bank import Bank, transfer_command

LONG_FORM = """
    INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
    SELECT originator_id, originator_version + 1000000, topic, convert_to(event_json(topic, state)::text, 'UTF8'),
           recorded_at
    FROM stored_events WHERE substring(state FROM 1 FOR 1) = '\\x01' ORDER BY notification_id
"""


async def test_the_views_show_both_forms_alike(bank: Bank, connection: "asyncpg.Connection[Any]") -> None:
    source, destination = await bank.accounts(100, 0)
    await bank.submit(transfer_command(source, destination, 7))
    await connection.execute(LONG_FORM)
    rows = await connection.fetch("SELECT topic, state FROM stored_events ORDER BY notification_id")
    forms = [row["state"][:1] for row in rows if row["topic"] == "AccountDebited"]
    assert {b"\x01", b"{"} == set(forms)
    shown = await connection.fetch("SELECT state::text FROM events ORDER BY position")
    assert [msgspec.json.decode(encode(decode_event(*row))) for row in rows] == [
        msgspec.json.decode(row["state"]) for row in shown
    ]


async def test_an_entry_is_its_event(bank: Bank, connection: "asyncpg.Connection[Any]") -> None:
    source, destination = await bank.accounts(100, 0)
    transfer = transfer_command(source, destination, 7)
    await bank.submit(transfer)
    await connection.execute(LONG_FORM)
    entries = await connection.fetch(
        "SELECT account_id, transfer_id, amount_cents, balance_cents FROM entries WHERE transfer_id = $1",
        transfer.transaction_id,
    )
    expected = [(source, transfer.transaction_id, -7, 93), (destination, transfer.transaction_id, 7, 7)]
    assert sorted(2 * expected) == sorted(map(tuple, entries))


async def test_a_worker_of_the_version_before_inserts_entries_without_effect(
    bank: Bank, connection: "asyncpg.Connection[Any]"
) -> None:
    await bank.accounts(100)
    before = await connection.fetch("SELECT * FROM entries ORDER BY position")
    await connection.execute(
        """INSERT INTO entries (account_id, version, transfer_id, amount_cents, balance_cents, position, recorded_at)
           SELECT account_id, version + 1, transfer_id, amount_cents, balance_cents, position, recorded_at
           FROM entries"""
    )
    assert before == await connection.fetch("SELECT * FROM entries ORDER BY position")


async def test_the_log_over_http_is_json_for_both_forms(bank: Bank, connection: "asyncpg.Connection[Any]") -> None:
    source, destination = await bank.accounts(100, 0)
    await bank.submit(transfer_command(source, destination, 7))
    events = (await event_reader.read(connection, 0, limit=100)).events
    transfer = next(event for event in events if event.topic == "MoneyTransferred" and event.state[:1] == b"\x01")
    assert {
        "source_account_id": str(source),
        "destination_account_id": str(destination),
        "amount_cents": 7,
        "currency": "USD",
        "kind": "transfer",
        "reference": None,
    } == transfer.body()["state"]
