"""The document suits client generators; `tests/system/test_generated_clients.py` runs some of them."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.money import CODE_PATTERN
from tests.support import conformity
from web import requests, response_fields
from web.openapi import document

TRANSFER = "/v1/transactions/transfer"


@pytest.fixture
def served() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(document())
    return described


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in the document."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(part)


def typed(served: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Yield every schema of this type, nullable or not."""
    return [part for part in parts(served) if part.get("type") in (kind, [kind, "null"])]


def test_the_title_of_a_component_is_its_name(served: dict[str, Any]) -> None:
    """openapi-python-client merges two models with one title. Lesson 44."""
    components = served["components"]["schemas"]

    assert {name: name for name in components} == {name: schema["title"] for name, schema in components.items()}


def test_no_member_has_a_default(served: dict[str, Any]) -> None:
    """openapi-typescript makes members with a default required. Lesson 44."""
    members = [member for schema in typed(served, "object") for member in schema.get("properties", {}).values()]

    assert len(members) > 100
    assert [] == [member for member in members if "default" in member]


def test_integers_beyond_32_bits_have_the_format_int64(served: dict[str, Any]) -> None:
    """Otherwise amounts are `int` in Java, and 21,474,836.48 overflows. Lesson 44."""
    large = [schema for schema in typed(served, "integer") if schema.get("maximum", 2**53) >= 2**31]

    assert len(large) > 20
    assert {"int64"} == {schema.get("format") for schema in large}


def test_every_header_and_parameter_has_a_type(served: dict[str, Any]) -> None:
    """Clients of oapi-codegen fail at run time on a header without a type."""
    headers = [header["schema"] for header in served["components"]["headers"].values()]
    parameters = [part["schema"] for part in parts(served["paths"]) if "in" in part and "schema" in part]

    assert len(parameters) > len(headers) > 5
    assert [] == [schema for schema in (*headers, *parameters) if "type" not in schema and "$ref" not in schema]


def test_every_choice_has_a_type(served: dict[str, Any]) -> None:
    choices = [part for part in parts(served["components"]["schemas"]) if isinstance(part.get("enum"), list)]
    names = [part["propertyNames"] for part in parts(served) if "enum" in part.get("propertyNames", {})]

    assert len(choices) > len(names) > 0
    assert [] == [choice for choice in choices if "type" not in choice and choice not in names]


def test_patterns_use_no_lookaround(served: dict[str, Any]) -> None:
    """Regular expressions in Go and Rust do not support it."""
    patterns = [part["pattern"] for part in parts(served) if isinstance(part.get("pattern"), str)]

    assert len(patterns) > 10
    assert [] == [pattern for pattern in patterns if re.search(r"\(\?[=!<]", pattern)]


def test_a_currency_is_one_component_that_any_asset_fits(served: dict[str, Any]) -> None:
    """An enumeration would make clients of a ledger with assets of its own fail."""
    patterns = [part for part in parts(served) if part.get("pattern") == CODE_PATTERN]

    assert [] == [part for part in parts(served) if "USD" in part.get("enum", ())]
    assert [served["components"]["schemas"]["Currency"]] == patterns


def test_ignored_members_are_not_in_request_models(served: dict[str, Any]) -> None:
    request = served["components"]["schemas"]["CreateTransferRequest"]
    names = set(request["propertyNames"]["enum"])

    assert {"created_at", "currency", "kind", "status"} <= names - set(request["properties"])
    assert set(requests.ConditionalTransfer.model_fields) == names


def test_a_transaction_is_a_union_with_the_members_of_each_kind(served: dict[str, Any]) -> None:
    components = served["components"]["schemas"]
    mapping = components["Transaction"]["discriminator"]["mapping"]
    required = {kind: set(components[ref.rpartition("/")[2]]["required"]) for kind, ref in mapping.items()}
    between = {"source_account_id", "destination_account_id", "amount_cents", "currency"}

    assert set(response_fields.KIND["enum"]) == set(mapping)
    assert {"id", "kind", "status", "reference", "created_at"} == set.intersection(*required.values())
    assert {"transfer", "opening", "adjustment", "hold"} == {kind for kind in required if between <= required[kind]}
    assert "postings" in required["journal"]
    assert "expires_at" in required["hold"]
    assert "reverses" in required["reversal"]


def test_a_response_has_more_members_than_its_request(served: dict[str, Any]) -> None:
    for methods in served["paths"].values():
        for operation in methods.values():
            assert operation["summary"] not in {found["description"] for found in operation["responses"].values()}


def test_the_example_of_a_transfer_shows_its_main_members(served: dict[str, Any]) -> None:
    example = response(served)["example"]

    assert {"source_account_id", "destination_account_id", "amount_cents", "currency"} <= set(example)


def test_a_body_without_its_kind_does_not_conform(served: dict[str, Any]) -> None:
    example, headers = response(served)["example"], {"Content-Type": "application/json"}
    conformity.check("POST", TRANSFER, 200, headers, example)
    del example["kind"]

    with pytest.raises(AssertionError):
        conformity.check("POST", TRANSFER, 200, headers, example)


def response(served: dict[str, Any]) -> dict[str, Any]:
    """Return the documented response to a transfer."""
    content = served["paths"][TRANSFER]["post"]["responses"]["200"]["content"]
    return dict(content["application/json"])
