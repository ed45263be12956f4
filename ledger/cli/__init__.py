"""The `ledger` command. A failure is one line on standard error, and exit status 1, or 2 for invalid usage."""

import sys
from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple, TypeAlias

import typer

from ledger import __version__
from ledger.cli import (
    admin,
    audit,
    demo,
    export,
    import_,
    import_reference,
    migrate,
    projections,
    seals,
    serve,
    tokens,
    verify,
)

Commands: TypeAlias = "Mapping[str, Callable[..., None] | Group]"


class Group(NamedTuple):
    """Commands that share a first word."""

    description: str
    commands: Commands


COMMANDS: Commands = {
    "serve": serve.serve,
    "migrate": migrate.migrate,
    "admin": Group("Manage admins: users who may do everything.", {"create": admin.create_admin}),
    "demo": demo.demo,
    "import": import_.import_file,
    "import-reference": import_reference.import_reference,
    "tokens": Group(
        "Inspect and repair what the service knows about revoked tokens.",
        {
            "mirror": Group(
                "The cache of revocations in Redis.",
                {"status": tokens.show_cache_status, "rebuild": tokens.rebuild_cache},
            )
        },
    ),
    "projections": Group(
        "Inspect and rebuild the tables that queries read.",
        {
            "list": projections.show_list,
            "status": projections.show_status,
            "rebuild": projections.start_rebuild,
            "rollback": projections.start_rollback,
            "resume": projections.resume_follower,
            "cancel": projections.cancel_rebuild,
        },
    ),
    "audit": Group(
        "Show, verify, seal and export the history.",
        {
            "history": audit.show_history,
            "events": audit.show_events,
            "balance": audit.show_balance,
            "trial-balance": audit.show_trial_balance,
            "replay": audit.show_replay,
            "export": export.export,
            "verify": verify.verify,
            "seal": seals.seal,
            "seal-status": seals.show_seal_status,
            "seal-key": seals.show_seal_key,
            "export-heads": seals.export_heads,
            "verify-seals": seals.verify_seals,
            "check-receipt": seals.check_receipt,
        },
    ),
}


def main() -> None:
    """Run the command that the arguments of the process name."""
    app(prog_name="ledger")


def _register(target: typer.Typer, commands: Commands) -> typer.Typer:
    for name, command in commands.items():
        if isinstance(command, Group):
            group = typer.Typer(no_args_is_help=True, help=command.description)
            target.add_typer(_register(group, command.commands), name=name)
        else:
            target.command(name)(command)
    return target


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ledger {__version__}\n")
        raise typer.Exit


app = _register(typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False), COMMANDS)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run an event-sourced, double-entry ledger."""
