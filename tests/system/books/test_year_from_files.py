"""A small year that comes from files has the naive sums of these, and comes back from its own journals."""

import csv
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from uuid import uuid5

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, Api
from tests.support.exports import run_export
from tests.support.journal_reports import Balances, Journals
from tests.support.processes import run_ledger
from tests.support.random_books import parse
from tests.support.year import ENDS, Account, Year, open_accounts

COLUMNS = (
    "id",
    "source_account_id",
    "destination_account_id",
    "amount_cents",
    "effective_at",
    "reference",
    "description",
    "metadata.kind",
)
Rows = list[dict[str, Any]]


def read_rows(year: Year) -> Rows:
    """Return the transfers and journal entries of a year, each with the time at which it counts."""
    rows: Rows = []
    for step in year.steps():
        bodies: list[Any] = step.body if isinstance(step.body, list) else [step.body]
        if step.path in {"/v1/transactions/transfer", "/v1/transactions/batch", "/v1/transactions"}:
            items = bodies[0].get("items", bodies)
            at = step.at.isoformat().replace("+00:00", "Z")
            rows += [{"effective_at": at, **item} for item in items if step.status == 200]
    return rows


def legs(row: dict[str, Any]) -> Iterator[tuple[str, int]]:
    if "postings" in row:
        yield from ((posting["account_id"], posting["amount_cents"]) for posting in row["postings"])
    else:
        yield row["source_account_id"], -row["amount_cents"]
        yield row["destination_account_id"], row["amount_cents"]


def sum_up(rows: Rows, ids: dict[str, str], end: date) -> Balances:
    """Return the naive sums at the end of a day, without zeros."""
    last = datetime.combine(end, time.max, UTC)
    found = Counter[str]()
    for row in rows:
        if parse(row["effective_at"]) <= last:
            for name, cents in legs(row):
                found[ids.get(name.lower(), name)] += cents
    return {key: cents for key, cents in found.items() if cents}


def write_files(rows: Rows, folder: Path) -> list[Path]:
    """Write the transfers as CSV and the journal entries as JSON Lines."""
    transfers, entries = folder / "transfers.csv", folder / "entries.jsonl"
    with transfers.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            if "postings" not in row:
                kind = row.get("metadata", {}).get("kind", "")
                writer.writerow({name: row.get(name, "") for name in COLUMNS} | {"metadata.kind": kind})
    entries.write_text("".join(f"{json.dumps(row)}\n" for row in rows if "postings" in row))
    return [transfers, entries]


async def import_file(api: Api, file: Path) -> dict[str, Any]:
    url = str(api.client.make_url("")).rstrip("/")
    ran = await run_ledger("import", str(file), "--url", url, "--json", variables={"LEDGER_PASSWORD": ADMIN_PASSWORD})
    assert 0 == ran.status, ran
    return dict(ran.document)


async def read_balances(api: Api, end: date) -> Balances:
    listed = (await api.get("/v1/accounts", params={"effective_at": str(end)})).body
    return {row["id"]: row["balance_cents"] for row in listed if row["balance_cents"]}


def open_by_entry(accounts: list[Account]) -> Iterator[dict[str, Any]]:
    """Yield transfers of the opening balances, which count on the first day."""
    for account in accounts:
        if account.balance_cents:
            capital = f"equity:capital:{account.currency.lower()}"
            yield {
                "id": str(uuid5(account.id, "opening")),
                "source_account_id": capital,
                "destination_account_id": str(account.id),
                "amount_cents": account.balance_cents,
                "effective_at": f"{ENDS[0].replace(day=1)}",
            }


async def test_a_year_from_files_has_the_naive_sums_and_comes_back_from_its_journals(
    elsewhere: Settings,  # first, because its database must outlive the service
    settings: Settings,
    serve: Callable[..., Awaitable[Api]],
    tmp_path: Path,
) -> None:
    year = Year(seed=5, per_day=2)
    accounts = [account._replace(balance_cents=0) for account in year.accounts]
    api, other = await serve(settings), await serve(elsewhere)
    for one in (api, other):
        await open_accounts(one, accounts)
    ids = {account.code.lower(): str(account.id) for account in accounts if account.code}
    rows = [*open_by_entry(year.accounts), *read_rows(year)]
    for file in write_files(rows, tmp_path):
        assert 0 < (await import_file(api, file))["made"]

    expected = {end: sum_up(rows, ids, end) for end in ENDS}
    assert expected == {end: await read_balances(api, end) for end in ENDS}
    made = []
    for name, suffix in (("hledger", "journal"), ("beancount", "beancount")):
        path = tmp_path / f"year.{suffix}"
        ran = await run_export(settings, "--format", name, "--by", "effective", "--output", str(path))
        assert 0 == ran.status, ran
        counts = await import_file(other, path)
        made.append((counts["made"], counts["replayed"]))
    assert [(len(rows), 0), (0, len(rows))] == made
    assert expected == {end: await read_balances(other, end) for end in ENDS}
    journals = Journals(tmp_path / "year")
    assert expected == {end: journals.beancount.balances_at(end) for end in ENDS}
    if journals.hledger is not None:
        months = await journals.hledger.balances_at_month_ends()
        assert expected == {end: months[end] for end in ENDS}
