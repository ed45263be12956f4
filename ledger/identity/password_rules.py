"""Which passwords users may choose: none that attackers try first (NIST SP 800-63B, section 3.1.1.2).

The rules are for passwords. A digest that a client makes of a password is as good as the password, which only the
client sees.
"""

from collections.abc import Iterable
from functools import cache
from importlib import resources
from unicodedata import normalize

WORDS = ("ledger",)  # of the context, as the user's own names are (docs/explanation/security.md has the list)
LEAST_OTHERS = 4  # letters and digits beside such a word


def check_password(password: str, names: Iterable[str]) -> None:
    """Raise `ValueError` if a password is common, blank, or a word of its context with little else."""
    if not password.strip():
        raise ValueError("must not be blank")
    folded = _fold(password)
    if _is_repetition(folded) or folded in _read_common_passwords():
        raise ValueError("must not be a common password")
    if any(_is_little_more_than(word, folded) for word in WORDS):
        raise ValueError("must not be the name of this service")
    if any(_is_little_more_than(name, folded) for name in names):
        raise ValueError("must not be the user's own name")


def names_of(username: str, email: str) -> tuple[str, ...]:
    """Return the names that a user's password must not be."""
    return (username, email, email.partition("@")[0])


def _is_repetition(folded: str) -> bool:
    return folded.isascii() and len(set(folded)) == 1


def _is_little_more_than(name: str, folded: str) -> bool:
    own, characters = _keep_alphanumeric(_fold(name)), _keep_alphanumeric(folded)
    return bool(own) and own in characters and len(characters) - len(own) < LEAST_OTHERS


@cache
def _read_common_passwords() -> frozenset[str]:
    text = resources.files("ledger.identity").joinpath("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(text.partition("\n\n")[2].splitlines())


def _fold(text: str) -> str:
    return normalize("NFKC", text).strip().casefold()


def _keep_alphanumeric(text: str) -> str:
    return "".join(filter(str.isalnum, text))
