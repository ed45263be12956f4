"""Publishes to every broker that the settings name."""

from collections.abc import Iterator
from uuid import UUID

from ledger.publish.destination import Destination
from ledger.publish.tls import create_context
from ledger.settings import Settings


def open_destinations(settings: Settings, ledger_id: UUID) -> Iterator[Destination]:
    """Yield the destinations of the settings, not connected yet."""
    if settings.ledger_nats_url is not None:
        yield _create_jetstream(settings, ledger_id)
    if settings.ledger_kafka_servers is not None:
        yield _create_kafka(settings, settings.ledger_kafka_servers, ledger_id)


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


def _create_kafka(settings: Settings, servers: str, ledger_id: UUID) -> Destination:
    from aiokafka.admin import NewTopic  # noqa: PLC0415 - an extra

    from ledger.publish.kafka import Kafka  # noqa: PLC0415 - as above

    topic = NewTopic(settings.ledger_kafka_topic, settings.ledger_kafka_partitions, settings.ledger_kafka_replicas)
    return Kafka(lambda: _reach_kafka(settings, servers), ledger_id, topic)


def _reach_kafka(settings: Settings, servers: str) -> dict[str, object]:
    """Return the options of clients. Raises `DestinationError` if a certificate cannot be used."""
    options: dict[str, object] = {"bootstrap_servers": servers, "request_timeout_ms": 10_000}
    protocol, password = "PLAINTEXT", settings.ledger_kafka_password
    if settings.ledger_kafka_tls:
        protocol, options["ssl_context"] = "SSL", create_context("KAFKA", settings.ledger_kafka_ca_file)
    if password is not None:
        protocol = f"SASL_{protocol}"
        options["sasl_mechanism"] = "SCRAM-SHA-512"
        options["sasl_plain_username"] = settings.ledger_kafka_username
        options["sasl_plain_password"] = password.get_secret_value()
    return {**options, "security_protocol": protocol}
