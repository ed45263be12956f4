"""Publishes to every broker that the settings name."""

from collections.abc import Iterator
from uuid import UUID

from ledger.publish.destination import Destination
from ledger.settings import Settings


def open_destinations(settings: Settings, ledger_id: UUID) -> Iterator[Destination]:
    """Yield the destinations of the settings, not connected yet."""
    if settings.ledger_nats_url is not None:
        yield _create_jetstream(settings, ledger_id)


def _create_jetstream(settings: Settings, ledger_id: UUID) -> Destination:
    from ledger.publish.jetstream import JetStream  # noqa: PLC0415 - nats-py, for ledgers that use it
    from ledger.publish.nats_connection import Access  # noqa: PLC0415 - as above

    credentials = settings.ledger_nats_credentials
    access = Access(
        settings.nats_servers(),
        None if credentials is None else credentials.get_secret_value(),
        settings.ledger_nats_ca_file,
        settings.ledger_nats_certificate_file,
        settings.ledger_nats_key_file,
    )
    return JetStream(
        access,
        ledger_id,
        stream=settings.ledger_nats_stream,
        prefix=settings.ledger_nats_subject,
        replicas=settings.ledger_nats_replicas,
    )
