"""What statements call the accounts on the other side. Pure."""

from collections.abc import Mapping
from typing import Any

from ledger.events.accounts import world_account_id


def name_other(other: Mapping[str, Any], currency: str) -> str:
    """Return what people call an account: its name and code, or its id."""
    names = [other[name] for name in ("name", "code") if name in other]
    if names:
        return " · ".join(names)
    return "world" if str(other["id"]) == str(world_account_id(currency)) else str(other["id"])


def name_others(line: Mapping[str, Any], currency: str) -> str:
    """Return what people call all accounts on the other side of a line."""
    names = [name_other(other, currency) for other in line["other_accounts"]]
    more = line["other_account_count"] - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
