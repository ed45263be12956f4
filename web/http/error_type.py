"""What the catalogue says of an error."""

from typing import NamedTuple


class ErrorType(NamedTuple):
    """A kind of error. `description` says what is wrong, and `help` what the client can do."""

    status: int
    kind: str
    title: str
    description: str
    help: str
