"""Where transactions begin and move money in the log, newest first, as candidates for lists of the past."""

from collections.abc import Collection, Iterable
from typing import NamedTuple
from uuid import UUID

from ledger.events import FREQUENT_EVENTS, TOPICS
from ledger.events.transactions import (
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldVoided,
    JournalEntryPosted,
    MoneyTransferred,
    TransactionScheduled,
)
from ledger.store.connections import Reader
from ledger.store.reader import FOLLOWING, FREQUENT, MAX_POSITION, Bounds
from ledger.store.sql import ENTRY_EVENTS, ENTRY_TRANSACTION, NEWEST_BETWEEN, streams_with_later

SCANNED_EVENTS = 5000  # of the log, for one page
EVENTS_PER_ENTRY = 2  # of an account, that are read for each of its entries
_BEGINNINGS = (MoneyTransferred, JournalEntryPosted, HoldPlaced, HoldCaptured, TransactionScheduled)


# The transfers between two positions, the second one included.
TRANSFERRED_BETWEEN = f"""SELECT originator_id FROM stored_events
                          WHERE notification_id > $1 AND notification_id <= $2
                            AND topic = '{TOPICS[MoneyTransferred]}'"""


class Candidates(NamedTuple):
    """Transactions that may belong to a page, and the position down to which there are no others; None: to the end."""

    ids: Collection[UUID]
    reached: int | None


def merge(*parts: Candidates) -> Candidates:
    """Return the candidates of all searches, which are complete down to where the first of them ended."""
    ends = [part.reached for part in parts if part.reached is not None]
    return Candidates(list(dict.fromkeys(id_ for part in parts for id_ in part.ids)), max(ends, default=None))


def _list(topics: Iterable[type]) -> str:
    return ", ".join(f"'{TOPICS[cls]}'" for cls in topics)


async def find_in_log(reader: Reader, bounds: Bounds, count: int) -> Candidates:
    """Find up to `count` candidates in the last events before a position."""
    rows = await reader.fetch(
        f"""SELECT stream_id, position FROM ({NEWEST_BETWEEN} LIMIT $3) AS stretch
            WHERE topic IN ({_list(_BEGINNINGS)}) LIMIT $4""",
        *(*bounds, SCANNED_EVENTS, count),
    )
    ids = [row[0] for row in rows]
    if len(rows) == count:
        return Candidates(ids, rows[-1][1])
    last = f"SELECT position FROM ({NEWEST_BETWEEN} OFFSET $3::bigint - 1 LIMIT 1) AS last"
    return Candidates(ids, await reader.fetchval(last, *bounds, SCANNED_EVENTS))


async def find_by_topic(reader: Reader, topics: Iterable[type], bounds: Bounds, count: int) -> Candidates:
    """Find up to `count` streams that have events of rare topics, by index."""
    assert not set(topics) & set(FREQUENT_EVENTS)  # noqa: S101 - no index has these
    searches = " UNION ALL ".join(
        f"""(SELECT originator_id, notification_id FROM stored_events
             WHERE topic = '{TOPICS[topic]}' AND topic NOT IN {FREQUENT}
               AND notification_id > $1 AND notification_id < $2 ORDER BY notification_id DESC LIMIT $3)"""
        for topic in topics
    )
    rows = await reader.fetch(
        f"SELECT * FROM ({searches}) AS found ORDER BY notification_id DESC LIMIT $3", *(*bounds, count)
    )
    return Candidates([row[0] for row in rows], rows[-1][1] if len(rows) == count else None)


async def find_by_entries(reader: Reader, account_ids: Collection[UUID], bounds: Bounds, count: int) -> Candidates:
    """Find the transactions of the last entries of accounts, about `count` of them.

    A transaction counts from its own event, which comes shortly before its entries. So entries from shortly after the
    bounds are looked at, too. Of each account, a bounded number of events is read, whatever the planner expects.
    """
    most = count + FOLLOWING
    values = (
        *(bounds.after, min(bounds.before, MAX_POSITION - FOLLOWING) + FOLLOWING),
        *(account_ids, EVENTS_PER_ENTRY * most),
    )
    rows = await reader.fetch(_ENTRIES, *values, most)
    if len(rows) == most:
        return Candidates([row[0] for row in rows], rows[-1][1])
    reached = await reader.fetchval(_END_OF_ENTRIES, *values)
    return Candidates([row[0] for row in rows], reached)


_LAST = """WITH ends AS MATERIALIZED (
               SELECT account.id, version_at(account.id, $2 - 1) AS last FROM unnest($3::uuid[]) AS account(id))"""
_ENTRIES = f"""{_LAST}
SELECT {ENTRY_TRANSACTION}, position FROM ends, LATERAL (
    SELECT state, position FROM ({ENTRY_EVENTS}) AS entry
    WHERE entry.account_id = ends.id AND version > last - $4::bigint AND version <= last AND position > $1 OFFSET 0
) AS found ORDER BY position DESC LIMIT $5"""
_END_OF_ENTRIES = f"""{_LAST}
SELECT max(notification_id) FROM ends, stored_events
WHERE originator_id = id AND originator_version = last - $4::bigint AND notification_id > $1"""


async def find_ended_later(reader: Reader, position: int, limit: int) -> list[UUID]:
    """Return the holds that were captured, voided or expired after a position, at most `limit` of each."""
    later = " UNION ".join(streams_with_later(topic, "$1", limit) for topic in (HoldCaptured, HoldVoided, HoldExpired))
    return [row[0] for row in await reader.fetch(later, position)]
