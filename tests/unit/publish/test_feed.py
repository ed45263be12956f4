"""The feed of webhooks: what it remembers of many webhooks does not grow with the runs that it keeps."""

import tracemalloc
from datetime import UTC, datetime
from typing import cast

from ledger.projections.account_places import AccountPlace
from ledger.publish.webhooks.choice import Choice, LoggedEvent
from ledger.publish.webhooks.feed import Feed, Run
from ledger.store.connections import Reader
from ledger.store.reader import StoredEvent
from ledger.values.ids import new_id

CHOICES, RUNS = 200, 300
MOST_BYTES = 2_000_000  # remembering nothing for each pair of a run and a choice takes three to four times as much


async def append(feed: Feed, position: int) -> None:
    """Append a transfer between accounts of nobody."""
    event = LoggedEvent(StoredEvent(position, new_id(), 1, datetime.now(UTC), "MoneyTransferred", b"{}", None))
    event.accounts, event.places = (new_id(),), (AccountPlace(new_id(), None, 0),)
    await feed.append(Run(position - 1, position, [event]))


async def test_webhooks_that_send_nothing_take_no_memory_for_each_event() -> None:
    feed = Feed(cast("Reader", None), 0)
    waiting = [feed.wait(Choice(limits=frozenset({new_id()}))) for _ in range(CHOICES)]
    tracemalloc.start()
    try:
        for position in range(1, RUNS + 1):
            await append(feed, position)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < MOST_BYTES
    assert not any(one.done() for one in waiting)


async def test_runs_that_all_webhooks_send_are_remembered_for_the_newest_only() -> None:
    feed = Feed(cast("Reader", None), 0)
    choices = [Choice(topics=frozenset({"MoneyTransferred", f"Topic{number}"})) for number in range(CHOICES)]
    tracemalloc.start()
    try:
        for position in range(1, RUNS + 1):
            arrived = [feed.wait(choice) for choice in choices]
            await append(feed, position)
            assert all(one.done() for one in arrived)
            del arrived
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < MOST_BYTES
