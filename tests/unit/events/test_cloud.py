"""Events leave the ledger as CloudEvents 1.0, which the CloudEvents SDK reads."""

import re
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat

from ledger.events import TOPICS, Event, compact, decode_event, encode_event
from ledger.events.accounts import AccountCredited, AccountDebited
from ledger.events.cloud import MEDIA_TYPE, encode_cloud_event, event_type, name_with_version, to_cloud_event
from ledger.events.disclosure import DISCLOSED_TOPICS, SHAPES
from ledger.events.schemas import sample_state
from ledger.events.transactions import MoneyTransferred
from ledger.values.ids import new_id
from tests.support.stored_events import SAMPLES, Sample

LEDGER, STREAM, COMMAND = (UUID(int=number) for number in (1, 2, 3))
TIME = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Stored(NamedTuple):
    """An event of the log."""

    topic: str
    state: bytes
    position: int = 42
    stream_id: UUID = STREAM
    version: int = 7
    recorded_at: datetime = TIME
    command_id: UUID | None = COMMAND


@pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if sample.topic in DISCLOSED_TOPICS], ids=lambda sample: sample.topic
)
def test_the_sdk_reads_every_event_that_leaves(sample: Sample) -> None:
    body = encode_cloud_event(Stored(sample.topic, bytes(sample.state)), LEDGER)

    read = from_structured(HTTPMessage({"content-type": MEDIA_TYPE}, body), JSONFormat())

    assert "1.0" == read.get_specversion()
    assert f"{LEDGER}:42" == read.get_id()
    assert f"urn:ledger:{LEDGER}" == read.get_source()
    assert f"ledger.{sample.topic}.v1" == read.get_type()
    assert str(STREAM) == read.get_subject()
    assert read.get_time() == TIME
    assert "application/json" == read.get_datacontenttype()
    assert f"urn:ledger:schema:{sample.topic}.v1" == read.get_dataschema()
    assert ("42", "7", str(COMMAND)) == tuple(map(read.get_extension, ("position", "streamversion", "correlationid")))
    assert isinstance(read.get_data(), dict)


def test_a_cloud_event_has_these_bytes() -> None:
    """Consumers may compare the content of an id, so neither the members nor their order ever change."""
    stored = Stored("AccountOpened", b'{"owner_id":null,"currency":"EUR"}')
    assert encode_cloud_event(stored, LEDGER) == (
        b'{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000001:42",'
        b'"source":"urn:ledger:00000000-0000-0000-0000-000000000001","type":"ledger.AccountOpened.v1",'
        b'"subject":"00000000-0000-0000-0000-000000000002","time":"2026-05-01T12:00:00.000000Z",'
        b'"datacontenttype":"application/json","dataschema":"urn:ledger:schema:AccountOpened.v1",'
        b'"position":"42","streamversion":"7","correlationid":"00000000-0000-0000-0000-000000000003",'
        b'"data":{"owner_id":null,"currency":"EUR"}}'
    )


@pytest.mark.parametrize(
    "event",
    [
        AccountDebited(new_id(), 2500, -2500),
        AccountCredited(new_id(), 2500, 2500),
        MoneyTransferred(
            source_account_id=new_id(),
            destination_account_id=new_id(),
            amount_cents=2500,
            currency="EUR",
            kind="transfer",
            reference=None,
        ),
    ],
    ids=lambda event: event.TOPIC,
)
def test_the_short_form_of_the_log_leaves_as_the_same_bytes(event: Event) -> None:
    short, json = (Stored(event.TOPIC, state) for state in (encode_event(event), msgspec.json.encode(event)))
    assert compact.MARK == short.state[:1] != json.state[:1]
    assert encode_cloud_event(short, LEDGER) == encode_cloud_event(json, LEDGER)
    assert msgspec.json.encode(to_cloud_event(short, LEDGER)) == encode_cloud_event(short, LEDGER)


def test_every_event_with_a_short_form_leaves_with_all_that_it_has() -> None:
    """`encode_cloud_event` does not look for members to withhold in it."""
    assert {AccountDebited, AccountCredited, MoneyTransferred} == set(compact.ENCODERS)
    assert {TOPICS[cls] for cls in compact.ENCODERS} <= DISCLOSED_TOPICS
    details = {"description": "rent of Alice", "metadata": {"tenant": "Alice"}}
    for name, value in details.items():
        event = decode_event("MoneyTransferred", msgspec.json.encode({**sample_state("MoneyTransferred"), name: value}))
        assert compact.MARK != encode_event(event)[:1]


def test_an_event_without_a_command_has_no_correlation() -> None:
    assert "correlationid" not in to_cloud_event(Stored("UserDeleted", b"{}", command_id=None), LEDGER)


def test_a_time_is_in_utc_with_microseconds() -> None:
    event = to_cloud_event(Stored("UserDeleted", b"{}"), LEDGER)
    assert "2026-05-01T12:00:00.000000Z" == event["time"]


def test_names_of_attributes_are_those_that_cloudevents_allows() -> None:
    assert [] == [
        name
        for name in to_cloud_event(Stored("UserDeleted", b"{}"), LEDGER)
        if not re.fullmatch("[a-z0-9]{1,20}", name)
    ]


def test_an_event_that_does_not_leave_is_refused() -> None:
    with pytest.raises(ValueError, match="do not leave the ledger: NameClaimed"):
        encode_cloud_event(Stored("NameClaimed", b"{}"), LEDGER)


def test_the_version_of_an_event_is_the_number_of_its_topic() -> None:
    assert "ledger.MoneyTransferred.v1" == event_type("MoneyTransferred")
    assert "ledger.MoneyTransferred.v2" == event_type("MoneyTransferred2")
    with pytest.raises(ValueError, match="a topic is a word"):
        event_type("Money.Transferred")
    assert len(SHAPES) == len({name_with_version(topic) for topic in SHAPES})
