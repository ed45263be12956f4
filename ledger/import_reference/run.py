"""Run an import: users, then accounts with their opening balances, then transactions, then the proof.

A run imports what is missing from the ledger, so the next run completes one that was killed.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

from ledger.audit.progress import Progress
from ledger.events.users import Name, User, username_stream
from ledger.import_reference.accounts import Targets, exclude, find_targets, open_and_correct
from ledger.import_reference.books import RehearsedBooks
from ledger.import_reference.report import Problem, Proof, Report
from ledger.import_reference.source import Account, Reference, ReferenceUnusableError
from ledger.import_reference.source import User as ReferenceUser
from ledger.import_reference.transactions import project_moves, record
from ledger.import_reference.users import import_users
from ledger.values.ids import parse_id


class Options(NamedTuple):
    """The operator's options. `mapped` and `holder` name users of the ledger, by id or user name.

    `mapped` has the users of the reference as keys. `holder` gets the accounts of users that are not in the ledger.
    """

    currency: str
    mapped: Mapping[UUID, str]
    holder: str | None = None
    balances_only: bool = False


async def import_reference(reference: Reference, books: RehearsedBooks, options: Options, progress: Progress) -> Report:
    """Import what is missing from the ledger. Raises `ReferenceUnusableError`, or another `LedgerError`."""
    report = Report(options.currency, books.is_rehearsal, assets=await books.assets())
    mapped = {user_id: await _resolve_user(books, user) for user_id, user in options.mapped.items()}
    holder_id = None if options.holder is None else await _resolve_user(books, options.holder)
    accounts = await reference.accounts()
    users = await reference.users()  # after the accounts, so that no owner is missing if these are two requests
    _check_mapped(mapped, users, accounts)
    owners = await import_users(books, users, mapped, report, progress)
    targets = await find_targets(books, accounts, owners, holder_id, report)
    with_transactions = reference.lists_transactions and not options.balances_only
    await _project_balances(reference, books, targets, report, with_transactions=with_transactions)
    await open_and_correct(books, targets, report, progress)
    if with_transactions:
        await record(reference, books, targets, report, progress)
    else:
        _note_missing_transactions(options, report)
    if not books.is_rehearsal:
        report.proof = await _prove(books, targets, options.currency)
    return report


async def _project_balances(
    reference: Reference, books: RehearsedBooks, targets: Targets, report: Report, *, with_transactions: bool
) -> None:
    """Find the opening balances that are needed. Each exclusion changes other balances, so this repeats until none."""
    reread = True
    while reread:
        if with_transactions:
            await project_moves(reference, books, targets, report.currency)
        world_cents, _ = await books.totals(report.currency)
        reread = exclude(targets, world_cents, report)


async def _prove(books: RehearsedBooks, targets: Targets, currency: str) -> Proof:
    """Compare every account's balance in the ledger's own tables with the reference's."""
    proof = Proof()
    imported = await books.imported([*targets])
    for target in targets.values():
        now = imported.get(target.account.id)
        if now is not None:
            proof.compare(target.account.id, target.account.balance_cents, now.cents, now.moved_cents)
    proof.world_cents, proof.trial_balance_cents = await books.totals(currency)
    return proof


def _note_missing_transactions(options: Options, report: Report) -> None:
    if options.balances_only:
        report.notes.append("transactions were not imported: --balances-only")
        return
    reason = "the reference's API does not list them"
    remedy = "give the URL of its database, or --balances-only if balances are enough"
    report.refuse(Problem("transaction", None, "not_listed", reason, remedy))


async def _resolve_user(books: RehearsedBooks, given: str) -> UUID:
    """Return the user of the ledger with this id or user name."""
    user_id = _parse_id_or_none(given)
    if user_id is None:
        stream = username_stream(given)
        name = (await books.states([stream]))[stream]
        user_id = name.holder_id if isinstance(name, Name) else None
    if user_id is not None:
        user = (await books.states([user_id]))[user_id]
        if isinstance(user, User) and not user.deleted:
            return user_id
    raise ReferenceUnusableError(f"the ledger has no user {given!a}")


def _parse_id_or_none(text: str) -> UUID | None:
    try:
        return parse_id(text)
    except ValueError:
        return None


def _check_mapped(mapped: Mapping[UUID, UUID], users: Collection[ReferenceUser], accounts: Collection[Account]) -> None:
    known = {user.id for user in users} | {account.user_id for account in accounts}
    if unknown := mapped.keys() - known:
        raise ReferenceUnusableError(f"--map-user: the reference has no user {min(unknown)}")
