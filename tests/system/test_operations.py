"""The commands of the operations guide work, and the metrics and settings that it names exist."""

import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
from prometheus_client.parser import text_string_to_metric_families

from ledger.embedded import Services
from ledger.embedded.binaries import find_programs
from ledger.runtime import Runtime
from ledger.seals.sealing import begin_chain
from ledger.settings import Settings
from tests.support.controls import Api, new_id
from tests.support.processes import ROOT, run_program
from tests.support.roles import serving_url
from tests.support.sealed import write_key_file

GUIDE = (ROOT / "docs" / "how-to" / "operate.md").read_text()


def script(name: str) -> str:
    """Return the commands with this name in the guide."""
    (found,) = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```\n<!-- /{name} -->", GUIDE, re.DOTALL)
    return str(found)


async def test_a_restored_backup_has_correct_books(
    serve: Callable[[Settings], Awaitable[Api]], settings: Settings, servers: Services, tmp_path: Path
) -> None:
    sealed = settings.model_copy(update={"ledger_seal_key_file": write_key_file(tmp_path / "key.pem")})
    await begin_chain(sealed)
    api = await serve(sealed)
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    assert 200 == (await api.transfer(source, destination, 25)).status
    restored = f"t_{new_id().hex}"
    url = re.sub(r"/t_\w+\?", f"/{restored}?", settings.database_dsn())
    paths = [str(Path(sys.executable).parent), str(find_programs().postgres.parent), os.environ["PATH"]]
    variables = {**sealed.environment(), "RESTORED_URL": url, "PATH": ":".join(paths)}

    try:
        said = await run("ledger audit seal\n" + script("backup"), tmp_path, variables)
        assert 200 == (await api.transfer(source, destination, 25)).status, "after the backup"
        said = await run(script("restore").replace("ledger_restored", restored), tmp_path, variables)
        assert 2 == said.count("the books are right")
        there = await asyncpg.connect(url)
        balances = await there.fetch("SELECT balance_cents FROM ledger.accounts WHERE balance_cents > 0")
        await there.close()
        assert [25, 75] == sorted(row["balance_cents"] for row in balances)
    finally:
        connection = await asyncpg.connect(servers.database_url)
        await connection.execute(f"DROP DATABASE IF EXISTS {restored} WITH (FORCE)")
        await connection.close()


async def test_two_roles_are_set_up_by_the_commands_of_the_guide(
    busy: Runtime, tmp_path: Path, connection: "asyncpg.Connection[Any]"
) -> None:
    """On a ledger that had one role before."""
    owner = busy.settings.database_dsn()
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    variables = {**busy.settings.environment(), "OWNER_URL": owner, "SERVING_URL": serving_url(owner)}

    said = await run(script("two-roles"), tmp_path, {**variables, "PATH": ":".join(paths)})

    assert "the role ledger_serving of DATABASE_URL may not change history" in said
    assert "the books are right" in said
    granted = """SELECT has_table_privilege('ledger_serving', 'accounts', 'UPDATE'),
                        has_table_privilege('ledger_serving', 'seals', 'UPDATE')"""
    assert (True, False) == tuple(await connection.fetchrow(granted) or ())


async def run(commands: str, folder: Path, variables: dict[str, str]) -> str:
    """Run commands, none of which fails, and return what they print on both outputs."""
    ran = await run_program("bash", "-euo", "pipefail", "-c", commands, folder=folder, variables=variables)
    assert 0 == ran.status, ran.error
    return ran.output + ran.error


async def test_the_series_to_alert_on_exist(api: Api) -> None:
    families = text_string_to_metric_families((await api.get("/metrics")).body)
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    there = {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}
    expressions = re.findall(r"`([^`]*)`", GUIDE.partition("## What to alert on")[2])
    wanted = {name for text in expressions for name in re.findall(r"\b(?:ledger|process)_\w+", text)}
    assert len(wanted) >= 10
    assert set() == wanted - there


def test_the_settings_it_names_exist() -> None:
    named = set(re.findall(r"\b(?:LEDGER|JWT|POSTGRES|REDIS)_[A-Z_]+[A-Z]\b", GUIDE))
    of_commands = {"LEDGER_OTP"}
    assert set() == named - of_commands - {name.upper() for name in Settings.model_fields}
