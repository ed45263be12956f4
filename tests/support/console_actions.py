"""The dialogs of the console's actions, as a person uses them."""

import json
from typing import Any

from tests.support.console import Console
from tests.support.controls import Api

AFTER = "dialog .changes .after"
FORM = "dialog form.form"
PREVIEW = "dialog .preview"
DONE = "dialog .done"
SHOW_ACTIONS = """Promise.all(['actions/index.js', 'view.js', 'api.js'].map((name) => import(`/console/${name}`)))
  .then(async ([{ actionsOf }, { contextOf }, { get }]) => {
    const { signal } = new AbortController();
    const context = contextOf({ params: {}, query: new URLSearchParams(), at: null, signal });
    const buttons = actionsOf(await get(`/v1/transactions/ID`), context);
    const place = Object.assign(document.createElement('div'), { id: 'of-transaction' });
    place.append(...buttons);
    document.body.append(place);
  }), true"""


async def two_accounts(api: Api, **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Open two accounts, the first of which has 100.00."""
    owner = (await api.new_user())["id"]
    one = await api.new_account(owner, balance_cents=10_000, code="users:alice", **members)
    return one, await api.new_account(owner, code="users:bob")


async def begin(console: Console, name: str) -> None:
    """Press the button of an action, and wait for its dialog."""
    await console.click(f"[data-action={name}]:not(:disabled)")
    await console.until(f"document.querySelector({json.dumps(FORM)})")


async def pick(console: Console, field: str, text: str, number: int = 0) -> None:
    """Choose the account that fits a text."""
    found = f"document.querySelectorAll('dialog [name={field}]')[{number}]"
    await console.until(f"{found} && document.querySelector('dialog .options')")
    await console.run(f"({found}.focus(), {found}.value = {json.dumps(text)})")
    await console.run(f"{found}.dispatchEvent(new Event('input', {{ bubbles: true }}))")
    await console.until(f"{found}.parentElement.querySelector('[role=option]')?.innerText.includes({json.dumps(text)})")
    await console.page.press("Enter")
    await console.until(f"{found}.getAttribute('aria-expanded') === 'false'")


async def look(console: Console) -> list[str]:
    """Ask for the preview, and return the values after the change."""
    await console.run(f"document.querySelector({json.dumps(FORM)}).requestSubmit()")
    await console.until(f"document.querySelector({json.dumps(PREVIEW)})")
    return await console.texts(AFTER)


async def do_it(console: Console) -> str:
    """Do what was previewed, close the dialog, and return what it said."""
    await console.click("dialog [data-do]")
    await console.until(f"document.querySelector({json.dumps(DONE)})")
    text = (await console.texts("dialog .done-text"))[0]
    await console.click("dialog .done .primary")
    await console.until("!document.querySelector('dialog')")
    return text


async def fill_transfer(console: Console, amount: str, destination: str = "users:bob") -> None:
    """Open the dialog of a transfer, and fill it in."""
    await begin(console, "transfer")
    await pick(console, "source_account_id", "users:alice")
    await pick(console, "destination_account_id", destination)
    await console.fill("dialog [name=amount_cents]", amount)


async def problem_of(console: Console, name: str) -> str:
    """Wait for a problem at a field, and return it."""
    problem = f"document.querySelector('dialog [name={name}]').closest('.field').querySelector('.problem').innerText"
    await console.until(problem)
    return str(await console.run(problem))


async def show_actions(console: Console, transaction_id: str) -> list[str]:
    """Show the buttons of a transaction, as its view does, and return their texts."""
    await console.run("document.querySelector('#of-transaction')?.remove()")
    await console.run(SHOW_ACTIONS.replace("ID", transaction_id))
    await console.until("document.querySelector('#of-transaction button')")
    return await console.texts("#of-transaction button")
