"""`ledger audit`: the history of accounts, the event log, and balances at a point in time.

Tables have amounts such as `1000155.79 USD`. With `--json`, a command prints one JSON document, or one object per
line if results can be long, with amounts in minor units. Times are in UTC. The exit status is 0; 1 if the account does
not exist or the books do not balance; 2 if an argument is invalid.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Column

from ledger.audit import as_of, effective_entries, entries
from ledger.audit.as_of import AccountPointInTime, AtPosition, AtTime, AtVersion, PointInTime
from ledger.audit.entries import Period, Step
from ledger.cli.accounts import find_account_id, parse_account_argument
from ledger.cli.options import AsJson, By, EffectiveAt, Order, parse_option
from ledger.cli.output import emit_lines, encode_compact, print_table
from ledger.cli.shell import fail, query
from ledger.money import CURRENCIES_ALONE, Assets
from ledger.projections import accounts
from ledger.projections.assets import read_assets
from ledger.store import reader as event_reader
from ledger.store.connections import Connection
from ledger.store.reader import EVENT_TOPICS, MAX_POSITION, EventFilter
from ledger.values.ids import parse_id
from ledger.values.timestamps import parse_end, rfc3339

Row = Mapping[str, Any]

WIDTH = 200  # characters of a table; an id that is wrapped onto two lines cannot be copied
CHUNK = 1000  # rows of one table; a longer result is printed as several

Account = Annotated[str, typer.Argument(help="Account, by its id or its code.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="Maximum number of rows.")]
At = Annotated[
    str | None, typer.Option(help="Point in time, such as 2026-05-01T12:00:00Z, or a date for its end (UTC).")
]
Position = Annotated[int | None, typer.Option("--at-position", min=0, max=MAX_POSITION, help="Position in the log.")]


def show_history(
    account: Account,
    limit: Limit = 100,
    by: By = Order.RECORDED,
    effective_at: EffectiveAt = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries of an account's statement, each with the balance after it. JSON: one entry per line.

    By effective time, or with --effective-at, the newest are those that count last, and the balances follow this order.
    """
    named, last = parse_account_argument(account), parse_option("--effective-at", effective_at, parse_end)

    async def read(connection: Connection) -> tuple[str, Assets, list[dict[str, Any]]]:
        account_id, assets = await find_account_id(connection, named), await read_assets(connection)
        currency = await _currency_of(connection, account_id)
        if by is Order.EFFECTIVE or last is not None:
            return currency, assets, await effective_entries.list_newest(connection, account_id, last, limit)
        found = await entries.list_entries(
            connection, account_id, Period(), after=0, before=MAX_POSITION, ascending=False, limit=limit
        )
        return currency, assets, found

    currency, assets, rows = query(read)
    columns = _ENTRY if by is Order.RECORDED and last is None else _EFFECTIVE_ENTRY
    _print_rows(rows, columns, as_json=as_json, currency=currency, assets=assets)


def show_events(
    after: Annotated[int, typer.Option(min=0, max=MAX_POSITION, help="Begin after this position.")] = 0,
    topic: Annotated[str | None, typer.Option(help="Only events with this topic.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only events of this stream.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Show the event log in order, filtered by the options. JSON: one event per line."""
    if topic is not None and topic not in EVENT_TOPICS:
        fail(f"--topic: must be one of {', '.join(sorted(EVENT_TOPICS))}", 2)
    chosen = EventFilter(topic, parse_option(stream or "", stream, parse_id))
    _print_rows(query(lambda connection: _read_events(connection, chosen, after, limit)), _EVENT, as_json=as_json)


def show_balance(
    account: Account,
    at: At = None,
    at_position: Position = None,
    at_version: Annotated[
        int | None, typer.Option("--at-version", min=0, max=MAX_POSITION, help="Version of the account.")
    ] = None,
    effective_at: EffectiveAt = None,
    as_json: AsJson = False,
) -> None:
    """Show an account's owner and balance, now or at a point in time, and by effective time. JSON: one document."""
    named, moment = parse_account_argument(account), _account_moment(at, at_position, at_version)
    counted = parse_option("--effective-at", effective_at, parse_end)

    async def read(connection: Connection) -> tuple[dict[str, Any] | None, Assets]:
        account_id = await find_account_id(connection, named)
        then = await as_of.account_at(connection, account_id, moment, effective_at=counted)
        return then, await read_assets(connection)

    body, assets = query(read)
    if body is None:
        fail(f"no such account then: {named}" if moment else f"no such account: {named}", 1)
    _print_document(body, [body], _ACCOUNT, assets, as_json=as_json)


def show_trial_balance(
    at: At = None, at_position: Position = None, effective_at: EffectiveAt = None, as_json: AsJson = False
) -> None:
    """Show debits, credits and their sum in each currency, now or at a point in time, and by effective time.

    JSON: one document.
    """
    moment, counted = parse_moment(at, at_position), parse_option("--effective-at", effective_at, parse_end)

    async def read(connection: Connection) -> tuple[dict[str, Any], Assets]:
        position = await as_of.position_of(connection, moment)
        return await as_of.trial_balance(connection, position, counted), await read_assets(connection)

    body, assets = query(read)
    print_trial_balance(body, assets, as_json=as_json)
    if not body["balanced"]:
        fail("the books do not balance", 1)


def show_replay(account: Account, as_json: AsJson = False) -> None:
    """Replay an account's events one by one, and show its state after each. JSON: one event per line."""
    named = parse_account_argument(account)

    async def print_steps(connection: Connection) -> int:
        account_id = await find_account_id(connection, named)
        rows: list[Row] = []
        count, currency, assets = 0, "", await read_assets(connection)
        async for step in entries.replay(connection, account_id):
            rows.append(_step(step))
            count, currency = count + 1, step.state.currency
            if len(rows) == CHUNK:
                _print_rows(rows, _STEP, as_json=as_json, currency=currency, assets=assets)
                rows = []
        if rows:
            _print_rows(rows, _STEP, as_json=as_json, currency=currency, assets=assets)
        return count

    if not query(print_steps):
        fail(f"no such account: {named}", 1)


def print_trial_balance(body: Row, assets: Assets, *, as_json: bool) -> None:
    """Print sums by currency, as one JSON document or as a table."""
    sums = [_restore_sums(currency) for currency in body["currencies"]]
    _print_document(body, sums, _CURRENCY, assets, as_json=as_json)


_ENTRY = ("version", "created_at", "amount_cents", "balance_cents", "other_account_id", "transaction_id", "reference")
_EFFECTIVE_ENTRY = ("effective_at", *_ENTRY)
_EVENT = ("position", "recorded_at", "stream_id", "version", "topic", "state")
_ACCOUNT = ("id", "user_id", "balance_cents", "status", "version", "updated_at")
_SUMS = ("debit_cents", "credit_cents", "sum_cents")
_CURRENCY = ("currency", "accounts", *_SUMS)
_STEP = ("version", "position", "recorded_at", "topic", "balance_cents", "held_cents", "user_id", "status")
_WIDTHS = {"version": 9, "position": 12, "recorded_at": 27, "topic": 21, "balance_cents": 17, "user_id": 36}


async def _read_events(connection: Connection, chosen: EventFilter, after: int, limit: int) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = []
    is_last = False
    while len(bodies) < limit and not is_last:
        stretch = await event_reader.read(connection, after, limit=min(CHUNK, limit - len(bodies)), matching=chosen)
        bodies += [event.body() for event in stretch.events]
        after, is_last = stretch.reached, stretch.is_last
    return bodies


def _restore_sums(currency: Row) -> Row:
    """Return the sums of a currency as integers of any size."""
    return {**currency, **{name: int(currency[f"{name}_text"]) for name in _SUMS}}


def _step(step: Step) -> Row:
    return {
        "version": step.event.version,
        "position": step.event.position,
        "recorded_at": step.event.recorded_at,
        "topic": step.event.topic,
        **step.state.funds(),
        "user_id": step.state.owner_id,
        "status": "closed" if step.state.closed else "open",
    }


async def _currency_of(connection: Connection, account_id: UUID) -> str:
    account = await accounts.find(connection, account_id)
    if account is None:
        fail(f"no such account: {account_id}", 1)
    return str(account.body["currency"])


def _account_moment(at: str | None, position: int | None, version: int | None) -> AccountPointInTime | None:
    if version is None:
        return parse_moment(at, position)
    if at is not None or position is not None:
        fail("give one of --at, --at-position and --at-version", 2)
    return AtVersion(version)


def parse_moment(at: str | None, position: int | None) -> PointInTime | None:
    """Return the point in time that two options name, or None for now; end the program with status 2 if both do."""
    if at is not None and position is not None:
        fail("give one of --at and --at-position", 2)
    if position is not None:
        return AtPosition(position)
    return parse_option("--at", at, lambda text: AtTime(parse_end(text)))


def _print_document(
    document: Row, rows: Sequence[Row], columns: Sequence[str], assets: Assets, *, as_json: bool
) -> None:
    if as_json:
        emit_lines([document])
    else:
        _print_rows(rows, columns, as_json=False, assets=assets)


def _print_rows(
    rows: Iterable[Row],
    columns: Sequence[str],
    *,
    as_json: bool,
    currency: str = "",
    assets: Assets = CURRENCIES_ALONE,
) -> None:
    """Print rows as JSON Lines or as a table; `currency` applies to rows without one."""
    if as_json:
        emit_lines(rows)
        return
    cells = ([_cell(name, row[name], str(row.get("currency", currency)), assets) for name in columns] for row in rows)
    print_table([_column(name) for name in columns], cells, width=WIDTH)


def _column(name: str) -> Column:
    is_number = name.endswith("_cents") or name in {"version", "position", "accounts"}
    return Column(
        name.removesuffix("_cents").replace("_", " "),
        justify="right" if is_number else "left",
        min_width=_WIDTHS.get(name),
        overflow="fold",
    )


def _cell(name: str, value: object, currency: str, assets: Assets) -> str:
    if name.endswith("_cents") and isinstance(value, int):
        return f"{assets.format(value, currency)} {currency}"
    return _format_value(value)


def _format_value(value: object) -> str:
    match value:
        case None:
            return ""
        case dict():
            return encode_compact(value)
        case datetime():
            return rfc3339(value)
        case _:
            return str(value)
