"""A ledger's database through the `eventsourcing` library (9.5): its repository and notification log, to read with.

    app = LedgerApplication(environment(Settings.load()))
    account = app.repository.get(account_id, version=3)
    account.state.balance_cents

What is stored is decoded by the ledger's own closed table; no stored name is ever imported. Events that the library
appends are in order and safe, but heads and read tables do not follow them: change a ledger through its commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent
from psycopg.conninfo import conninfo_to_dict

from ledger.events import TOPICS, Event, State, decode_event, encode, evolve
from ledger.settings import Settings


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as the library's repository gives it: the state that its events add up to, as of a version."""

    id: UUID
    version: int
    state: State


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """An event of a stream as the library wants it; `event` is the ledger's own."""

    originator_id: UUID
    originator_version: int
    event: Event

    def mutate(self, aggregate: Stream | None) -> Stream:
        """The stream after this event."""
        state = evolve(aggregate.state if aggregate else None, self.event)
        return Stream(self.originator_id, self.originator_version, state)


class LedgerMapper(Mapper[UUID]):
    """Between the library's stored events and the ledger's: topics are plain names, states plain JSON."""

    def to_domain_event(self, stored_event: StoredEvent) -> LedgerEvent:
        """The event. An unknown topic or a wrong shape is an error."""
        stream_id = UUID(str(stored_event.originator_id))
        event = decode_event(stored_event.topic, stored_event.state)
        return LedgerEvent(stream_id, stored_event.originator_version, event)

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """The row. Only a `LedgerEvent` can become one."""
        if not isinstance(domain_event, LedgerEvent):
            raise TypeError(f"not an event of the ledger: {type(domain_event).__name__}")
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=TOPICS[type(domain_event.event)],
            state=encode(domain_event.event),
        )


class LedgerApplication(Application[UUID]):
    """The library's application on a ledger. Give it `environment(settings)`."""

    name = "stored"  # the library's table is the name and `_events`
    env: ClassVar[dict[str, str]] = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "MAPPER_TOPIC": "ledger.store.library:LedgerMapper",
    }


def environment(settings: Settings) -> Mapping[str, str]:
    """What the library needs to find the ledger's database; it creates nothing there."""
    found: dict[str, Any] = conninfo_to_dict(settings.database_dsn())
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(found.get("dbname", "")),
        "POSTGRES_HOST": str(found.get("host", "")),
        "POSTGRES_PORT": str(found.get("port", 5432)),
        "POSTGRES_USER": str(found.get("user", "")),
        "POSTGRES_PASSWORD": str(found.get("password", "")),
        "POSTGRES_SCHEMA": settings.ledger_schema,
        "CREATE_TABLE": "n",
    }
