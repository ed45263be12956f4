"""A batch decides each transfer as if it were a command of its own."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import errors
from ledger.commands.batch import TransferBatch
from ledger.commands.transfers import TransferMoney
from ledger.errors import Refusal, Refused
from ledger.events import State, evolve
from ledger.events.accounts import Account

OWNER, OTHER = UUID(int=1), UUID(int=2)
ACCOUNTS: dict[UUID, State | None] = {
    UUID(int=10): Account(OWNER, "USD", 100),
    UUID(int=11): Account(OWNER, "USD", 20, overdraft_limit_cents=5),
    UUID(int=12): Account(OTHER, "USD", 50, held_cents=30),
    UUID(int=13): Account(OWNER, "EUR", 50),
    UUID(int=14): Account(OWNER, "USD", 50, frozen="debits"),
    UUID(int=15): Account(OWNER, "USD", closed=True),
    UUID(int=16): None,
}

accounts = st.sampled_from(list(ACCOUNTS))
references = st.none() | st.sampled_from(["rent", "wages"])
owners = st.none() | st.just(OWNER)
transfers = st.lists(st.tuples(accounts, accounts, st.integers(1, 60), references, owners), min_size=1, max_size=12)


def make_transfers(rows: list[tuple[Any, ...]]) -> tuple[TransferMoney, ...]:
    return tuple(
        TransferMoney(
            transaction_id=UUID(int=100 + number),
            source_account_id=source,
            destination_account_id=destination,
            amount_cents=cents,
            reference=reference,
            only_owner_id=owner_id,
        )
        for number, (source, destination, cents, reference, owner_id) in enumerate(rows)
    )


def decide_each(items: tuple[TransferMoney, ...]) -> list[Any]:
    """Return the events or the refusals of each item when decided alone."""
    states, found = dict(ACCOUNTS), list[Any]()
    for item in items:
        seen = {stream: states.get(stream) for stream in (*item.streams(), *item.creates())}
        try:
            events = item.decide(seen).events
        except Refused as refused:
            found.append(refused.refusals)
            continue
        found.append(events)
        for stream, event in events:
            states[stream] = evolve(states.get(stream), event)
    return found


def states_of(command: TransferBatch) -> dict[UUID, State | None]:
    return {stream: ACCOUNTS.get(stream) for stream in (*command.streams(), *command.creates())}


def name_account(refusals: Iterable[Refusal], item: TransferMoney) -> tuple[Refusal, ...]:
    """Return the refusals as a batch has them: of many items, it must be clear which account is short of funds."""
    return tuple(
        refusal.about(item.source_account_id) if refusal == errors.insufficient_funds() else refusal
        for refusal in refusals
    )


@given(transfers)
def test_items_are_decided_as_if_each_were_sent_alone(rows: list[tuple[Any, ...]]) -> None:
    items = make_transfers(rows)
    alone = decide_each(items)

    decision = TransferBatch(items).decide(states_of(TransferBatch(items)))

    assert [event for found in alone if isinstance(found, list) for event in found] == decision.events
    assert [
        () if isinstance(found, list) else name_account(found, item) for found, item in zip(alone, items, strict=True)
    ] == [result.refusals for result in decision.result["results"]]


@given(transfers)
def test_an_atomic_batch_succeeds_as_a_whole_or_names_the_first_refused_item(rows: list[tuple[Any, ...]]) -> None:
    """Lesson 5."""
    items = make_transfers(rows)
    alone = decide_each(items)
    command = TransferBatch(items, atomic=True)
    refused = [number for number, found in enumerate(alone) if not isinstance(found, list)]

    if not refused:
        assert [event for found in alone for event in found] == command.decide(states_of(command)).events
        return
    with pytest.raises(Refused) as raised:
        command.decide(states_of(command))
    assert [refusal.code for refusal in alone[refused[0]]] == [refusal.code for refusal in raised.value.refusals]
    pointers = [refusal.detail["pointer"] for refusal in raised.value.refusals if refusal.detail is not None]
    assert len(raised.value.refusals) == sum(pointer.startswith(f"/items/{refused[0]}") for pointer in pointers)


@given(transfers)
def test_a_batch_whose_ids_seem_new_reads_only_accounts_and_decides_the_same(rows: list[tuple[Any, ...]]) -> None:
    items = tuple(msgspec.structs.replace(item, id_was_chosen=True) for item in make_transfers(rows))
    careful = TransferBatch(items)
    hopeful = TransferBatch(items, seem_new=True)

    assert {*hopeful.streams()} == {
        each for item in items for each in (item.source_account_id, item.destination_account_id)
    }
    assert {*careful.streams()} == {*hopeful.streams(), *hopeful.creates()}
    assert careful.decide(states_of(careful)).events == hopeful.decide(states_of(hopeful)).events
    assert careful == hopeful.doubt() == careful.doubt()
