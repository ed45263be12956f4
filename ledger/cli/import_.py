"""`ledger import`: transfers from a file, through the API of a running service."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ledger.cli.import_client import ImportFailedError, Result, Service, measure, read, send
from ledger.cli.shell import console, fail

KEPT_ERRORS = 1000  # that --json shows; the counts are of all


class _Tally:
    """What became of the lines so far."""

    def __init__(self, path: Path, *, quiet: bool) -> None:
        self.made = self.replayed = self.refused = 0
        self.errors: list[dict[str, Any]] = []
        self._path, self._quiet = path, quiet

    def hear(self, result: Result) -> None:
        """Take one more line in, and say at once if it was refused."""
        if not result.errors:
            self.made += not result.replayed
            self.replayed += result.replayed
            return
        self.refused += 1
        for error in result.errors:
            known: dict[str, Any] = {name: error[name] for name in ("code", "message", "detail") if name in error}
            if len(self.errors) < KEPT_ERRORS:
                self.errors.append({"line": result.line, "status": result.status, **known})
            if not self._quiet:
                where = error.get("detail", {}).get("pointer", "")
                console.print(
                    f"{self._path}:{result.line}: {error['code']}: {where}{' ' if where else ''}{error['message']}",
                    markup=False,
                    soft_wrap=True,
                )


def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV (.csv) or JSON Lines (.jsonl).")],
    url: Annotated[str, typer.Option(envvar="LEDGER_URL", help="Where the service is.")] = "http://127.0.0.1:8080",
    username: Annotated[str, typer.Option(envvar="LEDGER_USERNAME", help="Who pays.")] = "admin",
    password_file: Annotated[
        Path | None, typer.Option(help="Holds the password; else LEDGER_PASSWORD does.", exists=True, dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output instead of text.")] = False,
) -> None:
    """Make the transfers in a file. The same file again makes none twice, so what was interrupted is started again.

    Columns of CSV: source_account_id, destination_account_id, amount_cents; and, if wanted, id, reference,
    description, effective_at, metadata.KEY. Lines of JSON are bodies of POST /v1/transactions/transfer. The exit
    status is 1 if lines were refused or the import stopped early.
    """
    tally = _Tally(file, quiet=as_json)
    stopped: str | None = None
    try:
        service = Service(url.rstrip("/"), username, _password(password_file))
        measured = measure(file)
        with _shown(tally, measured.lines) as heard:
            asyncio.run(send(service, lambda: read(file, measured.digest), heard))
    except (ImportFailedError, OSError) as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped = "stopped"
    _tell(tally, stopped, as_json=as_json)


def _tell(tally: _Tally, stopped: str | None, *, as_json: bool) -> None:
    counts = {"made": tally.made, "replayed": tally.replayed, "refused": tally.refused}
    if as_json:
        sys.stdout.write(json.dumps({**counts, "stopped": stopped, "errors": tally.errors}) + "\n")
    else:
        sys.stdout.write(", ".join(f"{count:,} {name}" for name, count in counts.items()) + "\n")
    if stopped is not None:
        fail(f"{stopped}; the same command goes on, and makes nothing twice", 1)
    if tally.refused:
        sys.exit(1)


@contextmanager
def _shown(tally: _Tally, total: int) -> Iterator[Callable[[Result], None]]:
    """A bar on a terminal, which ends before anything else is said."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("transfers", total=total, speed="")
        done = 0

        def heard(result: Result) -> None:
            nonlocal done
            done += 1
            tally.hear(result)
            elapsed = max(bar.tasks[0].elapsed or 0, 0.001)
            bar.update(task, completed=done, speed=f"{done:,} of {total:,}, {done / elapsed:,.0f}/s")

        yield heard


def _password(path: Path | None) -> str:
    if path is not None:
        return path.read_text().rstrip("\n")
    password = os.environ.get("LEDGER_PASSWORD")
    if password is None:
        fail("give --password-file, or set LEDGER_PASSWORD", 2)
    return password
