"""What leaves the ledger with an event: no user name, e-mail address, secret or digest of one, and no free text.

Ids, numbers, times and enumerations leave. A member that can hold any text leaves only if `TEXTS` shares it, so a new
one stays here until somebody decides about it. Other events do not leave at all: they tell when people log in, or have
a stream whose id is derived from a name, by which anybody could confirm a guess of the name.
"""

from collections.abc import Mapping
from functools import cache
from string import digits
from typing import Any, NamedTuple, TypeAlias, get_args

import msgspec
from msgspec import inspect

from ledger.events import TOPICS, UPCASTS, Event
from ledger.events.account_labels import AccountDescribed
from ledger.events.accounts import AccountOpened
from ledger.events.amendments import TransactionAmended
from ledger.events.assets import AssetRegistered
from ledger.events.clients import ClientRegistered, ClientSecret, ClientUpdated, Grants
from ledger.events.monitors import Rule
from ledger.events.operations import FollowerResumed, FollowerStopped, RebuildEnded, VerificationEnded
from ledger.events.reconciliations import EntryReconciled, StatementReconciled
from ledger.events.seals import SealHeadAccepted
from ledger.events.second_factors import SecondFactorEvent
from ledger.events.tokens import SessionEvent
from ledger.events.transactions import (
    HoldCaptured,
    HoldPlaced,
    JournalEntryPosted,
    MoneyTransferred,
    Posting,
    ScheduleFailed,
)
from ledger.events.users import NameEvent, PasswordChanged, PasswordRehashed, UserCreated, UserUpdated
from ledger.events.webhooks import WebhookSettings

Members: TypeAlias = Mapping[str, "Members | None"]  # those that leave, by stored name; None is for a whole value


class Texts(NamedTuple):
    """The members of a class that leave although they can hold any text, and those that stay."""

    shared: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


WITHHELD_EVENTS: tuple[type[Event], ...] = (
    *get_args(SessionEvent),
    *get_args(SecondFactorEvent),
    *get_args(NameEvent),
    *(PasswordChanged, PasswordRehashed),
)
_DETAILS = ("description", "metadata")  # what clients write about a transaction, which is often about a person
TEXTS: Mapping[type[msgspec.Struct], Texts] = {
    AccountOpened: Texts(shared=("currency",)),
    AccountDescribed: Texts(shared=("code",), withheld=("name", "metadata")),
    MoneyTransferred: Texts(shared=("reference", "currency"), withheld=_DETAILS),
    JournalEntryPosted: Texts(shared=("reference",), withheld=_DETAILS),
    Posting: Texts(shared=("currency",)),
    HoldPlaced: Texts(shared=("reference", "currency"), withheld=_DETAILS),
    HoldCaptured: Texts(shared=("reference",), withheld=_DETAILS),
    TransactionAmended: Texts(withheld=_DETAILS),
    ScheduleFailed: Texts(shared=("failure_codes",)),
    UserCreated: Texts(withheld=("username", "email", "credential_id", "credential_digest")),
    UserUpdated: Texts(withheld=("username", "email")),
    ClientRegistered: Texts(withheld=("name",)),
    ClientUpdated: Texts(withheld=("name",)),
    ClientSecret: Texts(withheld=("digest",)),
    Grants: Texts(shared=("scopes",)),
    Rule: Texts(shared=("code_prefix", "currency")),
    AssetRegistered: Texts(shared=("code", "name")),
    SealHeadAccepted: Texts(shared=("hash", "previous_hash"), withheld=("reason",)),
    StatementReconciled: Texts(withheld=("source",)),
    EntryReconciled: Texts(withheld=("line_key",)),
    RebuildEnded: Texts(shared=("projection",), withheld=("reason",)),
    VerificationEnded: Texts(withheld=("reason",)),
    FollowerStopped: Texts(shared=("follower", "error_topic"), withheld=("error",)),
    FollowerResumed: Texts(shared=("follower",)),
    WebhookSettings: Texts(shared=("topics", "code_prefix"), withheld=("url", "description")),
}
_NO_TEXTS = Texts()
_CLOSED = (
    *(inspect.UUIDType, inspect.IntType, inspect.BoolType, inspect.LiteralType),
    *(inspect.DateTimeType, inspect.DateType, inspect.NoneType),
)

SHAPES: Mapping[str, type[msgspec.Struct]] = {
    **{TOPICS[cls]: cls for cls in get_args(Event)},
    **{topic: upcast.shape for topic, upcast in UPCASTS.items()},
}
_WITHHELD_NAMES = frozenset(TOPICS[cls].rstrip(digits) for cls in WITHHELD_EVENTS)  # of all their versions
DISCLOSED_TOPICS = frozenset(topic for topic in SHAPES if topic.rstrip(digits) not in _WITHHELD_NAMES)


def find_nested(member: inspect.Type) -> type[msgspec.Struct] | None:
    """Return the class of the struct, or of the structs, that a member holds; None for another member."""
    match member:
        case inspect.StructType(cls=cls):
            return cls
        case inspect.UnionType(types=types):
            return next((nested for one in types if (nested := find_nested(one))), None)
        case inspect.VarTupleType(item_type=item_type):
            return find_nested(item_type)
        case _:
            return None


def holds_text(member: inspect.Type) -> bool:
    """Return whether a member can hold any text, as opposed to an id, a number, a time or an enumeration."""
    match member:
        case inspect.UnionType(types=types):
            return any(map(holds_text, types))
        case inspect.VarTupleType(item_type=item_type):
            return holds_text(item_type)
        case inspect.StructType():
            return False  # its own members decide
        case _:
            return not isinstance(member, _CLOSED)


def fields_of(shape: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    """Return the members of a class, with their types."""
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - the type says it
    return info.fields


@cache
def disclosed_members(shape: type[msgspec.Struct]) -> Members:
    """Return the members of a class that leave the ledger."""
    texts = TEXTS.get(shape, _NO_TEXTS)
    return {
        field.encode_name: None if (nested := find_nested(field.type)) is None else disclosed_members(nested)
        for field in fields_of(shape)
        if field.name in texts.shared or not (field.name in texts.withheld or holds_text(field.type))
    }


def disclose(topic: str, state: Mapping[str, Any]) -> dict[str, object]:
    """Return the members of an event that leave the ledger, as they are stored and in the same order.

    Raises `ValueError` for an event that does not leave, or is unknown.
    """
    if topic not in DISCLOSED_TOPICS:
        raise ValueError(f"events of this topic do not leave the ledger: {topic}")
    return _choose(state, disclosed_members(SHAPES[topic]))


def _choose(value: Mapping[str, Any], members: Members) -> dict[str, object]:
    return {name: _choose_inside(inner, members[name]) for name, inner in value.items() if name in members}


def _choose_inside(value: Any, members: Members | None) -> object:
    if members is None or value is None:
        return value
    return [_choose(one, members) for one in value] if isinstance(value, list) else _choose(value, members)
