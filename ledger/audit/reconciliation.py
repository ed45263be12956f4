"""Compare a statement of a bank with the entries of an account: what is on both, and what is missing on either."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ledger.audit import effective_entries
from ledger.audit.effective_entries import Period, Place
from ledger.commands.matching import Candidate, Line, Matching, NewLine, identify_lines, match
from ledger.commands.reconciliations import (
    MAX_ENTRIES,
    MatchedLine,
    ReconcileStatement,
    Statement,
    too_many_entries,
)
from ledger.errors import Refused
from ledger.projections import dated_entries, reconciliations
from ledger.projections.reconciliations import Matched
from ledger.store.connections import Reader

_CHUNK = 1000  # entries that are read at once
_REFERENCES = (
    "bank_reference",
    "end_to_end_id",
    "customer_reference",
)  # members of metadata that `ledger import` writes


class BankBalance(NamedTuple):
    """A balance on a statement: that at the end of a day, or for an opening balance possibly of the day before."""

    day: date
    cents: int


class NewStatement(NamedTuple):
    """A statement to compare. It has a line or a closing balance."""

    lines: Sequence[NewLine]
    opening: BankBalance | None
    closing: BankBalance | None
    source: str | None
    window_days: int

    def days(self) -> tuple[date, date]:
        """Return the first and the last day of the statement.

        Some banks date the opening balance on the first day of a statement, others on the day before.
        """
        days = [line.day for line in self.lines]
        last = max([*days, *([self.closing.day] if self.closing else [])])
        return min([*days, *([_shift(self.opening.day, 1)] if self.opening else []), last]), last


def _shift(day: date, days: int) -> date:
    """Return the day so many days later, within the calendar."""
    return date.fromordinal(min(max(day.toordinal() + days, 1), date.max.toordinal()))


class _Compared(NamedTuple):
    """The lines of a statement in its order, those that were matched before, and the entries by their versions."""

    lines: Sequence[Line]
    known: Mapping[str, Matched]
    entries: Mapping[int, dict[str, Any]]
    taken: Mapping[int, Matched]
    days: tuple[date, date]


async def compare(
    reader: Reader, account_id: UUID, statement: NewStatement, reconciliation_id: UUID, position: int
) -> ReconcileStatement:
    """Return the command that records what is certain, with the report of everything.

    The version of the account's reconciliations is read first: whatever is read after it belongs to it, or the command
    is stale. Raises `Refused` if the account has too many entries on these days.
    """
    version = await reconciliations.read_version(reader, account_id)
    first, last = statement.days()
    lines = identify_lines(statement.lines)
    known = await reconciliations.find_lines(reader, account_id, [line.key for line in lines])
    window = statement.window_days
    entries = await _read_entries(reader, account_id, (_shift(first, -window), _shift(last, window)), position)
    taken = await reconciliations.find_matched(reader, account_id, list(entries))
    compared = _Compared(lines, known, entries, taken, (first, last))
    matching = await asyncio.to_thread(_match, compared, window)  # thousands of lines take a while
    report = {
        "account_id": str(account_id),
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        **_report(compared, matching),
        **await _compare_balances(reader, account_id, statement, position),
    }
    if matching.matches:
        report = {"id": str(reconciliation_id), **report}
    by_key = {line.key: line for line in lines}
    return ReconcileStatement(
        account_id=account_id,
        reconciliation_id=reconciliation_id,
        known_version=version,
        statement=Statement(
            first,
            last,
            statement.source,
            statement.opening and statement.opening.cents,
            statement.closing and statement.closing.cents,
        ),
        matched=tuple(
            MatchedLine(one.key, by_key[one.key].day, one.version, entries[one.version]["transaction_id"], one.by)
            for one in matching.matches
        ),
        report=msgspec.json.encode(report).decode(),
    )


def _match(compared: _Compared, window_days: int) -> Matching:
    keys = {line.key for line in compared.lines}
    candidates = []
    for version, entry in compared.entries.items():
        matched = compared.taken.get(version)
        if matched is None:
            candidates.append(_to_candidate(entry))
        elif matched.line_key not in keys:
            candidates.append(Candidate(version, matched.line_day, entry["amount_cents"], is_taken=True))
    return match(
        {line.key: line for line in compared.lines if line.key not in compared.known}.values(), candidates, window_days
    )


def _to_candidate(entry: Mapping[str, Any]) -> Candidate:
    metadata = entry.get("metadata") or {}
    references = {entry["reference"], *(metadata.get(name) for name in _REFERENCES)} - {None}
    bank_reference = metadata.get("bank_reference")
    return Candidate(entry["version"], _day_of(entry), entry["amount_cents"], frozenset(references), bank_reference)


def _day_of(entry: Mapping[str, Any]) -> date:
    counted: datetime = entry["effective_at"]
    return counted.astimezone(UTC).date()


async def _read_entries(
    reader: Reader, account_id: UUID, days: tuple[date, date], position: int
) -> dict[int, dict[str, Any]]:
    """Return the entries that count on these days, by version. Raises `Refused` if they are too many."""
    period = Period(datetime.combine(days[0], time.min, UTC), datetime.combine(days[1], time.max, UTC), position)
    found: dict[int, dict[str, Any]] = {}
    place: Place | None = None
    while True:
        items, place = await effective_entries.list_entries(
            reader, account_id, period, place, ascending=True, limit=_CHUNK
        )
        found |= {item["version"]: item for item in items}
        if len(found) > MAX_ENTRIES:
            raise Refused(too_many_entries())
        if place is None:
            return found


def _report(compared: _Compared, matching: Matching) -> dict[str, Any]:
    """Return the outcome of each line, by its number, and the entries that the statement lacks."""
    numbers: dict[str, int] = {}
    repeated = []
    for number, line in enumerate(compared.lines):
        if numbers.setdefault(line.key, number) != number:
            repeated.append(number)
    first, last = compared.days
    return {
        "matched": [
            {
                "line": numbers[one.key],
                "entry_version": one.version,
                "transaction_id": str(compared.entries[one.version]["transaction_id"]),
                "by": one.by,
            }
            for one in sorted(matching.matches, key=lambda one: numbers[one.key])
        ],
        "reconciled_before": [
            {
                "line": numbers[key],
                "entry_version": one.version,
                "reconciliation_id": str(one.reconciliation_id),
            }
            for key, one in sorted(compared.known.items(), key=lambda item: numbers[item[0]])
        ],
        "repeated": repeated,
        "missing_in_ledger": sorted(numbers[line.key] for line in matching.lines_left),
        "missing_in_statement": [
            _describe(compared, entry.version)
            for entry in sorted(matching.entries_left, key=lambda entry: entry.version)
            if first <= entry.day <= last
        ],
        "ambiguous": [
            {
                "lines": sorted(numbers[key] for key in group.keys),
                "entries": [_describe(compared, version) for version in group.versions],
            }
            for group in matching.ambiguities
        ],
    }


def _describe(compared: _Compared, version: int) -> dict[str, Any]:
    entry, taken = compared.entries[version], compared.taken.get(version)
    described = {
        "entry_version": version,
        "transaction_id": str(entry["transaction_id"]),
        "day": _day_of(entry).isoformat(),
        "amount_cents": entry["amount_cents"],
        "reference": entry["reference"],
        "description": entry.get("description"),
        "reconciliation_id": None if taken is None else str(taken.reconciliation_id),
    }
    return {name: value for name, value in described.items() if value is not None}


async def _compare_balances(
    reader: Reader, account_id: UUID, statement: NewStatement, position: int
) -> dict[str, dict[str, Any]]:
    """Return the balances of the statement beside those of the account before its first and after its last day."""
    first, last = statement.days()
    compared = {}
    for name, balance, day in (("opening", statement.opening, _shift(first, -1)), ("closing", statement.closing, last)):
        if balance is not None:
            at = datetime.combine(day, time.max, UTC)
            ours = (await dated_entries.balances_as_of(reader, [account_id], at, position))[account_id]
            compared[name] = {
                "day": day.isoformat(),
                "statement_cents": balance.cents,
                "ledger_cents": ours,
                "difference_cents": ours - balance.cents,
            }
    return compared
