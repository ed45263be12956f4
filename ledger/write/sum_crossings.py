"""Watches the sums of balance monitors, move by move in the order of the log.

A condition is judged after the last posting of each transaction: a transfer between two accounts of a sum crosses
nothing, although one of them pays before the other receives.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from ledger.commands.monitors import Crossing
from ledger.money import MAX_CENTS
from ledger.projections.code_sums import Move, SumKey, read_moves, sum_at
from ledger.projections.monitors import Watched
from ledger.store.connections import Reader

Found = dict[UUID, list[Crossing]]  # the new crossings of each monitor


class _Seen(NamedTuple):
    """A sum at a position."""

    position: int
    cents: int


class SumWatch:
    """Follows the sums of all monitors that have one."""

    def __init__(self) -> None:
        self._sums: dict[SumKey, _Seen] = {}

    def clear(self) -> None:
        """Forget the sums, because another process may have led since."""
        self._sums.clear()

    async def find_crossings(self, reader: Reader, watched: Iterable[Watched], since: int, end: int) -> Found:
        """Return the crossings up to `end`. Those up to `since` are recorded, unless this process knows better."""
        groups = {key: [*group] for key, group in groupby(watched, key=_key_of)}
        self._sums = {key: seen for key, seen in self._sums.items() if key in groups}
        found: Found = {}
        for key, monitors in groups.items():
            seen = self._sums.get(key) or await _load(reader, key, monitors, since)
            judge = _Judge(monitors, seen)
            async for move in _with_beginnings(read_moves(reader, key, seen.position, end), monitors, seen.position):
                judge.apply(move)
            self._sums[key] = _Seen(end, judge.finish())
            found.update(judge.found)
        return found


def _key_of(one: Watched) -> SumKey:
    return SumKey((one.rule.code_prefix or "").lower(), one.rule.currency or "")


async def _load(reader: Reader, key: SumKey, monitors: Sequence[Watched], since: int) -> _Seen:
    """Return the sum when the first of its monitors began, or at the position of an earlier leader."""
    position = min(max(one.position, since) for one in monitors)
    return _Seen(position, await sum_at(reader, key, position))


async def _with_beginnings(moves: AsyncIterator[Move], monitors: Sequence[Watched], since: int) -> AsyncIterator[Move]:
    """Yield the moves, and one of nothing where a monitor begins: its condition may be met then."""
    beginnings = [Move(one.position, None, 0) for one in monitors if one.position >= since]
    async for move in moves:
        while beginnings and beginnings[0].position <= move.position:
            yield beginnings.pop(0)
        yield move
    for beginning in beginnings:
        yield beginning


class _Judge:
    """Adds up moves, and compares the sum with every condition between two transactions."""

    def __init__(self, monitors: Sequence[Watched], seen: _Seen) -> None:
        self._monitors = monitors
        self._triggered = {one.id: one.triggered for one in monitors}
        self._last, self._cents = Move(seen.position, None, 0), seen.cents
        self.found: Found = {}

    def apply(self, move: Move) -> None:
        """Add a move. If it begins another transaction, judge what was before."""
        is_same = move.transaction_id is not None and move.transaction_id == self._last.transaction_id
        if not is_same and move.position != self._last.position:
            self._compare()
        self._last = move
        self._cents += move.amount_cents

    def finish(self) -> int:
        """Judge what is last, and return the sum."""
        self._compare()
        return self._cents

    def _compare(self) -> None:
        position = self._last.position
        for one in self._monitors:
            is_met = one.rule.is_met(self._cents)
            if position >= one.position and position > one.seen_version and is_met != self._triggered[one.id]:
                self._triggered[one.id] = is_met
                cents = max(-MAX_CENTS, min(MAX_CENTS, self._cents))  # as far as JSON integers go
                self.found.setdefault(one.id, []).append(Crossing(is_met, position, position, cents))
