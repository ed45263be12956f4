"""Accounts in arguments and options: by their ids, or by their codes."""

from uuid import UUID

from ledger.cli.options import parse_value
from ledger.cli.shell import fail
from ledger.projections import account_labels
from ledger.store.connections import Reader
from ledger.values.account_codes import AccountRef, Code, parse_account


def parse_account_argument(text: str) -> AccountRef:
    """Return the account in an argument; end the program with status 2 if it is neither an id nor a code."""
    return parse_value(text, text, parse_account)


async def find_account_id(reader: Reader, ref: AccountRef) -> UUID:
    """Return the id of an account; end the program with status 1 if no account has the code."""
    if not isinstance(ref, Code):
        return ref
    ids = await account_labels.find_ids(reader, [ref.key])
    return ids[ref.key] if ids else fail(f"no such account: {ref}", 1)
