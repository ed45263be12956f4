"""The files of the guide to high availability fit together. `make ha` runs them."""

import re
from typing import Any

import pytest
import yaml

from ledger.settings import Settings
from ledger.store.hosts import split_hosts
from tests.support.ha import document
from tests.support.ha.lab import Lab


@pytest.fixture
def patroni() -> Any:
    return yaml.safe_load(document.block("patroni"))


@pytest.fixture
def service() -> Settings:
    given = {name.lower(): value for name, value in document.variables("service", {}).items()}
    return Settings(**given, jwt_secret="a-secret-of-the-tests-that-is-long-enough")


def test_an_old_leader_has_stepped_down_when_a_new_one_is_promoted(patroni: Any) -> None:
    timeouts = patroni["bootstrap"]["dcs"]
    assert timeouts["loop_wait"] + 2 * timeouts["retry_timeout"] <= timeouts["ttl"]
    assert timeouts["ttl"] >= 20, "later versions of Patroni refuse less"


def test_a_lost_replica_stops_commits_for_less_than_the_patience(patroni: Any, service: Settings) -> None:
    parameters = patroni["bootstrap"]["dcs"]["postgresql"]["parameters"]
    assert float(parameters["wal_sender_timeout"].removesuffix("s")) < service.ledger_database_patience_seconds


def test_all_files_have_the_same_addresses(patroni: Any, service: Settings, tmp_path: Any) -> None:
    lab = Lab(tmp_path)
    databases = [server.address for server in lab.databases]
    assert [f"{server.address}:2379" for server in lab.etcd] == patroni["etcd"]["hosts"]
    assert databases == [_host(url) for url in split_hosts(service.database_dsn())]
    assert databases == [_host(url) for url in service.replica_dsns()]
    assert {"198.51.100.1", "198.51.100.31", "198.51.100.32"} == set(_addresses(document.block("haproxy")))


def test_haproxy_waits_longer_than_the_service(service: Settings) -> None:
    timeouts = dict(re.findall(r"timeout (\S+) +(\d+)s", document.block("haproxy")))
    assert int(timeouts["server"]) > service.ledger_database_patience_seconds + 1
    assert int(timeouts["http-keep-alive"]) < service.ledger_keepalive_seconds
    assert int(timeouts["check"]) < service.ledger_drain_seconds


def _host(url: str) -> str:
    (address,) = _addresses(url)
    return address


def _addresses(text: str) -> list[str]:
    return re.findall(r"\d+\.\d+\.\d+\.\d+", text)
