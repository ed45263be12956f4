"""The AsyncAPI document describes every event that leaves the ledger; `tests/system/test_asyncapi.py` parses it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from ledger.events import TOPICS
from ledger.events.accounts import AccountDebited
from ledger.events.cloud import event_type, schema_uri
from ledger.events.disclosure import DISCLOSED_TOPICS, SHAPES, TEXTS, Texts
from ledger.events.notices import NOTICES, encode_start, encode_test
from ledger.events.transactions import MoneyTransferred
from ledger.values.ids import new_id
from ledger.values.timestamps import parse_time
from web.asyncapi import describe_events, events_document

DOCUMENT: dict[str, Any] = json.loads(events_document())
SCHEMAS = DOCUMENT["components"]["schemas"]
MESSAGES = DOCUMENT["components"]["messages"]


def check(topic: str, payload: object) -> None:
    """Raise `ValidationError` unless a CloudEvent fits the schema of the messages of its topic."""
    schema = {**MESSAGES[topic]["payload"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(payload)


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in the document."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(part)


def test_every_event_that_leaves_is_a_message_and_so_are_notices() -> None:
    assert set(MESSAGES) == DISCLOSED_TOPICS | {"WebhookTested", "PublishingStarted"}
    assert {event_type(topic) for topic in DISCLOSED_TOPICS} == {MESSAGES[topic]["name"] for topic in DISCLOSED_TOPICS}
    assert all(message["summary"].endswith(".") for message in MESSAGES.values())


def test_every_channel_has_every_event_and_the_subjects_have_each_once() -> None:
    channels = {name: set(channel["messages"]) for name, channel in DOCUMENT["channels"].items()}
    assert channels["feed"] == channels["kafkaTopic"] == DISCLOSED_TOPICS
    assert channels["webhooks"] == DISCLOSED_TOPICS | {"WebhookTested"}
    assert channels["replays"] == {"PublishingStarted"}
    assert channels["accountSubjects"] | channels["otherSubjects"] == DISCLOSED_TOPICS
    assert not channels["accountSubjects"] & channels["otherSubjects"]
    assert TOPICS[AccountDebited] in channels["accountSubjects"]
    assert TOPICS[MoneyTransferred] in channels["otherSubjects"]


def test_every_reference_leads_somewhere() -> None:
    for part in parts(DOCUMENT):
        if "$ref" in part:
            found: Any = DOCUMENT
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]


def test_every_enum_has_a_title_by_which_generators_name_it() -> None:
    """Parameters of channels have none: AsyncAPI gives them no title, and generators make no types of them."""
    enums = [part for part in parts({**DOCUMENT, "channels": {}}) if "enum" in part]
    assert enums
    titles: dict[str, list[str]] = {part["title"]: part["enum"] for part in enums}
    assert "MoneyTransferredKind" in titles
    assert len(titles) == len(enums)
    assert titles.keys().isdisjoint(SCHEMAS)
    for channel in DOCUMENT["channels"].values():
        assert all("enum" not in part for part in parts({**channel, "parameters": {}}))


@pytest.mark.parametrize("topic", sorted(DISCLOSED_TOPICS))
def test_the_sample_of_a_message_fits_its_schema(topic: str) -> None:
    (sample,) = MESSAGES[topic]["examples"]
    check(topic, sample["payload"])
    assert schema_uri(topic) == SCHEMAS[f"{topic}CloudEvent"]["properties"]["dataschema"]["const"]


@pytest.mark.parametrize(
    ("member", "wrong"),
    [("type", "ledger.AccountClosed.v1"), ("position", 42), ("time", "noon"), ("data", {}), ("specversion", "0.3")],
)
def test_another_event_does_not_fit(member: str, wrong: object) -> None:
    sample = MESSAGES["MoneyTransferred"]["examples"][0]["payload"]
    with pytest.raises(ValidationError):
        check("MoneyTransferred", {**sample, member: wrong})
    with pytest.raises(ValidationError):
        check("MoneyTransferred", {name: value for name, value in sample.items() if name != member})


@pytest.mark.parametrize("name", sorted(NOTICES))
def test_a_notice_fits_its_schema_and_another_one_does_not(name: str) -> None:
    sample = MESSAGES[name]["examples"][0]["payload"]
    check(name, sample)
    for member in sample:
        with pytest.raises(ValidationError):
            check(name, {**sample, member: 42})
        with pytest.raises(ValidationError):
            check(name, {other: value for other, value in sample.items() if other != member})


def test_notices_are_encoded_as_the_document_says() -> None:
    check("WebhookTested", json.loads(encode_test(new_id(), new_id(), new_id(), parse_time("2026-05-01T12:00:00Z"))))
    check("PublishingStarted", json.loads(encode_start(new_id(), "1:2:3", 41)))


def test_later_versions_may_add_members_and_extensions() -> None:
    sample = MESSAGES["MoneyTransferred"]["examples"][0]["payload"]
    check("MoneyTransferred", {**sample, "partitionkey": "1", "data": {**sample["data"], "added": True}})


def test_a_schema_has_no_member_that_stays_in_the_ledger() -> None:
    for topic in DISCLOSED_TOPICS:
        withheld = TEXTS.get(SHAPES[topic], Texts()).withheld
        assert not {*withheld} & set(SCHEMAS[topic]["properties"])


def test_headers_of_webhooks_and_of_nats_are_described() -> None:
    traits = DOCUMENT["components"]["messageTraits"]
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} == set(traits["signed"]["headers"]["properties"])
    assert {"Nats-Msg-Id"} == set(traits["identified"]["headers"]["properties"])
    webhooks, subjects = (DOCUMENT["channels"][name]["messages"] for name in ("webhooks", "otherSubjects"))
    assert {"#/components/messageTraits/signed"} == {one["traits"][0]["$ref"] for one in webhooks.values()}
    assert {"#/components/messageTraits/identified"} == {one["traits"][0]["$ref"] for one in subjects.values()}


def test_the_same_table_makes_the_same_document() -> None:
    assert describe_events(["AccountOpened"]) == describe_events(["AccountOpened"])
