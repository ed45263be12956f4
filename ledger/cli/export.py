"""`ledger audit export`: write transactions in a format that other programs read."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ledger.audit import export as exporting
from ledger.audit.export import ExportError, Format, Selection
from ledger.cli.accounts import find_account_id
from ledger.cli.options import By, Order, parse_option
from ledger.cli.output import open_output, plural
from ledger.cli.progress import Progress
from ledger.cli.shell import connected, console, fail, run
from ledger.settings import Settings
from ledger.values.account_codes import AccountRef, parse_account
from ledger.values.timestamps import parse_end, parse_start


def export(
    format_: Annotated[Format, typer.Option("--format", help="Output format.")],
    account: Annotated[
        str | None, typer.Option(help="Only transactions from or to this account, by its id or its code.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Only transactions since this time or date (UTC).")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Only transactions until this time or date (UTC), inclusive.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to replace once the export is complete, instead of standard output.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write text in CSV as it is, even if a spreadsheet would run it.")
    ] = False,
    by: By = Order.RECORDED,
) -> None:
    """Write transactions in order, each once, with both sides and the balances before --from."""
    selection = Selection(
        None,
        parse_option("--from", from_, parse_start),
        parse_option("--to", to, parse_end),
        by_effective_time=by is Order.EFFECTIVE,
    )
    named = parse_option("--account", account, parse_account)
    if output is None and format_ is Format.PARQUET and sys.stdout.isatty():
        fail("Parquet cannot be shown on a terminal: give --output", 2)
    if raw and format_ is not Format.CSV:
        fail("--raw is for CSV only", 2)
    count = run(lambda settings: _export(settings, format_, named, selection, output, raw=raw))
    console.print(plural(count, "transaction"))


async def _export(
    settings: Settings,
    format_: Format,
    account: AccountRef | None,
    selection: Selection,
    output: Path | None,
    *,
    raw: bool,
) -> int:
    write = exporting.open_writer(format_, raw=raw, by_effective_time=selection.by_effective_time)
    async with connected(settings) as connection:
        if account is not None:
            selection = selection._replace(account_id=await find_account_id(connection, account))
        try:
            with open_output(output) as file, Progress() as progress:
                return await exporting.export(connection, write, selection, file, progress)
        except OSError as error:
            raise ExportError(f"{output or 'standard output'}: {error.strerror}") from error
