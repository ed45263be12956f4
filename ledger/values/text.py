"""Which characters text may contain, and when two references are the same.

Text to read (descriptions, values of metadata) may contain every visible character, and those that a script or an emoji
needs. Only characters that break or reorder lines are refused. Text to compare (references, keys, names) may contain no
invisible characters, so that texts that look the same are the same.
"""

import re
import unicodedata

# Ranges for regular expressions of Python and of JSON Schema. They have no character beyond U+FFFF.
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_UNREADABLE = rf"{_CONTROLS}\u2028\u2029\u202a-\u202e\u2066-\u2069"  # line breaks, bidirectional controls (UAX 9)
_HIDDEN = (  # categories Cf, Co, Zl, Zp, characters that are ignorable by default (UAX 44), and the Braille blank
    rf"{_CONTROLS}\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)


def _build_pattern(refused: str) -> str:
    return rf"^[^\s{refused}]([^{refused}]*[^\s{refused}])?$"


PRINTABLE_PATTERN, READABLE_PATTERN, IDENTIFYING_PATTERN = map(_build_pattern, (_CONTROLS, _UNREADABLE, _HIDDEN))
EMAIL_PATTERN, KNOWN_EMAIL_PATTERN = (rf"^[^@\s{refused}]+@[^@\s{refused}]+$" for refused in (_HIDDEN, _CONTROLS))

MAX_REFERENCE_LENGTH, MAX_DESCRIPTION_LENGTH = 200, 500
MAX_METADATA_KEYS, MAX_METADATA_NAME_LENGTH, MAX_METADATA_LENGTH = 50, 64, 500
NOT_IDENTIFYING = "must not contain characters that are invisible, private or unassigned"

_find_unreadable, _find_hidden = (re.compile(f"[{refused}]").search for refused in (_UNREADABLE, _HIDDEN))
_REFUSED = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
_VARIATIONS = range(0xE0100, 0xE01F0)


def check_printable(text: str) -> str:
    """Return the text. Raises `ValueError` if it has control characters, or blanks at either end."""
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("must not contain control characters")
    return _check_no_outer_blanks(text)


def check_readable(text: str) -> str:
    """Return a text to read. Raises `ValueError` if it breaks or reorders lines, or has blanks at either end."""
    if not (text.isascii() and text.isprintable()) and _find_unreadable(text):
        raise ValueError("must not contain control characters, or others that break or reorder lines")
    return _check_no_outer_blanks(text)


def check_identifying(text: str) -> str:
    """Return a text to compare. Raises `ValueError` if it has invisible characters, or blanks at either end."""
    if not (text.isascii() and text.isprintable()) and (_find_hidden(text) or any(map(_is_hidden, text))):
        raise ValueError(NOT_IDENTIFYING)
    return _check_no_outer_blanks(text)


def reference(text: str) -> str:
    """Return a reference as it is stored. Raises `ValueError`."""
    composed = canonical_reference(check_identifying(text))
    if len(composed) > MAX_REFERENCE_LENGTH:
        raise ValueError(f"must have at most {MAX_REFERENCE_LENGTH} characters in normalization form C")
    return composed


def canonical_reference(text: str) -> str:
    """Return a reference in canonical form: every blank is a space, letters are composed (RFC 8265, section 4.2)."""
    if text.isascii():
        return text
    blanks = {character for character in text if unicodedata.category(character) == "Zs"}
    return unicodedata.normalize("NFC", text.translate(dict.fromkeys(map(ord, blanks), " ")))


def spellings(text: str) -> tuple[str, str, str]:
    """Return the forms in which a reference may be stored: as given, composed, and decomposed."""
    composed = canonical_reference(text)
    return text, composed, unicodedata.normalize("NFD", composed)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _REFUSED or ord(character) in _VARIATIONS


def _check_no_outer_blanks(text: str) -> str:
    if text != text.strip():
        raise ValueError("must not start or end with blanks")
    return text
