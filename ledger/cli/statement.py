"""`ledger statement`: the statement of an account for people and for other programs."""

import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from ledger.audit.statements.model import Format, Statement, StatementError
from ledger.audit.statements.reading import Selection, read_statement
from ledger.audit.statements.writers import write_statement
from ledger.cli.accounts import find_account_id, parse_account_argument
from ledger.cli.options import By, Order, parse_option
from ledger.cli.output import open_output, plural
from ledger.cli.shell import connected, console, fail, run
from ledger.projections import accounts
from ledger.projections.account_owners import WHOLE
from ledger.settings import Settings
from ledger.store.connections import Connection
from ledger.values.account_codes import AccountRef
from ledger.values.timestamps import parse_end, parse_start


def show_statement(
    account: Annotated[str, typer.Argument(help="The account, by its id or its code.")],
    from_: Annotated[str | None, typer.Option("--from", help="Start of the period: a time or a date (UTC).")] = None,
    to: Annotated[
        str | None, typer.Option(help="End of the period, inclusive: a time or a date (UTC); by default now.")
    ] = None,
    by: By = Order.RECORDED,
    format_: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.CSV,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to replace once it is complete, instead of standard output."),
    ] = None,
) -> None:
    """Write the statement of an account: opening balance, entries with the other side, sums and closing balance."""
    ref = parse_account_argument(account)
    selection = Selection(
        parse_option("--from", from_, parse_start), parse_option("--to", to, parse_end), by is Order.EFFECTIVE
    )
    if format_ is Format.PDF and output is None and sys.stdout.isatty():
        fail("a PDF cannot be shown on a terminal: give --output", 2)
    statement = run(lambda settings: _write(settings, ref, selection, format_, output))
    closing = statement.amount(statement.closing_cents)
    console.print(f"{plural(statement.line_count, 'line')}, closing balance {closing} {statement.currency}")


async def _write(
    settings: Settings, ref: AccountRef, selection: Selection, format_: Format, output: Path | None
) -> Statement:
    async with connected(settings) as connection:
        account_id = await _find_account(connection, ref)
        found = await read_statement(connection, account_id, selection, (WHOLE,))
        if found is None:  # only a customer can have owned no part of a period
            fail(f"no such account: {ref}", 1)
        statement, part = found
        try:
            with open_output(output) as file:
                async for piece in write_statement(connection, statement, part, None, format_):
                    file.write(piece)
        except OSError as error:
            raise StatementError(f"{output or 'standard output'}: {error.strerror}") from error
        return statement


async def _find_account(connection: Connection, ref: AccountRef) -> UUID:
    account_id = await find_account_id(connection, ref)
    if await accounts.find(connection, account_id) is None:
        fail(f"no such account: {ref}", 1)
    return account_id
