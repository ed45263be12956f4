"""The stream of JetStream that a ledger publishes to: created if there is none, otherwise checked, never changed."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ledger.publish.destination import DestinationError
from ledger.publish.nats_connection import ApiError, Connection

NOT_FOUND = 10059  # the code of JetStream for a stream that does not exist
DUPLICATES_SECONDS = 10  # each id is kept in memory for so long; the expected sequences keep doubles out anyway
LONGEST_DUPLICATES_SECONDS = 3600
NANOSECONDS = 1_000_000_000


class Wanted(NamedTuple):
    """The stream that a ledger needs."""

    name: str
    subject: str
    replicas: int

    def config(self) -> dict[str, Any]:
        """Return the configuration to create it with."""
        return {
            "name": self.name,
            "description": "The events of a ledger, each once and in the order of its log.",
            "subjects": [self.subject],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": self.replicas,
            "duplicate_window": DUPLICATES_SECONDS * NANOSECONDS,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_msgs_per_subject": -1,
            "max_msg_size": -1,
            "max_consumers": -1,
            "deny_delete": True,
            "allow_direct": True,
            "allow_atomic": True,
        }


async def ensure_stream(connection: Connection, wanted: Wanted) -> Mapping[str, Any]:
    """Create the stream, or check it; return its state. Raises `DestinationError` if it cannot be used."""
    try:
        info = await connection.call(f"STREAM.INFO.{wanted.name}")
    except ApiError as error:
        if error.code != NOT_FOUND:
            raise
        info = await connection.call(f"STREAM.CREATE.{wanted.name}", wanted.config())
    problems = list(find_problems(info["config"], wanted))
    if problems:
        raise DestinationError(f"JetStream: the stream {wanted.name} cannot be used: {'; '.join(problems)}")
    state: Mapping[str, Any] = info["state"]
    return state


def find_problems(config: Mapping[str, Any], wanted: Wanted) -> Iterator[str]:
    """Yield why a stream would lose events, or have others than a ledger's."""
    subjects = config.get("subjects", [])
    if subjects != [wanted.subject]:
        yield f"its subjects are {', '.join(subjects) or 'none'} instead of {wanted.subject}"
    if config.get("retention") != "limits":
        yield f"its retention is {config.get('retention')} instead of limits, so consumers delete events"
    if not config.get("allow_atomic"):
        yield "it has no allow_atomic, which NATS 2.12 and later have"
    if config.get("max_msgs_per_subject", -1) > 0:
        yield "max_msgs_per_subject deletes events"
    if config.get("duplicate_window", 0) > LONGEST_DUPLICATES_SECONDS * NANOSECONDS:
        yield f"its duplicates window is longer than {LONGEST_DUPLICATES_SECONDS} s"
    for name in ("mirror", "sources", "subject_transform"):
        if config.get(name):
            yield f"it has {name}, so its messages are not those of this ledger alone"
    for name in ("no_ack", "sealed", "allow_rollup_hdrs", "allow_msg_ttl"):
        if config.get(name):
            yield f"it has {name}"
