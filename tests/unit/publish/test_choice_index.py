"""The index of choices finds exactly those that include an event, and asks none of other accounts, codes or topics."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.projections.account_places import AccountPlace
from ledger.publish.webhooks.choice import Audience, Choice, LoggedEvent, make_choice
from ledger.publish.webhooks.choice_index import ChoiceIndex
from ledger.publish.webhooks.feed import Feed, Run
from ledger.store.connections import Reader
from ledger.store.reader import StoredEvent
from ledger.values.ids import new_id

MANY = 500
IDS = [new_id() for _ in range(6)]  # of accounts and of owners
TOPICS = ["MoneyTransferred", "AccountOpened", "AccountDescribed", "PeriodClosed", "UserRegistered"]
CODES = ["a", "A:b", "a:B:c", "a:bc", "b", "b:a", "a.b", "a-b:c"]
PREFIXES = [*CODES, "a:", "A:B:", "b:"]

About = tuple[UUID, AccountPlace]

places = st.builds(
    AccountPlace, st.none() | st.sampled_from(IDS), st.none() | st.sampled_from(CODES), st.integers(0, 9)
)
choices = st.builds(
    make_choice,
    st.lists(st.sampled_from(TOPICS), max_size=3),
    st.none() | st.sampled_from(PREFIXES),
    st.none() | st.lists(st.sampled_from(IDS), max_size=3),
)


def log_event(topic: str, about: Sequence[About], position: int = 1) -> LoggedEvent:
    """Return an event about accounts with these owners and codes."""
    event = LoggedEvent(StoredEvent(position, new_id(), 1, datetime.now(UTC), topic, b"{}", None))
    event.accounts, event.places = tuple(one for one, _ in about), tuple(place for _, place in about)
    return event


events = st.builds(
    log_event,
    st.sampled_from([*TOPICS, "UnknownTopic"]),
    st.lists(st.tuples(st.sampled_from(IDS), places), max_size=3, unique_by=lambda one: one[0]),
)
# A webhook is added, or all are removed but those with these numbers, or an event comes, with the owners of its time.
steps = st.lists(choices | st.sets(st.integers(0, 30)) | events, max_size=30)


@given(steps)
def test_the_index_finds_what_every_choice_by_itself_includes(steps: list[Choice | set[int] | LoggedEvent]) -> None:
    index, present = ChoiceIndex(), dict[Choice, None]()
    for step in steps:
        if isinstance(step, LoggedEvent):
            found = [*index.find(step)]
            assert len(found) == len({*found})
            assert {*found} == {choice for choice in present if choice.includes(step)}
            needed = any(choice.needs_accounts and step.stored.topic in choice.topics for choice in present)
            assert needed == index.needs_accounts(step.stored.topic)
        elif isinstance(step, Choice):
            index.add(step)
            present[step] = None
        else:
            present = {choice: None for number, choice in enumerate(present) if number in step}
            index.retain(present)
    index.retain(())
    assert vars(index) == vars(ChoiceIndex())


@given(st.lists(choices, max_size=6), st.lists(events, max_size=6))
def test_a_run_of_events_is_chosen_from_as_by_each_choice(present: list[Choice], run: list[LoggedEvent]) -> None:
    index = ChoiceIndex()
    for choice in present:
        index.add(choice)
    expected = {choice: [event for event in run if choice.includes(event)] for choice in present}
    assert index.choose(run) == {choice: chosen for choice, chosen in expected.items() if chosen}


def of_accounts(number: int) -> Choice:
    return make_choice((), None, (IDS[0] if number == 0 else new_id(),))


def of_codes(number: int) -> Choice:
    return make_choice(("MoneyTransferred",), f"users:u{number}", None)


def of_topics(number: int) -> Choice:
    others = sorted(DISCLOSED_TOPICS - {"MoneyTransferred"})
    chosen = {topic for place, topic in enumerate(others) if number >> place & 1}
    return make_choice({"MoneyTransferred"} if number == 0 else chosen, None, None)


@pytest.mark.parametrize("make", [of_accounts, of_codes, of_topics])
async def test_an_event_asks_no_webhook_that_does_not_send_it(
    make: Callable[[int], Choice], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Choice] = []
    includes = Choice.includes

    def ask(choice: Choice, event: LoggedEvent) -> bool:
        asked.append(choice)
        return includes(choice, event)

    monkeypatch.setattr(Choice, "includes", ask)
    feed = Feed(cast("Reader", None), 0)
    waiting = {choice: feed.wait(choice) for choice in map(make, range(MANY))}
    assert MANY == len(waiting)
    event = log_event("MoneyTransferred", [(IDS[0], AccountPlace(IDS[1], "users:u0:main", 0))])
    await feed.append(Run(0, 1, [event]))
    assert [make(0)[0]] == [choice[0] for choice in asked]
    assert asked == [choice for choice, arrived in waiting.items() if arrived.done()]


async def test_a_webhook_that_begins_to_wait_while_accounts_are_found_gets_the_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its topics may be others than those whose accounts are being found."""
    feed = Feed(cast("Reader", None), 0)
    described: list[list[int]] = []
    first = make_choice(("MoneyTransferred",), None, (IDS[0],))
    second = make_choice(("AccountOpened",), None, (IDS[1],))
    waiting = {first: feed.wait(first)}

    async def describe(_: Audience, run: Sequence[LoggedEvent]) -> None:
        described.append([event.position for event in run])
        if second not in waiting:
            waiting[second] = feed.wait(second)
        for event in run:
            event.accounts, event.places = (IDS[1],), (AccountPlace(None, None, 0),)

    monkeypatch.setattr(Audience, "describe", describe)
    run = [log_event("MoneyTransferred", [], 1), log_event("AccountOpened", [], 2)]
    for event in run:
        event.accounts = None
    await feed.append(Run(0, 2, run))
    assert [[1], [2]] == described
    assert [False, True] == [waiting[choice].done() for choice in (first, second)]


async def test_webhooks_that_are_gone_cost_nothing() -> None:
    feed = Feed(cast("Reader", None), 0)
    gone, left = of_accounts(0), of_accounts(1)
    for choice in (gone, left):
        feed.leave(choice, feed.wait(choice))
    arrived = feed.wait(left)
    feed.retain([left])
    run = Run(0, 1, [log_event("MoneyTransferred", [(IDS[0], AccountPlace(None, None, 0))])])
    await feed.append(run)
    assert not arrived.done()
    assert {left} == feed._index._choices  # noqa: SLF001 - nothing else tells what is in memory
