"""Operations: the service in numbers, rebuilds from start to swap, and verifications with their findings."""

import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.console import QUICK, Console
from tests.support.console_buttons import button, confirm, press, says
from tests.support.controls import PASSWORD, Api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ledger.store.connections import Connection

DETAILS = "main .details"
LOST = "async () => { throw new TypeError('lost'); }"


@pytest.fixture
async def console(console: Console) -> Console:
    """Return the console, which asks for news sooner."""
    await console.page.start()
    await console.page.before_load(QUICK)
    return console


@asynccontextmanager
async def blocked(connection: "Connection", table: str) -> "AsyncIterator[None]":
    """Keep others from reading a table, so that what does so takes as long as the block."""
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


async def test_a_rebuild_is_followed_from_its_start_to_the_swap(
    console: Console, api: Api, connection: "Connection"
) -> None:
    account = await api.new_account(balance_cents=7000)
    await connection.execute("UPDATE accounts SET balance_cents = 7100 WHERE id = $1", account["id"])

    await console.open("/operations")
    await press(console, "accounts")
    await confirm(console, "Rebuild and compare", "Rebuild")
    await says(console, DETAILS, "✗ 1 row differs")
    difference = await console.texts(f"{DETAILS} .row-difference")
    await confirm(console, "Swap tables", "Swap tables")
    await says(console, DETAILS, "✓ Tables swapped")

    assert account["id"] in difference[0]
    assert "balance_cents\t7100\t7000" in difference[0]
    assert 7000 == await api.balance(account)
    assert "?projection=accounts" == await console.run("location.search")


async def test_a_running_rebuild_shows_its_progress_and_is_cancelled(
    console: Console, api: Api, connection: "Connection"
) -> None:
    await api.new_account(balance_cents=7000)
    async with blocked(connection, "reconciliations"):
        await console.open("/operations?projection=reconciliations")
        await confirm(console, "Rebuild and compare", "Rebuild")
        await console.until(f"document.querySelector('{DETAILS} progress')")
        await confirm(console, "Cancel", "Cancel it")
    await says(console, DETAILS, "cancelled")
    await console.until(button("Rebuild and compare"))


async def test_a_verification_shows_what_was_tampered_with(
    console: Console, api: Api, connection: "Connection"
) -> None:
    account = await api.new_account(balance_cents=7000)
    await console.open("/operations")
    await confirm(console, "Verify all", "Start")
    await says(console, ".verification", "✓ No finding")

    await connection.execute("UPDATE accounts SET balance_cents = 7100 WHERE id = $1", account["id"])
    await confirm(console, "Quick check", "Start")
    await says(console, ".verification", "✗ ")
    await console.until("document.querySelector('.findings tbody tr')")  # once it has ended
    rows = await console.texts(".findings tbody tr")

    assert any(account["id"] in row and "7000" in row and "7100" in row for row in rows), rows


async def test_a_refusal_is_said_in_the_dialog(console: Console, api: Api) -> None:
    console.expect(409)
    await console.open("/operations?projection=accounts")
    await confirm(console, "Rebuild and compare", "Rebuild")
    await says(console, DETAILS, "✓ No row differs")
    await press(console, "Discard")
    await console.until("document.querySelector('dialog[open]')")
    await api.post("/v1/projections/accounts/rebuild/cancel")
    await console.until("document.querySelector('main').innerText.includes('cancelled')")
    await press(console, "Discard", "dialog[open]")

    await says(console, "dialog .problem", "There is nothing to cancel")
    await console.page.press("Escape")
    await console.until("!document.querySelector('dialog')")


async def test_old_values_say_since_when(console: Console, api: Api) -> None:
    await api.new_account(balance_cents=7000)
    await console.open("/operations")
    await console.until("document.querySelectorAll('.trend .line').length > 1")
    await console.run(f"(window.real = fetch, window.fetch = {LOST}, 1)")

    await console.until("document.querySelectorAll('main .stale').length === 3")  # charts, verification, projections
    notes = await console.texts("main .stale")
    await console.run("(window.fetch = window.real, 1)")
    await console.until("!document.querySelector('main .stale')")

    assert all(re.fullmatch(r"! As of \d\d:\d\d:\d\d: The service does not respond", note) for note in notes), notes
    assert await console.run("document.querySelectorAll('.trend .line').length > 1")


async def test_polling_stops_when_the_view_is_left(console: Console) -> None:
    await console.open("/operations")
    await console.until("document.querySelectorAll('.trend .line').length > 1")
    await console.click("#bar .tabs a")
    await console.until("location.pathname === '/console'")
    await console.until("(window.left ??= performance.now()) < performance.now() - 100")
    asked = len([each for each in console.page.requested if each.endswith("/metrics")])
    await console.until(
        "(window.since ??= performance.now()) < performance.now() - 1000"
    )  # twice as long as between two

    assert asked == len([each for each in console.page.requested if each.endswith("/metrics")])


async def test_periods_monitors_and_schedules_are_listed(console: Console, api: Api) -> None:
    account = await api.new_account(balance_cents=7000, code="users:alice")
    other = await api.new_account(account["user_id"])
    watched = {"account_id": account["id"], "condition": "available_cents", "operator": "<", "amount_cents": 10000}
    await api.post("/v1/monitors", watched)
    await api.post("/v1/periods/close", {"through": "2026-01-31"})
    then = datetime.now(UTC) + timedelta(days=1)
    between = {"source_account_id": account["id"], "destination_account_id": other["id"], "amount_cents": 500}
    scheduled = {**between, "description": "rent", "execute_at": then.isoformat()}
    assert 200 == (await api.post("/v1/transactions/transfer", scheduled)).status

    await console.open("/operations")
    for text in (
        "open since 2026-02-01",
        "through 2026-01-31",
        "available < 100.00 USD",
        "users:alice",
        "rent",
        "5.00 USD",
    ):
        await console.sees(text)


async def test_an_auditor_verifies_and_changes_nothing(console: Console, api: Api) -> None:
    auditor = await api.new_user(roles="auditor")
    await console.open("/operations?projection=accounts", auditor["username"], PASSWORD)
    await says(console, DETAILS, "Rows, about")
    await console.sees("Requests per second")
    await confirm(console, "Quick check", "Start")
    await says(console, ".verification", "✓ No finding")

    assert not await console.run(f"Boolean({button('Rebuild and compare')})")


async def test_in_the_past_nothing_can_be_started(console: Console, api: Api) -> None:
    await api.new_account(balance_cents=7000)
    await console.open("/operations?projection=accounts&at=2")
    await console.until(button("Rebuild and compare"))
    disabled = [await console.run(f"{button(text)}.disabled") for text in ("Rebuild and compare", "Verify all")]

    assert [True, True] == disabled
    await console.sees("always as of now")


async def test_others_have_no_right_to_it(console: Console, api: Api) -> None:
    customer, guest = [await api.new_user(roles=roles) for roles in ("customer", "guest")]
    await console.open("/operations", customer["username"], PASSWORD)

    for user in (customer, guest):
        if user is guest:
            await console.change_user(guest["username"])
        await console.sees("Your roles do not allow this")
        assert not {"Operations", "People"} & set(await console.texts("#bar .tabs a"))


async def test_metrics_are_read_as_numbers(console: Console) -> None:
    await console.open("/operations")
    before, after = (
        f'seconds_bucket{{le="0.1",route="/a \\" b"}} {low}\nseconds_bucket{{le="0.2",route="/a"}} {high}\n'
        f'seconds_bucket{{le="+Inf",route="/a"}} {high}\n# a comment\nbusy 3.5\n'
        for low, high in ((5, 10), (5, 30))
    )
    script = f"""import("/console/metrics.js").then(({{ parse, quantile }}) => {{
      const [before, after] = [{json.dumps(before)}, {json.dumps(after)}].map(parse);
      window.read = [after.get("busy")[0].value, quantile(after, before, "seconds_bucket", 0.5),
                     quantile(after, after, "seconds_bucket", 0.5)];
    }}) && true"""
    await console.run(script)
    await console.until("window.read")

    assert [3.5, pytest.approx(0.15), None] == await console.run("window.read")
