"""What people call an account: its code, name, type and metadata; and the events of the codes themselves.

A code has a stream of its own. The first account that appends to it has the code, so concurrent requests cannot give it
to two accounts. No other event names an account by its code: all have ids, so a change of code changes no history.
"""

from typing import Any, ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

AccountType = Literal["asset", "liability", "equity", "income", "expense"]

MAX_NAME_LENGTH = 200
# The first segment of a code gives its type to an account without one. hledger and beancount agree on these.
TYPES_BY_ROOT: dict[str, AccountType] = {
    "assets": "asset",
    "liabilities": "liability",
    "equity": "equity",
    "income": "income",
    "expenses": "expense",
}


def type_by_root(code: str | None) -> AccountType | None:
    """Return the type that a code gives an account without one of its own, or None."""
    return None if code is None else TYPES_BY_ROOT.get(code.partition(":")[0].lower())


class Labels(msgspec.Struct, frozen=True, omit_defaults=True):
    """The labels of an account. Those that it does not have are None, or empty."""

    code: str | None = None
    name: str | None = None
    type: AccountType | None = None
    metadata: dict[str, str] = {}

    def members(self) -> dict[str, Any]:
        """Return the labels that the account has, as members of a response."""
        members = {"code": self.code, "name": self.name, "type": self.type, "metadata": self.metadata}
        return {name: value for name, value in members.items() if value}


class AccountDescribed(Labels, frozen=True, omit_defaults=True):
    """From now on the account has these labels and no others. `changes` counts these events of the account."""

    TOPIC: ClassVar[str] = "AccountDescribed"

    changes: int = 1

    @classmethod
    def build(cls, labels: Labels, changes: int) -> "AccountDescribed":
        """Return the event that gives an account these labels."""
        return cls(labels.code, labels.name, labels.type, labels.metadata, changes)


class AccountCodeTaken(msgspec.Struct, frozen=True):
    """The account has the code."""

    TOPIC: ClassVar[str] = "AccountCodeTaken"

    account_id: UUID


class AccountCodeFreed(msgspec.Struct, frozen=True):
    """The account has the code no longer: another one can take it."""

    TOPIC: ClassVar[str] = "AccountCodeFreed"

    account_id: UUID


AccountCodeEvent = AccountCodeTaken | AccountCodeFreed


class AccountCode(msgspec.Struct, frozen=True):
    """The account that has a code, or None if the code is free."""

    TOPIC: ClassVar[str] = "AccountCode"

    holder_id: UUID | None


def evolve_code(state: AccountCode | None, event: AccountCodeEvent) -> AccountCode:  # noqa: ARG001 - as all folds
    """Fold one event into the state of a code."""
    match event:
        case AccountCodeTaken():
            return AccountCode(event.account_id)
        case AccountCodeFreed():
            return AccountCode(None)
        case _:
            assert_never(event)
