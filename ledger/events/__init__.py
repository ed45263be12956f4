"""Every event and state of the ledger, in one closed table from class to topic.

A topic is a short, explicit name and never an import path; stored topics are looked up in this table and nowhere else.
Stored events never change. An event that needs another shape gets a new topic. The old topic stays readable through an
upcast, which turns its events into the current class, so no other code sees the old shape.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec

from ledger.events import (
    account_labels,
    accounts,
    assets,
    clients,
    compact,
    monitors,
    operations,
    periods,
    reconciliations,
    seals,
    second_factors,
    tokens,
    transactions,
    users,
    webhooks,
)

Event = (
    accounts.AccountEvent
    | account_labels.AccountCodeEvent
    | transactions.TransactionEvent
    | transactions.ReferenceEvent
    | users.UserEvent
    | users.NameEvent
    | clients.ClientEvent
    | second_factors.SecondFactorEvent
    | monitors.MonitorEvent
    | assets.AssetRegistered
    | tokens.SessionEvent
    | tokens.AllTokensRevoked
    | tokens.RevokedTokensForgotten
    | seals.SealHeadAccepted
    | periods.PeriodEvent
    | reconciliations.ReconciliationEvent
    | operations.OperationEvent
    | webhooks.WebhookEvent
)
State = (
    accounts.Account
    | account_labels.AccountCode
    | transactions.Transaction
    | transactions.Reference
    | users.User
    | users.Name
    | clients.Client
    | second_factors.SecondFactor
    | monitors.Monitor
    | assets.Asset
    | tokens.Session
    | tokens.Cutoffs
    | tokens.Cleanups
    | seals.SealChain
    | periods.Periods
    | reconciliations.Reconciliation
    | operations.Rebuilds
    | operations.Verifications
    | operations.FollowerStops
    | webhooks.Webhook
)

_FOLDS: dict[type[Event], Callable[[Any, Any], State]] = {
    **dict.fromkeys(get_args(accounts.AccountEvent), accounts.evolve),
    **dict.fromkeys(get_args(account_labels.AccountCodeEvent), account_labels.evolve_code),
    **dict.fromkeys(get_args(users.UserEvent), users.evolve),
    **dict.fromkeys(get_args(users.NameEvent), users.evolve_name),
    **dict.fromkeys(get_args(clients.ClientEvent), clients.evolve),
    **dict.fromkeys(get_args(second_factors.SecondFactorEvent), second_factors.evolve),
    **dict.fromkeys(get_args(monitors.MonitorEvent), monitors.evolve),
    **dict.fromkeys(get_args(transactions.TransactionEvent), transactions.evolve),
    **dict.fromkeys(get_args(transactions.ReferenceEvent), transactions.evolve_reference),
    **dict.fromkeys(get_args(tokens.SessionEvent), tokens.evolve),
    assets.AssetRegistered: assets.evolve,
    tokens.AllTokensRevoked: tokens.evolve_cutoffs,
    tokens.RevokedTokensForgotten: tokens.evolve_cleanups,
    seals.SealHeadAccepted: seals.evolve,
    **dict.fromkeys(get_args(periods.PeriodEvent), periods.evolve),
    **dict.fromkeys(get_args(reconciliations.ReconciliationEvent), reconciliations.evolve),
    operations.RebuildEnded: operations.evolve_rebuilds,
    operations.VerificationEnded: operations.evolve_verifications,
    **dict.fromkeys(get_args(operations.FollowerEvent), operations.evolve_follower),
    **dict.fromkeys(get_args(webhooks.WebhookEvent), webhooks.evolve),
}
TOPICS: dict[type[Event] | type[State], str] = {cls: cls.TOPIC for cls in (*get_args(Event), *get_args(State))}
FREQUENT_EVENTS = (*accounts.BALANCE_EVENTS, transactions.MoneyTransferred)  # too many for an index of topics
HEADLESS = (transactions.Transaction, transactions.Reference)  # their streams are too short for a head to save reads
encode = msgspec.json.Encoder().encode  # as JSON, which is also what is stored but for the events of plain transfers


class Upcast(NamedTuple):
    """How to read the events of a topic that is no longer written: their shape, and its conversion to an event."""

    shape: type[Any]
    upcast: Callable[[Any], Event]


UPCASTS: dict[str, Upcast] = {}  # by topic; `tests/unit/events/` keeps a sample of each


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event and its envelope, as the store keeps it. `position` orders the whole log, `version` one stream.

    Before it is written, an event has no time, and its position counts from 0 within its database transaction. The
    statement that writes it adds the first position that it reserved, and the time.
    """

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime | None
    event: Event


class StoredRow(NamedTuple):
    """A row of the log as it is stored: all columns, none decoded."""

    originator_id: UUID
    originator_version: int
    topic: str
    state: bytes
    notification_id: int
    recorded_at: datetime
    command_id: UUID | None


class Decoders(dict[str, Callable[[bytes], Any]]):
    """The decoder of each topic. Looking up an unknown topic raises `ValueError`."""

    def __init__(self, upcasts: Mapping[str, Upcast]) -> None:
        super().__init__({topic: msgspec.json.Decoder(cls).decode for cls, topic in TOPICS.items()})
        for cls, short in compact.DECODERS.items():
            self[TOPICS[cls]] = _decode_either(short, self[TOPICS[cls]])
        for topic, (shape, upcast) in upcasts.items():
            self[topic] = _compose_upcast(msgspec.json.Decoder(shape).decode, upcast)

    def __missing__(self, topic: str) -> Any:
        raise ValueError(f"unknown topic: {topic}")


def _compose_upcast(decode: Callable[[bytes], Any], upcast: Callable[[Any], Event]) -> Callable[[bytes], Event]:
    return lambda state: upcast(decode(state))


def _decode_either(short: Callable[[bytes], Event], json: Callable[[bytes], Event]) -> Callable[[bytes], Event]:
    return lambda state: short(state) if state[:1] == compact.MARK else json(state)


DECODERS = Decoders(UPCASTS)


def encode_event(event: Event) -> bytes:
    """Encode an event as it is stored: those of plain transfers in a short form, all others as JSON."""
    short = compact.ENCODERS.get(type(event))
    return (short and short(event)) or encode(event)


def to_json(topic: str, state: bytes) -> bytes:
    """Return a stored event as JSON, whatever its form."""
    return encode(decode_event(topic, state)) if state[:1] == compact.MARK else state


def decode_event(topic: str, state: bytes) -> Event:
    """Decode a stored event. An unknown topic or an invalid shape is an error: no event is ever skipped."""
    event: Event = DECODERS[topic](state)
    return event


def decode_state(topic: str, state: bytes) -> State:
    """Decode the stored state of a stream's head."""
    decoded: State = DECODERS[topic](state)
    return decoded


def evolve(state: State | None, event: Event) -> State:
    """Fold one event into the state of its stream. Every event is accepted: folding checks no rules."""
    return _FOLDS[type(event)](state, event)


def fold(events: Iterable[Event]) -> State | None:
    """Return the state that a stream's events fold into, or None if there are no events."""
    state: State | None = None
    for event in events:
        state = evolve(state, event)
    return state
