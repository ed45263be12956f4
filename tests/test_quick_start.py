"""The README's quick start does what the README says."""

import asyncio
import re
import sys
from pathlib import Path

from tests.processes import ROOT, ledger

SCRIPT = re.compile(r"<!-- quick start -->\n```sh\n(.*?)```\n<!-- /quick start -->", re.DOTALL)
EXAMPLE = re.compile(r"<!-- httpx -->\n```python\n(.*?)```\n<!-- /httpx -->", re.DOTALL)


async def test_the_quick_start_can_be_pasted(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    found, example = SCRIPT.search(readme), EXAMPLE.search(readme)
    assert found is not None
    assert example is not None

    with ledger(tmp_path, "serve", LEDGER_DATA_DIR=".ledger", SERVICE_PORT="0") as service:
        url = await service.url()
        output = await _run("bash", "-eu", "-c", f"TOKEN=\n{_at(url, found[1])}", folder=tmp_path)
        shown = await _run(sys.executable, "-c", _at(url, example[1]), folder=tmp_path)
        await service.stop()

    transferred, source, destination, read_again, refused = output.strip().splitlines()
    assert ("7500", "2500") == (source, destination)
    assert transferred == read_again
    assert '"code":"transfer_insufficient_funds"' in refused
    assert "[7500]\n" == shown


def _at(url: str, script: str) -> str:
    return script.replace("http://127.0.0.1:8080", url)


async def _run(*command: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert 0 == process.returncode
    return output.decode()
