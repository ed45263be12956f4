"""Import accounts and transfers of another service. They are facts, so they are recorded even where they overdraw.

Both commands can be repeated: an item that is already recorded changes nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.accounts import adjust, require_open_account, require_user
from ledger.commands.assets import check_asset, streams_of_asset
from ledger.commands.batch import ItemResult, check_same_transfer, decide_each
from ledger.commands.command import Command, Decision, States, StreamEvent
from ledger.commands.periods import check_open, period_streams
from ledger.commands.transfers import TransferMoney, check_transfer, move
from ledger.errors import Refused
from ledger.events.accounts import Account, AccountOpened, world_account_id
from ledger.events.transactions import TransferKind
from ledger.events.users import AccountAssigned


class ImportedBalance(msgspec.Struct, frozen=True, kw_only=True):
    """An account, its owner, and the transfer that changes its balance by `cents`, which may be negative or 0."""

    account_id: UUID
    owner_id: UUID
    cents: int
    transaction_id: UUID
    effective_at: datetime | None = None


class ImportAccounts(Command, frozen=True):
    """Open accounts with opening balances from `world`, or correct the balances of accounts that exist already."""

    name: ClassVar[str] = "ImportAccounts"
    always_appends: ClassVar[bool] = False

    currency: str
    balances: tuple[ImportedBalance, ...]

    def streams(self) -> Iterable[UUID]:
        """Return the accounts, their owners, the transfers, `world`, the asset, and the periods if needed."""
        yield world_account_id(self.currency)
        yield from streams_of_asset(self.currency)
        for balance in self.balances:
            yield from (balance.account_id, balance.owner_id, balance.transaction_id)
            yield from period_streams(balance.effective_at)

    def decide(self, states: States) -> Decision:
        """Open or correct each account that is not refused; the result has an `ItemResult` for each."""
        return decide_each(self.balances, states, self._decide)

    def _decide(self, balance: ImportedBalance, states: States) -> tuple[ItemResult, list[StreamEvent]]:
        if states[balance.transaction_id] is not None:
            return ItemResult(balance.transaction_id), []
        check_open(states, balance.effective_at)
        account, events = self._find_or_open(balance, states)
        kind: TransferKind = "opening" if events else "adjustment"
        if balance.cents:
            events += adjust(
                states,
                balance.account_id,
                account,
                balance.cents,
                balance.transaction_id,
                kind,
                force=True,
                description="imported opening balance" if events else "imported balance correction",
                effective_at=balance.effective_at,
            )
        return ItemResult(balance.transaction_id, self.currency), events

    def _find_or_open(self, balance: ImportedBalance, states: States) -> tuple[Account, list[StreamEvent]]:
        """Return the account, and the events that open it if it is new."""
        if states[balance.account_id] is None:
            require_user(states, balance.owner_id)
            check_asset(states, self.currency)
            return Account(balance.owner_id, self.currency), [
                (balance.account_id, AccountOpened(balance.owner_id, self.currency)),
                (balance.owner_id, AccountAssigned(balance.account_id)),
            ]
        if not isinstance(states[balance.account_id], Account):
            raise Refused(errors.account_already_exists(balance.account_id))
        account = require_open_account(states, balance.account_id)
        if account.currency != self.currency:
            raise Refused(errors.currency_mismatch())
        return account, []


class ImportTransfers(Command, frozen=True):
    """Record transfers under their own ids, in order, whether or not their sources have the funds."""

    name: ClassVar[str] = "ImportTransfers"
    always_appends: ClassVar[bool] = False

    transfers: tuple[TransferMoney, ...]

    def streams(self) -> Iterable[UUID]:
        """Return the transfers and their accounts, and the periods if needed."""
        for transfer in self.transfers:
            yield from (transfer.transaction_id, transfer.source_account_id, transfer.destination_account_id)
            yield from period_streams(transfer.effective_at)

    def decide(self, states: States) -> Decision:
        """Record each transfer that is not refused; the result has an `ItemResult` for each."""
        return decide_each(self.transfers, states, _decide_transfer)


def _decide_transfer(transfer: TransferMoney, states: States) -> tuple[ItemResult, list[StreamEvent]]:
    if states[transfer.transaction_id] is not None:
        check_same_transfer(transfer, states)
        return ItemResult(transfer.transaction_id), []
    check_open(states, transfer.effective_at)
    source, destination = check_transfer(
        states, transfer.source_account_id, transfer.destination_account_id, transfer.amount_cents, force=True
    )
    event = transfer.to_event(source.currency)
    events = move(transfer.transaction_id, event, source, destination)
    return ItemResult(transfer.transaction_id, event.currency), events
