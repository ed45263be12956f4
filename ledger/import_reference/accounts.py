"""Import accounts: find their owners, and the opening balances that make them end where the reference has them.

The reference's balances need not follow from its transactions. So an opening balance is the balance there, minus what
the imported transactions of the account move. A later run corrects balances if the reference has changed since, or if
more of its transactions can be imported.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.audit.progress import Progress
from ledger.commands.imports import ImportAccounts, ImportedBalance
from ledger.events import State
from ledger.events.accounts import Account
from ledger.import_reference import source
from ledger.import_reference.books import Imported, RehearsedBooks
from ledger.import_reference.report import Problem, Rejection, Report
from ledger.money import MAX_CENTS
from ledger.values.derived import derived_id, is_derived

CHUNK = 500  # accounts in one command


@dataclass(slots=True)
class Target:
    """An account of the reference that is in the ledger, or will be.

    Only an open account changes. If it `differs`, its owner in the ledger is not the user that the reference names.
    Without `has_history`, none of its transactions are imported. The transactions that are still to be imported move
    `net_cents` in total, and between `low_cents` and `high_cents` on the way.
    """

    account: source.Account
    owner_id: UUID
    exists: bool
    is_open: bool
    imported: Imported
    differs: bool = False
    has_history: bool = True
    net_cents: int = 0
    low_cents: int = 0
    high_cents: int = 0

    @property
    def correction_cents(self) -> int:
        """The amount to move from `world` (to it, if negative) before the missing transactions are imported."""
        return self.account.balance_cents - self.imported.cents - self.net_cents

    @property
    def stays_within_bounds(self) -> bool:
        """Whether the correction and every balance on the way are at most `MAX_CENTS`."""
        start = self.imported.cents + self.imported.moved_cents + self.correction_cents
        bounds = (self.correction_cents, start + self.low_cents, start + self.high_cents)
        return all(abs(cents) <= MAX_CENTS for cents in bounds)

    def move(self, cents: int) -> None:
        """Add the amount of a transaction that is still to be imported."""
        self.net_cents += cents
        self.low_cents = min(self.low_cents, self.net_cents)
        self.high_cents = max(self.high_cents, self.net_cents)

    def reset_moves(self) -> None:
        """Return to the state before the first transaction."""
        self.net_cents = self.low_cents = self.high_cents = 0


Targets = dict[UUID, Target]


async def find_targets(
    books: RehearsedBooks,
    accounts: Sequence[source.Account],
    owners: Mapping[UUID, UUID],
    holder_id: UUID | None,
    report: Report,
) -> Targets:
    """Return the accounts that can be imported or are in the ledger, in order. Report the others."""
    report.accounts.at_reference = len(accounts)
    report.reference_cents = sum(account.balance_cents for account in accounts)
    targets: Targets = {}
    for start in range(0, len(accounts), CHUNK):
        chunk = accounts[start : start + CHUNK]
        ids = [account.id for account in chunk]
        states, imported = await books.states(ids), await books.imported(ids)
        for account in chunk:
            owner_id = owners.get(account.user_id, holder_id)
            target = _create_target(account, owner_id, states[account.id], imported.get(account.id), report.currency)
            if isinstance(target, Problem):
                report.refuse(target)
                continue
            targets[account.id] = target
            if target.differs:
                reason = f"is here already, and does not belong to user {owner_id}"
                report.differ(_create_problem(target, "owner_differs", reason))
    return targets


def _create_target(
    account: source.Account, owner_id: UUID | None, state: State | None, imported: Imported | None, currency: str
) -> Target | Problem:
    if rejection := _reject(account, owner_id, state, imported, currency):
        return Problem("account", account.id, *rejection, cents=account.balance_cents)
    if isinstance(state, Account) and imported is not None:
        is_open = not state.closed and state.frozen == "none"
        differs = owner_id not in {None, state.owner_id}
        return Target(account, owner_id or account.user_id, True, is_open, imported, differs)
    return Target(account, owner_id or account.user_id, False, True, Imported())


def _reject(
    account: source.Account, owner_id: UUID | None, state: State | None, imported: Imported | None, currency: str
) -> Rejection | None:
    """Return why the account cannot be imported, or None."""
    if is_derived(account.id):
        return Rejection("id_reserved", "ids of version 8 are the ledger's own")
    if abs(account.balance_cents) > MAX_CENTS:
        return Rejection("balance_too_large", "its balance exceeds 2^53 - 1")
    if isinstance(state, Account) and imported is not None:
        same = state.currency == currency
        return None if same else Rejection("currency_mismatch", f"is here already, in {state.currency}")
    if state is not None:
        return Rejection("id_taken", "its id is in use here, for something that was not imported")
    if owner_id is None:
        remedy = f"run again with --map-user {account.user_id}=USER, or with --holder USER for all such accounts"
        return Rejection("owner_not_taken", f"its user {account.user_id} is not here", remedy)
    return None


def exclude(targets: Targets, world_cents: int, report: Report) -> bool:
    """Exclude what would move a balance beyond `MAX_CENTS`; return whether the transactions must be read again.

    `world_cents` is the balance of `world` before the import.
    """
    reread = False
    for target in [*targets.values()]:
        if not target.stays_within_bounds and target.has_history and target.low_cents != target.high_cents:
            target.has_history, reread = False, True
            continue
        after = world_cents - target.correction_cents
        if target.stays_within_bounds and abs(after) <= MAX_CENTS:
            world_cents = after
        elif not target.exists:
            reason = "with its opening balance, the balance of world would exceed 2^53 - 1"
            report.refuse(_create_problem(target, "world_too_large", reason))
            del targets[target.account.id]
            reread = True
    return reread


async def open_and_correct(books: RehearsedBooks, targets: Targets, report: Report, progress: Progress) -> None:
    """Open the accounts that are missing, and correct the balances of those that exist."""
    changing = [target for target in targets.values() if _needs_change(target, report)]
    progress.begin("accounts", len(changing))
    for start in range(0, len(changing), CHUNK):
        chunk = changing[start : start + CHUNK]
        command = ImportAccounts(report.currency, tuple(_create_balances(chunk)))
        results = await books.execute(command, weight=len(chunk))
        for target, result in zip(chunk, results, strict=True):
            if result.refusals:
                report.refuse(_create_problem(target, result.refusals[0].code, result.refusals[0].message))
            else:
                _count_result(target, report)
        progress.advance(len(chunk))
    report.taken_cents = sum(target.account.balance_cents for target in targets.values())


def _needs_change(target: Target, report: Report) -> bool:
    if not target.exists:
        return True
    if target.correction_cents == 0:
        report.accounts.already_here += not target.differs
        return False
    if not target.is_open or not target.stays_within_bounds:
        reason = "its balance here cannot be corrected: the account is closed or frozen, or would exceed 2^53 - 1"
        report.differ(_create_problem(target, "not_correctable", reason))
        return False
    return True


def _create_balances(targets: Iterable[Target]) -> Iterator[ImportedBalance]:
    for target in targets:
        account = target.account
        yield ImportedBalance(
            account_id=account.id,
            owner_id=target.owner_id,
            cents=target.correction_cents,
            transaction_id=derived_id("reference-balance", f"{account.id}:{target.imported.openings}"),
            effective_at=None if target.exists else account.created_at,
        )


def _count_result(target: Target, report: Report) -> None:
    if not target.exists:
        report.accounts.taken += 1
        return
    report.accounts.already_here += not target.differs
    report.corrected += 1
    report.corrected_cents += target.correction_cents


def _create_problem(target: Target, code: str, reason: str) -> Problem:
    return Problem("account", target.account.id, code, reason, cents=target.account.balance_cents)
