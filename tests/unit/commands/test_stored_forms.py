"""Every event and state is read back as it was stored."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from ledger.events import (
    TOPICS,
    State,
    decode_event,
    decode_state,
    encode,
    evolve,
)
from tests.support.ledgers import EVENTS, FAMILIES, members

STATES: tuple[type[Any], ...] = members(State)


STORED_INTEGERS = st.integers(-(2**63), 2**63 - 1)


def stored(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of all values of an event or state."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{name: _value(hints[name]) for name in cls.__struct_fields__})


def _value(hint: Any) -> st.SearchStrategy[Any]:
    if hint is int:
        return STORED_INTEGERS
    if hint is datetime:
        return st.datetimes(timezones=st.just(UTC))
    if isinstance(hint, UnionType):
        return st.one_of([_value(one) for one in get_args(hint)])
    if get_origin(hint) is tuple:
        return st.lists(_value(get_args(hint)[0])).map(tuple)
    return stored(hint) if isinstance(hint, type) and issubclass(hint, msgspec.Struct) else st.from_type(hint)


def test_every_event_belongs_to_a_known_kind_of_stream() -> None:
    """A new kind of stream must be added to `FAMILIES`, and the other tests then cover it."""
    assert (set(EVENTS), set(STATES)) == (set(FAMILIES), set(FAMILIES.values()))


@pytest.mark.parametrize("cls", [*EVENTS, *STATES], ids=lambda cls: cls.__name__)
def test_every_event_and_state_is_read_back_unchanged(cls: type[Any]) -> None:
    decode: Any = decode_event if cls in EVENTS else decode_state

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(stored(cls))
    def check(value: Any) -> None:
        assert value == decode(TOPICS[cls], encode(value))

    check()


@pytest.mark.parametrize("event", EVENTS, ids=lambda cls: cls.__name__)
def test_every_event_folds_into_the_state_of_its_stream(event: type[Any]) -> None:
    """Lesson 17: any values fold once the stream exists."""
    state = FAMILIES[event]

    @hypothesis.settings(max_examples=25)
    @hypothesis.given(stored(state), stored(event))
    def check(before: Any, happened: Any) -> None:
        assert state is type(evolve(before, happened))

    check()


def test_topics_are_plain_and_unique_names() -> None:
    """Lesson 15."""
    assert set(TOPICS) == {*EVENTS, *STATES}
    assert len(TOPICS) == len(set(TOPICS.values()))
    assert [] == [topic for topic in TOPICS.values() if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", topic)]


@pytest.mark.parametrize(
    "topic", ["os.system", "os:system", "turtledemo", "turtledemo.clock:main", "", "accountopened"]
)
@pytest.mark.parametrize("decode", [decode_event, decode_state])
def test_an_unknown_topic_is_an_error_and_imports_nothing(decode: Callable[[str, bytes], Any], topic: str) -> None:
    """Lesson 15."""
    before = set(sys.modules)
    with pytest.raises(ValueError, match="unknown topic"):
        decode(topic, b'{"command": "true"}')
    assert before == set(sys.modules)


@pytest.mark.parametrize("state", [b"", b"{", b"[]", b"{}", b'{"transfer_id": 1}', b"\xff"])
def test_a_stored_event_with_a_wrong_shape_is_an_error(state: bytes) -> None:
    """Lesson 12."""
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode_event("AccountDebited", state)
