"""The rules of labels and amendments: given events, when a command, then events or a refusal."""

from typing import Any
from uuid import UUID

import pytest

from ledger.commands.account_labels import LabelChange
from ledger.commands.accounts import OpenAccount, UpdateAccount
from ledger.commands.amendments import Amendment, AmendTransaction
from ledger.commands.command import StreamEvent
from ledger.errors import StaleCommandError
from ledger.events.account_labels import AccountCodeFreed, AccountCodeTaken, AccountDescribed, Labels
from ledger.events.accounts import AccountClosed, AccountOpened, world_account_id
from ledger.events.amendments import TransactionAmended
from ledger.events.transactions import MoneyTransferred
from ledger.values.account_codes import code_stream
from tests.support.ledgers import ALICE, PURSE, SAFE, TILL, TRANSFER, TWO_ACCOUNTS, WORLD, WORLD_EXISTS, Given

BANK = Labels("assets:bank", "Bank", "asset", {"branch": "042"})
CODE = code_stream("assets:bank")
DESCRIBED: list[StreamEvent] = [
    *TWO_ACCOUNTS,
    (PURSE, AccountDescribed("assets:bank", "Bank", "asset", {"branch": "042"})),
    (CODE, AccountCodeTaken(PURSE)),
]


def change(account_id: UUID, labels: Labels, known: Labels | None = None, changes: int = 0, **members: Any) -> Any:
    nothing: dict[str, Any] = {"owner_id": None, "balance_cents": None, "currency": "USD", "transaction_id": TRANSFER}
    label_change = LabelChange(labels, known or Labels(), changes)
    return UpdateAccount(**{**nothing, "account_id": account_id, "labels": label_change, **members})


def test_an_opening_takes_the_code_and_says_the_labels() -> None:
    opening = OpenAccount(
        account_id=SAFE, owner_id=ALICE, currency="USD", balance_cents=0, transaction_id=TRANSFER, labels=BANK
    )
    decision = Given([*TWO_ACCOUNTS, *WORLD_EXISTS]).decide(opening)
    expected = [(SAFE, AccountDescribed.build(BANK, 1)), (CODE, AccountCodeTaken(SAFE))]
    assert expected == decision.events[-2:]
    assert BANK.members() == {name: decision.result[name] for name in BANK.members()}
    assert ["account_already_exists"] == Given([*DESCRIBED, *WORLD_EXISTS]).refuses(opening)


def test_an_account_without_labels_has_no_event_of_labels() -> None:
    events = Given(TWO_ACCOUNTS).when(change(PURSE, Labels()))
    assert [] == events
    assert [] == Given(DESCRIBED).when(change(PURSE, BANK, BANK, 1))


def test_another_code_frees_the_one_before() -> None:
    labels = Labels("Assets:Cash", "Bank")
    assert [
        (PURSE, AccountDescribed.build(labels, 2)),
        (CODE, AccountCodeFreed(PURSE)),
        (code_stream("assets:cash"), AccountCodeTaken(PURSE)),
    ] == Given(DESCRIBED).when(change(PURSE, labels, BANK, 1))


def test_another_spelling_is_the_same_code() -> None:
    labels = Labels("ASSETS:bank", "Bank", "asset", {"branch": "042"})
    assert [(PURSE, AccountDescribed.build(labels, 2))] == Given(DESCRIBED).when(change(PURSE, labels, BANK, 1))


def test_a_code_of_another_account_is_refused_until_it_is_free() -> None:
    taking = change(TILL, Labels("Assets:BANK"))
    assert ["account_already_exists"] == Given(DESCRIBED).refuses(taking)
    freed: list[StreamEvent] = [*DESCRIBED, (CODE, AccountCodeFreed(PURSE))]
    assert (CODE, AccountCodeTaken(TILL)) == Given(freed).when(taking)[-1]


def test_labels_that_were_read_too_early_make_the_command_stale() -> None:
    with pytest.raises(StaleCommandError):
        Given(DESCRIBED).when(change(PURSE, Labels("x")))


def test_only_the_labels_of_a_closed_account_change() -> None:
    closed: list[StreamEvent] = [*DESCRIBED, (PURSE, AccountClosed())]
    freeing = change(PURSE, Labels(), BANK, 1)
    assert [(PURSE, AccountDescribed.build(Labels(), 2)), (CODE, AccountCodeFreed(PURSE))] == Given(closed).when(
        freeing
    )
    assert ["account_closed"] == Given(closed).refuses(change(PURSE, Labels(), BANK, 1, frozen="all"))


def test_the_accounts_of_the_ledger_have_no_labels() -> None:
    assert ["validation_error"] == Given(WORLD_EXISTS).refuses(change(WORLD, BANK))
    assert world_account_id("USD") == WORLD
    assert isinstance(WORLD_EXISTS[0][1], AccountOpened)


PAID = MoneyTransferred(
    source_account_id=PURSE,
    destination_account_id=TILL,
    amount_cents=1,
    currency="USD",
    kind="transfer",
    reference=None,
    description="rent",
    metadata={"a": "1", "b": "2"},
)


def amend(**members: Any) -> AmendTransaction:
    return AmendTransaction(transaction_id=TRANSFER, amendment=Amendment(**members))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, None),
        ({"describes": True, "description": "rent"}, None),
        ({"annotates": True, "metadata": {"a": "1", "c": None}}, None),
        ({"describes": True}, TransactionAmended(None, {"a": "1", "b": "2"})),
        ({"annotates": True}, TransactionAmended("rent", None)),
        ({"annotates": True, "metadata": {"a": None, "c": ""}}, TransactionAmended("rent", {"b": "2", "c": ""})),
        ({"annotates": True, "metadata": {"a": None, "b": None}}, TransactionAmended("rent", None)),
    ],
    ids=str,
)
def test_an_amendment_has_the_texts_afterwards(members: dict[str, Any], expected: TransactionAmended | None) -> None:
    events = Given([(TRANSFER, PAID)]).when(amend(**members))
    assert ([] if expected is None else [(TRANSFER, expected)]) == events


def test_an_amendment_builds_on_the_last_one() -> None:
    history: list[StreamEvent] = [(TRANSFER, PAID), (TRANSFER, TransactionAmended(None, {"x": "y"}))]
    assert [(TRANSFER, TransactionAmended("late", {"x": "y"}))] == Given(history).when(
        amend(describes=True, description="late")
    )


def test_an_amendment_needs_a_transaction_and_keeps_the_limit_of_metadata() -> None:
    assert ["transaction_not_found"] == Given().refuses(amend(describes=True))
    many: dict[str, str | None] = {f"k{number}": "" for number in range(49)}
    assert ["validation_error"] == Given([(TRANSFER, PAID)]).refuses(amend(annotates=True, metadata=many))
