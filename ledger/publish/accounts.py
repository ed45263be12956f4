"""The accounts that events are about, and the codes that they had then: by these, consumers choose events."""

from collections.abc import Iterable, Sequence
from typing import get_args
from uuid import UUID

from ledger.events import TOPICS, Event, decode_event
from ledger.events.account_labels import AccountCodeEvent, AccountDescribed
from ledger.events.accounts import AccountEvent
from ledger.events.monitors import MonitorCreated, MonitorEvent
from ledger.events.reconciliations import ReconciliationEvent, StatementReconciled
from ledger.events.transactions import (
    HoldPlaced,
    JournalEntryPosted,
    MoneyTransferred,
    ReferenceEvent,
    TransactionEvent,
    TransactionScheduled,
)
from ledger.events.users import AccountAssigned
from ledger.projections import account_labels
from ledger.store.connections import Reader
from ledger.store.reader import StoredEvent
from ledger.store.sql import FIRST_EVENTS

MAX_CODES = 100_000  # of accounts, in memory
ACCOUNT_TOPICS = frozenset(TOPICS[cls] for cls in get_args(AccountEvent))
_FOLLOWING = (*get_args(TransactionEvent), *get_args(MonitorEvent), *get_args(ReconciliationEvent))


class Codes:
    """The codes of accounts as the log is read forwards: those that they had at each event, and not those of now."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._codes: dict[UUID, str | None] = {}
        self._position = 0  # at which the accounts had these codes

    async def learn(self, after: int, account_ids: Iterable[UUID]) -> None:
        """Look up the codes that these accounts had at a position. Reading continues after it."""
        if after != self._position or len(self._codes) > MAX_CODES:
            self._codes.clear()
        self._position = after
        if missing := {*account_ids} - self._codes.keys():
            found = await account_labels.read_at(self._reader, missing, after)
            self._codes |= {one: found[one].labels.code if one in found else None for one in missing}

    def follow(self, stored: StoredEvent) -> None:
        """Take a change of a code into account."""
        if stored.topic == AccountDescribed.TOPIC:
            labels = decode_event(stored.topic, stored.state)
            assert isinstance(labels, AccountDescribed)  # noqa: S101 - the topic says it
            self._codes[stored.stream_id] = labels.code

    def reach(self, position: int) -> None:
        """Note that all events up to a position were followed."""
        self._position = position

    def get(self, account_id: UUID) -> str | None:
        """Return the code of an account that was looked up, at the event that was followed last."""
        return self._codes[account_id]


def name_accounts(event: Event) -> tuple[UUID, ...]:  # noqa: PLR0911 - one arm per event
    """Return the accounts that an event names, without that of its stream."""
    match event:
        case MoneyTransferred() | HoldPlaced():
            return event.source_account_id, event.destination_account_id
        case JournalEntryPosted(postings=postings):
            return tuple(dict.fromkeys(posting.account_id for posting in postings))
        case TransactionScheduled():
            return tuple(dict.fromkeys(event.account_ids))
        case MonitorCreated(rule=rule):
            return () if rule.account_id is None else (rule.account_id,)
        case StatementReconciled(account_id=account_id) | AccountAssigned(account_id=account_id):
            return (account_id,)
        case _ if isinstance(event, AccountCodeEvent):
            return (event.account_id,)
        case _:
            return ()


async def find_accounts(reader: Reader, events: Sequence[StoredEvent]) -> list[tuple[UUID, ...]]:
    """Return the accounts that each event is about; those of a later event of a transaction are those of its first."""
    found: list[tuple[UUID, ...]] = []
    streams: list[UUID | None] = []
    for stored in events:
        event = decode_event(stored.topic, stored.state)
        named = (stored.stream_id,) if isinstance(event, AccountEvent) else name_accounts(event)
        found.append(named)
        streams.append(None if named else _find_stream(stored.stream_id, event))
    firsts = await _read_firsts(reader, {stream for stream in streams if stream is not None})
    return [named if stream is None else firsts.get(stream, ()) for named, stream in zip(found, streams, strict=True)]


def _find_stream(stream_id: UUID, event: Event) -> UUID | None:
    """Return the stream whose first event names the accounts; None if there is no such stream."""
    if isinstance(event, ReferenceEvent):
        return event.transaction_id
    return stream_id if isinstance(event, _FOLLOWING) else None


async def _read_firsts(reader: Reader, streams: Iterable[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    wanted = [*streams]
    if not wanted:
        return {}
    rows = await reader.fetch(f"{FIRST_EVENTS} AND originator_id = ANY($1::uuid[])", wanted)
    return {row["stream_id"]: name_accounts(decode_event(row["topic"], bytes(row["state"]))) for row in rows}
