"""Clients generated from the served document compile in strict mode, and programs that use them work.

The programs are the examples, with the commands that examples/README.md gives. Each runs where its language is
installed, and everywhere with GENERATED_CLIENTS=all, as in CI. Generators and libraries come from the caches of npm,
pip and Go, or over the network if they are not there yet.
"""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.client_programs import is_tested, run_commands
from tests.support.controls import Api
from tests.support.processes import ROOT

README = (ROOT / "examples" / "README.md").read_text()
GENERATED = ("node_modules", "dist", ".venv", "ledger", "ledger.d.ts", "ledger_client", ".mypy_cache")
SAID = """\
transferred 2500 USD, once
read a transfer: rent, May
balances: 7500 7500
transfers of the account: 1
refused: transfer_insufficient_funds
"""
OF_NPM = "npm ci\nnpm run generate\nnpm run build\nnpm start\n"


class Program(NamedTuple):
    """A program that uses a generated client: its folder, the command that its language needs, and how it is run."""

    folder: Path
    needs: str
    commands: str


def commands(language: str) -> str:
    """Return the commands that the README has for a language."""
    (found,) = re.findall(rf"<!-- {language} -->\n```sh\n(.*?)```\n<!-- /{language} -->", README, re.DOTALL)
    return str(found)


PROGRAMS = (
    Program(ROOT / "examples/python", "python3", commands("python")),
    Program(ROOT / "examples/typescript", "npm", commands("typescript")),
    Program(ROOT / "examples/go", "go", commands("go")),
    Program(ROOT / "tests/clients/hey-api", "npm", OF_NPM),
)
RUN = [program for program in PROGRAMS if is_tested(program.needs)]


@pytest.mark.parametrize("program", RUN, ids=lambda program: program.folder.name)
async def test_a_generated_client_compiles_strictly_and_moves_money(api: Api, tmp_path: Path, program: Program) -> None:
    assert shutil.which(program.needs), f"{program.needs} is not installed, and GENERATED_CLIENTS=all wants it"
    folder = Path(shutil.copytree(program.folder, tmp_path / "client", ignore=shutil.ignore_patterns(*GENERATED)))

    said = await run_commands(program.commands, folder, str(api.client.make_url("/")).removesuffix("/"))

    assert said.endswith(SAID), said
