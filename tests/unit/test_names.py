"""Which names are valid (RFC 8265), in which scripts, and which look the same (UTS 39). Lesson 64."""

import string
import unicodedata
from collections.abc import Callable
from uuid import UUID

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.users import email_streams, username_stream, username_streams
from ledger.values.derived import derived_id
from ledger.values.lookalikes import REPRESENTATIVES
from ledger.values.names import MIXED_SCRIPTS, NOT_OF_RFC_8265, check_email, check_username, compute_skeleton, fold
from ledger.values.text import NOT_IDENTIFYING

NAMES = [
    *("alice", "Alice Smith", "O'Brien", "a.b+c@d.e", "user-1", "bob0", "zo\u00eb", "Stra\u00dfe", "\u0131lg\u0131n"),
    *("\u0410\u043b\u0435\u043a\u0441", "\u0391\u03bb\u03ad\u03be\u03b7\u03c2", "\u5c71\u7530\u592a\u90ce"),
    *("\u5c71\u7530\u305f\u308d\u3046ABC", "\u30ab\u30bf\u30fc", "\uae40\ucca0\uc218kim", "\u5f20\u4f1f3"),
    *("\u0639\u0644\u064a5", "\u05d3\u05df", "\u0e2a\u0e21\u0e0a\u0e32\u0e22", "\u0928\u092e\u0938\u094d\u0924\u0947"),
]
NO_NAMES = {
    "b\U0001f600b": NOT_OF_RFC_8265,
    "a  b": NOT_OF_RFC_8265,
    "a\u00a0b": NOT_OF_RFC_8265,
    "\u2460": NOT_OF_RFC_8265,
    "\ufb01n": NOT_OF_RFC_8265,
    "user\u0661": NOT_OF_RFC_8265,  # left-to-right letters beside Arabic digits (RFC 5893)
    "al\u200dice": NOT_IDENTIFYING,
    "alice\u202e": NOT_IDENTIFYING,
    "\u0430lice": MIXED_SCRIPTS,
    "\u03b1lice": MIXED_SCRIPTS,
    "\u0430\u03b1": MIXED_SCRIPTS,
    "\u0e2a\u0e21Jr": MIXED_SCRIPTS,
    "\u3105\u3042": MIXED_SCRIPTS,
    "\U00010400b": MIXED_SCRIPTS,
}
# Each with the name in Latin letters that it looks like.
LOOKALIKES = {
    "\u0430\u0440\u0435": "ape",
    "\u0455\u0441\u043e\u0440\u0435": "scope",
    "\u0440\u0430\u0443\u0440\u0430\u04cf": "paypal",
    "\u03bf\u03c5": "ou",
    "\u0251lice": "alice",
    "\u13aa\u13df\u13ac": "ace",
    "\u0585\u0585": "oo",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_uses_one_script_or_a_common_mixture(name: str) -> None:
    assert name == check_username(name)


@pytest.mark.parametrize(("name", "why"), NO_NAMES.items())
def test_an_invalid_name_is_refused_with_the_rule(name: str, why: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared
        check_username(name)
    assert why == str(refused.value)


@pytest.mark.parametrize(("name", "stored"), [("\uff41lice", "alice"), ("zoe\u0308", "zo\u00eb"), ("ALICE", "ALICE")])
def test_a_name_is_stored_composed_and_in_normal_width(name: str, stored: str) -> None:
    assert stored == check_username(name)


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("Alice+x@example.com", "Alice+x@example.com"),
        ("zoe\u0308@example.com", "zo\u00eb@example.com"),
        ("\u0430\u043b\u0438\u0441\u0430@\u043f\u0440\u0438\u043c\u0435\u0440.com", None),
        ("alice@\u4f8b\u3048.jp", None),
    ],
)
def test_each_part_of_an_address_can_have_its_own_script(address: str, stored: str | None) -> None:
    assert (stored or address) == check_email(address)


@pytest.mark.parametrize("address", ["\u0430lice@example.com", "alice@\u0435xample.com", "a\u200b@example.com"])
def test_a_deceptive_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="must not"):
        check_email(address)


@pytest.mark.parametrize(("name", "latin"), LOOKALIKES.items())
def test_lookalike_names_share_a_stream(name: str, latin: str) -> None:
    assert name == check_username(name)
    assert (username_stream(name), username_stream(latin)) == username_streams(name)
    assert (username_stream(latin),) == username_streams(latin)
    assert 2 == len(email_streams(f"{name}@example.com"))


@given(st.text(string.printable))
def test_ascii_names_have_no_lookalike_stream(name: str) -> None:
    """`user1` is not `userl`: existing ASCII names keep their streams."""
    assert (derived_id("username", fold(name)),) == username_streams(name)


@pytest.mark.parametrize(("one", "other"), [("user1", "userl"), ("bob0", "bobo"), ("\u0131lg\u0131n", "ilgin")])
def test_digits_and_letters_of_one_script_are_told_apart(one: str, other: str) -> None:
    assert {*username_streams(one)}.isdisjoint(username_streams(other))


@given(st.text())
def test_folding_a_lookalike_twice_changes_nothing(name: str) -> None:
    look = compute_skeleton(fold(name))

    assert look == compute_skeleton(look) == fold(look)


@pytest.mark.parametrize(("check", "streams"), [(check_username, username_streams), (check_email, email_streams)])
@given(
    name=st.text(max_size=20)
    | st.text(st.sampled_from("".join((*map(chr, REPRESENTATIVES), *REPRESENTATIVES.values()))))
)
def test_a_name_has_the_streams_it_is_stored_with(
    check: Callable[[str], str], streams: Callable[[str], tuple[UUID, ...]], name: str
) -> None:
    try:
        stored = check(name)
    except ValueError:
        return

    assert streams(name) == streams(stored)
    assert stored == check(stored)
    assert unicodedata.is_normalized("NFC", stored)


PHONETIC = regex.compile(r"[\u0250-\u02af\u1d00-\u1dbf\ua720-\ua7ff\uab30-\uab6f]")


def test_the_table_has_folded_pairs_of_different_scripts() -> None:
    scripts = [regex.compile(rf"\p{{sc={script}}}{{2}}") for script in ("Latin", "Greek", "Cyrillic", "Arabic", "Han")]
    assert 634 == len(REPRESENTATIVES)
    for code, stands in REPRESENTATIVES.items():
        alike = chr(code)
        assert PHONETIC.match(alike) or not any(script.fullmatch(alike + stands) for script in scripts)
        assert not alike.isascii()
        assert (alike, stands) == (fold(alike), fold(stands))
        assert ord(stands) not in REPRESENTATIVES
        assert alike.isdigit() == stands.isdigit()
