"""The common passwords of eight characters or more, in lower case."""

from functools import cache
from importlib import resources


@cache
def read_common_passwords() -> frozenset[str]:
    """Return the list, which is read once, when it is first needed."""
    text = resources.files("ledger.identity").joinpath("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(text.partition("\n\n")[2].splitlines())
