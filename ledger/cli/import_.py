"""`ledger import`: check a file, and send its transactions to the API of a running service."""

import asyncio
import signal
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from ledger.audit.limited import Limited
from ledger.cli.file_options import (
    DEFAULT_URL,
    DEFAULT_USERNAME,
    Columns,
    CurrencyName,
    DateFormat,
    Encoding,
    FormatName,
    Ignored,
    NumberFormat,
    Otp,
    PasswordFile,
    Profile,
    Separator,
    Url,
    Username,
    read_password,
)
from ledger.cli.import_assets import ServiceAssets
from ledger.cli.import_client import ImportFailedError, Service, send, try_out
from ledger.cli.options import AsJson
from ledger.cli.output import describe_omitted, emit, plural
from ledger.cli.progress import Progress
from ledger.cli.shell import console, fail
from ledger.environment.gc import collect_rarely
from ledger.importing.faults import Fault, FaultyFileError, OptionError
from ledger.importing.identity import check_run
from ledger.importing.prepare import Prepared, prepare
from ledger.importing.profile import load_profile, make_reading, parse_mapping
from ledger.importing.results import LISTED_ERRORS, Result, Tally
from ledger.money import Assets

_STEP = 1000  # lines between two signs of progress of the check
_AGAIN = "run the command again to resume; completed transfers are not repeated"


class _Report:
    """Prints the results of an import, as text or as one JSON document."""

    def __init__(self, path: Path, *, dry_run: bool, as_json: bool) -> None:
        self.tally = Tally()
        self.dry_run = dry_run
        self._path, self._as_json = path, as_json
        self._limited = Limited(LISTED_ERRORS)

    def take(self, result: Result) -> None:
        """Print why a line was refused, up to a limit."""
        if not self._as_json:
            for error in result.errors:
                if not self._limited.admits(error["code"]):
                    continue
                where = error.get("detail", {}).get("pointer", "")
                self._write(
                    f"{self._path}:{result.line}: {error['code']}: {where}{' ' if where else ''}{error['message']}"
                )

    def finish(self, *, faults: FaultyFileError | None = None, stopped: str | None = None) -> None:
        """Print the counts, and end the program with status 1 unless all lines were made or replayed."""
        found = [] if faults is None else faults.faults
        if self._as_json:
            self._emit(found, stopped)
        else:
            for fault in found:
                self._write(f"{self._path}:{fault.place.line}:{fault.place.column}: {fault.why}")
            for line in describe_omitted(self._limited.omitted):
                self._write(line)
            sys.stdout.write(self._sum_up() + "\n")
        if faults is not None:
            more = "" if faults.complete else "; there may be more"
            fail(f"{self._path} has {plural(len(found), 'fault')}, so nothing was sent{more}", 1)
        if stopped is not None:
            fail(stopped, 1)
        if self.tally.counts["refused"]:
            sys.exit(1)

    def _sum_up(self) -> str:
        names = {"made": "new", "replayed": "made before", "refused": "refused"}
        texts = [f"{count:,} {names[name] if self.dry_run else name}" for name, count in self.tally.counts.items()]
        if self.dry_run:
            texts.append("nothing written")
            if self.tally.parts > 1:
                texts.append(f"tried in {self.tally.parts} parts, each on the present state")
        elif self.tally.unconfirmed:
            texts.append(f"{self.tally.unconfirmed:,} sent without an answer")
        return ", ".join(texts)

    def _emit(self, faults: list[Fault], stopped: str | None) -> None:
        emit(
            {
                **self.tally.counts,
                "unconfirmed": self.tally.unconfirmed,
                "dry_run": self.dry_run,
                "stopped": stopped,
                "faults": [{"line": line, "column": column, "message": why} for (line, column), why in faults],
                "errors": self.tally.errors,
            }
        )

    def _write(self, line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)


def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file to import.")],
    url: Url = DEFAULT_URL,
    username: Username = DEFAULT_USERNAME,
    password_file: PasswordFile = None,
    otp: Otp = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of this run, such as 2026-06-rent. Within a run, a line is made once. Required unless each line "
            "has an id or a reference.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, and show what would become of each line. Write nothing.")
    ] = False,
    profile: Profile = None,
    format_: FormatName = None,
    separator: Separator = None,
    encoding: Encoding = None,
    number_format: NumberFormat = None,
    date_format: DateFormat = None,
    columns: Columns = None,
    ignore: Ignored = None,
    currency: CurrencyName = None,
    account: Annotated[
        str | None,
        typer.Option(
            metavar="ACCOUNT", help="Account, by its id or its code, that stands for the bank account of a bank's file."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ACCOUNT", help="Account, by its id or its code, on the other side of each entry of a bank's file."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the transactions in a file. The whole file is checked first: with a fault, nothing is sent.

    To resume, run the command again: what was made is not repeated. The exit status is 1 if the file has faults, lines
    were refused, or the import stopped early. Formats: CSV, JSON Lines, exports of the ledger, and files of banks.
    """
    given = {
        "format": format_,
        "separator": separator,
        "encoding": encoding,
        "number_format": number_format,
        "date_format": date_format,
        "currency": currency,
        "account": account,
        "against": against,
    }

    @cache
    def find_service() -> Service:
        return Service(url.rstrip("/"), username, read_password(password_file), otp)

    collect_rarely()
    report = _Report(file, dry_run=dry_run, as_json=as_json)
    try:
        name = None if run is None else check_run(run)
        mapped: dict[str, Any] = {"map": parse_mapping(columns or ()), "ignore": tuple(ignore or ())}
        assets = Assets(ServiceAssets(find_service))
        reading = make_reading({} if profile is None else load_profile(profile), {**given, **mapped}, assets)
        service = find_service()
        with Progress(plain=True) as progress, prepare(file, reading, name, _Steps(progress).advance) as prepared:
            _run(service, prepared, report, progress)
    except OptionError as error:
        fail(str(error), 2)
    except FaultyFileError as error:
        report.finish(faults=error)
    except ImportFailedError as error:
        report.finish(stopped=f"{error}; {_AGAIN}" if error.can_resume else str(error))
    except OSError as error:
        report.finish(stopped=str(error))
    except KeyboardInterrupt:
        report.finish(stopped=f"stopped; {_AGAIN}")
    report.finish()


class _Steps:
    """Shows that the check of a file, whose number of lines is not known yet, goes on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lines = 0
        progress.begin("lines checked", None)

    def advance(self) -> None:
        """Count another line."""
        self._lines += 1
        if self._lines % _STEP == 0:
            self._progress.advance(_STEP)


def _run(service: Service, prepared: Prepared, report: _Report, progress: Progress) -> None:
    progress.begin("transactions", prepared.count)

    def take(result: Result) -> None:
        progress.advance(1)
        report.take(result)

    work = try_out if report.dry_run else send
    uvloop.run(_until_told(work(service, prepared, report.tally, take)))


async def _until_told(work: Any) -> None:
    """Run the work; SIGTERM stops it as Ctrl-C does, so that the counts are printed."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
