"""Which events a webhook sends: by topic, by the codes of accounts, and by what its client may read."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, get_args
from uuid import UUID

from ledger.events import TOPICS
from ledger.events.account_labels import AccountDescribed
from ledger.events.accounts import OWNERSHIP_EVENTS, AccountEvent
from ledger.events.cloud import encode_cloud_event
from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.events.transactions import TransactionEvent
from ledger.projections.account_places import AccountPlace, read_places
from ledger.publish.accounts import find_accounts
from ledger.store.connections import Reader
from ledger.store.reader import StoredEvent
from ledger.values.account_codes import key_range

MAX_PLACES = 50_000  # accounts whose owners and codes are in memory
# What clients that are limited to some accounts may read: what happens to these, and the transactions of these.
_LIMITED_TOPICS = frozenset(TOPICS[kind] for kind in (*get_args(AccountEvent), *get_args(TransactionEvent)))
_MOVING_TOPICS = frozenset(TOPICS[kind] for kind in (*OWNERSHIP_EVENTS, AccountDescribed))


class LoggedEvent:
    """An event of the log, with the accounts that it is about, and their owners and codes then, once they are known.

    All webhooks share it, so its body is encoded once.
    """

    __slots__ = ("_body", "accounts", "places", "stored")

    def __init__(self, stored: StoredEvent) -> None:
        self.stored = stored
        self.accounts: tuple[UUID, ...] | None = None
        self.places: tuple[AccountPlace, ...] = ()
        self._body: bytes | None = None

    @property
    def position(self) -> int:
        """The place in the log."""
        return self.stored.position

    def encode(self, ledger_id: UUID) -> bytes:
        """Return the event as it leaves: a CloudEvent, always the same bytes."""
        if self._body is None:
            self._body = encode_cloud_event(self.stored, ledger_id)
        return self._body


class Choice(NamedTuple):
    """Chooses events of these topics, about accounts with one of these codes, which the client may read.

    `code_keys` are those of `key_range`. None chooses by nothing.
    """

    topics: frozenset[str] = DISCLOSED_TOPICS
    code_keys: tuple[str, str, str] | None = None
    limits: frozenset[UUID] | None = None

    @property
    def needs_accounts(self) -> bool:
        """Whether the choice depends on the accounts that an event is about."""
        return self.code_keys is not None or self.limits is not None

    def includes(self, event: LoggedEvent) -> bool:
        """Return whether to send an event, whose accounts are known if that is needed."""
        topic = event.stored.topic
        if topic not in self.topics:
            return False
        if self.code_keys is not None and not any(_has_code(place, self.code_keys) for place in event.places):
            return False
        return self.limits is None or (topic in _LIMITED_TOPICS and _belongs(event, self.limits))


def make_choice(topics: Iterable[str], code_prefix: str | None, limits: Iterable[UUID] | None) -> Choice:
    """Return the choice of a webhook; no topics stand for all that may leave the ledger."""
    return Choice(
        (frozenset(topics) & DISCLOSED_TOPICS) or DISCLOSED_TOPICS,
        None if code_prefix is None else key_range(code_prefix),
        None if limits is None else frozenset(limits),
    )


class Audience:
    """Finds the accounts that events are about, with the owners and codes that these had then."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._places: dict[UUID, AccountPlace] = {}
        self._learning: list[set[UUID]] = []  # for each read that is under way, the accounts that it must not keep

    def forget(self, events: Iterable[LoggedEvent]) -> None:
        """Forget what these events have changed, also what is being read, maybe as it was before them."""
        for event in events:
            if event.stored.topic in _MOVING_TOPICS:
                self._places.pop(event.stored.stream_id, None)
                for changed in self._learning:
                    changed.add(event.stored.stream_id)

    async def describe(self, events: Sequence[LoggedEvent]) -> None:
        """Find the accounts of events, with their owners and codes."""
        unknown = [event for event in events if event.accounts is None]
        if not unknown:
            return
        found = await find_accounts(self._reader, [event.stored for event in unknown])
        latest = await self._learn({account_id for accounts in found for account_id in accounts})
        for event, accounts in zip(unknown, found, strict=True):
            places = [latest[account_id] for account_id in accounts]
            if any(place.since > event.position for place in places):  # it has another owner or code since then
                then = await read_places(self._reader, accounts, event.position)
                places = [then[account_id] for account_id in accounts]
            event.places = tuple(places)
            event.accounts = accounts

    async def _learn(self, account_ids: set[UUID]) -> dict[UUID, AccountPlace]:
        """Return the owners and codes of accounts; what no event changes meanwhile is kept."""
        known = {account_id: self._places[account_id] for account_id in account_ids & self._places.keys()}
        missing = account_ids - known.keys()
        if not missing:
            return known
        changed = set[UUID]()
        self._learning.append(changed)
        try:
            read = await read_places(self._reader, missing)
        finally:
            self._learning.remove(changed)
        if len(self._places) > MAX_PLACES:
            self._places.clear()
        self._places |= {account_id: place for account_id, place in read.items() if account_id not in changed}
        return known | read


def _has_code(place: AccountPlace, keys: tuple[str, str, str]) -> bool:
    key = None if place.code is None else place.code.lower()
    return key is not None and (key == keys[0] or keys[1] <= key < keys[2])


def _belongs(event: LoggedEvent, limits: frozenset[UUID]) -> bool:
    return not limits.isdisjoint(event.accounts or ()) or any(place.owner_id in limits for place in event.places)
