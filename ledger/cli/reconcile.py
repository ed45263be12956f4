"""`ledger reconcile`: compare an account of a running service with a statement of its bank."""

import asyncio
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

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
from ledger.cli.import_client import Client, ImportFailedError, Service, connect, describe
from ledger.cli.options import AsDryRun, AsJson, parse_value
from ledger.cli.output import emit, plural
from ledger.cli.reconcile_report import Report, has_differences, list_lines, write_report
from ledger.cli.shell import console, fail
from ledger.importing.bank.balances import BankBalance
from ledger.importing.faults import FaultyFileError, OptionError
from ledger.importing.profile import load_profile, make_reading, parse_mapping
from ledger.importing.statements import FileStatement, identify_file, read_statement
from ledger.money import Assets
from ledger.values.account_codes import parse_account
from ledger.values.ids import parse_id


def reconcile(
    account: Annotated[str, typer.Argument(help="Account, by its id or its code, that stands for the bank account.")],
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="The bank's file, in a format of `ledger import`."),
    ] = None,
    window: Annotated[
        int, typer.Option(min=0, max=90, metavar="DAYS", help="Days that a line and its entry may be apart.")
    ] = 3,
    undo: Annotated[
        str | None,
        typer.Option(metavar="ID|FILE", help="Undo the reconciliation with this id, or all with this file."),
    ] = None,
    dry_run: AsDryRun = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    username: Username = DEFAULT_USERNAME,
    password_file: PasswordFile = None,
    otp: Otp = None,
    profile: Profile = None,
    format_: FormatName = None,
    separator: Separator = None,
    encoding: Encoding = None,
    number_format: NumberFormat = None,
    date_format: DateFormat = None,
    columns: Columns = None,
    ignore: Ignored = None,
    currency: CurrencyName = None,
) -> None:
    """Match the lines of a bank's statement with the entries of an account, and show what is missing on either side.

    Only what leaves no choice is matched. After corrections, run the command again: what was matched stays matched.
    The exit status is 1 if anything is missing or ambiguous, or a balance differs. JSON: one document.
    """
    path = f"/v1/accounts/{parse_value('ACCOUNT', account, parse_account)}"
    if (file is None) == (undo is None):
        fail("give either the FILE of a statement, or --undo with an id or a file", 2)
    service = Service(url.rstrip("/"), username, read_password(password_file), otp)
    given: dict[str, Any] = {
        "format": format_,
        "separator": separator,
        "encoding": encoding,
        "number_format": number_format,
        "date_format": date_format,
        "currency": currency,
    }
    try:
        if file is None:
            _undo(service, path, undo or "", dry_run=dry_run, as_json=as_json)
            return
        mapped = {"map": parse_mapping(columns or ()), "ignore": tuple(ignore or ())}
        assets = Assets(ServiceAssets(lambda: service))
        options = {} if profile is None else load_profile(profile)
        statement = read_statement(file, make_reading(options, {**given, **mapped}, assets))
        report, currency = asyncio.run(_compare(service, path, _to_body(statement, window), dry_run=dry_run))
        digits = assets.digits(currency)
    except OptionError as error:
        fail(str(error), 2)
    except FaultyFileError as error:
        _fail_faulty(file, error)
    except (ImportFailedError, OSError) as error:
        fail(str(error), 1)
    if as_json:
        emit({**report, "lines": list_lines(statement), "dry_run": dry_run})
    else:
        write_report(Report(report, statement, file, account, digits), dry_run=dry_run)
    if has_differences(report):
        raise typer.Exit(1)


async def _compare(
    service: Service, path: str, body: Mapping[str, Any], *, dry_run: bool
) -> tuple[dict[str, Any], str]:
    """Return the report of the service, and the currency of the account. Raises `ImportFailedError`."""
    async with connect(service, dry_run=dry_run) as client:
        report = await _post(client, f"{path}/reconciliation", body)
        status, account = await client.call("GET", path)
        if status != HTTPStatus.OK:
            raise ImportFailedError(describe(status, account))
        return report, account["currency"]


def _undo(service: Service, path: str, undone: str, *, dry_run: bool, as_json: bool) -> None:
    result = asyncio.run(_send_undo(service, path, _name_undone(undone), dry_run=dry_run))
    if as_json:
        emit({**result, "dry_run": dry_run})
        return
    did = "dry run: would undo" if dry_run else "undone"
    names = ", ".join(result["undone"])
    sys.stdout.write(f"{did}: {names} ({plural(result['entries'], 'matched line')})\n")


async def _send_undo(service: Service, path: str, body: Mapping[str, Any], *, dry_run: bool) -> dict[str, Any]:
    async with connect(service, dry_run=dry_run) as client:
        return await _post(client, f"{path}/reconciliation/undo", body)


async def _post(client: Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    status, answer = await client.post(path, msgspec.json.encode(body))
    if status != HTTPStatus.OK:
        raise ImportFailedError(describe(status, answer))
    result: dict[str, Any] = answer
    return result


def _name_undone(undone: str) -> dict[str, str]:
    """Return what names reconciliations: the id of one, or the file of all. Raises `OptionError`."""
    path = Path(undone)
    if path.is_file():
        return {"source": identify_file(path)}
    try:
        return {"id": str(parse_id(undone))}
    except ValueError:
        raise OptionError(f"--undo: {undone} is no file, and no id of a reconciliation") from None


def _to_body(statement: FileStatement, window: int) -> dict[str, Any]:
    lines = [
        {
            "day": line.day.isoformat(),
            "amount_cents": line.amount_cents,
            "reference": line.reference,
            "end_to_end_id": line.end_to_end_id,
            "description": line.description or None,
        }
        for line in statement.lines
    ]
    return {
        "source": statement.source,
        "currency": statement.currency,
        "window_days": window,
        "opening": _to_balance(statement.balances.opening),
        "closing": _to_balance(statement.balances.closing),
        "lines": lines,
    }


def _to_balance(balance: BankBalance | None) -> dict[str, Any] | None:
    return None if balance is None else {"day": balance.day.isoformat(), "balance_cents": balance.cents}


def _fail_faulty(file: Path | None, error: FaultyFileError) -> NoReturn:
    for (line, column), why in error.faults:
        console.print(f"{file}:{line}:{column}: {why}", markup=False, soft_wrap=True)
    more = "" if error.complete else "; there may be more"
    fail(f"{file} has {plural(len(error.faults), 'fault')}, so nothing was sent{more}", 1)
