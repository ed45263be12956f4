"""The exports of a ledger come back in through import, with the same ids, sums and texts."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.money import CURRENCIES_ALONE
from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, Api
from tests.support.exports import Balances, balances_of, exported
from tests.support.month import OWNER, VALID_TEXTS, Month, submit
from tests.support.processes import run_ledger


@pytest.fixture
async def target(serve: Callable[..., Awaitable[Api]], elsewhere: Settings) -> Api:
    """Return a service with an empty ledger."""
    return await serve(elsewhere)


async def import_export(runtime: Runtime, target: Api, file: Path, format_: str, *period: str) -> dict[str, int]:
    """Export a ledger in a format, import the file into another one, and return the counts of lines."""
    await exported(runtime, "--format", format_, "--output", str(file), *period)
    url, variables = str(target.client.make_url("")).rstrip("/"), {"LEDGER_PASSWORD": ADMIN_PASSWORD}
    ran = await run_ledger("import", str(file), "--url", url, "--json", variables=variables)
    assert 0 == ran.status, ran
    counts: dict[str, int] = ran.document
    return counts


async def open_accounts(target: Api, month: Month) -> None:
    """Open the accounts of the month, without money."""
    await target.new_user(id=str(OWNER))
    for currency, accounts in month.accounts.items():
        for account_id in map(str, accounts):
            await target.new_account(str(OWNER), id=account_id, currency=currency, overdraft_limit_cents=5_000)


FORMATS = ("jsonl", "csv", "parquet", "hledger", "beancount")


@pytest.mark.parametrize(("is_period", "formats"), [(False, FORMATS), (True, FORMATS[::-1])], ids=["whole", "period"])
async def test_an_export_comes_back_in(
    runtime: Runtime, target: Api, tmp_path: Path, is_period: bool, formats: tuple[str, ...]
) -> None:
    """The first format makes all transactions, and each other one finds the same: equal ids, amounts and texts."""
    month = Month(VALID_TEXTS)
    await submit(runtime, month.before())
    begin = await runtime.pool.fetchval("SELECT max(recorded_at) + interval '1 microsecond' FROM stored_events")
    await submit(runtime, month.within())
    await open_accounts(target, month)
    period = ("--from", begin.isoformat().replace("+00:00", "Z")) if is_period else ()
    made = [await import_export(runtime, target, tmp_path / f"month.{name}", name, *period) for name in formats]
    first, *others = made
    assert (0, 0) == (first["refused"], first["replayed"])
    assert 0 < first["made"]
    assert [(0, 0, first["made"])] * 4 == [(each["refused"], each["made"], each["replayed"]) for each in others]
    assert await balances_of(runtime) == await balances_of_service(target)
    rows = await runtime.pool.fetch("SELECT id FROM transfers WHERE reference IS NOT NULL AND status IS NULL")
    for row in rows:
        stored = (await target.get(f"/v1/transactions/{row['id']}")).body
        original = await runtime.pool.fetchrow("SELECT reference, description FROM transfers WHERE id = $1", row["id"])
        assert original is not None
        assert tuple(original) == (stored["reference"], stored.get("description"))


async def balances_of_service(target: Api) -> Balances:
    """Return the balances that are not zero, by account id."""
    accounts = (await target.get("/v1/accounts?world=true")).body
    cents = {account["id"]: (account["balance_cents"], account["currency"]) for account in accounts}
    return {account_id: Decimal(CURRENCIES_ALONE.format(*each)) for account_id, each in cents.items() if each[0]}
