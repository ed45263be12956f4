"""User names and e-mail addresses: what they may be, and which of them are the same, or look it.

A user name consists of words as RFC 8265 (section 3.4, UsernameCasePreserved) allows them. Names, and the parts of an
address, are in one script, or in a mixture that is written every day (UTS 39, section 5.2, highly restrictive).
"""

import re
import unicodedata
from functools import cache

import regex
from precis_i18n import get_profile
from precis_i18n.profile import Profile

from ledger.values.lookalikes import STANDS_FOR
from ledger.values.text import identifying

MAX_USERNAME_LENGTH, MAX_EMAIL_LENGTH = 64, 254
NOT_OF_RFC_8265 = "must be words of letters, digits and ASCII punctuation, with single spaces between them (RFC 8265)"
MIXED_SCRIPTS = "must not mix letters of scripts that are not written together, such as Latin and Cyrillic (UTS 39)"

# Recommended, and of limited use (UAX 31, tables 5 and 7).
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
    """Return a user name as it is stored, composed and of usual width. Raises `ValueError`."""
    identifying(text)
    try:
        name = " ".join(_profile().enforce(word) for word in text.split(" "))
    except UnicodeEncodeError:
        raise ValueError(NOT_OF_RFC_8265) from None
    _check_script(name)
    return _of_length(name, MAX_USERNAME_LENGTH)


def check_email(text: str) -> str:
    """Return an e-mail address as it is stored, composed. Raises `ValueError`."""
    address = unicodedata.normalize("NFC", identifying(text))
    for part in re.split("[@.]", address):
        _check_script(part)
    return _of_length(address, MAX_EMAIL_LENGTH)


def folded(name: str) -> str:
    """Return the form in which names are the same: compatibility caseless matching (Unicode, section 3.13, D146).

    Its rarer second pass is left out.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def looked_at(form: str) -> str:
    """Return the folded name that this folded name looks like: itself, unless another script has the same letters."""
    if form.isascii():
        return form
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFD", form).translate(STANDS_FOR))


@cache
def _profile() -> Profile:
    return get_profile("UsernameCasePreserved")


def _check_script(name: str) -> None:
    if not name.isascii() and not any(written.fullmatch(name) for written in _ways_to_write()):
        raise ValueError(MIXED_SCRIPTS)


@cache
def _ways_to_write() -> "tuple[regex.Pattern[str], ...]":
    return tuple(
        regex.compile("[{}]*".format("".join(rf"\p{{scx={script}}}" for script in (*scripts, "Common", "Inherited"))))
        for scripts in (*((script,) for script in _SCRIPTS.split()), *_MIXTURES)
    )


def _of_length(text: str, maximum: int) -> str:
    if len(text) > maximum:
        raise ValueError(f"must have at most {maximum} characters in normalization form C")
    return text
