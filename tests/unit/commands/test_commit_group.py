"""Commands of one commit group see each other, in order."""

from typing import Any

from ledger import errors
from ledger.commands.accounts import CloseAccount
from ledger.commands.command import Decision
from ledger.commands.transfers import TransferMoney
from ledger.errors import Refused
from ledger.events.accounts import (
    AccountClosed,
)
from tests.support.ledgers import (
    COMMAND,
    OTHER_TRANSFER,
    PURSE,
    SAFE,
    TILL,
    TRANSFER,
    TWO_ACCOUNTS,
    commit_group,
    named_id,
    transfer_command,
)


def test_a_command_sees_the_effect_of_the_one_before_it() -> None:
    """Lesson 1."""
    batch = commit_group(TWO_ACCOUNTS)
    first = batch.decide(transfer_command(60), COMMAND)
    second = batch.decide(transfer_command(60, transaction_id=OTHER_TRANSFER), COMMAND)
    assert isinstance(first, Decision)
    assert isinstance(second, Refused)
    assert errors.insufficient_funds() == second.refusals[0]


def test_an_exception_in_one_command_leaves_the_group_unchanged() -> None:
    """Lesson 5."""
    batch = commit_group(TWO_ACCOUNTS)

    class Broken(TransferMoney, frozen=True):
        def decide(self, states: Any) -> Decision:
            super().decide(states)
            raise ZeroDivisionError

    command = Broken(transaction_id=TRANSFER, source_account_id=PURSE, destination_account_id=TILL, amount_cents=1)
    assert isinstance(batch.decide(command, COMMAND), ZeroDivisionError)
    assert ({}, []) == (batch.changed, batch.appended)


def test_a_command_cannot_append_to_a_stream_it_did_not_read() -> None:
    batch = commit_group(TWO_ACCOUNTS)

    class Careless(CloseAccount, frozen=True):
        def decide(self, states: Any) -> Decision:
            del states
            return Decision([(SAFE, AccountClosed())], {})

    assert isinstance(batch.decide(Careless(TILL), COMMAND), LookupError)
    assert [] == batch.appended


def test_events_are_appended_in_the_order_of_their_commands() -> None:
    batch = commit_group(TWO_ACCOUNTS)
    batch.decide(transfer_command(60), COMMAND)
    batch.decide(transfer_command(10, transaction_id=OTHER_TRANSFER), named_id("another command"))
    assert [COMMAND] * 3 + [named_id("another command")] * 3 == batch.command_ids
    assert [0, 1, 2, 3, 4, 5] == [row.position for row in batch.appended]
    versions = [(row.stream_id, row.version) for row in batch.appended]
    assert [(TRANSFER, 1), (PURSE, 3), (TILL, 2), (OTHER_TRANSFER, 1), (PURSE, 4), (TILL, 3)] == versions
