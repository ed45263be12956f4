"""The tutorial's commands run as written, and print the output on the page."""

import re
import sys
from pathlib import Path

import pytest

from tests.support.processes import LEDGER, ROOT, Ledger, run_program

PAGE = (ROOT / "docs/tutorial/first-ledger.md").read_text()
STEP = re.compile(r"<!-- ([\w ]+) -->\n```(sh|python)\n(.*?)```\n<!-- /\1 -->(?:\n\n```\w*\n(.*?)```)?", re.DOTALL)
STEPS = {name: (language, code, expected) for name, language, code, expected in STEP.findall(PAGE)}
END = "-- end of a step --"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that has `.venv/bin/ledger`, as the repository does after `make run`."""
    program = tmp_path / ".venv/bin/ledger"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nexec {LEDGER[0]} {LEDGER[1]} '{LEDGER[2]}' \"$@\"\n")
    program.chmod(0o700)
    return tmp_path


async def run(*command: str, folder: Path) -> str:
    ran = await run_program(*command, folder=folder)
    assert 0 == ran.status, ran.error
    return ran.output


async def test_every_command_of_the_tutorial_prints_what_the_page_says(folder: Path, service: Ledger) -> None:
    url = await service.url()
    shell = {name: step for name, step in STEPS.items() if "sh" == step[0]}
    script = f"\nprintf '\\n{END}\\n'\n".join(code for _, code, _ in shell.values())

    output = await run("bash", "-euo", "pipefail", "-c", script.replace("http://127.0.0.1:8080", url), folder=folder)

    printed = {name: text.strip() for name, text in zip(shell, output.split(END), strict=True)}
    expected = {name: text.strip() for name, (_, _, text) in shell.items() if text}
    assert expected == {name: printed[name] for name in expected}
    assert 4 == len(re.findall("^proven: ", printed["receipt"], re.MULTILINE))
    assert re.search(r"^ *USD .* 0\.00 USD *$", printed["trial balance"], re.MULTILINE)

    _, program, shown = STEPS["httpx"]
    assert shown == await run(sys.executable, "-c", program.replace("http://127.0.0.1:8080", url), folder=folder)


def test_every_block_of_the_tutorial_is_run() -> None:
    """A block of shell or Python without a name would be run by no test; `make run` has no language."""
    assert len(STEPS) == len(re.findall(r"```(?:sh|python)\n", PAGE))
