"""Transfers: all money that leaves one account enters another, so all balances always sum to zero."""

from collections.abc import Iterable, Sequence
from typing import ClassVar
from uuid import UUID

from ledger import errors
from ledger.commands.command import Decision, States, StreamEvent, state_of
from ledger.commands.expected_version import check_version
from ledger.commands.periods import check_open, period_streams
from ledger.commands.transaction import TransactionCommand, add_details
from ledger.errors import Refusal, Refused
from ledger.events.accounts import Account, AccountCredited, AccountDebited
from ledger.events.clients import Client
from ledger.events.transactions import MoneyTransferred, copy_details
from ledger.money import MAX_CENTS


class TransferMoney(TransactionCommand, frozen=True, kw_only=True):
    """Move `amount_cents` (1 to `MAX_CENTS`).

    It may require the source to be at one of the `expected` versions, and to have at least `source_available_min_cents`
    available before the transfer.
    """

    name: ClassVar[str] = "TransferMoney"
    always_appends: ClassVar[bool] = True
    derives_result: ClassVar[bool] = True

    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    source_available_min_cents: int | None = None
    expected: frozenset[int] | None = None

    def depends_on_versions(self) -> bool:
        """Return whether the decision needs the version of the source."""
        return self.expected is not None

    def streams(self) -> Iterable[UUID]:
        """Return both accounts, the client that pays and the periods, if needed, and the streams to reserve."""
        accounts: tuple[UUID, ...] = (self.source_account_id, self.destination_account_id)
        if self.by_client:
            accounts += self.payer_streams()
        if self.effective_at is not None:
            accounts += period_streams(self.effective_at)
        if self.reference is None and not self.id_was_chosen:
            return accounts
        return (*accounts, *self.reserves())

    def decide(self, states: States) -> Decision:
        """Return both entries. Raises `Refused` with every refusal, in the contract's order."""
        transfer, events = self.decide_transfer(states)
        return Decision(events, transfer_result(self.transaction_id, transfer))

    @classmethod
    def derive_result(cls, events: Sequence[StreamEvent]) -> dict[str, object]:
        """Return the transfer, which is the first of its events."""
        transaction_id, transfer = events[0]
        assert isinstance(transfer, MoneyTransferred)  # noqa: S101 - `decide` begins with it
        return transfer_result(transaction_id, transfer)

    def decide_transfer(self, states: States) -> tuple[MoneyTransferred, list[StreamEvent]]:
        """Return the transfer and all its events, without a result."""
        if self.may_debit(states):
            self.check_unreserved(states)
            if self.expected is not None or self.source_available_min_cents is not None:
                self._check_conditions(states)
            if self.effective_at is not None:
                check_open(states, self.effective_at)
        source, destination = check_transfer(
            states, self.source_account_id, self.destination_account_id, self.amount_cents, self.only_owner_id
        )
        transfer = self.to_event(source.currency)
        events = move(self.transaction_id, transfer, source, destination)
        if self.reference is not None:
            events += self.use_reference(states)
        return transfer, events

    def may_debit(self, states: States) -> bool:
        """Return whether the source exists and the caller may debit it.

        If not, the refusal must say nothing about ids, references and versions: `check_transfer` refuses the source.
        """
        return find_payable(states, self.source_account_id, self.only_owner_id) is not None

    def to_event(self, currency: str) -> MoneyTransferred:
        """Return the event that records this transfer."""
        transfer = MoneyTransferred(
            source_account_id=self.source_account_id,
            destination_account_id=self.destination_account_id,
            amount_cents=self.amount_cents,
            currency=currency,
            kind="transfer",
            reference=self.reference,
        )
        return copy_details(self, transfer)

    def _check_conditions(self, states: States) -> None:
        check_version(states, self.source_account_id, self.expected)
        source, minimum = state_of(states, self.source_account_id, Account), self.source_available_min_cents
        if source is not None and minimum is not None and source.available_cents < minimum:
            raise Refused(errors.condition_not_met("/conditions/source_available_min_cents"))


def check_transfer(
    states: States,
    source_id: UUID,
    destination_id: UUID,
    cents: int,
    only_owner_id: UUID | None = None,
    *,
    force: bool = False,
) -> tuple[Account, Account]:
    """Return the source and the destination of a transfer. With `force`, ignore insufficient funds.

    Raises `Refused` with every refusal, in the contract's order.
    """
    source = find_payable(states, source_id, only_owner_id)
    destination = state_of(states, destination_id, Account)
    refusals = (
        debit_refusal(source_id, source, cents, force=force),
        errors.accounts_are_same()
        if source_id == destination_id
        else credit_refusal(destination_id, destination, cents),
    )
    if refusals != (None, None) or source is None or destination is None:
        raise Refused(*(refusal for refusal in refusals if refusal is not None))
    return source, destination


def find_payable(states: States, account_id: UUID, only_owner_id: UUID | None) -> Account | None:
    """Return an account that the payer may debit, or None: another user's account looks like a missing one.

    The payer may debit all accounts if it is None, those of a user, or those within the limits of a client.
    """
    account = state_of(states, account_id, Account)
    if account is None or only_owner_id is None or account.owner_id == only_owner_id:
        return account
    client = states.get(only_owner_id)
    return account if isinstance(client, Client) and client.grants.may_debit(account_id, account.owner_id) else None


def debit_refusal(account_id: UUID, account: Account | None, cents: int, *, force: bool = False) -> Refusal | None:
    """Return the refusal that forbids debiting `cents`, or None. With `force`, ignore insufficient funds."""
    if account is None:
        return errors.source_account_not_found(account_id)
    if account.closed:
        return errors.account_closed(account_id)
    if account.frozen != "none":
        return errors.account_frozen(account_id)
    if not force and account.available_cents < cents and not account.is_world:
        return errors.insufficient_funds()
    return None


def credit_refusal(account_id: UUID, account: Account | None, cents: int) -> Refusal | None:
    """Return the refusal that forbids crediting `cents` to an account, or None."""
    if account is None:
        return errors.destination_account_not_found(account_id)
    if account.closed:
        return errors.account_closed(account_id)
    if account.frozen == "all":
        return errors.account_frozen(account_id)
    if account.max_balance_cents is not None and not account.has_room_for(cents):
        return errors.account_limit_exceeded(account_id)
    return None


def move(
    transaction_id: UUID,
    transfer: MoneyTransferred,
    source: Account,
    destination: Account,
    *,
    pointer: str = "/amount_cents",
) -> list[StreamEvent]:
    """Return the transfer and its two entries. Raises `Refused` on two currencies, or a balance beyond `MAX_CENTS`.

    `pointer` names the member of the request that gives the amount.
    """
    if source.currency != destination.currency:
        raise Refused(errors.currency_mismatch())
    amount = transfer.amount_cents
    return [
        (transaction_id, transfer),
        (transfer.source_account_id, debit(transaction_id, source, amount, pointer)),
        (transfer.destination_account_id, credit(transaction_id, destination, amount, pointer)),
    ]


def debit(transaction_id: UUID, account: Account, cents: int, pointer: str) -> AccountDebited:
    """Return the entry that debits an account. Raises `Refused` on a balance beyond `MAX_CENTS`."""
    balance = account.balance_cents - cents
    if balance < -MAX_CENTS:
        raise Refused(errors.invalid(pointer, "must not bring a balance beyond 2^53 - 1"))
    return AccountDebited(transaction_id, cents, balance)


def credit(transaction_id: UUID, account: Account, cents: int, pointer: str) -> AccountCredited:
    """Return the entry that credits an account. Raises `Refused` on a balance beyond `MAX_CENTS`."""
    balance = account.balance_cents + cents
    if balance > MAX_CENTS:
        raise Refused(errors.invalid(pointer, "must not bring a balance beyond 2^53 - 1"))
    return AccountCredited(transaction_id, cents, balance)


def transfer_result(transaction_id: UUID, transfer: MoneyTransferred) -> dict[str, object]:
    """Return a transfer as clients see it."""
    result: dict[str, object] = {
        "id": str(transaction_id),
        "source_account_id": str(transfer.source_account_id),
        "destination_account_id": str(transfer.destination_account_id),
        "amount_cents": transfer.amount_cents,
        "currency": transfer.currency,
        "kind": transfer.kind,
        "reference": transfer.reference,
        "status": "posted",
    }
    if transfer.reverses is not None:
        result["reverses"] = str(transfer.reverses)
    return add_details(result, transfer)
