"""AsyncAPI's own parser reads the served description of events without an error or a warning.

The parser comes from the cache of npm, or over the network if it is not there yet. Like generated clients, it runs
where npm is installed, and everywhere with GENERATED_CLIENTS=all, as in CI.
"""

import shutil
from pathlib import Path
from typing import get_args

import pytest

from ledger.events.accounts import AccountEvent
from ledger.events.disclosure import DISCLOSED_TOPICS
from tests.support.client_programs import is_tested, run_commands
from tests.support.controls import Api
from tests.support.processes import ROOT

PARSER = ROOT / "tests/clients/asyncapi"
ALL, OF_ACCOUNTS = len(DISCLOSED_TOPICS), len(get_args(AccountEvent))
SAID = f"""\
AsyncAPI 3.0.0
feed: {ALL} messages
webhooks: {ALL + 1} messages
accountSubjects: {OF_ACCOUNTS} messages
otherSubjects: {ALL - OF_ACCOUNTS} messages
replays: 1 messages
kafkaTopic: {ALL} messages
"""


@pytest.mark.parametrize("needs", [name for name in ("npm",) if is_tested(name)])
async def test_the_parser_of_asyncapi_accepts_the_document(api: Api, tmp_path: Path, needs: str) -> None:
    assert shutil.which(needs), f"{needs} is not installed, and GENERATED_CLIENTS=all wants it"
    folder = Path(shutil.copytree(PARSER, tmp_path / "parser", ignore=shutil.ignore_patterns("node_modules")))

    said = await run_commands("npm ci\nnpm start\n", folder, str(api.client.make_url("/")).removesuffix("/"))

    assert said.endswith(SAID), said
