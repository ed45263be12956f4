"""`ledger audit`: what happened, and what was so when.

Tables for people, with amounts such as `1000155.79 USD`. With `--json` one JSON document, or, for long results, one on
each line, with amounts in minor units. Times are in UTC. The exit status is 0, or 1 if there is no such account or the
books do not balance, or 2 if an argument does not fit.
"""

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import typer
from rich.console import Console
from rich.table import Table

from ledger.audit import as_of as timetravel
from ledger.audit import entries as history
from ledger.audit.as_of import AccountMoment, AtPosition, AtTime, AtVersion, Moment
from ledger.audit.entries import Period, Step
from ledger.cli.shell import fail, run
from ledger.errors import DatabaseError
from ledger.money import decimal_text
from ledger.projections import accounts
from ledger.store import reader as stored
from ledger.store.connections import Connection
from ledger.store.pool import UNREACHABLE, connect
from ledger.store.reader import EVENT_TOPICS, LAST, Chosen
from ledger.values.ids import parse_id
from ledger.values.timestamps import parse_end, rfc3339

T = TypeVar("T")
Row = Mapping[str, Any]

WIDTH = 200  # an id that is folded into two lines cannot be copied
CHUNK = 1000  # rows of one table; a long one is printed in several

audit = typer.Typer(no_args_is_help=True, help="What happened, and what was so when.")

Account = Annotated[str, typer.Argument(help="The id of an account.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="How many at most.")]
At = Annotated[str | None, typer.Option(help="A time, such as 2026-05-01T12:00:00Z, or the end of a date (UTC).")]
Position = Annotated[int | None, typer.Option("--at-position", min=0, max=LAST, help="A position of the log.")]


@audit.command("history")
def show_history(account: Account, limit: Limit = 100, as_json: AsJson = False) -> None:
    """Show the newest lines of an account's statement, each with the balance after it. JSON: one line an entry."""
    account_id = _id(account)

    async def lines(connection: Connection) -> tuple[str, list[dict[str, Any]]]:
        currency = await _currency_of(connection, account_id)
        found = await history.lines(
            connection, account_id, Period(), after=0, before=LAST, ascending=False, limit=limit
        )
        return currency, found

    currency, rows = _ask(lines)
    _print_rows(rows, _LINE, as_json=as_json, currency=currency)


@audit.command("events")
def show_events(
    after: Annotated[int, typer.Option(min=0, max=LAST, help="Begin after this position.")] = 0,
    topic: Annotated[str | None, typer.Option(help="Only events of this topic.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only events of this stream.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Show the log in order, or what the options choose. JSON: one line an event."""
    if topic is not None and topic not in EVENT_TOPICS:
        fail(f"--topic: must be one of {', '.join(sorted(EVENT_TOPICS))}", 2)
    chosen = Chosen(topic, None if stream is None else _id(stream))
    _print_rows(_ask(lambda connection: _events(connection, chosen, after, limit)), _EVENT, as_json=as_json)


@audit.command("balance")
def show_balance(
    account: Account,
    at: At = None,
    at_position: Position = None,
    at_version: Annotated[
        int | None, typer.Option("--at-version", min=0, max=LAST, help="A version of the account.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show whose an account is and its balance, now or as of a moment. JSON: one document."""
    account_id, moment = _id(account), _account_moment(at, at_position, at_version)

    async def as_of(connection: Connection) -> dict[str, Any] | None:
        now = AtPosition(await stored.log_end(connection))
        return await timetravel.account_at(connection, account_id, moment or now)

    body = _ask(as_of)
    if body is None:
        fail(f"no such account then: {account_id}" if moment else f"no such account: {account_id}", 1)
    _print_document(body, [body], _ACCOUNT, as_json=as_json)


@audit.command("trial-balance")
def show_trial_balance(at: At = None, at_position: Position = None, as_json: AsJson = False) -> None:
    """Show debits, credits and their sum for each currency, now or as of a moment. JSON: one document."""
    moment = _moment(at, at_position)

    async def as_of(connection: Connection) -> dict[str, Any]:
        return await timetravel.trial_balance(connection, await timetravel.position_of(connection, moment))

    body = _ask(as_of)
    _print_document(body, body["currencies"], _CURRENCY, as_json=as_json)
    if not body["balanced"]:
        fail("the books do not balance", 1)


@audit.command("replay")
def show_replay(account: Account, as_json: AsJson = False) -> None:
    """Fold an account's events one by one, and show what it was after each. JSON: one line an event."""
    account_id = _id(account)

    async def replayed(connection: Connection) -> int:
        rows: list[Row] = []
        count, currency = 0, ""
        async for step in history.replay(connection, account_id):
            rows.append(_step(step))
            count, currency = count + 1, step.state.currency
            if len(rows) == CHUNK:
                _print_rows(rows, _STEP, as_json=as_json, currency=currency)
                rows = []
        if rows:
            _print_rows(rows, _STEP, as_json=as_json, currency=currency)
        return count

    if not _ask(replayed):
        fail(f"no such account: {account_id}", 1)


_LINE = ("version", "created_at", "amount_cents", "balance_cents", "other_account_id", "transaction_id", "reference")
_EVENT = ("position", "recorded_at", "stream_id", "version", "topic", "state")
_ACCOUNT = ("id", "user_id", "balance_cents", "status", "version", "updated_at")
_CURRENCY = ("currency", "accounts", "debit_cents", "credit_cents", "sum_cents")
_STEP = ("version", "position", "recorded_at", "topic", "balance_cents", "held_cents", "user_id", "status")
_WIDTHS = {"version": 9, "position": 12, "recorded_at": 27, "topic": 21, "balance_cents": 17, "user_id": 36}


async def _events(connection: Connection, chosen: Chosen, after: int, limit: int) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = []
    is_last = False
    while len(bodies) < limit and not is_last:
        stretch = await stored.read(connection, after, limit=min(CHUNK, limit - len(bodies)), chosen=chosen)
        bodies += [event.body() for event in stretch.events]
        after, is_last = stretch.reached, stretch.is_last
    return bodies


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


def _ask(question: Callable[[Connection], Awaitable[T]]) -> T:
    """What the database answers; it needs a ledger of this version."""

    async def asked(settings: Any) -> T:
        connection = await connect(settings)
        try:
            return await question(connection)
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError) as error:
            raise DatabaseError("the schema is not up to date: run `ledger migrate`") from error
        except UNREACHABLE as error:
            raise DatabaseError(f"PostgreSQL is gone: {type(error).__name__}") from error
        finally:
            await connection.close(timeout=1)

    return run(asked)


async def _currency_of(connection: Connection, account_id: UUID) -> str:
    account = await accounts.find(connection, account_id)
    if account is None:
        fail(f"no such account: {account_id}", 1)
    return str(account.body["currency"])


def _id(text: str) -> UUID:
    try:
        return parse_id(text)
    except ValueError as error:
        fail(f"{text}: {error}", 2)


def _account_moment(at: str | None, position: int | None, version: int | None) -> AccountMoment | None:
    if version is None:
        return _moment(at, position)
    if at is not None or position is not None:
        fail("give one of --at, --at-position and --at-version", 2)
    return AtVersion(version)


def _moment(at: str | None, position: int | None) -> Moment | None:
    if at is not None and position is not None:
        fail("give one of --at and --at-position", 2)
    try:
        if at is not None:
            return AtTime(parse_end(at))
    except ValueError as error:
        fail(f"--at: {error}", 2)
    return None if position is None else AtPosition(position)


def _print_document(document: Row, rows: Sequence[Row], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(_json(document))
    else:
        _print_rows(rows, columns, as_json=False)


def _print_rows(rows: Iterable[Row], columns: Sequence[str], *, as_json: bool, currency: str = "") -> None:
    """Print rows; `currency` is that of amounts in rows that do not name theirs."""
    if as_json:
        sys.stdout.writelines(_json(row) for row in rows)
        return
    table = Table(box=None)
    for name in columns:
        right = name.endswith("_cents") or name in {"version", "position", "accounts"}
        table.add_column(
            name.removesuffix("_cents").replace("_", " "),
            justify="right" if right else "left",
            min_width=_WIDTHS.get(name),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_cell(name, row[name], str(row.get("currency", currency))) for name in columns))
    Console(width=WIDTH, highlight=False, markup=False).print(table)


def _cell(name: str, value: object, currency: str) -> str:
    if name.endswith("_cents") and isinstance(value, int):
        return f"{decimal_text(value, currency)} {currency}"
    return _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case dict():
            return msgspec.json.encode(value).decode()
        case datetime():
            return rfc3339(value)
        case _:
            return str(value)


def _json(row: Row) -> str:
    shown = {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}
    return msgspec.json.encode(shown).decode() + "\n"
