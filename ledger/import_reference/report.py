"""Report the result of an import, and prove that the balances equal those of the reference."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import UUID

from ledger.money import CURRENCIES_ALONE, Assets, format_sums

MAX_LISTED = 1000  # problems, and differences of balances; the counts include all

Resource = Literal["user", "account", "transaction"]


class Rejection(NamedTuple):
    """Why a row of the reference cannot be imported. The code is stable."""

    code: str
    reason: str
    remedy: str | None = None


class Problem(NamedTuple):
    """Why a row of the reference was not imported, or differs from the ledger. `cents` is its balance or amount."""

    resource: Resource
    id: UUID | None
    code: str
    reason: str
    remedy: str | None = None
    name: str | None = None
    cents: int | None = None

    def body(self) -> dict[str, Any]:
        """Return the members of the problem as JSON, without those that are None."""
        members = {**self._asdict(), "id": None if self.id is None else str(self.id)}
        return {name: value for name, value in members.items() if value is not None}

    def text(self, currency: str, assets: Assets) -> str:
        """Return the problem as one line, with control characters in names escaped."""
        name = "" if self.name is None else f" {self.name!a}"
        cents = "" if self.cents is None else f" of {assets.format(self.cents, currency)} {currency}"
        remedy = "" if self.remedy is None else f" ({self.remedy})"
        subject = "s" if self.id is None else f" {self.id}{name}{cents}"
        return f"{self.resource}{subject}: {self.reason}{remedy}"


@dataclass(slots=True)
class Tally:
    """The number of rows that a table of the reference has, and the number with each result."""

    at_reference: int = 0
    taken: int = 0
    already_here: int = 0
    differing: int = 0
    not_taken: int = 0


class Difference(NamedTuple):
    """An account whose imported balance differs from the reference's."""

    account_id: UUID
    reference_cents: int
    imported_cents: int


@dataclass(slots=True)
class Proof:
    """The balances in the ledger's own tables after the import, compared account by account and in total."""

    accounts: int = 0
    imported_cents: int = 0
    differing: int = 0
    differences: list[Difference] = field(default_factory=list)
    moved_accounts: int = 0
    moved_cents: int = 0
    world_cents: int = 0
    trial_balance_cents: int = 0

    def compare(self, account_id: UUID, reference_cents: int, imported_cents: int, moved_cents: int) -> None:
        """Compare one account: what the import moved into it, and what others have moved since."""
        self.accounts += 1
        self.imported_cents += imported_cents
        self.moved_accounts += moved_cents != 0
        self.moved_cents += moved_cents
        if imported_cents != reference_cents:
            self.differing += 1
            if len(self.differences) < MAX_LISTED:
                self.differences.append(Difference(account_id, reference_cents, imported_cents))


@dataclass(slots=True)
class Report:
    """The whole report. A dry run has no `proof`."""

    currency: str
    dry_run: bool
    users: Tally = field(default_factory=Tally)
    accounts: Tally = field(default_factory=Tally)
    transactions: Tally = field(default_factory=Tally)
    corrected: int = 0
    corrected_cents: int = 0
    reference_cents: int = 0
    taken_cents: int = 0
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[tuple[Resource, str]] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    proof: Proof | None = None
    assets: Assets = CURRENCIES_ALONE

    def refuse(self, problem: Problem) -> None:
        """Add a row that was not imported."""
        self._tally(problem.resource).not_taken += problem.id is not None
        self._list(problem)

    def differ(self, problem: Problem) -> None:
        """Add a row that the ledger has with other content."""
        self._tally(problem.resource).differing += 1
        self._list(problem)

    @property
    def is_proved(self) -> bool:
        """Whether every imported balance equals the reference's, and all balances in the ledger sum to zero."""
        proof = self.proof
        return (
            proof is not None
            and proof.differing == 0
            and proof.imported_cents == self.taken_cents
            and proof.trial_balance_cents == 0
        )

    @property
    def is_complete(self) -> bool:
        """Whether everything was imported (in a dry run: would be) as it is at the reference."""
        return not self.counts and (self.dry_run or self.is_proved)

    def _tally(self, resource: Resource) -> Tally:
        return {"user": self.users, "account": self.accounts, "transaction": self.transactions}[resource]

    def _list(self, problem: Problem) -> None:
        self.counts[problem.resource, problem.code] += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append(problem)

    def body(self) -> dict[str, Any]:
        """Return the report as one JSON document."""
        proof = None
        if self.proof is not None:
            differences = [
                {"account_id": str(account_id), **format_sums(reference_cents=reference, imported_cents=imported)}
                for account_id, reference, imported in self.proof.differences
            ]
            proof = {**_members(self.proof), **_sums(self.proof), "differences": differences}
        return {
            "complete": self.is_complete,
            "proved": self.is_proved,
            **{name: value for name, value in _members(self).items() if name != "assets"},
            **_sums(self),
            **format_sums(not_taken_cents=self.reference_cents - self.taken_cents),
            "users": _members(self.users),
            "accounts": _members(self.accounts),
            "transactions": _members(self.transactions),
            "problems": [problem.body() for problem in self.problems],
            "counts": {f"{resource}.{code}": count for (resource, code), count in sorted(self.counts.items())},
            "proof": proof,
        }

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        yield from self._format_table()
        if self.problems:
            yield ""
            yield from (problem.text(self.currency, self.assets) for problem in self.problems)
            if (rest := sum(self.counts.values()) - len(self.problems)) > 0:
                yield f"and {rest:,} more"
        yield ""
        yield from self._format_sums()
        yield from self._format_proof()
        yield from self.notes

    def _format_table(self) -> Iterator[str]:
        taken = "to be taken" if self.dry_run else "taken"
        row = "{:<14}{:>14}{:>14}{:>14}{:>14}{:>14}"
        yield row.format("", "at reference", taken, "already here", "differing", "not taken")
        for name in ("users", "accounts", "transactions"):
            tally = getattr(self, name)
            yield row.format(name, *(f"{count:,}" for count in _members(tally).values()))

    def _format_sums(self) -> Iterator[str]:
        rows = [
            ("balances at the reference", self.reference_cents),
            ("of accounts not taken", self.reference_cents - self.taken_cents),
            (f"of accounts {'to be ' if self.dry_run else ''}taken", self.taken_cents),
        ]
        if self.proof is not None:
            rows += [
                ("the same in the ledger", self.proof.imported_cents),
                ("moved here since", self.proof.moved_cents),
                ("balance of world", self.proof.world_cents),
                ("sum of all balances", self.proof.trial_balance_cents),
            ]
        texts = [(name, self.assets.format(cents, self.currency)) for name, cents in rows]
        width = max(len(text) for _, text in texts)
        yield from (f"{name:<28}{text:>{width}} {self.currency}" for name, text in texts)
        if self.corrected:
            cents = self.assets.format(self.corrected_cents, self.currency)
            yield f"corrected since an earlier run: {self.corrected:,} balances, by {cents} {self.currency} in total"

    def _format_proof(self) -> Iterator[str]:
        if self.proof is None:
            yield "dry run: nothing was written"
            return
        for difference in self.proof.differences:
            cents = [self.assets.format(value, self.currency) for value in difference[1:]]
            yield f"account {difference.account_id}: {cents[0]} at the reference, {cents[1]} in the ledger"
        equal = self.proof.accounts - self.proof.differing
        result = "proved" if self.is_proved else "NOT PROVED"
        yield f"{result}: {equal:,} of {self.proof.accounts:,} balances equal the reference's"


def _members(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def _sums(row: Any) -> dict[str, Any]:
    return format_sums(**{name: cents for name, cents in _members(row).items() if name.endswith("_cents")})
