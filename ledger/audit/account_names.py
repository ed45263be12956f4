"""The names of accounts in exports: codes where accounts have them, and otherwise names that contain the ids. Pure."""

import re
from collections.abc import Callable, Iterator, MutableMapping
from uuid import UUID

from ledger.audit.export_text import Account
from ledger.events.account_labels import AccountType, type_by_root
from ledger.events.accounts import world_account_id
from ledger.values.derived import text_digest

HLEDGER_TYPES: dict[AccountType, str] = {"asset": "A", "liability": "L", "equity": "E", "income": "R", "expense": "X"}
BEANCOUNT_ROOTS: dict[AccountType, str] = {
    "asset": "Assets",
    "liability": "Liabilities",
    "equity": "Equity",
    "income": "Income",
    "expense": "Expenses",
}
_WORLD = "equity:world:"  # before a currency
_by_id = re.compile(r"[a-z]+:accounts:(?:a-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = 8  # characters; enough to tell apart the few codes that become the same name
_not_in_names = re.compile(r"[._]")


class AccountNames:
    """The names of accounts in one export, each in use once.

    Only names from codes and types are kept in memory: the others follow from the ids.
    """

    def __init__(self, name_code: Callable[[Account], str], name_id: Callable[[UUID, str, AccountType], str]) -> None:
        self._name_code, self._name_id = name_code, name_id
        self._names: MutableMapping[UUID, str] = {}
        self._used: set[str] = set()

    def add(self, account: Account) -> str:
        """Return the name of an account that the export declares."""
        if account.user_id is None:
            return self._name_id(account.id, account.currency, "equity")
        name = self._find_name(account)
        if (account.code, account.type) != (None, None):
            self._names[account.id] = name
        return name

    def _find_name(self, account: Account) -> str:
        by_id = self._name_id(account.id, account.currency, find_type(account))
        if account.code is None:
            return by_id
        name, code = self._name_code(account), account.code.lower()
        if any(one.startswith(_WORLD) or _by_id.fullmatch(one) for one in (code, name.lower())):
            return by_id
        if name.lower() in self._used:
            name = f"{name}-{text_digest(code)[:_DIGEST]}"
        self._used.add(name.lower())
        return name

    def find(self, account_id: UUID, currency: str) -> str:
        """Return the name of an account that the export has declared."""
        return self._names.get(account_id) or self._name_id(account_id, currency, "asset")


def name_for_hledger(account: Account) -> str:
    """Return an account's code, which is a name of hledger."""
    return account.code or ""


def name_by_id_for_hledger(account_id: UUID, currency: str, kind: AccountType) -> str:
    """Return the name of an account without a code: `world`, or an account of this type."""
    is_world = account_id == world_account_id(currency)
    return f"equity:world:{currency}" if is_world else f"{BEANCOUNT_ROOTS[kind].lower()}:accounts:{account_id}"


def name_for_beancount(account: Account) -> str:
    """Return an account's code below one of the five roots of beancount.

    Each part begins with a capital letter or a digit, and has letters, digits and hyphens alone.
    """
    first, *others = (account.code or "").split(":")
    root = BEANCOUNT_ROOTS[find_type(account)]
    below = others if first.lower() == root.lower() else [first, *others]
    return ":".join((root, *map(_name_part, below or [first])))


def name_by_id_for_beancount(account_id: UUID, currency: str, kind: AccountType) -> str:
    """Return the name of an account without a code, as that for hledger.

    The code of an asset has no small letters, so the names of two assets differ.
    """
    if account_id != world_account_id(currency):
        return f"{BEANCOUNT_ROOTS[kind]}:Accounts:A-{account_id}"
    return f"Equity:World:{currency.replace('.', '-dot-').replace('_', '-low-')}"


def describe(account: Account) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of what a declaration says of an account besides its name."""
    members = {"user-id": str(account.user_id), "username": account.username}
    if account.code is not None:
        members |= {"account-id": str(account.id), "code": account.code}
    members["name"] = account.name
    return ((name, value) for name, value in members.items() if value)


def find_type(account: Account) -> AccountType:
    """Return the type that an account has in journals: its own, or that of a code that begins with one of the roots.

    Other accounts are assets. The reports of hledger leave out accounts without a type.
    """
    return account.type or type_by_root(account.code) or "asset"


def _name_part(segment: str) -> str:
    text = _not_in_names.sub("-", segment)
    return text[:1].upper() + text[1:]
