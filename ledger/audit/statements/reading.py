"""Read statements: the head at once, and the lines in chunks, so that memory does not grow with their number.

Entries never change, so all chunks show what was known at one position, without a snapshot that stays open.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger.audit import effective_entries
from ledger.audit.effective_entries import Place
from ledger.audit.statements.model import FIRST, LAST, MAX_OTHERS, Holder, Lines, Statement, StatementError
from ledger.projections import account_labels, dated_entries, entries, statement_sums
from ledger.projections.account_owners import Span, owner_at
from ledger.projections.assets import read_assets
from ledger.projections.other_accounts import find_other_accounts
from ledger.projections.statement_sums import Sums
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.sql import Party

CHUNK = 200  # lines that are read at once
SUMMED = 50_000  # entries that one query adds up


class Selection(NamedTuple):
    """A period, both bounds included, by the times of recording or by effective times. None is no bound.

    Without an end, the period ends now.
    """

    since: datetime | None = None
    until: datetime | None = None
    by_effective_time: bool = False


class Part(NamedTuple):
    """The part of an account's history that a statement covers, as known at a position.

    Its entries were recorded after the version `owned_after`. Those that count when they were recorded are the ones
    after `after` and up to `upto`.
    """

    first: datetime
    last: datetime
    position: int
    owned_after: int
    after: int
    upto: int


async def read_statement(
    reader: Reader,
    account_id: UUID,
    selection: Selection,
    spans: Sequence[Span],
    renew: Callable[[], None] = lambda: None,
) -> tuple[Statement, Part] | None:
    """Return the head of a statement and the part that it covers; None if the reader owned no part of the period.

    What transactions of an earlier owner move in the period, by effective time, is in the opening balance.

    `spans` are the parts of the account's history that the reader may see, oldest first. A statement covers one of
    them, the last one in the period. `renew` is called before each query that may take long. Raises `StatementError`
    for a period that ends before it begins.
    """
    end, now = await _read_end(reader)
    if selection.since is not None and selection.since > (selection.until or now):
        raise StatementError("the start must not be after the end, which is now unless it is given")
    span = await _choose_span(reader, selection, spans, now)
    if span is None:
        return None
    part = await _limit(reader, account_id, selection._replace(until=selection.until or now), span, end)
    sums = await _sum_up(reader, account_id, part, renew, by_effective_time=selection.by_effective_time)
    closing = await _read_closing(reader, account_id, part, by_effective_time=selection.by_effective_time)
    currency, holder = await _read_holder(reader, account_id, part)
    statement = Statement(
        account_id,
        holder,
        currency,
        (await read_assets(reader)).digits(currency),
        selection.by_effective_time,
        part.first,
        part.last,
        now,
        part.position,
        closing - sums.credit_cents + sums.debit_cents,
        closing,
        sums,
    )
    return statement, part


async def read_lines(
    reader: Reader,
    statement: Statement,
    part: Part,
    party: Party | None,
    renew: Callable[[], None] = lambda: None,
) -> AsyncIterator[Lines]:
    """Yield the lines of a statement in chunks, each line with the balance after it and its other accounts.

    `renew` is called after each chunk, before the next one is read. Raises `StatementError` if the lines do not add up
    to the head, which a fault of the stored data alone can cause.
    """
    balance, sums = statement.opening_cents, Sums()
    chunks = _read_by_effective_time if statement.by_effective_time else _read_by_version
    async for chunk in chunks(reader, statement.account_id, part):
        others = await find_other_accounts(reader, chunk, party)
        lines = []
        for entry in chunk:
            balance += entry["amount_cents"]
            if not statement.by_effective_time and balance != entry["balance_cents"]:
                raise StatementError(f"the balance at version {entry['version']} of the account is wrong")
            sides = others[entry["version"]]
            lines.append(
                {
                    **entry,
                    "balance_cents": balance,
                    "other_accounts": [side.members() for side in sides[:MAX_OTHERS]],
                    "other_account_count": len(sides),
                }
            )
        sums = sums.plus(_sum_lines(lines))
        yield lines
        renew()
    if sums != statement.sums:
        raise StatementError("the entries of the account do not add up")


def _sum_lines(lines: Lines) -> Sums:
    credited = [line["amount_cents"] for line in lines if line["amount_cents"] > 0]
    debited = [-line["amount_cents"] for line in lines if line["amount_cents"] < 0]
    return Sums(len(credited), len(debited), sum(credited), sum(debited))


async def _read_end(reader: Reader) -> tuple[int, datetime]:
    """Return the end of the log, and the time of the database after it."""
    end = await event_reader.log_end(reader)
    now: datetime = await reader.fetchval("SELECT clock_timestamp()")
    return end, now


async def _choose_span(
    reader: Reader, selection: Selection, spans: Sequence[Span], now: datetime
) -> tuple[Span, datetime, datetime] | None:
    """Return the last of the spans that is in the period, with its times.

    The first owner of an account also has the effective times before it was opened.
    """
    positions = [span.first_position for span in spans] + [span.next_position or 0 for span in spans]
    at = await event_reader.times_at(reader, positions)
    since, until = selection.since or FIRST, selection.until or now
    for span in reversed(spans):
        first = FIRST if span.first_version == 1 else at[span.first_position]
        last = LAST if span.next_position is None else at[span.next_position]
        if first <= until and since <= last:
            return span, first, last
    return None


async def _limit(
    reader: Reader, account_id: UUID, selection: Selection, chosen: tuple[Span, datetime, datetime], end: int
) -> Part:
    """Return the part of the history that is in the period and in a span."""
    span, begins, ends = chosen
    first, last = max(selection.since or FIRST, begins), min(selection.until or LAST, ends)
    position = end if span.next_position is None else min(end, span.next_position - 1)
    before, upto = await statement_sums.find_versions(reader, account_id, first, last, position)
    owned_after = span.first_version - 1
    return Part(first, last, position, owned_after, max(before, owned_after), upto)


async def _sum_up(
    reader: Reader, account_id: UUID, part: Part, renew: Callable[[], None], *, by_effective_time: bool
) -> Sums:
    sums = Sums()
    for after in range(part.after, part.upto, SUMMED):
        renew()
        upto = min(after + SUMMED, part.upto)
        sums = sums.plus(
            await statement_sums.sum_recorded(reader, account_id, after, upto, without_dated=by_effective_time)
        )
    if by_effective_time:
        renew()
        period, after = (part.first, part.last), part.owned_after
        sums = sums.plus(
            await statement_sums.sum_dated(reader, account_id, *period, after=after, position=part.position)
        )
    return sums


async def _read_closing(reader: Reader, account_id: UUID, part: Part, *, by_effective_time: bool) -> int:
    """Return the balance at the end."""
    if by_effective_time:
        return (await dated_entries.balances_as_of(reader, [account_id], part.last, part.position))[account_id]
    return await statement_sums.find_balance(reader, account_id, part.upto)


async def _read_holder(reader: Reader, account_id: UUID, part: Part) -> tuple[str, Holder]:
    """Return the currency, the labels as known, and the owner at the end of the period, or else at the position."""
    ended = min(part.position, await event_reader.position_at(reader, part.last))
    row = await reader.fetchrow(
        f"""SELECT currency, owner.id, username
            FROM accounts, LATERAL (SELECT coalesce({owner_at("accounts.id", "$2")},
                                                    {owner_at("accounts.id", "$3")})) AS owner (id)
                 LEFT JOIN users ON users.id = owner.id WHERE accounts.id = $1""",
        account_id,
        ended,
        part.position,
    )
    if row is None:
        raise StatementError(f"no account {account_id}")
    described = (await account_labels.read_at(reader, [account_id], part.position)).get(account_id)
    names = () if described is None else (described.labels.code, described.labels.name)
    return row["currency"], Holder(row["id"], row["username"], *names)


async def _read_by_version(reader: Reader, account_id: UUID, part: Part) -> AsyncIterator[list[dict[str, Any]]]:
    after = part.after
    while after < part.upto:
        chunk = await entries.page(reader, account_id, after=after, before=part.upto + 1, ascending=True, limit=CHUNK)
        if not chunk:
            return
        yield chunk
        after = chunk[-1]["version"]


async def _read_by_effective_time(reader: Reader, account_id: UUID, part: Part) -> AsyncIterator[list[dict[str, Any]]]:
    period = effective_entries.Period(part.first, part.last, part.position)
    place: Place | None = None
    while True:
        chunk, place = await effective_entries.list_entries(
            reader, account_id, period, place, ascending=True, limit=CHUNK
        )
        yield [entry for entry in chunk if entry["version"] > part.owned_after]
        if place is None:
            return
