"""The `ledger` command. A failure is one line on standard error, and exit status 1, or 2 for invalid usage."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Annotated, Any, NamedTuple, TypeAlias, cast

import typer
from typer.core import TyperGroup

from ledger import __version__

Commands: TypeAlias = "Mapping[str, str | Group]"


class Group(NamedTuple):
    """Commands that share a first word."""

    description: str
    commands: Commands


# A command is the name of its function, whose module is imported when the command runs.
COMMANDS: Commands = {
    "serve": "ledger.cli.serve:serve",
    "migrate": "ledger.cli.migrate:migrate",
    "demo": "ledger.cli.demo:demo",
    "import": "ledger.cli.import_:import_file",
    "reconcile": "ledger.cli.reconcile:reconcile",
    "import-reference": "ledger.cli.import_reference:import_reference",
    "statement": "ledger.cli.statement:show_statement",
    "admin": Group("Manage admins: users who may do everything.", {"create": "ledger.cli.admin:create_admin"}),
    "assets": Group(
        "Register assets beside the currencies of ISO 4217.",
        {"add": "ledger.cli.assets:register_asset", "list": "ledger.cli.assets:list_assets"},
    ),
    "tokens": Group(
        "Inspect and rebuild the cache of revoked tokens.",
        {
            "mirror": Group(
                "The cache of revocations in Redis.",
                {"status": "ledger.cli.tokens:show_cache_status", "rebuild": "ledger.cli.tokens:rebuild_cache"},
            )
        },
    ),
    "projections": Group(
        "Inspect and rebuild the tables that queries read.",
        {
            "list": "ledger.cli.projections:show_list",
            "status": "ledger.cli.projections:show_status",
            "rebuild": "ledger.cli.projections:start_rebuild",
            "rollback": "ledger.cli.projections:start_rollback",
            "resume": "ledger.cli.projections:resume_follower",
            "cancel": "ledger.cli.projections:cancel_rebuild",
        },
    ),
    "publish": Group(
        "Publish events to brokers: NATS JetStream or Kafka.",
        {
            "status": "ledger.cli.publish:show_status",
            "resume": "ledger.cli.publish:resume",
            "replay": "ledger.cli.publish:replay",
            "forget": "ledger.cli.publish:forget",
        },
    ),
    "periods": Group(
        "Close periods, so that nothing can take effect in them any more.",
        {
            "list": "ledger.cli.periods:show_list",
            "close": "ledger.cli.periods:close",
            "reopen": "ledger.cli.periods:reopen",
        },
    ),
    "report": Group(
        "Show the reports of accountants, as text, CSV or JSON.",
        {
            "trial-balance": "ledger.cli.report:show_trial_balance",
            "balance-sheet": "ledger.cli.report:show_balance_sheet",
            "income-statement": "ledger.cli.report:show_income_statement",
        },
    ),
    "audit": Group(
        "Show, verify, seal and export the history.",
        {
            "history": "ledger.cli.audit:show_history",
            "events": "ledger.cli.audit:show_events",
            "balance": "ledger.cli.audit:show_balance",
            "trial-balance": "ledger.cli.audit:show_trial_balance",
            "replay": "ledger.cli.audit:show_replay",
            "export": "ledger.cli.export:export",
            "verify": "ledger.cli.verify:verify",
            "seal": "ledger.cli.seals:seal",
            "seal-status": "ledger.cli.seals:show_seal_status",
            "seal-key": "ledger.cli.seals:show_seal_key",
            "export-heads": "ledger.cli.seals:export_heads",
            "verify-seals": "ledger.cli.seals:verify_seals",
            "accept-head": "ledger.cli.seals:accept_head",
            "check-receipt": "ledger.cli.seals:check_receipt",
        },
    ),
}


def main() -> None:
    """Run the command that the arguments of the process name."""
    root()(prog_name="ledger")


def root() -> TyperGroup:
    """Return the command line: a group of all commands, each of which is imported when it runs or is described."""
    typer_app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    typer_app.callback()(_take_options)
    group = cast("TyperGroup", typer.main.get_command(typer_app))
    group.commands = cast("dict[str, Any]", _LazyCommands(COMMANDS))
    return group


def resolve(function: str) -> Callable[..., None]:
    """Import the module of a command's function, such as `ledger.cli.serve:serve`, and return the function."""
    return cast("Callable[..., None]", resolve_name(function))


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ledger {__version__}\n")
        raise typer.Exit


def _take_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run an event-sourced, double-entry ledger."""


class _LazyCommands(Mapping[str, Any]):
    """The commands of a group by name. Looking one up imports its module, which takes most of the time of a start."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def __getitem__(self, name: str) -> Any:
        command = self._commands[name]
        return _create_group(name, command) if isinstance(command, Group) else _create_command(name, command)

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)


def _create_group(name: str, group: Group) -> TyperGroup:
    return TyperGroup(
        name=name,
        commands=cast("dict[str, Any]", _LazyCommands(group.commands)),
        help=group.description,
        no_args_is_help=True,
    )


def _create_command(name: str, function: str) -> Any:
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(resolve(function))
    return typer.main.get_command(alone)
