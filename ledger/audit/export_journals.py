"""Transactions as journals for hledger and beancount. Pure.

Users' accounts are assets and the ledger's own `world` is equity, so every balance has the same sign and amount as in
the ledger. Days are in UTC.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from ledger.audit.export_text import (
    Account,
    Currency,
    TextFormat,
    Transaction,
    format_detail,
    postings_of,
)
from ledger.events.accounts import world_account_id
from ledger.money import Assets
from ledger.values.timestamps import rfc3339

# hledger has no quoting: in a description, whatever would end it becomes a blank.
_DESCRIPTION_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029;|]+")
# In the value of a tag it is percent-encoded (RFC 3986), as are blanks at either end, which hledger drops.
_TAG_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029,\[\]%]|^\s+|\s+$")  # brackets would begin a date
_QUOTED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "\r": r"\r"})


def _narrate(transaction: Transaction) -> str:
    """Return what a person reads first about a transaction."""
    return transaction.details.get("description") or transaction.reference or transaction.kind.replace("_", " ")


def _name_texts(transaction: Transaction) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of everything that a client said about a transaction."""
    reverses = None if transaction.reverses is None else str(transaction.reverses)
    for name, value in {"reference": transaction.reference, **transaction.details, "reverses": reverses}.items():
        if text := format_detail(value):
            yield name.replace("_", "-"), text


def _format_day(time: datetime) -> str:
    return time.astimezone(UTC).date().isoformat()


# hledger.


def _format_hledger_currency(currency: Currency, assets: Assets) -> str:
    """Return the directives of a currency and of the ledger's own account in it."""
    code, places = currency.code, "0" * assets.digits(currency.code)
    world = _hledger_account(world_account_id(code), code)
    return f"commodity 1000.{places} {_hledger_commodity(code)}\naccount {world}\n"


def _hledger_commodity(code: str) -> str:
    """Return a code as hledger wants it: in quotation marks, unless it has letters alone."""
    return code if code.isalpha() else f'"{code}"'


def _format_hledger_account(account: Account) -> str:
    if account.user_id is None:  # declared with its currency
        return ""
    username = f", username: {_encode_tag(account.username)}" if account.username else ""
    return f"account {_hledger_account(account.id, account.currency)}  ; user-id: {account.user_id}{username}\n"


def _format_hledger(transaction: Transaction, assets: Assets) -> str:
    """Return a transaction in hledger's journal format, with the effective date as its secondary date."""
    description = _DESCRIPTION_ENDS.sub(" ", _narrate(transaction)).strip() or transaction.kind
    effective_at = transaction.details.get("effective_at")
    effective = f"={_format_day(effective_at)}" if effective_at else ""
    tags = "".join(f"    ; {name}: {_encode_tag(text)}\n" for name, text in _name_texts(transaction))
    postings = "".join(
        f"    {_hledger_account(posting.account_id, posting.currency)}  "
        f"{assets.format(posting.amount_cents, posting.currency)} {_hledger_commodity(posting.currency)}\n"
        for posting in postings_of(transaction)
    )
    return (
        f"\n{_format_day(transaction.recorded_at)}{effective} * ({transaction.position}) {description}\n"
        f"    ; id: {transaction.id}, kind: {transaction.kind}, recorded-at: {rfc3339(transaction.recorded_at)}\n"
        f"{tags}{postings}"
    )


def _encode_tag(text: str) -> str:
    return _TAG_ENDS.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def _hledger_account(account_id: UUID, currency: str) -> str:
    is_world = account_id == world_account_id(currency)
    return f"equity:world:{currency}" if is_world else f"assets:accounts:{account_id}"


# beancount.


def _format_beancount_currency(currency: Currency, _: Assets) -> str:
    """Return the directives of a currency and of the ledger's own account in it."""
    day, code = _format_day(currency.created_at), currency.code
    return f"{day} commodity {code}\n{day} open {_beancount_account(world_account_id(code), code)} {code}\n"


def _format_beancount_account(account: Account) -> str:
    if account.user_id is None:  # opened with its currency
        return ""
    name = _beancount_account(account.id, account.currency)
    username = f"  username: {_quote(account.username)}\n" if account.username else ""
    opened = f"{_format_day(account.created_at)} open {name} {account.currency}"
    return f'{opened}\n  user-id: "{account.user_id}"\n{username}'


def _format_beancount(transaction: Transaction, assets: Assets) -> str:
    """Return a transaction in beancount's format, with all texts as metadata."""
    metadata = "".join(f"  {name}: {_quote(text)}\n" for name, text in _name_texts(transaction))
    postings = "".join(
        f"  {_beancount_account(posting.account_id, posting.currency)}  "
        f"{assets.format(posting.amount_cents, posting.currency)} {posting.currency}\n"
        for posting in postings_of(transaction)
    )
    return (
        f"\n{_format_day(transaction.recorded_at)} * {_quote(_narrate(transaction))}\n"
        f'  id: "{transaction.id}"\n'
        f"  position: {transaction.position}\n"
        f'  kind: "{transaction.kind}"\n'
        f'  recorded-at: "{rfc3339(transaction.recorded_at)}"\n'
        f"{metadata}{postings}"
    )


def _beancount_account(account_id: UUID, currency: str) -> str:
    """Return the name of an account; beancount wants each part to begin with a capital letter or a digit.

    A part has letters, digits and hyphens alone. A code has no small letters, so the names of two codes differ.
    """
    if account_id != world_account_id(currency):
        return f"Assets:Accounts:A-{account_id}"
    return f"Equity:World:{currency.replace('.', '-dot-').replace('_', '-low-')}"


def _quote(text: str) -> str:
    return f'"{text.translate(_QUOTED)}"'


HLEDGER = TextFormat("decimal-mark .\n", _format_hledger_currency, _format_hledger_account, _format_hledger)
BEANCOUNT = TextFormat(
    'option "title" "Ledger"\n\n', _format_beancount_currency, _format_beancount_account, _format_beancount
)
