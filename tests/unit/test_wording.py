"""Invalid bodies are refused in the service's own words, never in pydantic's."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.errors import Refusal, Refused
from web.body import Body
from web.http.json import parse
from web.http.wording import MAX_REFUSALS, MESSAGES, UNFORESEEN
from web.requests import Batch, ConditionalTransfer, Hold, JournalEntry, Login, NewUser, Reversal
from web.routes import ROUTES, UNVERSIONED

REQUEST_MODELS = {route.operation.request_model for route in (*UNVERSIONED, *ROUTES)}
MODELS = sorted(filter(None, REQUEST_MODELS), key=lambda model: model.__name__)
PYDANTIC = re.compile(
    "[Ii]nput|[Ff]ield|[Vv]alidation|Value error|Extra|[Ss]tring should|valid |Assertion|Dictionary|List"
)
OURS = re.compile("(the body |the member's name )?must |unknown member[ ;]")
WRONG: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, "", "x", "a@b", "\u0007", "none", "x" * 3000),
    *([], {}, [1], [[]], [{}] * 3, [{"x": 1}] * 3, {"x": 1}, {"": ""}, {"x" * 65: "y"}, {"[key]": 5}),
    *({str(number): "" for number in range(51)}, [None] * 1001),
)


def example(model: type[Body]) -> dict[str, Any]:
    """Return a valid body, from the document's example."""
    config: Any = model.model_config
    body: dict[str, Any] = config["json_schema_extra"]["examples"][0]
    return body


def wrong_bodies(model: type[Body]) -> Iterator[Any]:
    """Yield bodies with each kind of mistake in each place; a few of them are still valid."""
    body = example(model)
    yield from ([], None, 5, "text", {**body, "unknown": 1})
    for name in model.model_fields:
        yield {member: value for member, value in body.items() if member != name}
        yield from ({**body, name: value} for value in WRONG)
    for name, items in body.items():
        if isinstance(items, list):
            yield from ({**body, name: [*items[1:], wrong]} for wrong in wrong_items(items[0]))


def wrong_items(item: Any) -> Iterator[Any]:
    if isinstance(item, str):
        yield from ("", "x", 1)
        return
    yield from ({}, {**item, "unknown": 1})
    yield from ({**item, name: value} for name in item for value in WRONG)


def refusals(model: type[Body], body: Any) -> tuple[Refusal, ...]:
    try:
        parse(model, json.dumps(body).encode())
    except Refused as refused:
        return refused.refusals
    return ()


def types(model: type[Body], body: Any) -> set[str]:
    """Return the types of pydantic's own errors."""
    try:
        model.model_validate_json(json.dumps(body))
    except ValidationError as error:
        return {problem["type"] for problem in error.errors()}
    return set()


@pytest.mark.parametrize("model", MODELS)
def test_every_mistake_is_reported_in_our_words(model: type[Body]) -> None:
    said = {refusal.message for body in wrong_bodies(model) for refusal in refusals(model, body)}

    assert [] == [message for message in said if PYDANTIC.search(message)]
    assert [] == [message for message in said if not OURS.match(message)]
    assert UNFORESEEN not in said


def test_the_table_has_exactly_the_error_types_that_occur() -> None:
    found = {kind for model in MODELS for body in wrong_bodies(model) for kind in types(model, body)}

    assert {*MESSAGES, "extra_forbidden"} == found


@pytest.mark.parametrize(
    ("model", "members", "pointer", "message"),
    [
        (Login, {"username": 5}, "/username", "must be a string"),
        (Login, {"username": "x" * 1025}, "/username", "must have at most 1024 characters"),
        (NewUser, {"username": ""}, "/username", "must not be empty"),
        (NewUser, {"email": "x"}, "/email", "must be an e-mail address, such as alice@example.com"),
        (NewUser, {"password": "short"}, "/password", "must have at least 8 characters"),
        (NewUser, {"active": 1}, "/active", "must be true or false"),
        (ConditionalTransfer, {"amount_cents": "5"}, "/amount_cents", MESSAGES["int_type"]),
        (ConditionalTransfer, {"amount_cents": 0}, "/amount_cents", "must be at least 1"),
        (ConditionalTransfer, {"amount_cents": 2**53}, "/amount_cents", "must be at most 9007199254740991"),
        (ConditionalTransfer, {"source_account_id": 5}, "/source_account_id", "must be a UUID or a code, as text"),
        (ConditionalTransfer, {"metadata": []}, "/metadata", "must be an object"),
        (ConditionalTransfer, {"metadata": {"a/b~c": 5}}, "/metadata/a~1b~0c", "must be a string"),
        (ConditionalTransfer, {"metadata": {"": "x"}}, "/metadata/", "the member's name must not be empty"),
        (ConditionalTransfer, {"metadata": {"[key]": 5}}, "/metadata/[key]", "must be a string"),
        (ConditionalTransfer, {"conditions": {}}, "/conditions/source_available_min_cents", "must be given"),
        (JournalEntry, {"postings": {}}, "/postings", "must be an array"),
        (JournalEntry, {"postings": []}, "/postings", "must have at least 2 items"),
        (Batch, {"items": []}, "/items", "must not be empty"),
        (
            Hold,
            {"expires_at": "2026-05-01T12:00:00Z"},
            "/expires_in_seconds",
            "must not be given together with expires_at",
        ),
    ],
)
def test_a_refusal_names_the_member_and_says_what_it_must_be(
    model: type[Body], members: dict[str, Any], pointer: str, message: str
) -> None:
    (refusal,) = refusals(model, {**example(model), **members})

    assert ({"pointer": pointer}, message) == (refusal.detail, refusal.message)


def test_names_and_values_in_metadata_are_distinguished() -> None:
    (refusal,) = refusals(ConditionalTransfer, {**example(ConditionalTransfer), "metadata": {"x" * 65: "y"}})

    assert {"pointer": "/metadata/" + "x" * 65} == refusal.detail
    assert "the member's name must have at most 64 characters" == refusal.message


def test_a_body_that_is_not_an_object_is_refused_as_a_whole() -> None:
    (refusal,) = refusals(Login, ["alice"])

    assert ({"pointer": ""}, "the body must be an object") == (refusal.detail, refusal.message)


# Unknown members


def test_an_unknown_member_is_named_with_the_nearest_and_all_known_ones() -> None:
    (refusal,) = refusals(Login, {"usernam": "alice"})

    assert {"pointer": "/usernam"} == refusal.detail
    assert (
        "unknown member usernam; did you mean username? Known: username, password, password_hash, otp"
        == refusal.message
    )


def test_an_unknown_member_without_a_similar_one_is_named_with_all_known_ones() -> None:
    (refusal,) = refusals(Login, {"x": 1})

    assert "unknown member x; known: username, password, password_hash, otp" == refusal.message


@pytest.mark.parametrize(
    ("model", "member", "value", "pointer", "known"),
    [
        (
            ConditionalTransfer,
            "conditions",
            {"source_available_min_cents": 1, "x": 1},
            "/conditions/x",
            "source_available_min_cents",
        ),
        (JournalEntry, "postings", [{"x": 1}, {"x": 1}], "/postings/0/x", "account_id, amount_cents"),
    ],
)
def test_a_nested_unknown_member_is_named_with_the_ones_known_there(
    model: type[Body], member: str, value: Any, pointer: str, known: str
) -> None:
    found = refusals(model, {**example(model), member: value})

    assert f"unknown member x; known: {known}" in [one.message for one in found if one.detail == {"pointer": pointer}]


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "é", '"', "\u0000", "<b>"])
def test_an_unknown_member_with_an_unusual_name_is_not_repeated_in_the_message(name: str) -> None:
    (refusal,) = refusals(Login, {name: 1})

    assert "unknown member; known: username, password, password_hash, otp" == refusal.message


def test_only_some_of_many_unknown_members_are_reported() -> None:
    """Lesson 36."""
    found = refusals(Reversal, {f"x{number}": 1 for number in range(MAX_REFUSALS + 1)})

    assert MAX_REFUSALS == len(found)
