"""No user name, e-mail address, secret or free text leaves the ledger with an event, and no new member by oversight."""

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from ledger.events import TOPICS, encode, second_factors, tokens, transactions, users
from ledger.events.account_labels import AccountDescribed
from ledger.events.disclosure import (
    DISCLOSED_TOPICS,
    SHAPES,
    TEXTS,
    disclose,
    fields_of,
    holds_text,
)
from ledger.values.ids import new_id
from ledger.values.names import fold
from tests.support.stored_events import SAMPLES, Sample, list_shapes

LEAVING = [sample for sample in SAMPLES if sample.topic in DISCLOSED_TOPICS]
CANARY = "canary@example.com"


PARTS = {part for topic in DISCLOSED_TOPICS for part in list_shapes(SHAPES[topic])}


def test_every_text_of_an_event_that_leaves_is_either_shared_or_withheld() -> None:
    """A new member or event that can hold any text fails here until somebody decides whether it leaves."""
    texts = {part: {field.name for field in fields_of(part) if holds_text(field.type)} for part in PARTS}
    decided = {part: {*TEXTS[part].shared, *TEXTS[part].withheld} if part in TEXTS else set() for part in PARTS}

    assert {} == {part.__name__: names - decided[part] for part, names in texts.items() if names - decided[part]}


def test_no_decision_is_contradictory_or_about_nothing() -> None:
    assert set(TEXTS) <= PARTS
    for part, texts in TEXTS.items():
        assert {*texts.shared, *texts.withheld} <= {field.name for field in fields_of(part)}
        assert not {*texts.shared} & {*texts.withheld}


def test_events_of_logins_and_of_names_do_not_leave() -> None:
    """The stream of a name is derived from it, so its id would confirm a guess of the name."""
    for cls in (
        *get_args(tokens.SessionEvent),
        *get_args(second_factors.SecondFactorEvent),
        *get_args(users.NameEvent),
    ):
        assert TOPICS[cls] not in DISCLOSED_TOPICS
        with pytest.raises(ValueError, match="do not leave"):
            disclose(TOPICS[cls], {})
    with pytest.raises(ValueError, match="do not leave"):
        disclose("Unknown", {})


def with_canaries(value: Any, names: set[str]) -> Any:
    """Return a value in whose every object these members have the canary."""
    match value:
        case dict():
            return {name: with_canaries(inner, names) for name, inner in value.items()} | dict.fromkeys(names, CANARY)
        case list():
            return [with_canaries(inner, names) for inner in value]
        case _:
            return value


@pytest.mark.parametrize("sample", LEAVING, ids=lambda sample: sample.topic)
def test_a_withheld_member_never_leaves(sample: Sample) -> None:
    withheld = {name for part in list_shapes(SHAPES[sample.topic]) if part in TEXTS for name in TEXTS[part].withheld}
    stored = with_canaries(msgspec.json.decode(sample.state), withheld | {"unknown"})

    assert CANARY not in encode(disclose(sample.topic, stored)).decode()


def test_amounts_accounts_and_references_leave_and_words_about_people_do_not() -> None:
    source, destination = new_id(), new_id()
    event = transactions.MoneyTransferred(
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=2500,
        currency="EUR",
        kind="transfer",
        reference="order-1",
        description="rent of Alice",
        metadata={"tenant": "alice@example.com"},
    )
    assert {
        "source_account_id": str(source),
        "destination_account_id": str(destination),
        "amount_cents": 2500,
        "currency": "EUR",
        "kind": "transfer",
        "reference": "order-1",
    } == disclose("MoneyTransferred", msgspec.json.decode(encode(event)))


def test_members_inside_members_are_chosen_too() -> None:
    posting = transactions.Posting(new_id(), 5, "EUR")
    entry = transactions.JournalEntryPosted(
        postings=(posting,), kind="journal", reference=None, description="for Alice"
    )
    event = transactions.TransactionScheduled(
        journal_entry=entry, execute_at=datetime(2026, 5, 1, tzinfo=UTC), actor_id=new_id()
    )
    disclosed: Any = disclose("TransactionScheduled", msgspec.json.decode(encode(event)))
    assert {"postings", "kind", "reference"} == set(disclosed["journal_entry"])
    assert [msgspec.to_builtins(posting)] == disclosed["journal_entry"]["postings"]


def test_a_name_is_in_no_event_of_its_user_that_leaves() -> None:
    username = "Alice"
    event = users.UserCreated(username, CANARY, True, ("customer",), new_id(), "digest")
    assert {"active": True, "roles": ["customer"]} == disclose("UserCreated", msgspec.json.decode(encode(event)))
    assert {} == disclose("UserUpdated", msgspec.json.decode(encode(users.UserUpdated(fold(username), CANARY))))


def test_labels_of_an_account_leave_without_its_name() -> None:
    event = AccountDescribed("assets:bank", "Alice's savings", "asset", {"owner": CANARY}, 3)
    disclosed = disclose("AccountDescribed", msgspec.json.decode(encode(event)))
    assert {"code": "assets:bank", "type": "asset", "changes": 3} == disclosed
