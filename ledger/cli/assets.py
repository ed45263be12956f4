"""`ledger assets`: register assets, and list them with the currencies of ISO 4217."""

import sys
from typing import Annotated, Any

import typer

from ledger.cli.migrate import migrate_schema
from ledger.cli.options import AsDryRun, AsJson, parse_value
from ledger.cli.output import emit, emit_lines, print_table
from ledger.cli.shell import query, run_service
from ledger.commands.assets import RegisterAsset
from ledger.environment.variables import SettingsError
from ledger.events.assets import MAX_NAME_LENGTH
from ledger.money import MAX_DIGITS, UNKNOWN_ASSET, check_code
from ledger.projections import assets
from ledger.runtime import Runtime, open_runtime, take_dry_run
from ledger.settings import Settings
from ledger.store.connections import Connection
from ledger.store.reader import MAX_POSITION
from ledger.values.ids import new_id
from ledger.values.text import check_printable
from ledger.values.timestamps import rfc3339
from ledger.write.dry_run import DryRun
from ledger.write.group import Origin

PAGE = 1000
_COLUMNS = ("code", "digits", "source", "name")


def register_asset(
    code: Annotated[str, typer.Argument(help="Code, such as HOURS: 1 to 16 of A-Z, 0-9, dot, hyphen and underscore.")],
    name: Annotated[str, typer.Argument(help=f"Name, of at most {MAX_NAME_LENGTH} characters.")],
    digits: Annotated[int, typer.Option(min=0, max=MAX_DIGITS, help="Decimal places of an amount. They never change.")],
    dry_run: AsDryRun = False,
    as_json: AsJson = False,
) -> None:
    """Register an asset, in which accounts can be opened from then on. JSON: one document."""
    command = RegisterAsset(
        code=parse_value("CODE", code, check_code), asset_name=parse_value("NAME", name, _parse_name), digits=digits
    )
    result = run_service(lambda settings: _register(settings, command, dry_run=dry_run))
    if as_json:
        emit(result)
    else:
        done = "dry run: would be registered:" if dry_run else "registered"
        sys.stdout.write(f"{done} {code} with {digits} decimal places\n")


def list_assets(
    only_registered: Annotated[
        bool, typer.Option("--registered", help="Leave out the currencies of ISO 4217.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List registered assets, newest first, then the currencies of ISO 4217. JSON: one asset per line."""
    rows = query(lambda connection: _read_all(connection, only_registered=only_registered))
    if as_json:
        emit_lines(rows)
    else:
        print_table(_COLUMNS, ([str(row.get(name, "")) for name in _COLUMNS] for row in rows))


async def check_default_currency(runtime: Runtime) -> None:
    """Raise `SettingsError` if accounts cannot be opened in the default currency, because it is no known asset."""
    code = runtime.settings.ledger_default_currency
    if not await assets.is_known(runtime.pool, code):
        raise SettingsError(f"LEDGER_DEFAULT_CURRENCY: {UNKNOWN_ASSET}: register it with `ledger assets add`")


def _parse_name(text: str) -> str:
    if not 1 <= len(text) <= MAX_NAME_LENGTH:
        raise ValueError(f"must have 1 to {MAX_NAME_LENGTH} characters")
    return check_printable(text)


async def _register(settings: Settings, command: RegisterAsset, *, dry_run: bool) -> dict[str, Any]:
    if not dry_run:
        await migrate_schema(settings)
    async with open_runtime(settings) as runtime:
        dry = DryRun(runtime.pool, schema=settings.ledger_schema)
        target = take_dry_run(runtime, dry) if dry_run else runtime
        outcome = await target.committer.submit(command, Origin(new_id()))
        return {**outcome.result, "created_at": rfc3339(outcome.recorded_at)}


async def _read_all(connection: Connection, *, only_registered: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    before = MAX_POSITION
    while page := await assets.page(connection, before=before, limit=PAGE):
        rows += [body for _, body in page]
        before = page[-1][0]
    return [row for row in rows if not only_registered or row["source"] == "registered"]
