"""A result that the command log does not store follows from the events of the command, to the last byte."""

from typing import Any
from uuid import UUID

import pytest

from ledger.commands import COMMANDS, COMMANDS_BY_NAME
from ledger.commands.transfers import TransferMoney
from ledger.events import State, encode
from ledger.events.accounts import Account
from ledger.values.ids import new_id

SOURCE, DESTINATION, TRANSFER = new_id(), new_id(), new_id()


@pytest.mark.parametrize(
    "details", [{}, {"reference": "rent"}, {"description": "May", "metadata": {"b": "1", "a": "2"}}], ids=str
)
def test_the_result_of_a_transfer_follows_from_its_events(details: dict[str, Any]) -> None:
    command = TransferMoney(
        transaction_id=TRANSFER,
        source_account_id=SOURCE,
        destination_account_id=DESTINATION,
        amount_cents=7,
        id_was_chosen=True,
        **{"reference": None, **details},
    )
    states: dict[UUID, State | None] = dict.fromkeys(command.streams())
    decision = command.decide(states | {SOURCE: Account(None, "USD", 10), DESTINATION: Account(None, "USD")})
    assert encode(decision.result) == encode(COMMANDS_BY_NAME[command.name].derive_result(decision.events))


def test_a_command_without_such_a_result_says_so() -> None:
    for command in COMMANDS:
        if not command.derives_result:
            with pytest.raises(LookupError, match=command.name):
                command.derive_result([])
