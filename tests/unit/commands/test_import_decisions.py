"""Imports record balances and transfers that no client could request, but only users that a client could create."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.commands.imports import ImportAccounts, ImportedBalance, ImportTransfers
from ledger.commands.transfers import TransferMoney
from ledger.errors import Refused
from ledger.events import State, evolve
from ledger.events.accounts import Account, AccountCredited, AccountDebited, AccountOpened, world_account_id
from ledger.events.transactions import MoneyTransferred
from ledger.events.users import AccountAssigned, User
from ledger.import_reference.source import User as ReferenceUser
from ledger.import_reference.users import parse_roles, reject_user
from ledger.money import MAX_CENTS
from web import requests
from web.http.json import parse

ALICE, ACCOUNT, OTHER, TRANSFER = (UUID(int=number) for number in (1, 10, 11, 100))
WORLD = world_account_id("USD")
MONDAY = datetime(2024, 1, 15, tzinfo=UTC)
ALICE_STATE = User("alice", "alice@example.com", active=True, roles=("customer",), credential_id=UUID(int=9))


def decide(command: Any, states: dict[UUID, State | None]) -> tuple[list[Any], list[Any]]:
    """Return the events, and the refusal code of each item or None."""
    decision = command.decide({stream: states.get(stream) for stream in (*command.streams(), *command.creates())})
    refusals = [result.refusals for result in decision.result["results"]]
    return decision.events, [found[0].code if found else None for found in refusals]


def opening(cents: int, **members: Any) -> ImportAccounts:
    balance = {"account_id": ACCOUNT, "owner_id": ALICE, "cents": cents, "transaction_id": TRANSFER, **members}
    return ImportAccounts("USD", (ImportedBalance(**balance),))


def test_an_account_is_opened_with_its_balance_even_if_negative() -> None:
    events, refusals = decide(opening(-50, effective_at=MONDAY), {ALICE: ALICE_STATE})

    transfer = MoneyTransferred(
        source_account_id=ACCOUNT,
        destination_account_id=WORLD,
        amount_cents=50,
        currency="USD",
        kind="opening",
        reference=None,
        description="imported opening balance",
        effective_at=MONDAY,
    )
    assert [None] == refusals
    assert [
        (ACCOUNT, AccountOpened(ALICE, "USD")),
        (ALICE, AccountAssigned(ACCOUNT)),
        (WORLD, AccountOpened(None, "USD")),
        (TRANSFER, transfer),
        (ACCOUNT, AccountDebited(TRANSFER, 50, -50)),
        (WORLD, AccountCredited(TRANSFER, 50, 50)),
    ] == events


def test_an_account_without_a_balance_has_no_transfer() -> None:
    events, _ = decide(opening(0), {ALICE: ALICE_STATE})

    assert [AccountOpened(ALICE, "USD"), AccountAssigned(ACCOUNT)] == [event for _, event in events]


def test_an_existing_account_is_corrected_once() -> None:
    """Lesson 4."""
    states: dict[UUID, State | None] = {
        ALICE: ALICE_STATE,
        ACCOUNT: Account(ALICE, "USD", 5),
        WORLD: Account(None, "USD"),
    }

    events, _ = decide(opening(-50), states)
    for stream, event in events:
        states[stream] = evolve(states.get(stream), event)

    assert ["adjustment"] == [event.kind for _, event in events if isinstance(event, MoneyTransferred)]
    assert Account(ALICE, "USD", -45) == states[ACCOUNT]
    assert ([], [None]) == decide(opening(-50), states)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ({}, "user_not_found"),
        ({ALICE: User("a", "a@b", True, (), UUID(int=9), deleted=True)}, "user_not_found"),
        ({ALICE: ALICE_STATE, ACCOUNT: ALICE_STATE}, "account_already_exists"),
        ({ALICE: ALICE_STATE, ACCOUNT: Account(ALICE, "EUR")}, "currency_mismatch"),
        ({ALICE: ALICE_STATE, ACCOUNT: Account(ALICE, "USD", closed=True)}, "account_closed"),
        ({ALICE: ALICE_STATE, ACCOUNT: Account(ALICE, "USD", frozen="all")}, "account_frozen"),
        ({ALICE: ALICE_STATE, WORLD: Account(None, "USD", -MAX_CENTS)}, "validation_error"),
    ],
)
def test_an_account_that_cannot_change_is_refused(states: dict[UUID, State | None], code: str) -> None:
    assert ([], [code]) == decide(opening(50), states)


def test_a_refused_account_does_not_fail_its_neighbours() -> None:
    """Lesson 5."""
    (bad,) = opening(1, owner_id=UUID(int=2)).balances
    (good,) = opening(1, account_id=OTHER, transaction_id=UUID(int=101)).balances

    events, refusals = decide(ImportAccounts("USD", (bad, good)), {ALICE: ALICE_STATE})

    assert ["user_not_found", None] == refusals
    assert {OTHER, ALICE, WORLD, UUID(int=101)} == {stream for stream, _ in events}


def a_transfer(cents: int, source: UUID = ACCOUNT, destination: UUID = OTHER) -> TransferMoney:
    return TransferMoney(
        transaction_id=TRANSFER,
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=cents,
        id_was_chosen=True,
        effective_at=MONDAY,
    )


def test_a_past_transfer_is_recorded_once_even_without_funds() -> None:
    states: dict[UUID, State | None] = {ACCOUNT: Account(ALICE, "USD"), OTHER: Account(ALICE, "USD")}

    events, refusals = decide(ImportTransfers((a_transfer(70), a_transfer(70))), states)

    assert [None, None] == refusals
    made = MoneyTransferred(
        source_account_id=ACCOUNT,
        destination_account_id=OTHER,
        amount_cents=70,
        currency="USD",
        kind="transfer",
        reference=None,
        effective_at=MONDAY,
    )
    assert [
        (TRANSFER, made),
        (ACCOUNT, AccountDebited(TRANSFER, 70, -70)),
        (OTHER, AccountCredited(TRANSFER, 70, 70)),
    ] == events


@pytest.mark.parametrize(
    ("account", "code"),
    [
        (None, "transfer_source_account_not_found"),
        (Account(ALICE, "EUR"), "currency_mismatch"),
        (Account(ALICE, "USD", closed=True), "account_closed"),
        (Account(ALICE, "USD", frozen="debits"), "account_frozen"),
        (Account(ALICE, "USD", -MAX_CENTS), "validation_error"),
    ],
)
def test_a_transfer_that_cannot_be_recorded_is_refused(account: Account | None, code: str) -> None:
    states: dict[UUID, State | None] = {ACCOUNT: account, OTHER: Account(ALICE, "USD")}

    assert ([], [code]) == decide(ImportTransfers((a_transfer(70),)), states)


def test_an_id_with_another_content_is_not_the_same_transfer() -> None:
    states: dict[UUID, State | None] = {ACCOUNT: Account(ALICE, "USD"), OTHER: Account(ALICE, "USD")}

    events, refusals = decide(ImportTransfers((a_transfer(70), a_transfer(71))), states)

    assert (3, [None, "transaction_id_reused"]) == (len(events), refusals)


_odd = st.sampled_from(
    [*"aZ9é@.,\t\n\x00\x7f\x85 \u00a0\u200b\u2028\ue000\u0430\uff21e\u0301\U000e0101", "@b", "x" * 63, "y" * 250]
)
texts = st.lists(_odd, max_size=4).map("".join)
roles = st.lists(st.sampled_from(["admin", "auditor", "customer", "guest", " guest ", "root", "", "ADMIN"]), max_size=4)
ORDINARY = {"username": "alice", "email": "a@b", "roles": "customer", "password_hash": "a", "active": True}


@given(
    st.tuples(st.just("username"), texts)
    | st.tuples(st.just("email"), texts | st.tuples(texts, texts).map("@".join))
    | st.tuples(st.just("roles"), roles.map(",".join))
    | st.tuples(st.just("password_hash"), st.sampled_from(["", "a", "a" * 1024, "a" * 1025]))
)
def test_exactly_the_users_a_client_can_create_can_be_imported(member: tuple[str, str]) -> None:
    body: dict[str, Any] = {**ORDINARY, **dict([member])}
    try:
        parsed = parse(requests.NewUser, json.dumps(body).encode())
    except Refused:
        parsed = None

    against = reject_user(ReferenceUser(UUID(int=1), **body))

    assert (parsed is None) == (against is not None), (body, against)
    if parsed is not None:
        assert parsed.role_names() == parse_roles(body["roles"])
