"""The settings of the brokers to which events are published. They are settings like all others."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator


class BrokerSettings(BaseModel):
    """How to reach NATS and Kafka, and where events go there."""

    ledger_nats_url: SecretStr | None = None
    ledger_nats_credentials: SecretStr | None = None
    ledger_nats_ca_file: Path | None = None
    ledger_nats_certificate_file: Path | None = None
    ledger_nats_key_file: Path | None = None
    ledger_nats_stream: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,255}$")] = "ledger"
    ledger_nats_subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}$")] = "ledger"
    ledger_nats_replicas: Annotated[int, Field(ge=1, le=5)] = 1
    ledger_kafka_servers: str | None = None
    ledger_kafka_topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")] = "ledger"
    ledger_kafka_partitions: Annotated[int, Field(ge=1, le=10_000)] = 6
    ledger_kafka_replicas: Annotated[int, Field(ge=1, le=10)] = 1
    ledger_kafka_username: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    ledger_kafka_password: SecretStr | None = None
    ledger_kafka_tls: bool = False
    ledger_kafka_ca_file: Path | None = None

    @field_validator("ledger_nats_url")
    @classmethod
    def _check_nats_servers(cls, value: SecretStr | None) -> SecretStr | None:
        servers = [] if value is None else _split_servers(value.get_secret_value())
        if value is not None and not (servers and all(_SERVER.fullmatch(server) for server in servers)):
            raise ValueError("must be URLs that start with nats:// or tls:// and name a host, separated by commas")
        return value

    @field_validator("ledger_kafka_servers")
    @classmethod
    def _check_kafka_servers(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not is_installed("aiokafka"):
            raise ValueError("needs the extra kafka: pip install 'ledger-service[kafka]'")
        servers = _split_servers(value)
        if not (servers and all(map(_ADDRESS.fullmatch, servers))):
            raise ValueError("must be hosts with ports, such as kafka.example:9092, separated by commas")
        return value

    @property
    def publishes(self) -> bool:
        """Whether events are published to a broker."""
        return self.ledger_nats_url is not None or self.ledger_kafka_servers is not None

    def nats_servers(self) -> list[str]:
        """Return the URLs of the NATS servers, including their passwords."""
        return _split_servers(self.ledger_nats_url.get_secret_value()) if self.ledger_nats_url else []


def is_installed(module: str) -> bool:
    """Return whether a module, and the package that has it, can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing as well
        return False


def _split_servers(text: str) -> list[str]:
    return [server.strip() for server in text.split(",") if server.strip()]


_SERVER = re.compile(r"(?:nats|tls)://(?:[^/?#\s]*@)?(?:\[[0-9A-Fa-f:.]+\]|[^/?#@:\s\[\]]+)(?::[0-9]{1,5})?/?")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/@,\[\]]+):[0-9]{1,5}")
