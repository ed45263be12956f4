"""Every event has a JSON Schema (2020-12), which samples and all events ever stored fit, and a sample of its own."""

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

from ledger.events import decode_event
from ledger.events.cloud import schema_uri
from ledger.events.disclosure import DISCLOSED_TOPICS, SHAPES, disclose, fields_of
from ledger.events.members import MEMBERS, UNUSUAL
from ledger.events.schemas import (
    data_schema,
    describe_member,
    meaning_of,
    name_of,
    sample_cloud_event,
    sample_state,
    state_schema,
)
from ledger.money import MAX_CENTS
from tests.support.stored_events import SAMPLES, Sample, list_shapes

TOPICS = sorted(SHAPES)
LEAVING = sorted(DISCLOSED_TOPICS)


ALL = {part for topic in TOPICS for part in list_shapes(SHAPES[topic])}


def check(schema: dict[str, Any], value: object) -> None:
    """Raise `ValidationError` unless a value fits a schema, with the formats of ids and times."""
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def test_every_member_of_every_event_is_described() -> None:
    members = {(part, field.encode_name) for part in ALL for field in fields_of(part)}

    assert all(describe_member(part, name).text for part, name in members)
    assert len(members) > 150


def test_nothing_is_described_that_no_event_has() -> None:
    names = {field.encode_name for part in ALL for field in fields_of(part)}
    qualified = {f"{name_of(part)}.{field.encode_name}" for part in ALL for field in fields_of(part)}

    assert set() == {*MEMBERS, *UNUSUAL} - names - qualified


def test_every_event_says_what_it_means() -> None:
    assert [] == [part.__name__ for part in ALL if not meaning_of(part).endswith(".")]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.topic)
def test_every_event_ever_stored_fits_its_schemas(sample: Sample) -> None:
    state = msgspec.json.decode(sample.state)
    check(state_schema(sample.topic), state)
    if sample.topic in DISCLOSED_TOPICS:
        check(data_schema(sample.topic), disclose(sample.topic, state))


@pytest.mark.parametrize("topic", TOPICS)
def test_a_sample_is_an_event_and_fits_its_schema(topic: str) -> None:
    sample = sample_state(topic)
    check(state_schema(topic), sample)
    assert isinstance(decode_event(topic, msgspec.json.encode(sample)), SHAPES[topic])


@pytest.mark.parametrize("topic", LEAVING)
def test_a_sample_of_a_cloud_event_fits_the_schema_that_it_names(topic: str) -> None:
    sample = sample_cloud_event(topic)
    schema = data_schema(topic)
    assert sample["dataschema"] == schema["$id"] == schema_uri(topic)
    check(schema, sample["data"])


@pytest.mark.parametrize("topic", LEAVING)
def test_data_is_checked_but_may_get_more_members_in_later_versions(topic: str) -> None:
    data = sample_cloud_event(topic)["data"]
    assert isinstance(data, dict)
    check(data_schema(topic), {**data, "added_later": 1})
    for name in data_schema(topic)["required"]:
        with pytest.raises(ValidationError):
            check(data_schema(topic), {other: value for other, value in data.items() if other != name})


def test_the_log_has_no_other_members() -> None:
    with pytest.raises(ValidationError, match="unexpected"):
        check(state_schema("AccountClosed"), {"anything": 1})


@pytest.mark.parametrize("wrong", [25.5, "2500", None, MAX_CENTS + 1])
def test_an_amount_is_an_integer_that_every_reader_keeps_exactly(wrong: object) -> None:
    with pytest.raises(ValidationError):
        check(state_schema("AccountDebited"), {**sample_state("AccountDebited"), "amount_cents": wrong})


@pytest.mark.parametrize(("member", "wrong"), [("execute_at", "2026-06-01 08:00"), ("actor_id", "alice")])
def test_times_are_rfc_3339_and_ids_are_uuids(member: str, wrong: str) -> None:
    with pytest.raises(ValidationError):
        check(data_schema("TransactionScheduled"), {**sample_state("TransactionScheduled"), member: wrong})


def test_schemas_of_data_have_no_member_that_stays_in_the_ledger() -> None:
    created = data_schema("UserCreated")
    assert {"active", "roles"} == set(created["properties"])
    scheduled = data_schema("TransactionScheduled")
    assert "description" not in scheduled["$defs"]["MoneyTransferred"]["properties"]
    assert "description" in state_schema("TransactionScheduled")["$defs"]["MoneyTransferred"]["properties"]
