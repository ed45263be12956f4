"""Sums of balances by code, at any point in time, are the naive sums, whatever the history and the codes of then."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st

from ledger.audit import sums
from ledger.audit.sums import Amount, Balance, Change, Grouping, Sums, TooManyGroupsError
from ledger.commands.account_labels import LabelChange
from ledger.commands.accounts import UpdateAccount
from ledger.errors import Refused
from ledger.events import decode_event
from ledger.events.account_labels import AccountDescribed, AccountType, Labels, type_by_root
from ledger.events.accounts import AccountOpened
from ledger.projections import account_labels
from ledger.runtime import Runtime
from ledger.store import reader as event_reader
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.dates import Books, Entry, Step, age, edges, read_entries, steps

ON_A_LEDGER_OF_ITS_OWN = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    max_examples=15,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
)
CODES = (None, "a", "a:b", "A:B:c", "a:bb", "a-b", "b:C", "B:c:d", "Income:a", "assets")
PREFIXES = ("", "a", "a:", "A:b", "a:b:", "b:c", "c")


class Describe(NamedTuple):
    """An account, by number, gets a code and a type."""

    account: int
    code: str | None
    type: AccountType | None


changes = st.builds(
    Describe, st.integers(0, 2), st.sampled_from(CODES), st.sampled_from([None, *get_args(AccountType)])
)
groupings = st.builds(
    Grouping,
    prefix=st.sampled_from(PREFIXES),
    depth=st.none() | st.integers(0, 3),
    currency=st.sampled_from([None, "EUR", "USD"]),
    by_type=st.booleans(),
    types=st.sampled_from([None, ("income", "expense"), ("equity",)]),
)


class Known(NamedTuple):
    """An account as the log has it at a position."""

    id: UUID
    is_world: bool
    currency: str
    labels: Labels


async def describe(runtime: Runtime, connection: Any, account_id: UUID, labels: Labels) -> int | None:
    """Give an account labels, unless another account has the code; return the position of that."""
    known = await account_labels.find_known(connection, account_id)
    command = UpdateAccount(
        account_id=account_id,
        owner_id=None,
        balance_cents=None,
        currency="EUR",
        transaction_id=new_id(),
        labels=LabelChange(labels, known.labels, known.changes),
    )
    with suppress(Refused):
        return (await runtime.committer.submit(command, Origin(new_id()))).position
    return None


async def free_codes(runtime: Runtime, connection: Any) -> None:
    """Take their codes from the accounts of earlier examples."""
    for row in await connection.fetch("SELECT account_id FROM account_labels WHERE code IS NOT NULL"):
        await describe(runtime, connection, row["account_id"], Labels(type="asset"))


async def read_accounts(connection: Any, position: int) -> list[Known]:
    """Return the accounts that the log has up to a position, with their labels of then."""
    found: dict[UUID, Known] = {}
    for stream_id, topic, state in await connection.fetch(
        "SELECT originator_id, topic, state FROM stored_events WHERE notification_id <= $1 ORDER BY notification_id",
        position,
    ):
        event = decode_event(topic, state)
        if isinstance(event, AccountOpened):
            found[stream_id] = Known(stream_id, event.owner_id is None, event.currency, Labels())
        elif isinstance(event, AccountDescribed):
            labels = Labels(event.code, event.name, event.type)
            found[stream_id] = found[stream_id]._replace(labels=labels)
    return [*found.values()]


def sum_naively(
    accounts: Iterable[Known], entries: Sequence[Entry], amounts: Sequence[Amount], grouping: Grouping
) -> dict[tuple[Any, ...], tuple[int, tuple[Sums, ...]]]:
    """Return the number of accounts and the sums of each group, account by account and entry by entry."""
    found: dict[tuple[Any, ...], tuple[int, tuple[Sums, ...]]] = {}
    wanted = [segment for segment in grouping.prefix.lower().split(":") if segment]
    for account in accounts:
        code = None if account.is_world else account.labels.code
        segments = [] if code is None else code.lower().split(":")
        has_prefix = segments[: len(wanted)] == wanted and (len(segments) > len(wanted) or grouping.prefix[-1:] != ":")
        kind = "world" if account.is_world else "uncoded" if code is None else "coded"
        account_type = "equity" if account.is_world else account.labels.type or type_by_root(code)
        if grouping.prefix and not (has_prefix and code is not None):
            continue
        if grouping.currency not in {None, account.currency}:
            continue
        if grouping.types is not None and account_type not in {*grouping.types, None}:
            continue
        depth = len(segments) if grouping.depth is None else len(wanted) + grouping.depth
        key = (kind, ":".join(segments[:depth]), account_type if grouping.by_type else None, account.currency)
        cents = [find_amount(entries, account.id, amount) for amount in amounts]
        count, before = found.get(key, (0, tuple(Sums(0, 0) for _ in amounts)))
        found[key] = (
            count + 1,
            tuple(
                Sums(one.positive + max(value, 0), one.negative + max(-value, 0))
                for one, value in zip(before, cents, strict=True)
            ),
        )
    return found


def find_amount(entries: Sequence[Entry], account_id: UUID, amount: Amount) -> int:
    if isinstance(amount, Change):
        return find_amount(entries, account_id, amount.after) - find_amount(entries, account_id, amount.before)
    return sum(
        entry.amount_cents
        for entry in entries
        if entry.account_id == account_id
        and entry.position <= amount.position
        and (amount.effective_at is None or entry.counts_at <= amount.effective_at)
    )


@ON_A_LEDGER_OF_ITS_OWN
@hypothesis.given(
    history=st.lists(steps | changes, min_size=3, max_size=15),
    chosen=st.lists(groupings, min_size=3, max_size=3),
    ages=st.booleans(),
)
async def test_the_sums_by_any_prefix_depth_and_point_in_time_are_the_naive_sums(
    history: list[Step | Describe], chosen: list[Grouping], ages: bool, runtime: Runtime, connection: Any
) -> None:
    await free_codes(runtime, connection)
    books = await Books.open(runtime)
    for step in history:
        if isinstance(step, Step):
            await books.execute(step)
        else:
            labels = Labels(step.code, None, step.type)
            await describe(runtime, connection, books.account_ids[step.account], labels)
    if ages:
        await age(connection)
    entries = await read_entries(connection)
    own = [entry for entry in entries if entry.account_id in books.account_ids]
    first, middle, last = own[0].position, own[len(own) // 2].position, own[-1].position
    days = [own[len(own) // 2].counts_at, *edges[1:4]]

    for position in (first, middle, last - 1, last, last + 1):
        accounts = await read_accounts(connection, position)
        earlier = Balance(min(position, middle))
        amounts: list[Amount] = [
            Balance(position),
            *(Balance(position, day) for day in days),
            Change(earlier, Balance(position)),
            Change(Balance(position, days[1]), Balance(position, days[0])),
        ]
        for grouping in chosen:
            found = await sums.read_groups(connection, position, amounts, grouping)
            rows = {
                (one.kind, (one.code or "").lower(), one.type, one.currency): (one.accounts, one.sums) for one in found
            }
            assert len(rows) == len(found)
            assert sum_naively(accounts, entries, amounts, grouping) == rows, (position, grouping)


async def test_more_groups_than_one_answer_may_have_are_an_error(
    runtime: Runtime, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = await Books.open(runtime)
    for account_id, code in zip(books.account_ids, ("a:b", "a:c", "a:d"), strict=True):
        await describe(runtime, connection, account_id, Labels(code))
    monkeypatch.setattr(sums, "MAX_GROUPS", 3)
    end = await event_reader.log_end(connection)

    with pytest.raises(TooManyGroupsError):
        await sums.read_groups(connection, end, [Balance(end)], Grouping(currency="EUR"))
    found = await sums.read_groups(connection, end, [Balance(end)], Grouping(depth=1, currency="EUR"))
    assert {"a": 3, None: 1} == {one.code: one.accounts for one in found}
    assert {"a": 3, None: 0} == {one.code: one.below for one in found}


async def test_a_group_of_one_account_has_its_name(runtime: Runtime, connection: Any) -> None:
    books = await Books.open(runtime)
    position = await describe(runtime, connection, books.account_ids[0], Labels("a:b", "Till", "asset"))
    assert position is not None

    for depth, name in ((None, "Till"), (1, "Till"), (0, None)):
        amount = Balance(position, datetime(2020, 1, 1, tzinfo=UTC))
        (found,) = await sums.read_groups(connection, position, [amount], Grouping(prefix="a", depth=depth))
        assert (name, (Sums(0, 0),)) == (found.name, found.sums)
