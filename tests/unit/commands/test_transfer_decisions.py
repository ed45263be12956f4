"""The rules of transfers: given events, when a command, then events or a refusal."""

from uuid import UUID

import pytest

from ledger.commands.command import Parties, StreamEvent
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


def test_the_whole_balance_can_be_transferred() -> None:
    assert (PURSE, AccountDebited(TRANSFER, 100, 0)) in Given(TWO_ACCOUNTS).when(transfer_command(100))


def test_a_cent_more_than_the_balance_cannot_be_transferred() -> None:
    assert ["transfer_insufficient_funds"] == Given(TWO_ACCOUNTS).refuses(transfer_command(101))


def test_world_can_be_debited_below_zero() -> None:
    given = Given([*TWO_ACCOUNTS, *WORLD_EXISTS])
    assert (WORLD, AccountDebited(TRANSFER, 30, -130)) in given.when(transfer_command(30, source_account_id=WORLD))


def test_refusals_of_both_sides_are_reported_source_first() -> None:
    command = transfer_command(source_account_id=NOBODY, destination_account_id=SAFE)
    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == Given().refuses(command)


def test_a_transfer_to_the_same_account_is_refused() -> None:
    assert ["transfer_accounts_are_same"] == Given(TWO_ACCOUNTS).refuses(transfer_command(destination_account_id=PURSE))


def test_an_unknown_account_is_refused_even_as_both_sides() -> None:
    command = transfer_command(source_account_id=NOBODY, destination_account_id=NOBODY)
    assert ["transfer_source_account_not_found", "transfer_accounts_are_same"] == Given().refuses(command)


def test_the_id_of_another_kind_of_stream_is_not_an_account() -> None:
    command = transfer_command(source_account_id=ALICE, destination_account_id=BOB)
    found = Given(TWO_ACCOUNTS).refuses(command)
    assert ["transfer_source_account_not_found", "transfer_destination_account_not_found"] == found


@pytest.mark.parametrize("closed", [PURSE, TILL], ids=["source", "destination"])
def test_a_closed_account_can_neither_send_nor_receive(closed: UUID) -> None:
    assert ["account_closed"] == Given([*TWO_ACCOUNTS, (closed, AccountClosed())]).refuses(transfer_command())


def test_both_sides_must_have_the_same_currency() -> None:
    given = Given([*TWO_ACCOUNTS, *account_events(SAFE, BOB, currency="EUR")])
    assert ["currency_mismatch"] == given.refuses(transfer_command(destination_account_id=SAFE))


def test_a_transaction_id_cannot_be_reused() -> None:
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


def test_a_customer_can_transfer_from_an_own_account() -> None:
    assert 3 == len(Given(TWO_ACCOUNTS).when(transfer_command(only_owner_id=ALICE)))


def test_the_account_of_another_customer_looks_unknown() -> None:
    """Lesson 35."""
    assert ["transfer_source_account_not_found"] == Given(TWO_ACCOUNTS).refuses(transfer_command(only_owner_id=BOB))


def test_a_customer_cannot_transfer_from_world() -> None:
    command = transfer_command(source_account_id=WORLD, only_owner_id=ALICE)
    assert ["transfer_source_account_not_found"] == Given([*TWO_ACCOUNTS, *WORLD_EXISTS]).refuses(command)


def test_no_balance_exceeds_what_every_json_reader_keeps_exact() -> None:
    """Lesson 7."""
    full = [*user_events(BOB, "bob"), *account_events(SAFE, BOB, MAX_CENTS)]
    command = transfer_command(1, destination_account_id=SAFE)
    assert ["validation_error"] == Given([*TWO_ACCOUNTS, *full]).refuses(command)


def test_the_balance_of_world_stays_exact_in_every_json_reader() -> None:
    """Lesson 7."""
    deep: list[StreamEvent] = [
        (WORLD, AccountOpened(None, "USD")),
        (WORLD, AccountDebited(OTHER_TRANSFER, MAX_CENTS, -MAX_CENTS)),
    ]
    command = transfer_command(1, source_account_id=WORLD)
    assert ["validation_error"] == Given([*TWO_ACCOUNTS, *deep]).refuses(command)


def test_a_reference_of_the_ledger_is_in_the_way_of_its_payer_alone() -> None:
    taken = Given([*TWO_ACCOUNTS, (reference_stream("rent"), ReferenceUsed(OTHER_TRANSFER))])
    command = transfer_command(reference="rent", only_owner_id=ALICE)
    others, own = Parties(frozenset({BOB}), frozenset({BOB, ALICE})), Parties(frozenset({ALICE}), frozenset({ALICE}))

    for parties in (None, own):
        assert ["reference_already_exists"] == taken.refuses(command.learn({OTHER_TRANSFER: parties}))
    assert (reference_stream("rent", ALICE), ReferenceUsed(TRANSFER)) == taken.when(
        command.learn({OTHER_TRANSFER: others})
    )[-1]


def test_an_id_that_the_caller_may_not_see_is_invalid_whatever_has_it() -> None:
    for taken in (user_events(TRANSFER, "carol"), account_events(TRANSFER, BOB)):
        command = transfer_command(id_was_chosen=True, only_owner_id=ALICE)
        assert ["validation_error"] == Given([*TWO_ACCOUNTS, *taken]).refuses(command)
