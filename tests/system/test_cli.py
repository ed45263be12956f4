"""The `ledger` command starts as a module, and describes its commands."""

import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from ledger import __version__
from ledger.cli import COMMANDS, Commands, Group, resolve
from tests.support.processes import ROOT, run_ledger


def commands(group: Commands, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, command in group.items():
        if isinstance(command, Group):
            yield from commands(command.commands, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


async def test_the_package_runs_as_a_module() -> None:
    assert (0, f"ledger {__version__}\n", "") == await run_ledger("--version")


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (("ledger.cli",), {"asyncpg", "pydantic", "redis", "rich", "structlog"}),
        (
            [f"ledger.cli.{name}" for name in ("audit", "export", "migrate", "projections", "seals")],
            {"aiohttp", "alembic", "opentelemetry", "pyarrow", "redis", "sqlalchemy"},
        ),
    ],
)
def test_a_command_imports_no_package_that_it_does_not_need(modules: Sequence[str], absent: set[str]) -> None:
    program = f"import sys, {', '.join(modules)}; print(*sys.modules)"

    imported = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)

    assert set() == absent & set(imported.stdout.split())


async def test_usage_names_the_command_and_not_the_module() -> None:
    status, output, error = await run_ledger("audit", "balance")

    assert (2, "") == (status, output)
    assert "Usage: ledger audit balance" in error


async def test_the_help_of_the_command_lists_every_command() -> None:
    status, output, _ = await run_ledger("--help")

    assert 0 == status
    assert [] == [name for name in COMMANDS if f" {name} " not in output]


@pytest.mark.parametrize(("name", "function"), tuple(commands(COMMANDS)))
def test_the_help_of_a_command_begins_with_one_sentence(name: str, function: str) -> None:
    summary = (resolve(function).__doc__ or "").split("\n")[0]

    assert summary[:1].isupper(), name
    assert summary.endswith("."), name
