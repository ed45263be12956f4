"""Takes over transactions: which of them can be transfers here, and why the others cannot.

Those that cannot have moved money all the same, which the opening balances of their accounts make up for.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from ledger.audit.progress import Progress
from ledger.commands.imports import ImportTransfers
from ledger.commands.transfers import TransferMoney
from ledger.events import State
from ledger.events.transactions import Transfer
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


class Judged(NamedTuple):
    """A transaction, with "new", "already here", or the code of the reason why it cannot be taken."""

    transaction: Transaction
    verdict: str


def judge(transaction: Transaction, state: State | None, targets: Targets, currency: str) -> str:
    """Return "new", "already here", or the code of the reason why the transaction cannot be taken.

    `state` is that of the stream of its id.
    """
    if code := _against_row(transaction):
        return code
    if state is not None:
        is_same = isinstance(state, Transfer) and state.made == as_transfer(transaction).made(currency)
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
        transaction.id,
        transaction.source_account_id,
        transaction.destination_account_id,
        transaction.amount_cents,
        id_was_chosen=True,
        effective_at=transaction.created_at,
    )


async def judged(
    reference: Reference, books: RehearsedBooks, targets: Targets, currency: str
) -> AsyncIterator[Sequence[Judged]]:
    """Yield all transactions in pieces, oldest first, with what is to become of each."""
    async for piece in reference.transactions():
        states: Mapping[UUID, State | None] = await books.states([transaction.id for transaction in piece])
        yield [Judged(row, judge(row, states[row.id], targets, currency)) for row in piece]


async def survey(reference: Reference, books: RehearsedBooks, targets: Targets, currency: str) -> None:
    """Find out what the transactions that are still to be taken will move."""
    for target in targets.values():
        target.forget_moves()
    async for piece in judged(reference, books, targets, currency):
        for transaction, verdict in piece:
            if verdict == "new":
                targets[transaction.source_account_id].move(-transaction.amount_cents)
                targets[transaction.destination_account_id].move(transaction.amount_cents)


async def record(
    reference: Reference, books: RehearsedBooks, targets: Targets, report: Report, progress: Progress
) -> None:
    """Record the transactions that are new, and report the result of each."""
    report.transactions.at_reference = await reference.count_transactions()
    progress.begin("transactions", report.transactions.at_reference)
    async for piece in judged(reference, books, targets, report.currency):
        new = [transaction for transaction, verdict in piece if verdict == "new"]
        report.transactions.already_here += sum(verdict == "already here" for _, verdict in piece)
        for transaction, verdict in piece:
            if verdict in REASONS:
                _refuse(transaction, verdict, f"{REASONS[verdict]}; {_KEPT_IN_BALANCE}", report)
        if books.is_rehearsal:
            report.transactions.taken += len(new)
        elif new:
            await _record_piece(books, new, report)
        progress.advance(len(piece))


async def _record_piece(books: RehearsedBooks, new: Sequence[Transaction], report: Report) -> None:
    command = ImportTransfers(tuple(as_transfer(transaction) for transaction in new))
    results = await books.carry_out(command, weight=len(new))
    for transaction, result in zip(new, results, strict=True):
        if result.refusals:  # something changed since the survey
            _refuse(transaction, result.refusals[0].code, result.refusals[0].message, report)
        elif result.currency is None:
            report.transactions.already_here += 1
        else:
            report.transactions.taken += 1


def _refuse(transaction: Transaction, code: str, reason: str, report: Report) -> None:
    report.refuse(Problem("transaction", transaction.id, code, reason, cents=transaction.amount_cents))


def _against_row(transaction: Transaction) -> str | None:
    """Return the code of what is wrong with a row, whatever else there is."""
    if is_derived(transaction.id):
        return "id_reserved"
    if transaction.amount_cents <= 0:
        return "amount_not_positive"
    if transaction.amount_cents > MAX_CENTS:
        return "amount_too_large"
    if transaction.source_account_id == transaction.destination_account_id:
        return "accounts_are_same"
    return "date_out_of_range" if transaction.created_at is None else None
