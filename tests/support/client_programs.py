"""Run programs in other languages, which install what their lock files name, against a service."""

import os
import shutil
import sys
from pathlib import Path

from tests.support.controls import ADMIN_PASSWORD
from tests.support.processes import run_program

INSTALL_SECONDS = 600


def is_tested(needs: str) -> bool:
    """Return whether programs that need this command are tested: it is installed, or all of them are wanted."""
    return os.environ.get("GENERATED_CLIENTS") == "all" or shutil.which(needs) is not None


async def run_commands(commands: str, folder: Path, url: str) -> str:
    """Run commands, none of which fails, for the service at this URL, and return their output."""
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
