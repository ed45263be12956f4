"""Every event shape that was ever stored can still be read and folded. Lessons 15 and 17.

`stored_events.jsonl` has one stored sample of every topic, in stream order. A new topic needs a new sample; samples are
never changed or removed.
"""

from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest

from ledger.events import TOPICS, UPCASTS, Decoders, Event, State, Upcast, decode_event, encode, evolve
from ledger.events.accounts import AccountCredited
from ledger.values.ids import new_id
from tests.support.stored_events import SAMPLES, Sample

EVENTS = get_args(Event)


def test_every_topic_ever_written_has_a_sample() -> None:
    """Lesson 62."""
    assert {*(TOPICS[cls] for cls in EVENTS), *UPCASTS} == {sample.topic for sample in SAMPLES}
    assert len(SAMPLES) == len({sample.topic for sample in SAMPLES})


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.topic)
def test_a_stored_event_is_read_without_loss(sample: Sample) -> None:
    event = decode_event(sample.topic, bytes(sample.state))
    assert isinstance(event, EVENTS)
    if sample.topic not in UPCASTS:
        read: dict[str, Any] = msgspec.json.decode(encode(event))
        stored: dict[str, Any] = msgspec.json.decode(sample.state)
        assert stored == {name: value for name, value in read.items() if name in stored}


@pytest.mark.parametrize("stream", sorted({sample.stream for sample in SAMPLES}))
def test_every_stream_of_stored_events_folds(stream: str) -> None:
    """Lesson 17: rules in the fold make old history unreadable."""
    state: State | None = None
    for sample in SAMPLES:
        if sample.stream == stream:
            state = evolve(state, decode_event(sample.topic, bytes(sample.state)))
    assert state is not None


class CreditedInUnits(msgspec.Struct):
    """An old shape that is no longer written."""

    transfer: UUID
    amount: int
    balance: int


def test_an_event_with_an_old_shape_is_read_in_the_current_one() -> None:
    def in_cents(old: CreditedInUnits) -> AccountCredited:
        return AccountCredited(old.transfer, old.amount * 100, old.balance * 100)

    decoders, transaction_id = Decoders({"CreditedInUnits": Upcast(CreditedInUnits, in_cents)}), new_id()
    stored = msgspec.json.encode({"transfer": transaction_id, "amount": 2, "balance": 5})
    assert AccountCredited(transaction_id, 200, 500) == decoders["CreditedInUnits"](stored)
    with pytest.raises(msgspec.ValidationError):
        decoders["CreditedInUnits"](b"{}")
