"""Balances as of an effective time are the naive sums of the entries that count by then."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import hypothesis
from hypothesis import strategies as st

from ledger.audit import as_of
from ledger.audit.as_of import AtPosition
from ledger.commands.periods import ClosePeriod, ReopenPeriod
from ledger.errors import Refused
from ledger.projections import dated_entries
from ledger.runtime import Runtime
from ledger.store import reader as event_reader
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.dates import BEGIN, Books, Entry, Step, age, edges, read_entries, steps, sum_up

ON_A_LEDGER_OF_ITS_OWN = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    max_examples=12,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
)


def interesting_times(entries: Sequence[Entry]) -> list[datetime]:
    """Return the times of entries, those just before them, and the ends of their days."""
    times = {entry.counts_at for entry in entries}
    before = {moment - timedelta(microseconds=1) for moment in times if moment > edges[0]}
    ends = {datetime.combine(moment.date(), time.max, UTC) for moment in times}
    return sorted(times | before | ends | {*edges})


@ON_A_LEDGER_OF_ITS_OWN
@hypothesis.given(history=st.lists(steps, min_size=1, max_size=15))
async def test_each_balance_is_the_naive_sum_whatever_the_history(
    history: list[Step], runtime: Runtime, connection: Any
) -> None:
    books = await Books.open(runtime)
    for step in history:
        await books.execute(step)
    await age(connection)
    entries = await read_entries(connection)
    own = [entry for entry in entries if entry.account_id in books.account_ids]
    positions = {own[0].position, own[len(own) // 2].position, own[-1].position}

    for moment in interesting_times(own):
        for position in positions:
            found = await dated_entries.balances_as_of(connection, books.account_ids, moment, position)
            expected = {key: sum_up(own, key, moment, position) for key in books.account_ids}
            assert expected == found, (moment, position)
    sums = await as_of.trial_balance(connection, own[-1].position, moment)
    assert sums["balanced"]


async def test_an_account_can_be_read_as_of_an_effective_time_that_is_before_its_opening(
    runtime: Runtime, connection: Any
) -> None:
    books = await Books.open(runtime)
    early = datetime(2020, 5, 1, tzinfo=UTC)
    await books.execute(Step("transfer", early, 7, 0, 1))
    end = (await read_entries(connection))[-1].position

    body = await as_of.account_at(connection, books.account_ids[1], AtPosition(end), effective_at=early)

    assert body is not None
    assert (7, 7, early) == (body["balance_cents"], body["available_cents"], body["effective_at"])


closings = st.integers(-40, 800).map(lambda number: (BEGIN + timedelta(days=number)).date())


@ON_A_LEDGER_OF_ITS_OWN
@hypothesis.given(history=st.lists(steps | closings | st.none(), min_size=4, max_size=20))
async def test_the_sums_of_a_closed_period_never_change(
    history: list[Step | date | None], runtime: Runtime, connection: Any
) -> None:
    """A day in the history closes a period, and None reopens the last one."""
    books = await Books.open(runtime)
    closed: dict[date, Mapping[UUID, int]] = {}

    async def balances(through: date) -> Mapping[UUID, int]:
        end = datetime.combine(through, time.max, UTC)
        return await dated_entries.balances_as_of(
            connection, books.account_ids, end, await event_reader.log_end(connection)
        )

    for step in history:
        if isinstance(step, Step):
            await books.execute(step)
        else:
            command = ReopenPeriod() if step is None else ClosePeriod(through=step, today=date(2026, 1, 1))
            with suppress(Refused):
                outcome = await runtime.committer.submit(command, Origin(new_id()))
                through = date.fromisoformat(outcome.result["through"])
                closed = {day: sums for day, sums in closed.items() if day < through}
                if step is not None:
                    closed[through] = await balances(through)
        for day, sums in closed.items():
            assert sums == await balances(day), day
    while closed:
        await runtime.committer.submit(ReopenPeriod(), Origin(new_id()))
        closed.popitem()
