"""The README's quick start does what the README says."""

import asyncio
import re
from pathlib import Path

from tests.processes import ROOT, ledger

SCRIPT = re.compile(r"<!-- quick start -->\n```sh\n(.*?)```\n<!-- /quick start -->", re.DOTALL)


async def test_the_quick_start_can_be_pasted(tmp_path: Path) -> None:
    found = SCRIPT.search((ROOT / "README.md").read_text())
    assert found is not None

    with ledger(tmp_path, "serve", LEDGER_DATA_DIR=".ledger", SERVICE_PORT="0") as service:
        script = found[1].replace("http://127.0.0.1:8080", await service.url())
        output = await _bash(script, tmp_path)
        await service.stop()

    transferred, source, destination, read_again, refused = output.strip().splitlines()
    assert ("7500", "2500") == (source, destination)
    assert transferred == read_again
    assert '"code":"transfer_insufficient_funds"' in refused


async def _bash(script: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-c", f"TOKEN=\n{script}"), cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert 0 == process.returncode
    return output.decode()
