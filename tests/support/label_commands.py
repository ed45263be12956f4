"""Commands that change the labels of accounts and the texts of transactions, for tests of sequences of commands."""

from uuid import UUID

from hypothesis import strategies as st

from ledger.commands.account_labels import LabelChange
from ledger.commands.accounts import UpdateAccount
from ledger.commands.amendments import Amendment, AmendTransaction
from ledger.commands.command import Command
from ledger.events.account_labels import AccountDescribed, Labels
from tests.support.ledgers import Ledger

codes = st.sampled_from([None, "assets", "Assets", "assets:cash"])
account_names = st.sampled_from([None, "Cash", "Bank"])


def describe(ledger: Ledger, account_id: UUID, code: str | None, name: str | None) -> Command:
    """Return the change of an account's labels to these."""
    known = [row.event for row in ledger.history if row.stream_id == account_id]
    last = next(
        (event for event in reversed(known) if isinstance(event, AccountDescribed)), AccountDescribed(changes=0)
    )
    return UpdateAccount(
        account_id=account_id,
        owner_id=None,
        balance_cents=None,
        currency="USD",
        transaction_id=ledger.fresh_id(),
        labels=LabelChange(Labels(code, name), Labels(last.code, last.name, last.type, last.metadata), last.changes),
    )


def amend(_: Ledger, transaction_id: UUID, description: str | None) -> Command:
    """Return the amendment of a transaction's description."""
    return AmendTransaction(transaction_id=transaction_id, amendment=Amendment(describes=True, description=description))


def codes_in_use(ledger: Ledger) -> list[str]:
    """Return the codes that accounts have, in the form that all their spellings share."""
    last = {row.stream_id: row.event for row in ledger.history if isinstance(row.event, AccountDescribed)}
    return [event.code.lower() for event in last.values() if event.code is not None]
