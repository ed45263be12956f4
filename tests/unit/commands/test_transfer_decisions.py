"""The rules of transfers: given events, when a command, then events or a refusal."""

from uuid import UUID

import pytest

from ledger.commands.command import StreamEvent
from ledger.events.accounts import (
    AccountClosed,
    AccountCredited,
    AccountDebited,
    AccountOpened,
)
from ledger.events.transactions import (
    MoneyTransferred,
    ReferenceUsed,
    reference_stream,
)
from ledger.money import MAX_CENTS
from tests.support.ledgers import (
    ALICE,
    BOB,
    NOBODY,
    OTHER_TRANSFER,
    PURSE,
    SAFE,
    TILL,
    TRANSFER,
    TWO_ACCOUNTS,
    WORLD,
    WORLD_EXISTS,
    Given,
    account_events,
    transfer_command,
    user_events,
)


def test_a_transfer_is_one_event_and_its_two_entries_with_the_balance_after_each() -> None:
    events = Given(TWO_ACCOUNTS).when(transfer_command(30, reference="rent"))

    assert [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=PURSE,
                destination_account_id=TILL,
                amount_cents=30,
                currency="USD",
                kind="transfer",
                reference="rent",
            ),
        ),
        (PURSE, AccountDebited(TRANSFER, 30, 70)),
        (TILL, AccountCredited(TRANSFER, 30, 30)),
        (reference_stream("rent"), ReferenceUsed(TRANSFER)),
    ] == events


def test_all_that_is_there_can_be_transferred() -> None:
    assert (PURSE, AccountDebited(TRANSFER, 100, 0)) in Given(TWO_ACCOUNTS).when(transfer_command(100))


def test_a_cent_more_than_there_is_cannot_be_transferred() -> None:
    assert ["transfer_insufficient_funds"] == Given(TWO_ACCOUNTS).refuses(transfer_command(101))


def test_world_can_be_debited_below_zero() -> None:
    given = Given([*TWO_ACCOUNTS, *WORLD_EXISTS])
    assert (WORLD, AccountDebited(TRANSFER, 30, -130)) in given.when(transfer_command(30, source_account_id=WORLD))


def test_what_is_wrong_with_both_sides_is_said_at_once_the_source_first() -> None:
    command = transfer_command(source_account_id=NOBODY, destination_account_id=SAFE)
    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == Given().refuses(command)


def test_a_transfer_to_the_same_account_is_refused() -> None:
    assert ["transfer_accounts_are_same"] == Given(TWO_ACCOUNTS).refuses(transfer_command(destination_account_id=PURSE))


def test_an_account_that_does_not_exist_is_no_destination_even_to_itself() -> None:
    command = transfer_command(source_account_id=NOBODY, destination_account_id=NOBODY)
    assert ["transfer_source_account_not_found", "transfer_accounts_are_same"] == Given().refuses(command)


def test_an_id_of_another_kind_is_no_account() -> None:
    command = transfer_command(source_account_id=ALICE, destination_account_id=BOB)
    found = Given(TWO_ACCOUNTS).refuses(command)
    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == found


@pytest.mark.parametrize("closed", [PURSE, TILL], ids=["source", "destination"])
def test_a_closed_account_takes_part_in_no_transfer(closed: UUID) -> None:
    assert ["account_closed"] == Given([*TWO_ACCOUNTS, (closed, AccountClosed())]).refuses(transfer_command())


def test_money_does_not_change_its_currency_on_the_way() -> None:
    given = Given([*TWO_ACCOUNTS, *account_events(SAFE, BOB, currency="EUR")])
    assert ["currency_mismatch"] == given.refuses(transfer_command(destination_account_id=SAFE))


def test_a_transfer_id_is_taken_once() -> None:
    made = [
        (
            TRANSFER,
            MoneyTransferred(
                source_account_id=PURSE,
                destination_account_id=TILL,
                amount_cents=1,
                currency="USD",
                kind="transfer",
                reference=None,
            ),
        )
    ]
    command = transfer_command(id_was_chosen=True)
    assert ["transaction_already_exists"] == Given([*TWO_ACCOUNTS, *made]).refuses(command)


def test_a_customer_moves_money_from_own_accounts() -> None:
    assert 3 == len(Given(TWO_ACCOUNTS).when(transfer_command(only_owner_id=ALICE)))


def test_the_account_of_somebody_else_is_as_good_as_none() -> None:
    """Lesson 35."""
    assert ["transfer_source_account_not_found"] == Given(TWO_ACCOUNTS).refuses(transfer_command(only_owner_id=BOB))


def test_world_is_no_customers_account() -> None:
    command = transfer_command(source_account_id=WORLD, only_owner_id=ALICE)
    assert ["transfer_source_account_not_found"] == Given([*TWO_ACCOUNTS, *WORLD_EXISTS]).refuses(command)


def test_no_balance_grows_beyond_what_every_json_reader_keeps() -> None:
    """Lesson 7."""
    full = [*user_events(BOB, "bob"), *account_events(SAFE, BOB, MAX_CENTS)]
    command = transfer_command(1, destination_account_id=SAFE)
    assert ["validation_error"] == Given([*TWO_ACCOUNTS, *full]).refuses(command)


def test_world_falls_no_deeper_than_what_every_json_reader_keeps() -> None:
    """Lesson 7."""
    deep: list[StreamEvent] = [
        (WORLD, AccountOpened(None, "USD")),
        (WORLD, AccountDebited(OTHER_TRANSFER, MAX_CENTS, -MAX_CENTS)),
    ]
    command = transfer_command(1, source_account_id=WORLD)
    assert ["validation_error"] == Given([*TWO_ACCOUNTS, *deep]).refuses(command)
