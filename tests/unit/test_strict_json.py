"""JSON is parsed as RFC 8259 and RFC 7493 require: lesson 43."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_valid_json_is_read_like_the_standard_library_does(value: object) -> None:
    raw = json.dumps(value).encode()

    assert value == strict_json.decode(raw)


@given(st.dictionaries(st.text(), VALUES, min_size=1), st.lists(st.sampled_from(["{}", '{"in": {}}', "[[{}]]"])))
def test_a_duplicate_member_is_found_at_any_depth(members: dict[str, object], around: list[str]) -> None:
    name = next(iter(members))
    text = json.dumps(members)[:-1] + f", {json.dumps(name)}: 1}}"
    for outer in around:
        text = outer.replace("{}", f'{{"x": {text}}}')

    with pytest.raises(MalformedJsonError, match="twice in one object"):
        strict_json.decode(text.encode())


def test_a_duplicate_member_is_found_quickly_among_many() -> None:
    """Lesson 36: comparing every name with all others would take minutes."""
    text = "{" + ",".join(f'"{number}":0' for number in range(100_000)) + ',"99999":0}'
    started = time.process_time()

    with pytest.raises(MalformedJsonError, match='the member "99999" twice'):
        strict_json.decode(text.encode())

    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"a": 1, "b" 2}', "is not JSON at line 1, column 14"),
        (b'{\n  "a": secret\n}', "is not JSON at line 2, column 8"),
        (b"", "is not JSON at line 1, column 1"),
        (b'{"a": "\xff"}', "is not UTF-8 at byte 8"),
        (b'{"a": 1, "a": 1}', 'has the member "a" twice in one object'),
        (b'{"' + b"a" * 99 + b'": 1, "' + b"a" * 99 + b'": 1}', f'has the member "{"a" * 64}" twice in one object'),
        (b"[NaN]", "has NaN, which is not a JSON number"),
        (b"[-Infinity]", "has -Infinity, which is not a JSON number"),
        (b"[1e999]", "has a number that is too large"),
        (b"[" + b"9" * 5000 + b"]", "has a number with too many digits"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_the_reason_names_the_place_and_repeats_no_value(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedJsonError) as raised:
        strict_json.decode(raw)

    assert reason == str(raised.value)
