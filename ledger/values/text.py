"""Texts that people read or compare: which characters they may have, and when two references are the same.

What is read (descriptions, the values of metadata) may have every character that shows itself, or that a script or an
emoji needs; only what breaks or reorders lines is refused. What is compared (references, keys, names) may have nothing
invisible, so that two texts that look the same are the same.
"""

import re
import unicodedata

# Ranges for regular expressions, in Python's dialect and in that of JSON Schema. They name no character beyond U+FFFF.
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_UNREADABLE = rf"{_CONTROLS}\u2028\u2029\u202a-\u202e\u2066-\u2069"  # lines, and what reorders them (UAX 9, section 2)
_HIDDEN = (  # categories Cf, Co, Zl and Zp, what is ignorable by default (UAX 44), and the blank pattern of Braille
    rf"{_CONTROLS}\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)


def _pattern(refused: str) -> str:
    return rf"^[^\s{refused}]([^{refused}]*[^\s{refused}])?$"


PRINTABLE_PATTERN, READABLE_PATTERN, IDENTIFYING_PATTERN = map(_pattern, (_CONTROLS, _UNREADABLE, _HIDDEN))
EMAIL_PATTERN, KNOWN_EMAIL_PATTERN = (rf"^[^@\s{refused}]+@[^@\s{refused}]+$" for refused in (_HIDDEN, _CONTROLS))

MAX_REFERENCE_LENGTH = 200
NOT_IDENTIFYING = "must not contain characters that are invisible, private or unassigned"

_find_unreadable, _find_hidden = (re.compile(f"[{refused}]").search for refused in (_UNREADABLE, _HIDDEN))
_REFUSED = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
_VARIATIONS = range(0xE0100, 0xE01F0)


def printable(text: str) -> str:
    """Return the text. Raises `ValueError` if it has control characters, or blanks around it."""
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("must not contain control characters")
    return _without_blanks_around(text)


def readable(text: str) -> str:
    """Return a text that people read. Raises `ValueError` if it breaks or reorders lines, or has blanks around it."""
    if not (text.isascii() and text.isprintable()) and _find_unreadable(text):
        raise ValueError("must not contain control characters, or others that break or reorder lines")
    return _without_blanks_around(text)


def identifying(text: str) -> str:
    """Return a text that is compared. Raises `ValueError` if it has characters nobody sees, or blanks around it."""
    if not (text.isascii() and text.isprintable()) and (_find_hidden(text) or any(map(_is_hidden, text))):
        raise ValueError(NOT_IDENTIFYING)
    return _without_blanks_around(text)


def reference(text: str) -> str:
    """Return a reference as it is stored. Raises `ValueError`."""
    composed = canonical_reference(identifying(text))
    if len(composed) > MAX_REFERENCE_LENGTH:
        raise ValueError(f"must have at most {MAX_REFERENCE_LENGTH} characters in normalization form C")
    return composed


def canonical_reference(text: str) -> str:
    """Return the form in which references are compared: all blanks are one, letters are composed (RFC 8265, 4.2)."""
    if text.isascii():
        return text
    blanks = {character for character in text if unicodedata.category(character) == "Zs"}
    return unicodedata.normalize("NFC", text.translate(dict.fromkeys(map(ord, blanks), " ")))


def spellings(text: str) -> tuple[str, str, str]:
    """Return how a reference may have been stored: as it is given, composed, or decomposed."""
    composed = canonical_reference(text)
    return text, composed, unicodedata.normalize("NFD", composed)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _REFUSED or ord(character) in _VARIATIONS


def _without_blanks_around(text: str) -> str:
    if text != text.strip():
        raise ValueError("must not start or end with blanks")
    return text
