"""Events in the form of CloudEvents 1.0 (https://github.com/cloudevents/spec), in which they leave the ledger.

An id is that of the ledger with the position in its log, so it is unique among all ledgers, and the same position has
the same bytes whenever it is encoded: members are taken from the log as they are stored, and nothing is looked up.
Integers of CloudEvents have 32 bits, so the position and the version of the stream are texts.
"""

import re
from datetime import datetime
from functools import lru_cache
from typing import Protocol
from uuid import UUID

import msgspec

from ledger.events import to_json
from ledger.events.compact import MARK
from ledger.events.disclosure import disclose
from ledger.values.timestamps import rfc3339

MEDIA_TYPE = "application/cloudevents+json"
BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"
_TOPIC = re.compile("([A-Za-z]+)([0-9]*)", re.ASCII)
_encode = msgspec.json.Encoder().encode


class Stored(Protocol):
    """An event with its envelope, as `ledger.store.reader` reads it."""

    @property
    def position(self) -> int:
        """The place in the log."""

    @property
    def stream_id(self) -> UUID:
        """The stream of the event."""

    @property
    def version(self) -> int:
        """The place in the stream."""

    @property
    def recorded_at(self) -> datetime:
        """When the event was recorded."""

    @property
    def topic(self) -> str:
        """The stored topic."""

    @property
    def state(self) -> bytes:
        """The members, as they are stored."""

    @property
    def command_id(self) -> UUID | None:
        """The command that appended the event, or None."""


def name_with_version(topic: str) -> str:
    """Return the name and version of an event. A topic without a number is version 1: `MoneyTransferred.v1`."""
    found = _TOPIC.fullmatch(topic)
    if found is None:
        raise ValueError(f"a topic is a word, with its version from the second on: {topic}")
    return f"{found[1]}.v{found[2] or 1}"


def event_type(topic: str) -> str:
    """Return the `type` of the CloudEvents of a topic, such as `ledger.MoneyTransferred.v1`."""
    return f"ledger.{name_with_version(topic)}"


def schema_uri(topic: str) -> str:
    """Return the name of the schema of a topic's `data`, by which /asyncapi.json has it."""
    return f"urn:ledger:schema:{name_with_version(topic)}"


def event_source(ledger_id: UUID) -> str:
    """Return the `source` of the CloudEvents of a ledger."""
    return f"urn:ledger:{ledger_id}"


def event_id(ledger_id: UUID, position: int | str) -> str:
    """Return the `id` of the CloudEvent of a position."""
    return f"{ledger_id}:{position}"


def to_cloud_event(stored: Stored, ledger_id: UUID) -> dict[str, object]:
    """Return an event as a CloudEvent, always with the same members in the same order.

    Raises `ValueError` for an event that does not leave the ledger.
    """
    data = disclose(stored.topic, msgspec.json.decode(to_json(stored.topic, stored.state)))
    envelope = _build_envelope(stored, ledger_id).items()
    return {**{name: str(value) for name, value in envelope}, "data": data}


def encode_cloud_event(stored: Stored, ledger_id: UUID) -> bytes:
    """Return an event as a CloudEvent in JSON, always the same bytes. Raises `ValueError` as `to_cloud_event` does.

    This is on the way of every event that leaves. The short form of the log has only members that leave, so its JSON
    is `data`.
    """
    if stored.state[:1] != MARK:
        return _encode(to_cloud_event(stored, ledger_id))
    data = msgspec.Raw(to_json(stored.topic, stored.state))
    return _encode({**_build_envelope(stored, ledger_id), "data": data})


def _build_envelope(stored: Stored, ledger_id: UUID) -> dict[str, object]:
    """Return the attributes of a CloudEvent."""
    kind, schema = _name_type_and_schema(stored.topic)
    prefix, source = _name_ledger(ledger_id)
    attributes: dict[str, object] = {
        "specversion": "1.0",
        "id": f"{prefix}{stored.position}",
        "source": source,
        "type": kind,
        "subject": stored.stream_id,
        "time": rfc3339(stored.recorded_at),
        "datacontenttype": "application/json",
        "dataschema": schema,
        "position": str(stored.position),
        "streamversion": str(stored.version),
    }
    if stored.command_id is not None:
        attributes["correlationid"] = stored.command_id
    return attributes


@lru_cache(maxsize=1024)
def _name_type_and_schema(topic: str) -> tuple[str, str]:
    return event_type(topic), schema_uri(topic)


@lru_cache(maxsize=8)
def _name_ledger(ledger_id: UUID) -> tuple[str, str]:
    """Return what the ids of a ledger's CloudEvents begin with, and their source."""
    return event_id(ledger_id, ""), event_source(ledger_id)
