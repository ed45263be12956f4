"""Options of the commands that read a file and send it to a running service: the service, and how to read the file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.shell import fail
from ledger.importing.readers import FORMATS

DEFAULT_URL, DEFAULT_USERNAME = "http://127.0.0.1:8080", "admin"

Url = Annotated[str, typer.Option(envvar="LEDGER_URL", help="URL of the service.")]
Username = Annotated[str, typer.Option(envvar="LEDGER_USERNAME", help="User to log in as.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="File with the password; by default, LEDGER_PASSWORD is used.", exists=True, dir_okay=False),
]
Otp = Annotated[str | None, typer.Option(envvar="LEDGER_OTP", help="One-time code, if the user has a second factor.")]
Profile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML file with the options below.", exists=True, dir_okay=False),
]
FormatName = Annotated[
    str | None,
    typer.Option("--format", help=f"Format: {', '.join(FORMATS)}. By default, that of the file's suffix."),
]
Separator = Annotated[
    str | None, typer.Option(help="Separator of the columns, or tab. By default, the one that fits the header.")
]
Encoding = Annotated[
    str | None, typer.Option(help="Encoding, such as windows-1252. By default UTF-8, or that of a byte-order mark.")
]
NumberFormat = Annotated[
    str | None,
    typer.Option(metavar="EXAMPLE", help="The number 1234.56 in the form of the file, such as 1.234,56."),
]
DateFormat = Annotated[
    str | None, typer.Option(metavar="FORM", help="The form of dates, such as DD.MM.YYYY. By default, RFC 3339.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="MEMBER=COLUMN", help="Take a member from this column, as amount_cents=Betrag."),
]
Ignored = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="Leave a column out; * leaves out all unknown ones.")
]
CurrencyName = Annotated[str | None, typer.Option(help="Currency of amounts in units, if the file does not say it.")]


def read_password(path: Path | None) -> str:
    """Return the password in a file, or that of the environment; without either, end the program with status 2."""
    if path is not None:
        return path.read_text().rstrip("\n")
    password = os.environ.get("LEDGER_PASSWORD")
    if password is None:
        fail("give --password-file, or set LEDGER_PASSWORD", 2)
    return password
