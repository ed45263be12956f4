"""Finds the choices that include an event by its topic and its accounts, without asking the choice of each webhook.

Choices that differ in their topics alone are a scope. An event leads to the scopes that name one of its accounts, the
owner of one or a code above it, and to the scope of all accounts; in a scope, to the choices of its topic.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeAlias
from uuid import UUID

from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.publish.webhooks.choice import Choice, LoggedEvent

_Key: TypeAlias = UUID | str | None  # an account or an owner; a code, with a colon after it; None for all accounts
_Scope: TypeAlias = tuple[tuple[str, str, str] | None, frozenset[UUID] | None]
_ANY = ""  # stands for all topics that leave the ledger, which most choices have


class ChoiceIndex:
    """The choices of all webhooks of this process.

    It takes a place in memory for each account and owner of a scope, and for each topic of a choice.
    """

    def __init__(self) -> None:
        self._choices: set[Choice] = set()
        self._scopes: dict[_Scope, dict[str, list[Choice]]] = {}  # the choices by topic
        self._by_key: dict[_Key, tuple[_Scope, ...]] = {}
        self._of_accounts: Counter[str] = Counter()  # by topic, the choices that depend on the accounts of an event
        self._codes = 0  # scopes that are found by a code

    def add(self, choice: Choice) -> None:
        """Add a choice, unless it is there."""
        if choice in self._choices:
            return
        self._choices.add(choice)
        scope = _scope_of(choice)
        if scope not in self._scopes:
            self._scopes[scope] = {}
            self._codes += _is_found_by_code(choice)
            alone = (scope,)  # one tuple for all the accounts of a client
            for key in _keys_of_choice(choice):
                self._by_key[key] = (*self._by_key[key], scope) if key in self._by_key else alone
        for topic in _topics_of(choice):
            self._scopes[scope].setdefault(topic, []).append(choice)
        if choice.needs_accounts:
            self._of_accounts.update(choice.topics)

    def retain(self, wanted: Iterable[Choice]) -> None:
        """Remove all choices but these."""
        for choice in self._choices.difference(wanted):
            self._remove(choice)

    def needs_accounts(self, topic: str) -> bool:
        """Return whether a choice depends on the accounts of the events of this topic."""
        return self._of_accounts[topic] > 0

    def find(self, event: LoggedEvent) -> Iterator[Choice]:
        """Yield each choice that includes an event, whose accounts are known if that is needed."""
        found: dict[_Scope, None] = {}  # an ordered set
        for key in self._keys_of_event(event):
            if scopes := self._by_key.get(key):
                found.update(dict.fromkeys(scopes))
        for scope in found:
            by_topic = self._scopes[scope]
            for topic in (event.stored.topic, _ANY):
                for choice in by_topic.get(topic, ()):
                    if choice.includes(event):
                        yield choice

    def choose(self, events: Iterable[LoggedEvent]) -> dict[Choice, list[LoggedEvent]]:
        """Return the events of each choice that includes one of them."""
        chosen: dict[Choice, list[LoggedEvent]] = {}
        for event in events:
            for choice in self.find(event):
                chosen.setdefault(choice, []).append(event)
        return chosen

    def _remove(self, choice: Choice) -> None:
        self._choices.remove(choice)
        scope = _scope_of(choice)
        by_topic = self._scopes[scope]
        for topic in _topics_of(choice):
            by_topic[topic].remove(choice)
            if not by_topic[topic]:
                del by_topic[topic]
        if choice.needs_accounts:
            self._of_accounts -= Counter(choice.topics)
        if not by_topic:
            del self._scopes[scope]
            self._codes -= _is_found_by_code(choice)
            for key in _keys_of_choice(choice):
                self._by_key[key] = tuple(one for one in self._by_key[key] if one != scope)
                if not self._by_key[key]:
                    del self._by_key[key]

    def _keys_of_event(self, event: LoggedEvent) -> list[_Key]:
        keys: list[_Key] = [None]
        if self._of_accounts and event.accounts is not None:
            keys += event.accounts
            keys += [place.owner_id for place in event.places]
            if self._codes:
                keys += [key for place in event.places if place.code for key in _keys_above(place.code)]
        return keys


def _scope_of(choice: Choice) -> _Scope:
    return choice.code_keys, choice.limits


def _topics_of(choice: Choice) -> Iterable[str]:
    return (_ANY,) if choice.topics == DISCLOSED_TOPICS else choice.topics


def _keys_of_choice(choice: Choice) -> Iterable[_Key]:
    if choice.limits is not None:
        return choice.limits
    return (None,) if choice.code_keys is None else (choice.code_keys[1],)


def _is_found_by_code(choice: Choice) -> bool:
    return choice.limits is None and choice.code_keys is not None


def _keys_above(code: str) -> Iterator[str]:
    """Yield the key of a code, and of each above it, with a colon after it."""
    key = ""
    for segment in code.lower().split(":"):
        key += segment + ":"
        yield key
