"""Plain transfers: parsed as the full model would parse them, or not at all."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Refused
from ledger.money import MAX_CENTS
from web.http.json import parse
from web.plain_transfer import parse_plain_transfer
from web.requests import ConditionalTransfer

FROM, TO = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-b1c2-7d3e-8f40-5a6b7c8d9e0f"
PLAIN = {"source_account_id": FROM, "destination_account_id": TO, "amount_cents": 1}
MEMBERS = ("source_account_id", "destination_account_id", "amount_cents")

_ids = st.uuids().map(str)
_anything = st.one_of(
    *(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.integers(-1, MAX_CENTS + 1), _ids),
    *(_ids.map(str.upper), _ids.map(lambda text: text.replace("-", "")), _ids.map("urn:uuid:{}".format)),
)
_members = st.tuples(st.sampled_from((*MEMBERS, "id", "reference", "sourceAccountId")), _anything)


def _join(members: list[tuple[str, Any]], colon: str) -> bytes:
    return f"{{{', '.join(f'{json.dumps(name)}{colon}{json.dumps(value)}' for name, value in members)}}}".encode()


@given(amount=st.integers(1, MAX_CENTS), order=st.permutations(MEMBERS), colon=st.sampled_from([":", ": ", " :\n"]))
def test_a_plain_transfer_is_parsed_as_by_the_full_model(amount: int, order: list[str], colon: str) -> None:
    """Whatever the order of members and the blanks: the same members, and the same canonical form."""
    members = {**PLAIN, "amount_cents": amount}
    raw = _join([(name, members[name]) for name in order], colon)
    plain, full = parse_plain_transfer(raw), parse(ConditionalTransfer, raw)
    assert plain is not None
    attributes = set(dir(type(plain))) & set(ConditionalTransfer.model_fields)
    assert attributes >= {*MEMBERS, "id", "reference", "description", "metadata", "effective_at", "execute_at"}
    assert all(getattr(plain, name) == getattr(full, name) for name in attributes)
    assert plain.canonical() == full.canonical()


@given(
    chosen=st.none() | st.uuids(version=4).map(str),
    text=st.none()
    | st.text(min_size=1, max_size=12)
    | st.sampled_from(["INV 7", "e\u0301", 'a"b', "x" * 200, "x" * 201]),
    order=st.permutations((*MEMBERS, "id", "reference")),
)
def test_an_id_and_a_reference_are_plain(chosen: str | None, text: str | None, order: list[str]) -> None:
    """What the full model accepts is the same; what it refuses is not plain."""
    members = {name: value for name, value in {**PLAIN, "id": chosen, "reference": text}.items() if value is not None}
    raw = _join([(name, members[name]) for name in order if name in members], ":")
    plain = parse_plain_transfer(raw)
    if text is None or (text.isalnum() and text.isascii() and len(text) <= 200):
        assert plain is not None
    if plain is not None:
        full = parse(ConditionalTransfer, raw)
        assert (plain.id, plain.reference, plain.canonical()) == (full.id, full.reference, full.canonical())


@given(members=st.lists(_members, max_size=5))
def test_only_what_the_full_model_accepts_is_parsed(members: list[tuple[str, Any]]) -> None:
    """A body that the full model refuses is not a plain transfer."""
    raw = _join(members, ":")
    plain = parse_plain_transfer(raw)
    if plain is not None:
        assert plain.canonical() == parse(ConditionalTransfer, raw).canonical()


@pytest.mark.parametrize(
    "raw",
    [
        _join([*PLAIN.items(), ("amount_cents", 2)], ":"),
        _join([*PLAIN.items(), ("id", FROM), ("id", TO)], ":"),
        _join([*PLAIN.items(), ("reference", "a"), ("reference", "a")], ":"),
        _join([*PLAIN.items(), ("id", f"{FROM[:14]}8{FROM[15:]}")], ":"),
        _join([*PLAIN.items(), ("reference", "")], ":"),
        _join([*PLAIN.items(), ("reference", " a")], ":"),
        _join([*PLAIN.items()], ":").replace(b"1}", b"1.0}"),
        _join([*PLAIN.items()], ":").replace(b"1}", b"1e0}"),
        _join([*PLAIN.items()], ":").replace(b"1}", b"01}"),
        _join([*PLAIN.items()], ":") + b"x",
        b"\xef\xbb\xbf" + _join([*PLAIN.items()], ":"),
        _join([*PLAIN.items()], ":").replace(b"0189", b"\xff189", 1),
    ],
)
def test_a_body_that_is_refused_is_no_plain_transfer(raw: bytes) -> None:
    """Neither duplicate members nor other spellings of numbers get past the full model."""
    assert parse_plain_transfer(raw) is None
    with pytest.raises(Refused):
        parse(ConditionalTransfer, raw)


def test_an_escaped_name_is_the_same_member() -> None:
    """JSON has several spellings of a name (RFC 8259, section 7)."""
    plain = parse_plain_transfer(_join([*PLAIN.items()], ":").replace(b"amount", b"\\u0061mount"))
    assert plain is not None
    assert plain.source_account_id == UUID(FROM)
