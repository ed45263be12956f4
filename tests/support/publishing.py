"""What is published, compared with the log."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.events.cloud import encode_cloud_event
from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.identity import read_ledger_id
from tests.support.processes import until

CHUNK = 5000


async def read_leaving(reader: Reader, after: int = 0) -> list[bytes]:
    """Return all events of the log that leave, as they leave, in order."""
    ledger_id, found = await read_ledger_id(reader), list[bytes]()
    while True:
        stretch = await event_reader.read(reader, after, limit=CHUNK)
        found += [encode_cloud_event(one, ledger_id) for one in stretch.events if one.topic in DISCLOSED_TOPICS]
        after = stretch.reached
        if stretch.is_last:
            return found


def position_of(body: bytes) -> int:
    return int(msgspec.json.decode(body)["position"])


async def until_published(reader: Reader, name: str) -> None:
    """Wait until a follower has published the whole log."""
    sql = """SELECT position >= coalesce((SELECT max(notification_id) FROM stored_events), 0) AND error IS NULL
             FROM followers WHERE name = $1"""
    await until(lambda: reader.fetchval(sql, name))


def find_faults(published: Sequence[bytes], expected: Sequence[bytes]) -> list[str]:
    """Say how what was published differs from the log: gaps, doubles, other content, and streams out of order."""
    faults = []
    if missing := set(expected) - set(published):
        faults.append(f"{len(missing)} events are missing, the first at {min(map(position_of, missing))}")
    if strange := set(published) - set(expected):
        faults.append(f"{len(strange)} events are not those of the log: {min(strange)!r}")
    if doubles := len(published) - len(set(published)):
        faults.append(f"{doubles} events were published twice")
    streams: dict[Any, list[int]] = defaultdict(list)
    for body in published:
        event = msgspec.json.decode(body)
        streams[event["subject"]].append(int(event["streamversion"]))
    if unordered := [stream for stream, versions in streams.items() if versions != sorted(versions)]:
        faults.append(f"{len(unordered)} streams are out of order: {unordered[0]}")
    return faults
