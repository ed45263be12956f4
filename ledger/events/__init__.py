"""All events there are, in one closed table from topic to class, and the states they fold into.

A topic is a short, explicit name and never an import path: what is stored is looked up here and nowhere else. Stored
events never change. An event that needs another shape gets a new topic; the old one stays readable by an upcast, which
makes today's event of it, so nobody else knows that there ever was another shape.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec

from ledger.events import accounts, tokens, transactions, users

Event = (
    accounts.AccountEvent
    | transactions.TransactionEvent
    | transactions.ReferenceUsed
    | users.UserEvent
    | users.NameEvent
    | tokens.SessionEvent
    | tokens.AllTokensRevoked
    | tokens.RevokedTokensForgotten
)
State = (
    accounts.Account
    | transactions.Transaction
    | transactions.Reference
    | users.User
    | users.Name
    | tokens.Session
    | tokens.Cutoffs
    | tokens.Cleanups
)

_FOLDS: dict[type[Event], Callable[[Any, Any], State]] = {
    **dict.fromkeys(get_args(accounts.AccountEvent), accounts.evolve),
    **dict.fromkeys(get_args(users.UserEvent), users.evolve),
    **dict.fromkeys(get_args(users.NameEvent), users.evolve_name),
    **dict.fromkeys(get_args(transactions.TransactionEvent), transactions.evolve),
    transactions.ReferenceUsed: transactions.evolve_reference,
    **dict.fromkeys(get_args(tokens.SessionEvent), tokens.evolve),
    tokens.AllTokensRevoked: tokens.evolve_cutoffs,
    tokens.RevokedTokensForgotten: tokens.evolve_cleanups,
}
TOPICS: dict[type[Event] | type[State], str] = {cls: cls.TOPIC for cls in (*get_args(Event), *get_args(State))}
FREQUENT_EVENTS = (*accounts.BALANCE_EVENTS, transactions.MoneyTransferred)  # too many for an index of topics
HEADLESS = (
    transactions.Transaction,
    transactions.Reference,
)  # their streams are so short that a head would save nothing
encode = msgspec.json.Encoder().encode


class Upcast(NamedTuple):
    """How events of a topic that is written no more are read: their shape, and what makes today's event of it."""

    shape: type[Any]
    upcast: Callable[[Any], Event]


UPCASTS: dict[str, Upcast] = {}  # by topic; `tests/unit/events/` keeps a sample of each


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event and its envelope, as the store keeps it. `position` orders the whole log, `version` one stream.

    On its way into the log an event has no time yet, and its position counts from 0 in its transaction: the statement
    that writes it adds what it reserved.
    """

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime | None
    event: Event


class StoredRow(NamedTuple):
    """A row of the log with all its columns, as it is stored: nothing is decoded."""

    originator_id: UUID
    originator_version: int
    topic: str
    state: bytes
    notification_id: int
    recorded_at: datetime
    command_id: UUID | None


class Decoders(dict[str, Callable[[bytes], Any]]):
    """What decodes the state stored under a topic. Only these topics are known; another one is a `ValueError`."""

    def __init__(self, upcasts: Mapping[str, Upcast]) -> None:
        super().__init__({topic: msgspec.json.Decoder(cls).decode for cls, topic in TOPICS.items()})
        for topic, (shape, upcast) in upcasts.items():
            self[topic] = _upcasting(msgspec.json.Decoder(shape).decode, upcast)

    def __missing__(self, topic: str) -> Any:
        raise ValueError(f"unknown topic: {topic}")


def _upcasting(decode: Callable[[bytes], Any], upcast: Callable[[Any], Event]) -> Callable[[bytes], Event]:
    return lambda state: upcast(decode(state))


DECODERS = Decoders(UPCASTS)


def decode_event(topic: str, state: bytes) -> Event:
    """Return the stored event of a topic. An unknown topic or a wrong shape is an error, never skipped."""
    event: Event = DECODERS[topic](state)
    return event


def decode_state(topic: str, state: bytes) -> State:
    """Return the stored state of a stream's head."""
    decoded: State = DECODERS[topic](state)
    return decoded


def evolve(state: State | None, event: Event) -> State:
    """Fold one event into the state of its stream. Total and free of rules."""
    return _FOLDS[type(event)](state, event)


def fold(events: Iterable[Event]) -> State | None:
    """Return the state that a stream's events fold into, or None without events."""
    state: State | None = None
    for event in events:
        state = evolve(state, event)
    return state
