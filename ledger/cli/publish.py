"""`ledger publish`: show how far events are published to brokers, resume a publisher, and publish again."""

import sys
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from ledger.cli.options import AsJson, parse_value
from ledger.cli.output import emit, print_table
from ledger.cli.shell import connected, fail, query_pool, run
from ledger.followers import follower
from ledger.followers.follower import BROKERS, FollowerStatus
from ledger.projections.rebuild.status import resume as resume_follower
from ledger.publish.brokers import open_destinations
from ledger.publish.destination import Destination, ForeignMessageError
from ledger.settings import Settings
from ledger.store import reader as event_reader
from ledger.store.connections import Pool
from ledger.store.identity import read_ledger_id
from ledger.store.reader import MAX_POSITION

Broker = Annotated[str, typer.Argument(help=f"Broker: {' or '.join(BROKERS)}.")]
REQUEST_ID = "ledger-publish"  # in the command log
_VARIABLES = {"nats": "LEDGER_NATS_URL", "kafka": "LEDGER_KAFKA_SERVERS"}  # without which there is no such broker
COLUMNS = ("broker", "state", "position", "lag_events", "lag_seconds", "per_second", "error")


def show_status(as_json: AsJson = False) -> None:
    """Show up to which position events are published to each broker, and what holds the publisher up."""
    rows = query_pool(_read_status)
    if as_json:
        emit(rows)
    else:
        print_table(
            [name.replace("_", " ") for name in COLUMNS], [[_show(row[name]) for name in COLUMNS] for row in rows]
        )
        if not rows:
            sys.stdout.write(f"Nothing is published: set {' or '.join(_VARIABLES.values())}, and start the service.\n")


def resume(broker: Broker, as_json: AsJson = False) -> None:
    """Resume a publisher that stopped at an event, or because the broker has another history than the log."""
    _check_name(broker)
    position = run(lambda settings: resume_follower(settings, broker, request_id=REQUEST_ID))
    if position is None:
        fail(f"{broker} has not stopped: see `ledger publish status`", 1)
    if as_json:
        emit({"resumed": broker, "position": position})
    else:
        sys.stdout.write(f"{broker} resumes within a second of a running service\n")


def replay(
    broker: Broker,
    first: Annotated[
        str, typer.Option("--from", help="Position of the first event to publish, or `end` for those to come.")
    ],
    as_json: AsJson = False,
) -> None:
    """Empty the stream or topic of a broker, and publish all events from a position on.

    Running services continue there. Consumers receive these events again, with the same ids.
    """
    _check_name(broker)
    given = parse_value("--from", first, _parse_first)
    position = run(lambda settings: _replay(settings, broker, given))
    if as_json:
        emit({"replayed": broker, "from": position})
    else:
        sys.stdout.write(f"{broker} is empty; running services publish from position {position} on\n")


def forget(broker: Broker, as_json: AsJson = False) -> None:
    """Remove a broker that is no longer in the settings from the status. What it has stays there."""
    _check_name(broker)
    if not query_pool(lambda pool: follower.forget(pool, broker)):
        fail(f"nothing was ever published to {broker}, or a service still publishes to it", 1)
    if as_json:
        emit({"forgotten": broker})
    else:
        sys.stdout.write(f"{broker} is no longer in the status\n")


def _show(value: object) -> str:
    """Return a cell of the table; a number of events a second, or of seconds, to a tenth."""
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


async def _read_status(pool: Pool) -> list[dict[str, Any]]:
    end = await event_reader.log_end(pool)
    return [_describe(one, end) for one in await follower.status(pool) if one.name in BROKERS]


def _describe(one: FollowerStatus, end: int) -> dict[str, Any]:
    lag = max(end - one.position, 0)
    return dict(zip(COLUMNS, (one.name, one.state, one.position, lag, *one[3:6]), strict=True))


def _parse_first(text: str) -> int | None:
    """Return a position, or None for the end of the log."""
    if text == "end":
        return None
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MAX_POSITION:
        raise ValueError("must be a position from 1 on, or end")
    return int(text)


async def _replay(settings: Settings, broker: str, given: int | None) -> int:
    """Return the position from which events are published again."""
    async with connected(settings) as connection:
        end = await event_reader.log_end(connection)
        first = end + 1 if given is None else given
        if first > end + 1:
            fail(f"--from: the log ends at position {end}", 2)
        destination = _find(settings, broker, await read_ledger_id(connection))
        try:
            with suppress(ForeignMessageError):
                await destination.open(0)
            await destination.start_again(first - 1)
        finally:
            await destination.close()
        await follower.resume(connection, broker, request_id=REQUEST_ID)
    return first


def _find(settings: Settings, broker: str, ledger_id: Any) -> Destination:
    for destination in open_destinations(settings, ledger_id):
        if destination.name == broker:
            return destination
    return _fail_unset(broker)


def _fail_unset(broker: str) -> NoReturn:
    fail(f"{broker} is not in the settings: set {_VARIABLES[broker]}", 2)


def _check_name(broker: str) -> None:
    if broker not in BROKERS:
        fail(f"there is no broker {broker!r}: {', '.join(BROKERS)}", 2)
