"""Overdue holds: a service that does not record their expiry has them, and the console says so."""

from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.books import open_books
from tests.support.console import Console
from tests.support.controls import Api, Serve
from tests.support.holds import due, hold

ROWS = "main .grid .rows .row"
ENDING = "SELECT pg_advisory_lock('stored_events'::regclass::oid::int, 2)"  # the lock of hold expiry
OLDER = "UPDATE transfers SET recorded_at = recorded_at - interval '3 days' WHERE id = $1"


@pytest.fixture
async def api(serve: Serve, settings: Settings, connection: Any) -> Api:
    """Return the API of a service whose expiry task does nothing."""
    await connection.execute(ENDING)
    return await serve(settings.model_copy(update={"ledger_expiry_seconds": 3600.0}))


@pytest.fixture(autouse=True)
async def _holds(api: Api, connection: Any) -> None:
    """Place a hold that is three days old, one that is overdue, and one that is neither."""
    accounts = await open_books(api)
    pair = (accounts["users:alice"], accounts["assets:cash"])
    old = await hold(api, pair, 5, reference="old")
    await connection.execute(OLDER, old["id"])
    await due(api, pair, 5, reference="late")


async def test_overdue_holds_come_first_and_ages_can_be_chosen(console: Console) -> None:
    await console.open("/holds")
    await console.until(f"document.querySelectorAll('{ROWS}').length === 3")

    assert "overdue" in (await console.texts(ROWS))[0]
    assert "late" in (await console.texts(ROWS))[0]
    assert ["1", "0", "1", "0", "0"] == await console.texts("main .age-bars .age-count")
    await console.click("main .age-bars li:nth-child(3) a")
    await console.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert "old" in (await console.texts(ROWS))[0]
    await console.click("main .chip")
    await console.until(f"document.querySelectorAll('{ROWS}').length === 3")
    await console.click("main .holds-head a.warn")
    await console.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert "late" in (await console.texts(ROWS))[0]


async def test_the_overview_warns_of_them(console: Console) -> None:
    await console.open()

    await console.sees("2 pending")
    await console.sees("! 1 overdue")
