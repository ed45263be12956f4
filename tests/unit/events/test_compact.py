"""The short form of the events of plain transfers says the same as their JSON, in a third of the bytes."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events import TOPICS, Event, compact, decode_event, encode, encode_event, to_json
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.events.transactions import MoneyTransferred
from ledger.money import MAX_CENTS

SOURCE, DESTINATION = UUID(int=1), UUID(int=2)
PLAIN: dict[str, Any] = {
    "source_account_id": SOURCE,
    "destination_account_id": DESTINATION,
    "amount_cents": 1234,
    "currency": "USD",
    "kind": "transfer",
    "reference": None,
}
amounts = st.integers(1, MAX_CENTS)
entries = st.builds(
    lambda kind, *members: kind(*members),
    st.sampled_from([AccountDebited, AccountCredited]),
    st.uuids(),
    amounts,
    st.integers(-MAX_CENTS, MAX_CENTS),
)
transfers = st.fixed_dictionaries(
    {
        "source_account_id": st.uuids(),
        "destination_account_id": st.uuids(),
        "amount_cents": amounts,
        "currency": st.sampled_from(["USD", "EUR", "JPY"]),
    }
).map(lambda members: MoneyTransferred(**PLAIN | members))


@given(entries | transfers)
def test_the_short_form_and_json_are_the_same_event(event: Event) -> None:
    topic, short = TOPICS[type(event)], encode_event(event)
    assert compact.MARK == short[:1]
    assert len(short) <= 44
    assert event == decode_event(topic, short) == decode_event(topic, encode(event))
    assert encode(event) == to_json(topic, short) == to_json(topic, encode(event))


@pytest.mark.parametrize(
    "details",
    [
        {"reference": "rent"},
        {"kind": "reversal", "reverses": UUID(int=1)},
        {"description": "x"},
        {"metadata": {"a": "b"}},
    ],
    ids=str,
)
def test_a_transfer_with_anything_else_is_stored_as_json(details: dict[str, Any]) -> None:
    event = MoneyTransferred(**PLAIN | details)
    assert encode(event) == encode_event(event)


@pytest.mark.parametrize("kind", [AccountDebited, AccountCredited, MoneyTransferred])
def test_a_short_event_of_another_length_is_an_error(kind: Any) -> None:
    event = MoneyTransferred(**PLAIN) if kind is MoneyTransferred else kind(SOURCE, 1, 2)
    short, length = encode_event(event), 41 if kind is MoneyTransferred else 32
    for state in (short[:1], short[:length], short + 20 * b"x"):
        with pytest.raises(ValueError, match="bytes"):
            decode_event(TOPICS[kind], state)
