"""Transactions as journals for hledger and beancount. Pure.

The names of accounts are their codes, or their ids. Each account has a type, on which the reports of other programs
depend. Every balance has the same sign and amount as in the ledger. Days are in UTC.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from ledger.audit.account_names import (
    HLEDGER_TYPES,
    AccountNames,
    describe,
    find_type,
    name_by_id_for_beancount,
    name_by_id_for_hledger,
    name_for_beancount,
    name_for_hledger,
)
from ledger.audit.export_text import (
    Account,
    Currency,
    Names,
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
    world = name_by_id_for_hledger(world_account_id(code), code, "equity")
    equity = HLEDGER_TYPES["equity"]
    return f"commodity 1000.{places} {_hledger_commodity(code)}\naccount {world}  ; type: {equity}\n"


def _hledger_commodity(code: str) -> str:
    """Return a code as hledger wants it: in quotation marks, unless it has letters alone."""
    return code if code.isalpha() else f'"{code}"'


def _format_hledger_account(account: Account, names: Names) -> str:
    if account.user_id is None:  # declared with its currency
        return ""
    members = (("type", HLEDGER_TYPES[find_type(account)]), *describe(account))
    tags = ", ".join(f"{name}: {_encode_tag(value)}" for name, value in members)
    return f"account {names.add(account)}  ; {tags}\n"


def _format_hledger(transaction: Transaction, names: Names, assets: Assets) -> str:
    """Return a transaction in hledger's journal format, with the effective date as its secondary date."""
    effective_at = transaction.details.get("effective_at")
    recorded = _format_day(transaction.recorded_at)
    days = f"{recorded}={_format_day(effective_at)}" if effective_at else recorded
    return _format_hledger_on(transaction, names, assets, days)


def _format_hledger_effective(transaction: Transaction, names: Names, assets: Assets) -> str:
    """Return a transaction in hledger's journal format, with the day of recording as its secondary date."""
    effective_at = transaction.details.get("effective_at")
    recorded = _format_day(transaction.recorded_at)
    days = f"{_format_day(effective_at)}={recorded}" if effective_at else recorded
    return _format_hledger_on(transaction, names, assets, days)


def _format_hledger_on(transaction: Transaction, names: Names, assets: Assets, days: str) -> str:
    description = _DESCRIPTION_ENDS.sub(" ", _narrate(transaction)).strip() or transaction.kind
    tags = "".join(f"    ; {name}: {_encode_tag(text)}\n" for name, text in _name_texts(transaction))
    postings = "".join(
        f"    {names.find(posting.account_id, posting.currency)}  "
        f"{assets.format(posting.amount_cents, posting.currency)} {_hledger_commodity(posting.currency)}\n"
        for posting in postings_of(transaction)
    )
    return (
        f"\n{days} * ({transaction.position}) {description}\n"
        f"    ; id: {transaction.id}, kind: {transaction.kind}, recorded-at: {rfc3339(transaction.recorded_at)}\n"
        f"{tags}{postings}"
    )


def _encode_tag(text: str) -> str:
    return _TAG_ENDS.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


# beancount.


def _format_beancount_currency(currency: Currency, _: Assets) -> str:
    """Return the directives of a currency and of the ledger's own account in it."""
    day, code = _format_day(currency.created_at), currency.code
    world = name_by_id_for_beancount(world_account_id(code), code, "equity")
    return f"{day} commodity {code}\n{day} open {world} {code}\n"


def _format_beancount_account(account: Account, names: Names) -> str:
    if account.user_id is None:  # opened with its currency
        return ""
    opened = f"{_format_day(account.created_at)} open {names.add(account)} {account.currency}\n"
    return opened + "".join(f"  {name}: {_quote(value)}\n" for name, value in describe(account))


def _format_beancount(transaction: Transaction, names: Names, assets: Assets) -> str:
    """Return a transaction in beancount's format, with all texts as metadata."""
    return _format_beancount_on(transaction, names, assets, transaction.recorded_at)


def _format_beancount_effective(transaction: Transaction, names: Names, assets: Assets) -> str:
    """Return a transaction in beancount's format, on the day on which it counts."""
    time = transaction.details.get("effective_at") or transaction.recorded_at
    return _format_beancount_on(transaction, names, assets, time)


def _format_beancount_on(transaction: Transaction, names: Names, assets: Assets, time: datetime) -> str:
    metadata = "".join(f"  {name}: {_quote(text)}\n" for name, text in _name_texts(transaction))
    postings = "".join(
        f"  {names.find(posting.account_id, posting.currency)}  "
        f"{assets.format(posting.amount_cents, posting.currency)} {posting.currency}\n"
        for posting in postings_of(transaction)
    )
    return (
        f"\n{_format_day(time)} * {_quote(_narrate(transaction))}\n"
        f'  id: "{transaction.id}"\n'
        f"  position: {transaction.position}\n"
        f'  kind: "{transaction.kind}"\n'
        f'  recorded-at: "{rfc3339(transaction.recorded_at)}"\n'
        f"{metadata}{postings}"
    )


def _quote(text: str) -> str:
    return f'"{text.translate(_QUOTED)}"'


HLEDGER = TextFormat(
    "decimal-mark .\n",
    lambda: AccountNames(name_for_hledger, name_by_id_for_hledger),
    _format_hledger_currency,
    _format_hledger_account,
    _format_hledger,
)
BEANCOUNT = TextFormat(
    'option "title" "Ledger"\n\n',
    lambda: AccountNames(name_for_beancount, name_by_id_for_beancount),
    _format_beancount_currency,
    _format_beancount_account,
    _format_beancount,
)
HLEDGER_BY_EFFECTIVE_TIME = HLEDGER._replace(transaction=_format_hledger_effective)
BEANCOUNT_BY_EFFECTIVE_TIME = BEANCOUNT._replace(transaction=_format_beancount_effective)
