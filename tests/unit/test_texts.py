"""Which characters texts can have, and which references are equal. Lesson 64."""

import re
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.transactions import reference_stream, reference_streams
from ledger.values.derived import derived_id
from ledger.values.text import (
    IDENTIFYING_PATTERN,
    NOT_IDENTIFYING,
    PRINTABLE_PATTERN,
    READABLE_PATTERN,
    canonical_reference,
    check_identifying,
    check_printable,
    check_readable,
    reference,
    spellings,
)

HIDDEN = {
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "soft hyphen": "\u00ad",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "right-to-left override": "\u202e",
    "combining grapheme joiner": "\u034f",
    "variation selector": "\ufe0f",
    "variation selector of ideographs": "\U000e0100",
    "Hangul filler": "\u3164",
    "Braille blank": "\u2800",
    "tag letter": "\U000e0061",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "private use": "\ue000",
    "private use, beyond": "\U0010fffd",
    "unassigned": "\u0378",
    "noncharacter": "\ufdd0",
    "NUL": "\x00",
    "delete": "\x7f",
    "next line": "\x85",
}
UNREADABLE = {name: HIDDEN[name] for name in ("right-to-left override", "line separator", "NUL", "next line")}
WRITTEN = {
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a heart": "\u2764\ufe0f",
    "the flag of Scotland": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Hindi": "\u0915\u094d\u200d\u0937",
    "Hebrew with a mark": "\u05d0\u200e\u05d1",
    "a private logo": "\uf8ff",
}


@pytest.mark.parametrize("character", HIDDEN.values(), ids=HIDDEN)
def test_a_compared_text_cannot_have_invisible_characters(character: str) -> None:
    for text in (f"a{character}b", f"{character}b", f"a{character}"):
        with pytest.raises(ValueError, match=re.escape(NOT_IDENTIFYING)):
            check_identifying(text)
        with pytest.raises(ValueError, match=re.escape(NOT_IDENTIFYING)):
            reference(text)


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_text_for_people_can_have_all_characters_of_scripts_and_emoji(text: str) -> None:
    assert text == check_readable(text)


@pytest.mark.parametrize("character", UNREADABLE.values(), ids=UNREADABLE)
def test_a_text_for_people_cannot_break_or_reorder_lines(character: str) -> None:
    with pytest.raises(ValueError, match="break or reorder lines"):
        check_readable(f"a{character}b")


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u3000"])
@pytest.mark.parametrize("check", [check_printable, check_readable, check_identifying, reference])
def test_surrounding_blanks_are_refused(check: object, blank: str) -> None:
    assert callable(check)
    for text in (f"{blank}a", f"a{blank}", blank):
        with pytest.raises(ValueError, match="blanks"):
            check(text)


def test_every_ignorable_or_format_character_is_refused() -> None:
    ignorable = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Co}\p{Cn}\p{Cc}\p{Zl}\p{Zp}]")
    assigned = (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    missed = [character for character in assigned if ignorable.match(character) and not _refused(character)]

    assert [] == missed


def _refused(character: str) -> bool:
    try:
        check_identifying(f"a{character}b")
    except ValueError:
        return True
    return False


@given(st.text(max_size=10))
def test_the_patterns_of_the_document_match_the_service(text: str) -> None:
    """For compared texts, no pattern can list the unassigned characters of Unicode."""
    for check, pattern in ((check_printable, PRINTABLE_PATTERN), (check_readable, READABLE_PATTERN)):
        assert bool(re.fullmatch(pattern.removesuffix("$"), text)) == _passes(check, text)
    if _passes(check_identifying, text):
        assert re.fullmatch(IDENTIFYING_PATTERN.removesuffix("$"), text)


def _passes(check: object, text: str) -> bool:
    assert callable(check)
    try:
        check(text)
    except ValueError:
        return False
    return text != ""


# References.

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("given_text", "same"), [(DECOMPOSED, COMPOSED), ("INV\u00a01", "INV 1"), ("\u212b", "\u00c5"), ("rent", "rent")]
)
def test_references_that_look_the_same_are_equal(given_text: str, same: str) -> None:
    assert same == reference(given_text)
    assert reference_stream(same) == reference_stream(given_text)


@pytest.mark.parametrize("text", ["rent", "RENT", COMPOSED, "\u6b3e\u9805", "INV 1"])
def test_a_composed_reference_keeps_its_stream(text: str) -> None:
    assert derived_id("reference", text) == reference_stream(text)
    assert text == reference(text)


def test_an_old_reference_is_taken_in_its_old_spelling() -> None:
    for text in (COMPOSED, DECOMPOSED):
        assert {derived_id("reference", spelling) for spelling in (COMPOSED, DECOMPOSED)} == {*reference_streams(text)}
    assert (reference_stream("rent"),) == reference_streams("rent")


@given(st.text())
def test_a_reference_is_stored_in_one_form(text: str) -> None:
    composed = canonical_reference(text)

    assert unicodedata.is_normalized("NFC", composed)
    assert composed == canonical_reference(composed) == spellings(composed)[1]
    assert text in spellings(text)
    assert reference_stream(text) in reference_streams(text)


def test_a_reference_does_not_outgrow_its_limit() -> None:
    with pytest.raises(ValueError, match="at most 200 characters"):
        reference("\u0958" * 101)  # each becomes two characters in normalization form C
