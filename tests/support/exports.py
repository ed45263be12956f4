"""Exports of a ledger, and the balances that other programs compute from them.

hledger is no Python package, so the locked requirements cannot install it, and a test must not. Where it is missing,
`read_journal` alone reads its journals; it knows the small part of the format that the export writes. With
EXPORT_TOOLS=all, as in CI, a missing hledger fails the tests.
"""

import asyncio
import csv
import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid5

import duckdb
from beancount import loader
from beancount.core.data import Posting, Transaction

from ledger.events.accounts import world_account_id
from ledger.money import Assets
from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.processes import ROOT, Ran, run_ledger

HLEDGER = shutil.which("hledger")
NEEDS_HLEDGER = HLEDGER is not None or os.environ.get("EXPORT_TOOLS") == "all"
BALANCES_SQL = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/reference/exports.md").read_text(), re.DOTALL)[0]
Balances = dict[str, Decimal]
ASSETS = Assets({"HOURS": 4})  # as `tests.support.traffic` registers it


async def run_export(settings: Settings, *arguments: str, **variables: str) -> Ran:
    return await run_ledger("audit", "export", *arguments, variables={**settings.environment(), **variables})


async def exported(runtime: Runtime, *arguments: str) -> str:
    status, output, log = await run_export(runtime.settings, *arguments)
    assert 0 == status, log
    return output


async def balances_of(runtime: Runtime) -> Balances:
    """Return the balances that are not zero, by account id."""
    rows = await runtime.pool.fetch("SELECT id, currency, balance_cents FROM accounts WHERE balance_cents <> 0")
    return {str(row["id"]): Decimal(ASSETS.format(row["balance_cents"], row["currency"])) for row in rows}


async def moved_money(runtime: Runtime) -> list[dict[str, Any]]:
    """Return a row for each transaction that moved money, and one for each capture of a hold, in the order of the log.

    Only the first capture has the id of the hold, and its reference unless it has one of its own.
    """
    rows = [dict(row) for row in await runtime.pool.fetch("SELECT * FROM transfers")]
    holds = {row["id"]: row for row in rows if row["status"] is not None}
    moved, before = [row for row in rows if row["status"] is None], dict[Any, int]()
    for row in await runtime.pool.fetch("SELECT * FROM captures ORDER BY transaction_id, version"):
        capture, hold = dict(row), holds[row["transaction_id"]]
        earlier = before.get(hold["id"])
        before[hold["id"]] = capture.pop("version")
        own = {name: value for name, value in capture.items() if value is not None}
        parted = {} if earlier is None else {"id": uuid5(hold["id"], str(earlier)), "reference": None}
        moved.append(hold | parted | own)
    return sorted(moved, key=lambda row: row["position"])


def by_id(names: Balances) -> Balances:
    """Return a journal's balances by account id; a journal names `world` by its currency."""
    return {id_of(name): balance for name, balance in names.items() if balance}


def id_of(name: str) -> str:
    group, _, last = name.rpartition(":")
    return str(world_account_id(last)) if group.lower() == "equity:world" else last.removeprefix("A-")


def read_journal(text: str) -> list[list[tuple[str, Decimal]]]:
    """Return a journal's transactions: a date in the first column begins one, and indented lines are its accounts."""
    transactions: list[list[tuple[str, Decimal]]] = []
    for line in text.split("\n"):
        if re.match(r"\d{4}-\d{2}-\d{2}(=\d{4}-\d{2}-\d{2})? \* \(\d+\) \S", line):
            transactions.append([])
        elif posting := re.fullmatch(r"    (\S+)  (-?\d+(?:\.\d+)?) [A-Z]{3,}", line):
            transactions[-1].append((posting[1], Decimal(posting[2])))
        else:
            assert re.match(r"$|decimal-mark \.$|commodity 1000\.0* [A-Z]{3,}$|account \S+($|  ; )|    ; ", line), line
    return transactions


def parse_posting(entry: Transaction) -> list[tuple[str, Decimal]]:
    return [(posting.account, parse_amount(posting)) for posting in entry.postings]


def parse_amount(posting: Posting) -> Decimal:
    assert posting.units is not None
    assert posting.units.number is not None
    return posting.units.number


def sum_postings(transactions: Iterable[list[tuple[str, Decimal]]]) -> Balances:
    balances: Balances = {}
    for postings in transactions:
        assert 0 == sum(amount for _, amount in postings)
        for account, amount in postings:
            balances[account] = balances.get(account, Decimal(0)) + amount
    return balances


def read_with_beancount(path: Path) -> list[Transaction]:
    """Return the transactions of a journal in which beancount finds no error."""
    entries, errors, _ = loader.load_file(str(path))
    assert [] == errors
    return [entry for entry in entries if isinstance(entry, Transaction)]


async def run_hledger(path: Path, *arguments: str) -> str:
    assert HLEDGER, "hledger is not installed, and EXPORT_TOOLS=all wants it"
    process = await asyncio.create_subprocess_exec(HLEDGER, "-f", str(path), *arguments, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert 0 == process.returncode
    return output.decode()


async def balances_by_hledger(path: Path) -> Balances:
    """Return the balances of a journal that passes hledger's strict checks, by the name of the account."""
    await run_hledger(path, "check", "--strict")
    output = await run_hledger(path, "balance", "--flat", "--no-total", "-O", "csv")
    rows = csv.DictReader(io.StringIO(output))
    return {row["account"]: Decimal(row["balance"].split()[0]) for row in rows}


def balances_by_duckdb(path: Path) -> Balances:
    """Return the balances that the documented query computes from a file of rows."""
    rows: list[tuple[Any, ...]] = duckdb.execute(BALANCES_SQL.replace("may.parquet", str(path))).fetchall()
    return {account_id: Decimal(ASSETS.format(cents, currency)) for account_id, currency, cents in rows if cents != 0}
