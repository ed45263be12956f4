"""User names and e-mail addresses: which are valid, which are the same, and which look the same.

A user name consists of words that RFC 8265 allows (section 3.4, UsernameCasePreserved). A name, or a part of an
address, is in one script, or in a combination in common use (UTS 39, section 5.2, highly restrictive).
"""

import re
import unicodedata
from functools import cache

import regex
from precis_i18n import get_profile
from precis_i18n.profile import Profile

from ledger.values.lookalikes import REPRESENTATIVES
from ledger.values.text import check_identifying

MAX_USERNAME_LENGTH, MAX_EMAIL_LENGTH = 64, 254
NOT_OF_RFC_8265 = "must be words of letters, digits and ASCII punctuation, with single spaces between them (RFC 8265)"
MIXED_SCRIPTS = "must not mix letters of scripts that are not written together, such as Latin and Cyrillic (UTS 39)"

# Recommended scripts, and scripts of limited use (UAX 31, tables 5 and 7).
_SCRIPTS = (
    "Latin Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul "
    "Hebrew Hiragana Kannada Katakana Khmer Lao Malayalam Myanmar Oriya Sinhala Tamil Telugu Thaana Thai Tibetan "
    "Adlam Balinese Bamum Batak Canadian_Aboriginal Chakma Cham Cherokee Hanifi_Rohingya Javanese Kayah_Li Lepcha "
    "Limbu Lisu Mandaic Meetei_Mayek Miao New_Tai_Lue Newa Nko Nyiakeng_Puachue_Hmong Ol_Chiki Osage Saurashtra "
    "Sundanese Syloti_Nagri Syriac Tai_Le Tai_Tham Tai_Viet Tifinagh Vai Wancho Yi"
)
_MIXTURES = (
    ("Latin", "Han", "Hiragana", "Katakana"),
    ("Latin", "Han", "Bopomofo"),
    ("Latin", "Han", "Hangul"),
)


def check_username(text: str) -> str:
    """Return a user name as it is stored: in normalization form C and of usual width. Raises `ValueError`."""
    check_identifying(text)
    try:
        name = " ".join(_load_profile().enforce(word) for word in text.split(" "))
    except UnicodeEncodeError:
        raise ValueError(NOT_OF_RFC_8265) from None
    _check_script(name)
    return _check_length(name, MAX_USERNAME_LENGTH)


def check_email(text: str) -> str:
    """Return an e-mail address as it is stored: in normalization form C. Raises `ValueError`."""
    address = unicodedata.normalize("NFC", check_identifying(text))
    for part in re.split("[@.]", address):
        _check_script(part)
    return _check_length(address, MAX_EMAIL_LENGTH)


def fold(name: str) -> str:
    """Fold a name: two names are the same if their folded forms are (compatibility caseless match, Unicode 3.13, D146).

    The second pass of that definition, which few names need, is omitted.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def compute_skeleton(form: str) -> str:
    """Return the skeleton of a folded name (UTS 39), which names that look alike in different scripts share."""
    if form.isascii():
        return form
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFD", form).translate(REPRESENTATIVES))


@cache
def _load_profile() -> Profile:
    return get_profile("UsernameCasePreserved")


def _check_script(name: str) -> None:
    if not name.isascii() and not any(scripts.fullmatch(name) for scripts in _compile_scripts()):
        raise ValueError(MIXED_SCRIPTS)


@cache
def _compile_scripts() -> "tuple[regex.Pattern[str], ...]":
    return tuple(
        regex.compile("[{}]*".format("".join(rf"\p{{scx={script}}}" for script in (*scripts, "Common", "Inherited"))))
        for scripts in (*((script,) for script in _SCRIPTS.split()), *_MIXTURES)
    )


def _check_length(text: str, max_length: int) -> str:
    if len(text) > max_length:
        raise ValueError(f"must have at most {max_length} characters in normalization form C")
    return text
