"""An account with 100,000 entries and a tree of 10,000 accounts, on a ledger that has them.

The ordinary suite has a tenth of both: enough that the console forgets pages.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.embedded import Services
from ledger.settings import Settings
from tests.conftest import create_once, new_database, settings_for
from tests.support.api_server import serve_once
from tests.support.books import shown
from tests.support.console import PATIENCE_SECONDS, Console
from tests.support.console_views import FULL
from tests.support.controls import Api, Serve
from tests.support.large_books import OPENING_CENTS, WALLET, Size, balance_of, code_of, write_large

SIZE = Size(entries=100_000, accounts=10_000) if FULL else Size(entries=10_000, accounts=1_000)
TEMPLATE = "template_large"
PATIENT = {"ledger_database_patience_seconds": PATIENCE_SECONDS}
FRAME_SECONDS = 1 / 60
MOST_ROWS = 80
MOST_BYTES = 16_000_000  # that the script's memory may grow by
GRID = "document.querySelector('main .grid')"
ROWS = f"[...{GRID}.querySelectorAll('.rows .row')]"

# Scrolls to the end, a screen each frame, and counts the frames and the most rows.
TO_THE_END = """(async () => {
  const grid = document.querySelector("main .grid");
  const done = { frames: 0, rows: 0 };
  const isComplete = () => grid.getAttribute("aria-rowcount") !== "-1";
  while (!isComplete() || grid.scrollTop + grid.clientHeight < grid.scrollHeight - 1) {
    grid.scrollTop += grid.clientHeight;
    await new Promise((resolve) => requestAnimationFrame(resolve));
    done.frames += 1;
    done.rows = Math.max(done.rows, grid.querySelectorAll(".rows .row").length);
  }
  window.scrolled = done;
})() && true"""


@pytest.fixture(scope="session")
def large_template(servers: Services, template: str) -> str:
    """Return the name of the database with the large ledger."""

    async def fill(draft: str) -> None:
        async with serve_once(settings_for(servers, draft, **PATIENT)) as api:
            await write_large(api, SIZE)

    asyncio.run(create_once(servers, TEMPLATE, template, fill))
    return TEMPLATE


@pytest.fixture
async def settings(servers: Services, large_template: str) -> AsyncIterator[Settings]:
    async with new_database(servers, large_template) as found:
        yield found.model_copy(update=PATIENT)


@pytest.fixture
async def api(serve: Serve, settings: Settings) -> Api:
    return await serve(settings)


async def scroll_to_the_end(console: Console) -> dict[str, Any]:
    """Return the frames that it took, their seconds of the page's thread, and the most rows."""
    before = await console.page.thread_seconds()
    await console.page.run(TO_THE_END)
    scrolled = json.loads(await console.page.run("window.scrolled && JSON.stringify(window.scrolled)"))
    return {**scrolled, "seconds": await console.page.thread_seconds() - before}


async def test_an_account_is_scrolled_from_end_to_end(console: Console, api: Api) -> None:
    account = (await api.get(f"/v1/accounts/{WALLET}")).body
    last = f"{ROWS}.at(-1).innerText"

    await console.open(f"/accounts/{account['id']}")
    await console.until(f"{ROWS}[0]?.innerText.includes('payment {SIZE.entries - 1}')")
    before = await console.page.heap_bytes()
    found = await scroll_to_the_end(console)
    await console.until(f"{last}.includes('opening')")
    bytes_ = await console.page.heap_bytes() - before
    await console.until(f"{last}.includes('world USD')")
    oldest = (await console.run(last)).splitlines()
    await console.run(f"{GRID}.scrollTo(0, 0)")
    await console.until(f"{ROWS}[0]?.innerText.includes('payment {SIZE.entries - 1}')")

    assert str(SIZE.entries + 1) == await console.run(f"{GRID}.getAttribute('aria-rowcount')")  # with its head
    assert ["opening", "world USD", shown(OPENING_CENTS), shown(OPENING_CENTS)] == oldest[-5:-1]  # credit and balance
    assert shown(account["balance_cents"]) in await console.run(f"{ROWS}[0].innerText")
    assert found["rows"] < MOST_ROWS
    assert found["seconds"] / found["frames"] < FRAME_SECONDS, found
    assert bytes_ < MOST_BYTES


async def test_a_tree_has_the_sums_of_the_service(console: Console, api: Api) -> None:
    await console.open("/accounts")
    await console.until(f"document.querySelector('main header').innerText.includes('{SIZE.accounts + 2:,} accounts')")
    await console.until(f"{ROWS}.some((each) => each.innerText.includes('branch-9'))")
    balances = (await api.get("/v1/ledger/balances?prefix=tree:&depth=1")).body["balances"]
    expected = {each["code"].rpartition(":")[2]: f"{shown(each['sum_cents_text'])} USD" for each in balances}
    sums = "each.querySelector('.indent').innerText.trim().slice(1), each.lastElementChild.innerText.trim()"
    found = dict(await console.run(f"{ROWS}.map((each) => [{sums}])"))

    assert 10 == len(expected)
    assert expected == {name: sum_ for name, sum_ in found.items() if name in expected}


async def test_a_tree_is_scrolled_and_searched_as_one_types(console: Console) -> None:
    number = SIZE.accounts - 1
    await console.open("/accounts")
    await console.until(f"document.querySelector('main header').innerText.includes('{SIZE.accounts + 2:,} accounts')")
    before = await console.page.heap_bytes()
    await console.fill("main [name=q]", "leaf")  # which opens all groups
    await console.until(f"document.querySelector('main header').innerText.includes('{SIZE.accounts:,} accounts')")
    found = await scroll_to_the_end(console)

    typing = await console.page.thread_seconds()
    text = code_of(number).rpartition(":")[2]
    for end in range(len("leaf") + 1, len(text) + 1):
        found_by = sum(text[:end] in code_of(each) for each in range(SIZE.accounts))
        await console.fill("main [name=q]", text[:end])
        await console.until(
            f"document.querySelector('main header [role=status]').innerText.startsWith('{found_by:,} ')"
        )
    await console.until(f"{ROWS}.at(-1).innerText.includes('{text}')")
    typing = await console.page.thread_seconds() - typing

    assert f"{shown(balance_of(number))} USD" in await console.run(f"{ROWS}.at(-1).innerText")
    assert found["rows"] < MOST_ROWS
    assert found["seconds"] / found["frames"] < FRAME_SECONDS, found
    assert typing < 1, typing
    assert await console.page.heap_bytes() - before < MOST_BYTES
