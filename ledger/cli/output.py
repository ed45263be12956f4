"""Output of commands: JSON for programs, tables for people, and files that are complete or not there."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from rich.console import Console
from rich.table import Column, Table

from ledger.values.timestamps import rfc3339

WIDTH = 160  # characters of a table; an id that is wrapped onto two lines cannot be copied


def emit(document: Any) -> None:
    """Print one JSON document on a line of its own."""
    sys.stdout.write(json.dumps(document, default=str) + "\n")


def emit_lines(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print JSON Lines: a compact object for each row, with times as RFC 3339 in UTC."""
    sys.stdout.writelines(encode_compact(_format_times(row)) + "\n" for row in rows)


def encode_compact(value: object) -> str:
    """Return a value as JSON without spaces."""
    return msgspec.json.encode(value).decode()


def print_table(columns: Sequence[str | Column], rows: Iterable[Sequence[str]], *, width: int | None = WIDTH) -> None:
    """Print a table of `width` characters, or of the terminal's width if it is None."""
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*row)
    Console(width=width, highlight=False, markup=False).print(table)


def plural(count: int, noun: str) -> str:
    """Return the count with its noun, which takes an "s" unless the count is 1."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def describe_omitted(omitted: Mapping[str, int]) -> list[str]:
    """Return a line for each kind of findings that were not printed."""
    return [f"... and {count:,} more: {kind}" for kind, count in omitted.items()]


@contextmanager
def open_output(output: Path | None) -> Iterator[BinaryIO]:
    """Open standard output, or a temporary file that replaces `output` once it is complete.

    Only its owner can read the file.
    """
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


def _format_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}
