"""A detail of a transaction (`Details`) reaches everything that has the details: a new one fails here until it does."""

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from ledger.audit.export_text import CSV
from ledger.commands.holds import PlaceHold
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.transaction import TransactionCommand
from ledger.commands.transfers import TransferMoney
from ledger.events.accounts import Account
from ledger.events.transactions import (
    OPTIONAL_DETAILS,
    Details,
    HoldPlaced,
    JournalEntryPosted,
    MoneyTransferred,
    copy_details,
)
from ledger.importing import compare
from ledger.importing.members import CHECKS
from ledger.projections import transactions
from ledger.values.ids import new_id
from ledger.values.timestamps import rfc3339
from web import requests, response_fields, responses

NAMES = Details.__struct_fields__
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SAMPLES: dict[Any, Any] = {str: "a text", dict[str, str]: {"key": "value"}, datetime: NOW}
GIVEN = {
    field.name: next(SAMPLES[kind] for kind in get_args(field.type) if kind in SAMPLES)
    for field in msgspec.structs.fields(Details)
}
SOURCE, DESTINATION = new_id(), new_id()
ACCOUNTS = {SOURCE: Account(None, "USD"), DESTINATION: Account(None, "USD")}
BETWEEN: dict[str, Any] = {"source_account_id": SOURCE, "destination_account_id": DESTINATION, "amount_cents": 5}
LEGS = (NewPosting(SOURCE, -5), NewPosting(DESTINATION, 5))
COMMANDS = (
    TransferMoney(transaction_id=new_id(), reference=GIVEN["reference"], **BETWEEN),
    PostJournalEntry(transaction_id=new_id(), reference=GIVEN["reference"], postings=LEGS),
    PlaceHold(
        transaction_id=new_id(),
        reference=GIVEN["reference"],
        now=NOW,
        expires_at=NOW.replace(year=2027),
        limit_seconds=10**9,
        **BETWEEN,
    ),
)


class States(dict[Any, Any]):
    """The states of two accounts; all other streams are missing."""

    def __missing__(self, stream_id: Any) -> None:
        """Return None."""


class Given:
    """An object with all details, as a request has."""

    def __init__(self, **more: Any) -> None:
        vars(self).update({**GIVEN, **more})


@pytest.mark.parametrize("model", [requests.Transfer, requests.JournalEntry, requests.Hold])
def test_each_detail_can_be_requested(model: type[requests.Transaction]) -> None:
    assert {*NAMES} <= {*model.model_fields}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_each_detail_of_a_request_is_in_the_event_and_in_the_result(command: TransactionCommand) -> None:
    decision = copy_details(Given(), command).decide(States(ACCOUNTS))
    event = next(event for stream_id, event in decision.events if stream_id == command.transaction_id)
    assert isinstance(event, MoneyTransferred | JournalEntryPosted | HoldPlaced)
    assert {name: getattr(event, name) for name in NAMES} == GIVEN
    shown = {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in GIVEN.items()}
    assert shown.items() <= decision.result.items()


def test_an_empty_detail_counts_as_absent() -> None:
    command = copy_details(Given(**{name: {} for name in OPTIONAL_DETAILS}), COMMANDS[0])
    assert command == COMMANDS[0]


@pytest.mark.parametrize("body", [responses.Transfer, responses.JournalEntry, responses.Hold])
def test_each_detail_is_a_member_of_the_response(body: type[response_fields.Answer]) -> None:
    assert {*NAMES} <= {*body.__struct_fields__}


def test_each_detail_is_a_column_that_may_be_null() -> None:
    assert {*NAMES} == {column.name for column in transactions.DETAILS if column.optional}


def test_each_detail_is_exported_and_can_be_imported() -> None:
    assert {*NAMES} <= {*CSV.header.strip().split(",")}
    assert all({*NAMES} <= {*checks} for checks in CHECKS.values())
    assert {*NAMES} <= {*compare.NAMES}
