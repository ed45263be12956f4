"""What a reader makes of a line, before it is checked: the members of a request, and where each stands in the file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from ledger.importing.faults import Fault, Place
from ledger.importing.forms import DateForm, NumberForm
from ledger.money import CURRENCIES_ALONE, Assets

Kind = Literal["transfer", "hold", "journal"]
Source = Literal["request", "export", "bank"]
SOURCES: tuple[Source, ...] = ("request", "export", "bank")
KINDS: tuple[Kind, ...] = ("transfer", "hold", "journal")


class Draft(NamedTuple):
    """The members of a request by name, and the function that finds a member in the file.

    `is_export` says that the line is of an export of the ledger, which describes money that has moved already.
    `key` identifies a line of a bank by the bank's own reference.
    """

    line: int
    members: Mapping[str, Any]
    locate: Callable[[str], Place]
    is_export: bool = False
    key: str | None = None

    @property
    def source(self) -> Source:
        """Return where the line comes from, which decides what makes it the same as a transaction."""
        if self.is_export:
            return "export"
        return "request" if self.key is None else "bank"


Drafts: TypeAlias = Iterator[Draft | Fault]


@dataclass(frozen=True)
class Reading:
    """How to read a file: the options of the command, completed by those of a profile."""

    format: str | None = None
    separator: str | None = None
    encoding: str | None = None
    number_form: NumberForm = field(default_factory=NumberForm)
    date_form: DateForm | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # the column of each member
    ignored: frozenset[str] = frozenset()
    currency: str | None = None
    account: str | None = None
    against: str | None = None
    assets: Assets = CURRENCIES_ALONE
