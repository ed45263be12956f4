"""Commands that change the policies of accounts, for tests of sequences of commands."""

from uuid import UUID

from hypothesis import strategies as st

from ledger.commands.accounts import UpdateAccount
from ledger.commands.command import Command
from ledger.events.accounts import Freeze
from ledger.money import MAX_CENTS
from tests.support.ledgers import Ledger

overdraft_limits = st.none() | st.sampled_from([0, 50, 1000, MAX_CENTS])
freezes = st.sampled_from([None, None, "none", "debits", "all"])
max_balances = st.sampled_from([None, None, -10, 0, 100, 150])


def change(
    ledger: Ledger,
    account_id: UUID,
    overdraft_limit_cents: int | None,
    frozen: Freeze | None,
    max_balance_cents: int | None,
    is_unbounded: bool = False,
) -> Command:
    """Return the change of an account's policy to this; None keeps a part of it."""
    return UpdateAccount(
        account_id=account_id,
        owner_id=None,
        balance_cents=None,
        currency="USD",
        transaction_id=ledger.fresh_id(),
        overdraft_limit_cents=overdraft_limit_cents,
        frozen=frozen,
        max_balance_cents=max_balance_cents,
        is_unbounded=is_unbounded,
    )
