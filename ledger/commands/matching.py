"""Match the lines of a bank's statement with the entries of an account, and say what is left on either side.

A line and an entry can be the same if they have the same signed amount, and their days are at most a window apart. They
are matched if each is the only choice for the other: first by a reference that both have, then on the same day, then
within the window. What stays ambiguous is not matched. The result does not depend on the order of either side.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from ledger.events.reconciliations import By
from ledger.values.derived import text_digest

MAX_PAIRS = 100_000  # lines times entries of one amount; beyond that, only references match them
_KEY_LENGTH = 32  # hexadecimal digits


class Line(NamedTuple):
    """A line of a statement. `key` identifies it; `bank_reference` is the bank's own, which no other line has."""

    key: str
    day: date
    amount_cents: int
    bank_reference: str | None = None
    end_to_end_id: str | None = None
    text: str = ""

    @property
    def content(self) -> tuple[date, str | None, str | None, str]:
        """Return what tells lines of one amount apart; lines with the same content are interchangeable."""
        return self.day, self.bank_reference, self.end_to_end_id, self.text


class NewLine(NamedTuple):
    """A line of a statement as the client sends it."""

    day: date
    amount_cents: int
    bank_reference: str | None = None
    end_to_end_id: str | None = None
    text: str = ""


def identify_lines(lines: Iterable[NewLine]) -> list[Line]:
    """Return the lines with their keys, in order.

    The bank's reference makes lines with the same day and amount the same line. Without one, lines that say the same
    are counted, so that each of them is a line, also of a statement that overlaps with another one.
    """
    counts: Counter[NewLine] = Counter()
    identified = []
    for line in lines:
        said: tuple[object, ...] = (line.day, line.amount_cents, line.bank_reference)
        if line.bank_reference is None:
            counts[line] += 1
            said = (*said, line.end_to_end_id, line.text, counts[line])
        identified.append(Line(text_digest(repr([str(part) for part in said]))[:_KEY_LENGTH], *line))
    return identified


class Candidate(NamedTuple):
    """An entry of the account. `references` are all that it says, and `bank_reference` is the one of a bank's line.

    One that `is_taken` is matched with a line that is not in this statement, at least not under the same key. `day` is
    then that of this line.
    """

    version: int
    day: date
    amount_cents: int
    references: frozenset[str] = frozenset()
    bank_reference: str | None = None
    is_taken: bool = False


class Match(NamedTuple):
    """A line and the version of the entry that it is."""

    key: str
    version: int
    by: By


class Ambiguity(NamedTuple):
    """Lines that could be any of some entries: the keys of the lines, and the versions of the entries."""

    keys: tuple[str, ...]
    versions: tuple[int, ...]


class Matching(NamedTuple):
    """The outcome of a comparison: each line and each entry is in one of these, except entries that are taken."""

    matches: list[Match]
    ambiguities: list[Ambiguity]
    lines_left: list[Line]
    entries_left: list[Candidate]


class _Pool(NamedTuple):
    """The lines and entries of one amount that are still to be matched."""

    lines: dict[str, Line]
    entries: dict[int, Candidate]


_Pairs = Mapping[str, Sequence[int]]  # the versions of the entries that each line can be


def match(lines: Iterable[Line], entries: Iterable[Candidate], window_days: int) -> Matching:
    """Match lines and entries. Keys and versions are unique."""
    pools: dict[int, _Pool] = defaultdict(lambda: _Pool({}, {}))
    for line in sorted(lines):
        pools[line.amount_cents].lines[line.key] = line
    for entry in sorted(entries, key=lambda entry: entry.version):
        pools[entry.amount_cents].entries[entry.version] = entry
    result = Matching([], [], [], [])
    for _, pool in sorted(pools.items()):
        _match_pool(pool, window_days, result)
    return result


def _match_pool(pool: _Pool, window_days: int, result: Matching) -> None:
    _take_certain(pool, _pair_by_reference(pool, window_days), "reference", result)
    if len(pool.lines) * len(pool.entries) > MAX_PAIRS:
        result.ambiguities.append(Ambiguity(tuple(pool.lines), tuple(pool.entries)))
        return
    _take_certain(pool, _pair_by_day(pool, 0), "day", result)
    pairs = _pair_by_day(pool, window_days)
    _take_certain(pool, pairs, "window", result)
    _take_ambiguous(pool, pairs, result)
    result.lines_left.extend(pool.lines.values())
    result.entries_left.extend(entry for entry in pool.entries.values() if not entry.is_taken)


def _contradict(line: Line, entry: Candidate) -> bool:
    """Return whether the bank has given the line and the entry different references."""
    return None not in (line.bank_reference, entry.bank_reference) and line.bank_reference != entry.bank_reference


def _pair_by_reference(pool: _Pool, window_days: int) -> _Pairs:
    by_reference: dict[str, list[Candidate]] = defaultdict(list)
    for entry in pool.entries.values():
        if not entry.is_taken:
            for reference in entry.references:
                by_reference[reference].append(entry)
    pairs = {}
    for line in pool.lines.values():
        named = {line.bank_reference, line.end_to_end_id} - {None}
        pairs[line.key] = sorted(
            {
                entry.version
                for reference in named
                for entry in by_reference.get(str(reference), ())
                if abs((line.day - entry.day).days) <= window_days and not _contradict(line, entry)
            }
        )
    return pairs


def _pair_by_day(pool: _Pool, window_days: int) -> _Pairs:
    """Pair lines with the entries of near days, and with those that are taken by a line of the same day."""
    by_day: dict[int, list[Candidate]] = defaultdict(list)
    for entry in pool.entries.values():
        by_day[entry.day.toordinal()].append(entry)
    return {
        key: [
            entry.version
            for days in range(-window_days, window_days + 1)
            for entry in by_day.get(line.day.toordinal() + days, ())
            if (days == 0 if entry.is_taken else not _contradict(line, entry))
        ]
        for key, line in pool.lines.items()
    }


def _take_certain(pool: _Pool, pairs: _Pairs, by: By, result: Matching) -> None:
    """Match what leaves no choice, and take it out of the pool."""
    for keys, versions in _connect(pool, pairs):
        if len(keys) == len(versions) and _leave_no_choice(pool, pairs, keys, versions):
            for key, version in zip(keys, versions, strict=True):
                result.matches.append(Match(key, version, by))
                del pool.lines[key], pool.entries[version]


def _leave_no_choice(pool: _Pool, pairs: _Pairs, keys: Sequence[str], versions: Sequence[int]) -> bool:
    """Return whether any pairing says the same: there is only one, or the lines are interchangeable."""
    if any(pool.entries[version].is_taken for version in versions):
        return False
    contents = {pool.lines[key].content for key in keys}
    return len(contents) == 1 and all(len(pairs[key]) == len(versions) for key in keys)


def _take_ambiguous(pool: _Pool, pairs: _Pairs, result: Matching) -> None:
    for keys, versions in _connect(pool, pairs):
        result.ambiguities.append(Ambiguity(tuple(keys), tuple(versions)))
        for key in keys:
            del pool.lines[key]
        for version in versions:
            del pool.entries[version]


def _connect(pool: _Pool, pairs: _Pairs) -> list[tuple[list[str], list[int]]]:
    """Return the lines and entries of the pool that are connected by pairs, each set in order."""
    of_entry: dict[int, list[str]] = defaultdict(list)
    for key in pool.lines:
        for version in pairs[key]:
            if version in pool.entries:
                of_entry[version].append(key)
    seen: set[str] = set()
    components = []
    for start in pool.lines:
        if start not in seen:
            keys, connected = _spread(start, pairs, of_entry)
            seen |= keys
            if connected:
                components.append((sorted(keys), sorted(connected)))
    return components


def _spread(start: str, pairs: _Pairs, of_entry: Mapping[int, Sequence[str]]) -> tuple[set[str], set[int]]:
    """Return the lines that pairs connect with one of them, and their entries."""
    keys, waiting = {start}, [start]
    connected: set[int] = set()
    while waiting:
        for version in pairs[waiting.pop()]:
            if version in of_entry and version not in connected:
                connected.add(version)
                new = set(of_entry[version]) - keys
                keys |= new
                waiting += new
    return keys, connected
