"""The settings of brokers are checked before the service starts, and show no secret."""

from typing import Any

import pytest

from ledger.environment.settings_error import SettingsError
from ledger.settings import Settings

SECRET = "keep-this-to-yourself"


def load(**values: Any) -> Settings:
    try:
        return Settings(**values)
    except ValueError as error:
        raise SettingsError(str(error)) from None


@pytest.mark.parametrize(
    "url",
    [
        "nats://localhost",
        "nats://127.0.0.1:4222",
        "tls://nats.example:4222, tls://other.example",
        f"nats://user:{SECRET}@[::1]:4222",
        f"tls://{SECRET}@nats.example",
    ],
)
def test_urls_of_nats(url: str) -> None:
    settings = load(ledger_nats_url=url)
    assert [one.strip() for one in url.split(",")] == settings.nats_servers()
    assert settings.publishes
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "",
        ",",
        "localhost",
        "http://localhost",
        "nats://",
        "nats://a b",
        "nats://a/path",
        "nats://a, http://b",
        "nats://u:p@",
    ],
)
def test_other_urls_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(SettingsError, match="must be URLs that start with nats:// or tls://"):
        load(ledger_nats_url=url)


@pytest.mark.parametrize("stream", ["", "a b", "a.b", "a*", "ü"])
def test_names_of_streams(stream: str) -> None:
    with pytest.raises(SettingsError):
        load(ledger_nats_stream=stream)


@pytest.mark.parametrize("subject", ["", ".", "a.", "a..b", "a.*", "a.>", "$JS"])
def test_subjects(subject: str) -> None:
    with pytest.raises(SettingsError):
        load(ledger_nats_subject=subject)


@pytest.mark.parametrize("servers", ["", "kafka", "kafka:x", "kafka://host:9092", "a:1,b", "u@host:1"])
def test_other_servers_of_kafka_are_refused(servers: str) -> None:
    with pytest.raises(SettingsError, match="must be hosts with ports"):
        load(ledger_kafka_servers=servers)


def test_servers_of_kafka() -> None:
    settings = load(ledger_kafka_servers="a.example:9092, [::1]:9093", ledger_kafka_password=SECRET)
    assert settings.publishes
    assert SECRET not in repr(settings)


def test_nothing_is_published_by_default() -> None:
    assert not load().publishes
