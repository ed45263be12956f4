"""Import transactions: find those that can be transfers in the ledger, and report why the others cannot.

Transactions that cannot be imported have moved money all the same: the opening balances of their accounts include it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from ledger.audit.progress import Progress
from ledger.commands.imports import ImportTransfers
from ledger.commands.transfers import TransferMoney
from ledger.events import State, transactions
from ledger.import_reference.accounts import Targets
from ledger.import_reference.books import RehearsedBooks
from ledger.import_reference.report import Problem, Report
from ledger.import_reference.source import Reference, Transaction
from ledger.money import MAX_CENTS
from ledger.values.derived import is_derived

REASONS = {
    "id_reserved": "ids of version 8 are the ledger's own",
    "amount_not_positive": "its amount is not positive",
    "amount_too_large": "its amount exceeds 2^53 - 1",
    "accounts_are_same": "its source and destination accounts are the same",
    "date_out_of_range": "its date is outside the years 1 to 9999",
    "id_taken": "its id is in use here, for something else",
    "account_not_taken": "one of its accounts is not here",
    "account_not_open": "one of its accounts is closed or frozen here",
    "balance_too_large": "the balance of one of its accounts would exceed 2^53 - 1 on the way",
}
_KEPT_IN_BALANCE = "its effect is in the imported balances"


class Classified(NamedTuple):
    """A transaction with its kind: "new", "already here", or the code of the reason why it cannot be imported."""

    transaction: Transaction
    kind: str


def classify(transaction: Transaction, state: State | None, targets: Targets, currency: str) -> str:
    """Return "new", "already here", or the code of the reason why the transaction cannot be imported.

    `state` is the state of the stream with its id.
    """
    if code := _reject_row(transaction):
        return code
    if state is not None:
        is_same = isinstance(state, transactions.Transaction) and state.transfer == as_transfer(transaction).to_event(
            currency
        )
        return "already here" if is_same else "id_taken"
    sides = [targets.get(transaction.source_account_id), targets.get(transaction.destination_account_id)]
    if any(side is None for side in sides):
        return "account_not_taken"
    if transaction.id in targets:
        return "id_taken"
    if not all(side.is_open for side in sides if side is not None):
        return "account_not_open"
    return "new" if all(side.has_history for side in sides if side is not None) else "balance_too_large"


def as_transfer(transaction: Transaction) -> TransferMoney:
    """Return the transfer that records the transaction, under its own id and date."""
    return TransferMoney(
        transaction_id=transaction.id,
        source_account_id=transaction.source_account_id,
        destination_account_id=transaction.destination_account_id,
        amount_cents=transaction.amount_cents,
        id_was_chosen=True,
        effective_at=transaction.created_at,
    )


async def classify_all(
    reference: Reference, books: RehearsedBooks, targets: Targets, currency: str
) -> AsyncIterator[Sequence[Classified]]:
    """Yield all transactions in chunks, oldest first, each with its kind."""
    async for chunk in reference.transactions():
        states: Mapping[UUID, State | None] = await books.states([transaction.id for transaction in chunk])
        yield [Classified(row, classify(row, states[row.id], targets, currency)) for row in chunk]


async def project_moves(reference: Reference, books: RehearsedBooks, targets: Targets, currency: str) -> None:
    """Compute how much the transactions that are still to be imported will move."""
    for target in targets.values():
        target.reset_moves()
    async for chunk in classify_all(reference, books, targets, currency):
        for transaction, kind in chunk:
            if kind == "new":
                targets[transaction.source_account_id].move(-transaction.amount_cents)
                targets[transaction.destination_account_id].move(transaction.amount_cents)


async def record(
    reference: Reference, books: RehearsedBooks, targets: Targets, report: Report, progress: Progress
) -> None:
    """Record the transactions that are new, and report the result of each."""
    report.transactions.at_reference = await reference.count_transactions()
    progress.begin("transactions", report.transactions.at_reference)
    async for chunk in classify_all(reference, books, targets, report.currency):
        new = [transaction for transaction, kind in chunk if kind == "new"]
        report.transactions.already_here += sum(kind == "already here" for _, kind in chunk)
        for transaction, kind in chunk:
            if kind in REASONS:
                _refuse(transaction, kind, f"{REASONS[kind]}; {_KEPT_IN_BALANCE}", report)
        if books.is_rehearsal:
            report.transactions.taken += len(new)
        elif new:
            await _record_chunk(books, new, report)
        progress.advance(len(chunk))


async def _record_chunk(books: RehearsedBooks, new: Sequence[Transaction], report: Report) -> None:
    command = ImportTransfers(tuple(as_transfer(transaction) for transaction in new))
    results = await books.execute(command, weight=len(new))
    for transaction, result in zip(new, results, strict=True):
        if result.refusals:  # the ledger has changed since the transaction was classified
            _refuse(transaction, result.refusals[0].code, result.refusals[0].message, report)
        elif result.currency is None:
            report.transactions.already_here += 1
        else:
            report.transactions.taken += 1


def _refuse(transaction: Transaction, code: str, reason: str, report: Report) -> None:
    report.refuse(Problem("transaction", transaction.id, code, reason, cents=transaction.amount_cents))


def _reject_row(transaction: Transaction) -> str | None:
    """Return the code of the reason why no ledger could import the row, or None."""
    if is_derived(transaction.id):
        return "id_reserved"
    if transaction.amount_cents <= 0:
        return "amount_not_positive"
    if transaction.amount_cents > MAX_CENTS:
        return "amount_too_large"
    if transaction.source_account_id == transaction.destination_account_id:
        return "accounts_are_same"
    return "date_out_of_range" if transaction.created_at is None else None
