"""The codes of accounts, such as `assets:bank:main`: names that people choose, and use wherever an account is named.

A code consists of segments that colons join, so codes form a tree. Two codes are the same if only their case differs.
"""

import re
from typing import TypeAlias
from uuid import UUID

from ledger.values.derived import derived_id
from ledger.values.ids import parse_id

MAX_CODE_LENGTH, MAX_SEGMENTS, MAX_SEGMENT_LENGTH = 255, 16, 64
_SEGMENT = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_SEGMENT_LENGTH - 1}}}"
CODE_PATTERN = rf"^{_SEGMENT}(:{_SEGMENT}){{0,{MAX_SEGMENTS - 1}}}$"
PREFIX_PATTERN = CODE_PATTERN.removesuffix("$") + ":?$"
NOT_A_CODE = (
    f"must be 1 to {MAX_SEGMENTS} segments of letters, digits, '.', '_' and '-', joined by colons, "
    f"each of at most {MAX_SEGMENT_LENGTH} characters, such as assets:bank:main"
)
NOT_AN_ACCOUNT = (
    "must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057, or the code of an account, such as assets:bank:main"
)

_match_code = re.compile(CODE_PATTERN.strip("^$"), re.ASCII).fullmatch


class Code(str):
    """The code of an account, as a request names the account."""

    __slots__ = ()

    @property
    def key(self) -> str:
        """Return the form that all spellings of the code share."""
        return self.lower()


AccountRef: TypeAlias = UUID | Code  # how a request names an account


def check_code(text: str) -> str:
    """Return a code. Raises `ValueError` if it is malformed, too long, or a UUID in any form that ids may have."""
    if len(text) > MAX_CODE_LENGTH or not _match_code(text):
        raise ValueError(NOT_A_CODE)
    if _is_id(text):
        raise ValueError("must not be a UUID")
    return text


def parse_account(text: str) -> AccountRef:
    """Return the id or the code of an account. Raises `ValueError`."""
    try:
        return parse_id(text)
    except ValueError:
        pass
    if len(text) > MAX_CODE_LENGTH or not _match_code(text):
        raise ValueError(NOT_AN_ACCOUNT)
    return Code(text)


def code_stream(code: str) -> UUID:
    """Return the stream of a code, which all its spellings share."""
    return derived_id("account code", code.lower())


def unknown_account_id(code: str) -> UUID:
    """Return the id that stands for a code that no account has. No account has this id either."""
    return derived_id("unknown account code", code.lower())


def key_range(prefix: str) -> tuple[str, str, str]:
    """Return the key of a code, and the bounds of the keys below it: from the first, included, to the second, excluded.

    A prefix that ends in a colon stands for the codes below it alone, so its key is that of no code.
    """
    key = prefix.lower()
    below = key.removesuffix(":") + ":"
    return key, below, below[:-1] + ";"  # the character after the colon


def _is_id(text: str) -> bool:
    try:
        parse_id(text)
    except ValueError:
        return False
    return True
