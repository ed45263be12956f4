"""Read access to a ledger's database through the `eventsourcing` library (9.5): its repository and notification log.

    app = LedgerApplication(environment(Settings.load()))
    account = app.repository.get(account_id, version=3)
    account.state.balance_cents

Stored events are decoded with the ledger's own closed table of topics; no stored name is ever imported. Events that the
library appends are safe and in order, but they update neither heads nor read tables: change a ledger through commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent
from psycopg.conninfo import conninfo_to_dict

from ledger.events import TOPICS, Event, State, decode_event, encode_event, evolve
from ledger.settings import Settings


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as the library's repository returns it: its state at a version."""

    id: UUID
    version: int
    state: State


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """An event of a stream in the form the library expects; `event` is the ledger's own."""

    originator_id: UUID
    originator_version: int
    event: Event

    def mutate(self, aggregate: Stream | None) -> Stream:
        """Return the stream after this event."""
        state = evolve(aggregate.state if aggregate else None, self.event)
        return Stream(self.originator_id, self.originator_version, state)


class LedgerMapper(Mapper[UUID]):
    """Converts between the library's stored events and the ledger's. Topics are plain names, states as stored."""

    def to_domain_event(self, stored_event: StoredEvent) -> LedgerEvent:
        """Decode a stored event. Raises an error for an unknown topic or a state of the wrong shape."""
        stream_id = UUID(str(stored_event.originator_id))
        event = decode_event(stored_event.topic, stored_event.state)
        return LedgerEvent(stream_id, stored_event.originator_version, event)

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Encode an event as a row. Raises `TypeError` for anything but a `LedgerEvent`."""
        if not isinstance(domain_event, LedgerEvent):
            raise TypeError(f"not an event of the ledger: {type(domain_event).__name__}")
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=TOPICS[type(domain_event.event)],
            state=encode_event(domain_event.event),
        )


class LedgerApplication(Application[UUID]):
    """The library's application on a ledger; construct it with `environment(settings)`."""

    name = "stored"  # the library's table is the name and `_events`
    env: ClassVar[dict[str, str]] = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "MAPPER_TOPIC": "ledger.store.library:LedgerMapper",
    }


def environment(settings: Settings) -> Mapping[str, str]:
    """Return the variables that connect the library to the ledger's database and keep it from creating tables."""
    parameters: dict[str, Any] = conninfo_to_dict(settings.database_dsn())
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(parameters.get("dbname", "")),
        "POSTGRES_HOST": str(parameters.get("host", "")),
        "POSTGRES_PORT": str(parameters.get("port", 5432)),
        "POSTGRES_USER": str(parameters.get("user", "")),
        "POSTGRES_PASSWORD": str(parameters.get("password", "")),
        "POSTGRES_SCHEMA": settings.ledger_schema,
        "CREATE_TABLE": "n",
    }
