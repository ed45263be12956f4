"""The checks that end every run, from the database that survived: nothing here asks the service."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.pool import connect
from ledger.store.reader import StoredEvent
from tests.support.faults.followers import Event, Follower
from tests.support.faults.load import Attempt
from tests.support.processes import run_ledger

CHUNK = 1000
TRANSFERRED = "MoneyTransferred"
GAPS = """SELECT count(*) FROM (SELECT FROM stored_events GROUP BY originator_id
          HAVING min(originator_version) <> 1 OR max(originator_version) <> count(*)) AS streams"""
SUMS = "SELECT count(*) FROM (SELECT FROM accounts GROUP BY currency HAVING sum(balance_cents) <> 0) AS sums"


class Books(NamedTuple):
    """What the surviving log says. `problems` is empty if all checks pass."""

    log: list[Event]
    lost: int
    doubled: int
    problems: list[str]


async def log_end(settings: Settings) -> int:
    """Return the last position of the log."""
    connection = await connect(settings, application_name="test")
    try:
        return int(await connection.fetchval("SELECT coalesce(max(notification_id), 0) FROM stored_events"))
    finally:
        await connection.close()


async def check_books(
    settings: Settings, attempts: Sequence[Attempt], followers: Sequence[Follower], *, after: int
) -> Books:
    """Compare answers, followers and tables with the log from a position on."""
    connection = await connect(settings, application_name="test")
    try:
        log = await _read_log(connection)
        counts = {
            "streams with gaps": await connection.fetchval(GAPS),
            "currencies whose balances do not sum to zero": await connection.fetchval(SUMS),
        }
    finally:
        await connection.close()
    transfers = [event for event in log if event["topic"] == TRANSFERRED]
    lost, doubled = _lost(attempts, transfers), _doubled(transfers)
    stored = [Event(event["position"], event["stream_id"], event["version"]) for event in log]
    problems = [f"{count} {what}" for what, count in counts.items() if count]
    problems += [f"acknowledged, but not in the log: {lost}"] if lost else []
    problems += [f"executed twice: {doubled}"] if doubled else []
    for follower in followers:
        problems += _compare(follower, [event for event in stored if event.position > after])
    verified = await run_ledger("audit", "verify", variables=settings.environment())
    problems += [] if verified.status == 0 else [verified.output + verified.error]
    return Books(stored, len(lost), len(doubled), problems)


async def _read_log(connection: Any) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = []
    while True:
        after = log[-1]["position"] if log else 0
        stretch = await event_reader.read(connection, after, limit=CHUNK)
        log += [_decode(event) for event in stretch.events]
        if stretch.is_last:
            return log


def _decode(event: StoredEvent) -> dict[str, Any]:
    return {**event.body(), "stream_id": str(event.stream_id)}


def _lost(attempts: Sequence[Attempt], transfers: Sequence[dict[str, Any]]) -> list[str]:
    """List the acknowledged commands whose id is not in the log, or not for them."""
    there = Counter((transfer["stream_id"], transfer["state"].get("description")) for transfer in transfers)
    acknowledged = {(a.transaction_id, a.command) for a in attempts if a.is_acknowledged}
    return sorted(command for transaction_id, command in acknowledged if there[transaction_id, command] != 1)


def _doubled(transfers: Sequence[dict[str, Any]]) -> list[str]:
    """List the commands that were executed more than once."""
    counted = Counter(transfer["state"].get("description") for transfer in transfers)
    return sorted(command for command, count in counted.items() if command is not None and count > 1)


def _compare(follower: Follower, stored: Sequence[Event]) -> list[str]:
    """Say how what a follower has seen differs from the log up to the follower's position."""
    seen, name = follower.seen, type(follower).__name__
    positions = [event.position for event in seen]
    expected = {event for event in stored if event.position <= follower.position}
    problems = []
    if positions != sorted(set(positions)):
        problems.append(f"{name}: positions twice or out of order")
    if skipped := expected - set(seen):
        problems.append(f"{name}: skipped {len(skipped)} events, the first at {min(skipped).position}")
    if strange := set(seen) - expected:
        problems.append(f"{name}: has seen {len(strange)} events that are not in the log")
    return problems
