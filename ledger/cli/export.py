"""`ledger audit export`: all transfers, or some, in a format that other programs read."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, BinaryIO
from uuid import UUID

import asyncpg
import typer

from ledger.audit import export as exporting
from ledger.audit.export import ExportError, Format, Selection
from ledger.cli.audit import audit
from ledger.cli.progress import Progress
from ledger.cli.shell import console, fail, run
from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.values.ids import parse_id
from ledger.values.timestamps import parse_end, parse_start


@audit.command()
def export(
    format_: Annotated[Format, typer.Option("--format", help="What to write.")],
    account: Annotated[str | None, typer.Option(help="Only transfers from or to this account.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Only transfers from this time or date (UTC) on.")] = None,
    to: Annotated[str | None, typer.Option(help="Only transfers up to this time or date (UTC), included.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="A file instead of standard output, replaced when all is well.")
    ] = None,
) -> None:
    """Write transfers, each once and with both sides, in the order of the log."""
    selection = Selection(_id(account), _time("--from", from_, parse_start), _time("--to", to, parse_end))
    if output is None and format_ is Format.PARQUET and sys.stdout.isatty():
        fail("parquet is not for a terminal: give --output", 2)
    try:
        count = run(lambda settings: _export(settings, format_, selection, output))
    except ExportError as error:
        fail(str(error), 1)
    except OSError as error:
        fail(f"{output or 'standard output'}: {error.strerror}", 1)
    console.print(f"{count} transfer{'' if count == 1 else 's'}")


async def _export(settings: Settings, format_: Format, selection: Selection, output: Path | None) -> int:
    write = exporting.writer(format_)
    connection = await connect(settings)
    try:
        with _opened(output) as file, Progress() as progress:
            return await exporting.export(connection, write, selection, file, progress)
    except asyncpg.UndefinedTableError as error:
        raise DatabaseError("the schema is not up to date: run `ledger migrate`") from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise DatabaseError(f"PostgreSQL is gone: {type(error).__name__}") from error
    finally:
        await connection.close(timeout=1)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that takes the place of another only once it is whole; only its owner reads it."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False) as file:
        try:
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(output)
        except BaseException:
            Path(file.name).unlink()
            raise


def _id(text: str | None) -> UUID | None:
    try:
        return None if text is None else parse_id(text)
    except ValueError as error:
        fail(f"--account: {error}", 2)


def _time(option: str, text: str | None, parse: Callable[[str], datetime]) -> datetime | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        fail(f"{option}: {error}", 2)
