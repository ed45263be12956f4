"""Clients generated from the served document compile in strict mode, and programs that use them work.

The programs are the examples, with the commands that examples/README.md gives. Each runs where its language is
installed, and everywhere with GENERATED_CLIENTS=all, as in CI. Generators and libraries come from the caches of npm,
pip and Go, or over the network if they are not there yet.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.controls import ADMIN_PASSWORD, Api
from tests.support.processes import ROOT, run_program

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


INSTALL_SECONDS = 600
PROGRAMS = (
    Program(ROOT / "examples/python", "python3", commands("python")),
    Program(ROOT / "examples/typescript", "npm", commands("typescript")),
    Program(ROOT / "examples/go", "go", commands("go")),
    Program(ROOT / "tests/clients/hey-api", "npm", OF_NPM),
)
RUN = [program for program in PROGRAMS if os.environ.get("GENERATED_CLIENTS") == "all" or shutil.which(program.needs)]


@pytest.mark.parametrize("program", RUN, ids=lambda program: program.folder.name)
async def test_a_generated_client_compiles_strictly_and_moves_money(api: Api, tmp_path: Path, program: Program) -> None:
    assert shutil.which(program.needs), f"{program.needs} is not installed, and GENERATED_CLIENTS=all wants it"
    folder = Path(shutil.copytree(program.folder, tmp_path / "client", ignore=shutil.ignore_patterns(*GENERATED)))

    said = await run(program.commands, folder, str(api.client.make_url("/")).removesuffix("/"))

    assert said.endswith(SAID), said


async def run(commands: str, folder: Path, url: str) -> str:
    """Run commands, none of which fails, and return their output."""
    variables = {
        "LEDGER_URL": url,
        "LEDGER_USERNAME": "admin",
        "LEDGER_PASSWORD": ADMIN_PASSWORD,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": "",
        "GOTOOLCHAIN": "local",
        "PIP_QUIET": "1",
        **{f"npm_config_{name}": "false" for name in ("audit", "fund", "update_notifier")},
        **{f"npm_config_{name}": "true" for name in ("prefer_offline", "ignore_scripts")},
    }
    shell = ("bash", "-euo", "pipefail", "-c", commands)
    ran = await run_program(*shell, folder=folder, deadline_seconds=INSTALL_SECONDS, variables=variables)
    assert 0 == ran.status, f"{ran.output}{ran.error}\n(the first run needs the network to install what is locked)"
    return ran.output
