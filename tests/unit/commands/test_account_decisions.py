"""The rules of accounts: given events, when a command, then events or a refusal."""

from typing import Any
from uuid import UUID

import pytest

from ledger.commands.accounts import CloseAccount, OpenAccount, UpdateAccount
from ledger.events.accounts import (
    AccountClosed,
    AccountCredited,
    AccountDebited,
    AccountOpened,
    AccountOwnerChanged,
)
from ledger.events.transactions import (
    MoneyTransferred,
)
from ledger.events.users import (
    AccountAssigned,
    UserDeleted,
)
from tests.support.ledgers import (
    ALICE,
    ALICE_EXISTS,
    BOB,
    NOBODY,
    PURSE,
    TILL,
    TRANSFER,
    TWO_ACCOUNTS,
    WORLD,
    WORLD_EXISTS,
    WORLD_OF_EUROS,
    Given,
)


def opening(balance_cents: int = 0, **members: Any) -> OpenAccount:
    named = {"account_id": PURSE, "owner_id": ALICE, "currency": "USD", "transaction_id": TRANSFER, **members}
    return OpenAccount(balance_cents=balance_cents, **named)


def test_an_empty_account_appends_an_opening_and_an_assignment() -> None:
    events = Given([*ALICE_EXISTS, *WORLD_EXISTS]).when(opening())
    assert [(PURSE, AccountOpened(ALICE, "USD")), (ALICE, AccountAssigned(PURSE))] == events


def test_the_first_account_of_a_currency_opens_world() -> None:
    """So that a transfer from `world`, such as one of an imported export, can bring the first money in."""
    events = Given(ALICE_EXISTS).when(opening())
    assert (WORLD, AccountOpened(None, "USD")) == events[-1]


def test_an_opening_balance_is_transferred_from_world() -> None:
    events = Given([*ALICE_EXISTS, *WORLD_EXISTS]).when(opening(50))
    assert [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=WORLD,
                destination_account_id=PURSE,
                amount_cents=50,
                currency="USD",
                kind="opening",
                reference=None,
            ),
        ),
        (WORLD, AccountDebited(TRANSFER, 50, -150)),
        (PURSE, AccountCredited(TRANSFER, 50, 50)),
    ] == events[2:]


def test_the_first_money_of_a_currency_opens_its_world() -> None:
    assert (WORLD_OF_EUROS, AccountOpened(None, "EUR")) in Given(ALICE_EXISTS).when(opening(50, currency="EUR"))


def test_an_account_needs_an_existing_owner() -> None:
    assert ["user_not_found"] == Given().refuses(opening())


def test_a_deleted_user_cannot_own_an_account() -> None:
    assert ["user_not_found"] == Given([*ALICE_EXISTS, (ALICE, UserDeleted())]).refuses(opening())


@pytest.mark.parametrize("taken", [TILL, ALICE], ids=["an account's", "a user's"])
def test_an_account_id_cannot_be_reused(taken: UUID) -> None:
    assert ["account_already_exists"] == Given(TWO_ACCOUNTS).refuses(opening(account_id=taken))


def update(**members: Any) -> UpdateAccount:
    defaults = {"account_id": PURSE, "owner_id": None, "balance_cents": None, "currency": "USD"}
    return UpdateAccount(**{**defaults, "transaction_id": TRANSFER, **members})


def test_a_higher_balance_is_a_transfer_from_world() -> None:
    events = Given([*TWO_ACCOUNTS, *WORLD_EXISTS]).when(update(balance_cents=150))
    assert [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=WORLD,
                destination_account_id=PURSE,
                amount_cents=50,
                currency="USD",
                kind="adjustment",
                reference=None,
            ),
        ),
        (WORLD, AccountDebited(TRANSFER, 50, -150)),
        (PURSE, AccountCredited(TRANSFER, 50, 150)),
    ] == events


def test_a_lower_balance_is_a_transfer_to_world() -> None:
    events = Given([*TWO_ACCOUNTS, *WORLD_EXISTS]).when(update(balance_cents=0))
    assert [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=PURSE,
                destination_account_id=WORLD,
                amount_cents=100,
                currency="USD",
                kind="adjustment",
                reference=None,
            ),
        ),
        (PURSE, AccountDebited(TRANSFER, 100, 0)),
        (WORLD, AccountCredited(TRANSFER, 100, 0)),
    ] == events


def test_a_new_owner_appends_a_change_and_an_assignment() -> None:
    events = Given(TWO_ACCOUNTS).when(update(owner_id=BOB))
    assert [(PURSE, AccountOwnerChanged(BOB)), (BOB, AccountAssigned(PURSE))] == events


def test_an_update_to_the_current_values_changes_nothing() -> None:
    assert [] == Given(TWO_ACCOUNTS).when(update(owner_id=ALICE, balance_cents=100))


def test_the_currency_of_an_account_never_changes() -> None:
    assert ["currency_mismatch"] == Given(TWO_ACCOUNTS).refuses(update(balance_cents=1, currency="EUR"))


def test_the_new_owner_must_exist() -> None:
    assert ["user_not_found"] == Given(TWO_ACCOUNTS).refuses(update(owner_id=NOBODY))


def test_an_unknown_account_cannot_be_changed() -> None:
    assert ["resource_not_found"] == Given().refuses(update(balance_cents=1))


def test_a_closed_account_cannot_be_changed() -> None:
    closed = [*TWO_ACCOUNTS, (TILL, AccountClosed())]
    assert ["account_closed"] == Given(closed).refuses(update(account_id=TILL, balance_cents=1))


def test_world_changes_only_by_transfers() -> None:
    given = Given([*TWO_ACCOUNTS, *WORLD_EXISTS])
    assert ["validation_error"] == given.refuses(update(account_id=WORLD, balance_cents=0))


def test_an_account_at_zero_can_be_closed() -> None:
    assert [(TILL, AccountClosed())] == Given(TWO_ACCOUNTS).when(CloseAccount(TILL))


def test_an_account_with_money_cannot_be_closed() -> None:
    assert ["account_not_empty"] == Given(TWO_ACCOUNTS).refuses(CloseAccount(PURSE))


def test_an_account_cannot_be_closed_twice() -> None:
    assert ["account_closed"] == Given([*TWO_ACCOUNTS, (TILL, AccountClosed())]).refuses(CloseAccount(TILL))


def test_an_unknown_account_cannot_be_closed() -> None:
    assert ["resource_not_found"] == Given().refuses(CloseAccount(NOBODY))


def test_world_cannot_be_closed() -> None:
    at_zero = [(WORLD, AccountOpened(None, "USD"))]
    assert ["validation_error"] == Given(at_zero).refuses(CloseAccount(WORLD))
