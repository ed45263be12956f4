"""`ledger import`: send the transfers in a file to the API of a running service."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.cli.import_client import (
    METADATA,
    OPTIONAL,
    REQUIRED,
    ImportFailedError,
    Result,
    Service,
    measure,
    read,
    send,
)
from ledger.cli.options import AsJson
from ledger.cli.output import emit
from ledger.cli.progress import Progress
from ledger.cli.shell import console, fail

LISTED_ERRORS = 1000  # in the output of --json; the counts include all
_COLUMNS = f"{', '.join(REQUIRED)}; optionally {', '.join(OPTIONAL)}, {METADATA}KEY"


class _Tally:
    """The results of the lines so far."""

    def __init__(self, path: Path, *, quiet: bool) -> None:
        self.made = self.replayed = self.refused = 0
        self.errors: list[dict[str, Any]] = []
        self._path, self._quiet = path, quiet

    def add(self, result: Result) -> None:
        """Count the result of another line; list its errors, and print them unless the tally is quiet."""
        if not result.errors:
            self.made += not result.replayed
            self.replayed += result.replayed
            return
        self.refused += 1
        for error in result.errors:
            known: dict[str, Any] = {name: error[name] for name in ("code", "message", "detail") if name in error}
            if len(self.errors) < LISTED_ERRORS:
                self.errors.append({"line": result.line, "status": result.status, **known})
            if not self._quiet:
                self._print(result.line, error)

    def _print(self, line: int, error: dict[str, Any]) -> None:
        where = error.get("detail", {}).get("pointer", "")
        console.print(
            f"{self._path}:{line}: {error['code']}: {where}{' ' if where else ''}{error['message']}",
            markup=False,
            soft_wrap=True,
        )


def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help=f"CSV (.csv) or JSON Lines (.jsonl). CSV columns: {_COLUMNS}."
        ),
    ],
    url: Annotated[str, typer.Option(envvar="LEDGER_URL", help="URL of the service.")] = "http://127.0.0.1:8080",
    username: Annotated[str, typer.Option(envvar="LEDGER_USERNAME", help="User to log in as.")] = "admin",
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with the password; by default, LEDGER_PASSWORD is used.", exists=True, dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the transfers in a file. To resume, run the command again: completed transfers are not repeated.

    Each line of JSON is a body of POST /v1/transactions/transfer. The exit status is 1 if lines were refused or the
    import stopped early.
    """
    tally = _Tally(file, quiet=as_json)
    stopped: str | None = None
    try:
        service = Service(url.rstrip("/"), username, _read_password(password_file))
        _send_file(service, file, tally)
    except (ImportFailedError, OSError) as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped = "stopped"
    _print_counts(tally, stopped, as_json=as_json)


def _send_file(service: Service, file: Path, tally: _Tally) -> None:
    measured = measure(file)
    with Progress() as progress:
        progress.begin("transfers", measured.lines)

        def add(result: Result) -> None:
            progress.advance(1)
            tally.add(result)

        asyncio.run(send(service, lambda: read(file, measured.digest), add))


def _print_counts(tally: _Tally, stopped: str | None, *, as_json: bool) -> None:
    counts = {"made": tally.made, "replayed": tally.replayed, "refused": tally.refused}
    if as_json:
        emit({**counts, "stopped": stopped, "errors": tally.errors})
    else:
        sys.stdout.write(", ".join(f"{count:,} {name}" for name, count in counts.items()) + "\n")
    if stopped is not None:
        fail(f"{stopped}; run the command again to resume; completed transfers are not repeated", 1)
    if tally.refused:
        sys.exit(1)


def _read_password(path: Path | None) -> str:
    if path is not None:
        return path.read_text().rstrip("\n")
    password = os.environ.get("LEDGER_PASSWORD")
    if password is None:
        fail("give --password-file, or set LEDGER_PASSWORD", 2)
    return password
