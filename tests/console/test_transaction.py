"""A transaction: its postings, its chain, its senders, its events, and its proof, which the browser checks itself."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ledger.identity.keys import private_key, public_pem
from ledger.seals.sealing import sealing
from ledger.settings import Settings
from tests.support.axe import findings
from tests.support.console import Console
from tests.support.console_views import variants
from tests.support.controls import NOBODY, PASSWORD, Api, Serve
from tests.support.sealed import wait_for_seal, write_key_file

VECTORS = Path(__file__).parents[2] / "docs/reference/receipts.md"
VERIFIED = "Verified in this browser"
NOT_PROVEN = "This transaction is not proven"
HOSTILE = "<img src=x onerror=alert(1)> \u05e9\u05dc\u05d5\u05dd & <b>bold</b> " + "x" * 150
WITHOUT_CRYPTO = "Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined })"
# One character of the event's content is another one, on its way to the page.
CHANGED = r"""
const ask = window.fetch;
window.fetch = async (address, options) => {
  const response = await ask(address, options);
  if (!String(address).endsWith("/proof")) return response;
  const text = await response.text();
  const changed = text.replace(/("state":"[^"]{12})(.)/, (all, before, one) => before + (one === "A" ? "B" : "A"));
  return new Response(changed, { status: response.status, headers: response.headers });
};
"""
# The service publishes no key, as after a change of the key.
KEYLESS = """
const ask = window.fetch;
window.fetch = async (address, options) => {
  if (!String(address).endsWith("/ledger-seal.json")) return ask(address, options);
  return new Response('{"keys": []}', { status: 200, headers: { "Content-Type": "application/json" } });
};
"""
# Each proof of a receipt holds; after a change of any single character, none of the receipt is accepted.
CHECK_VECTOR = """
(async () => {
  const { checkReceipt, keysOf, MalformedError, toHex } = await import("/console/proof.js");
  const keys = await keysOf(KEYS);
  const holds = async (text) => {
    try {
      return (await checkReceipt(JSON.parse(text), keys)).every((each) => each.holds);
    } catch (error) {
      if (error instanceof MalformedError || error instanceof SyntaxError) return false;
      throw error;
    }
  };
  const checked = await checkReceipt(JSON.parse(RECEIPT), keys);
  const unnoticed = [];
  for (const { index, 0: one } of RECEIPT.matchAll(/[0-9A-Za-z]/g)) {
    const other = /[0-9]/.test(one) ? (one === "1" ? "2" : "1") : one === "a" ? "b" : "a";
    const changed = RECEIPT.slice(0, index) + other + RECEIPT.slice(index + 1);
    if (await holds(changed)) unnoticed.push(changed);
  }
  const hashes = checked.flatMap(({ leaf, hash }) => [toHex(leaf), toHex(hash)]);
  return { holds: await holds(RECEIPT), hashes, unnoticed };
})()
"""


@pytest.fixture
def seals() -> str:
    """Say when the log is sealed: at once, later than the test ends, or never."""
    return "at once"


@pytest.fixture
async def api(serve: Serve, settings: Settings, key_file: Path, seals: str) -> AsyncIterator[Api]:
    seconds = {"at once": 0.01, "later": 3600}
    given = {"ledger_seal_key_file": key_file, "ledger_seal_seconds": seconds[seals]} if seals in seconds else {}
    served = settings.model_copy(update=given)
    async with AsyncExitStack() as stack:
        if seals == "at once":
            await stack.enter_async_context(sealing(served))
        yield await serve(served)


async def sealed_transfer(api: Api, **members: Any) -> dict[str, Any]:
    """Transfer 12.34 USD; return the transaction when it is sealed."""
    source, destination = await api.new_account(balance_cents=5000, code="users:alice"), await api.new_account()
    between = {"source_account_id": source["id"], "destination_account_id": destination["id"], "amount_cents": 1234}
    transaction = (await api.post("/v1/transactions/transfer", between | members)).body
    await wait_for_seal(api, transaction["id"])
    return dict(transaction)


async def evaluate(console: Console, script: str) -> Any:
    """Return what the promise of a script brings."""
    await console.run(f"(window.found = null, {script}.then((each) => {{ window.found = [each]; }}), true)")
    await console.until("window.found")
    return (await console.run("window.found"))[0]


async def test_a_transfer_is_shown_and_proven(console: Console, api: Api) -> None:
    transfer = await sealed_transfer(api, reference="inv-1", metadata={"cost-centre": "42"})

    await console.open(f"/transactions/{transfer['id']}")
    await console.sees(VERIFIED)
    await console.until("document.querySelectorAll('main .grid .rows .good').length === 3")
    await console.until("document.querySelector('.flow').innerText.includes('users:alice')")
    path = await console.run("document.querySelector('.path svg').getAttribute('aria-label')")

    assert ["Transfer 12.34 USD"] == await console.texts("main h1")
    assert ["\u221212.34", "+12.34"] == await console.texts(".side .money")
    assert re.fullmatch(r"Leaf \d+ of \d+ leads over \d+ nodes to the root of block \d+, which is signed", path)
    await console.sees("inv-1")
    await console.sees("cost-centre")


async def test_it_is_said_who_did_it(console: Console, api: Api) -> None:
    transfer = await sealed_transfer(api)
    (event,) = (await api.get(f"/v1/events?stream={transfer['id']}")).body
    command = (await api.get(f"/v1/audit/commands/{event['command_id']}")).body

    await console.open(f"/transactions/{transfer['id']}")
    await console.until("document.querySelectorAll('.sender-ids .copy').length === 3")
    titles = await console.run("[...document.querySelectorAll('.sender-ids .copy')].map((each) => each.title)")

    assert [f"Copy {command[name]}" for name in ("session_id", "request_id", "command_id")] == titles
    assert "Money transferred by admin" in (await console.texts(".sender-what"))[0]


async def test_one_changed_character_makes_the_page_red(console: Console, api: Api) -> None:
    transfer = await sealed_transfer(api)
    await console.open()
    await console.page.before_load(CHANGED)

    await console.load(f"/transactions/{transfer['id']}")
    await console.sees(NOT_PROVEN)
    box = await console.run(
        "[document.querySelector('main'), document.querySelector('.view.failed')].map((each) => each.clientHeight)"
    )

    assert [NOT_PROVEN] == await console.texts("main h1")
    assert "does not lead to the root" in (await console.texts("main .reason"))[0]
    assert box[0] <= box[1]
    assert [] == await console.texts("main .flow")


async def test_a_key_from_elsewhere_decides(console: Console, api: Api, key_file: Path, tmp_path: Path) -> None:
    transfer = await sealed_transfer(api)
    wrong = public_pem(private_key(write_key_file(tmp_path / "other.pem")))
    check = "main .key-form .primary"

    await console.open(f"/transactions/{transfer['id']}")
    await console.sees(VERIFIED)
    await console.click("main .own-key summary")
    await console.fill("main .key-form textarea", "no key")
    await console.click(check)
    await console.until("document.querySelector('main .key-form .problem').innerText !== ''")
    await console.fill("main .key-form textarea", wrong)
    await console.click(check)
    await console.sees("which is not the one that you pasted")
    await console.click("main .not-proven .service-key")
    await console.sees(VERIFIED)
    await console.fill("main .key-form textarea", public_pem(private_key(key_file)))
    await console.click(check)
    await console.sees("with the key that you pasted")

    assert [] == await console.texts("main .not-proven")


async def test_a_key_that_the_service_does_not_publish_can_be_pasted(
    console: Console, api: Api, key_file: Path
) -> None:
    transfer = await sealed_transfer(api)
    await console.open()
    await console.page.before_load(KEYLESS)

    await console.load(f"/transactions/{transfer['id']}")
    await console.sees("Not proven: the key is unknown")
    before = await console.texts("main .verdict-title.good")
    await console.click("main .own-key summary")
    await console.fill("main .key-form textarea", public_pem(private_key(key_file)))
    await console.click("main .key-form .primary")
    await console.sees(VERIFIED)

    assert [] == before


async def test_the_test_vectors_hold_and_no_change_of_them_is_accepted(console: Console) -> None:
    text = VECTORS.read_text()
    one, two, keys = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    published = set(re.findall(r"`([0-9a-f]{64})`", text))
    await console.open()

    for receipt in (one, two):
        script = CHECK_VECTOR.replace("RECEIPT", json.dumps(receipt)).replace("KEYS", json.dumps(keys))
        found = await evaluate(console, script)

        assert found["holds"]
        assert [] == found["unnoticed"]
        assert set(found["hashes"]) < published


async def test_a_changed_read_table_is_noticed(
    console: Console, api: Api, connection: "asyncpg.Connection[Any]"
) -> None:
    transfer = await sealed_transfer(api)
    await connection.execute("UPDATE transfers SET amount_cents = 1235 WHERE id = $1", transfer["id"])

    await console.open(f"/transactions/{transfer['id']}")
    await console.sees(NOT_PROVEN)

    assert "shows another amount cents" in (await console.texts("main .reason"))[0]
    assert ["1234", "1235"] == await console.texts("main .not-proven dd")


async def test_a_changed_log_is_noticed(console: Console, api: Api, connection: "asyncpg.Connection[Any]") -> None:
    console.expect(409)
    transfer = await sealed_transfer(api)
    await connection.execute("SET session_replication_role = replica")  # no trigger keeps the log
    await connection.execute(
        "UPDATE stored_events SET recorded_at = recorded_at + interval '1 second' WHERE originator_id = $1",
        transfer["id"],
    )

    await console.open(f"/transactions/{transfer['id']}")
    await console.sees(NOT_PROVEN)

    assert "The event is not the one that was sealed" in (await console.texts("main .reason"))[0]


@pytest.mark.parametrize(("seals", "text"), [("later", "Not sealed yet"), ("never", "This ledger has no seals")])
async def test_what_has_no_proof_is_said(console: Console, api: Api, text: str) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    transfer = (await api.transfer(source, destination, 1)).body

    await console.open(f"/transactions/{transfer['id']}")
    await console.sees(text)

    assert ["Transfer 0.01 USD"] == await console.texts("main h1")


async def test_a_page_without_cryptography_says_so(console: Console, api: Api) -> None:
    transfer = await sealed_transfer(api)
    await console.open()
    await console.page.before_load(WITHOUT_CRYPTO)

    await console.load(f"/transactions/{transfer['id']}")
    await console.sees("The proof cannot be checked over plain http")

    assert VERIFIED not in await console.run("document.querySelector('main').innerText")


async def test_a_customer_sees_and_proves_own_transactions_alone(console: Console, api: Api) -> None:
    console.expect(404)
    customer = await api.new_user(roles="customer")
    mine, other = await api.new_account(customer["id"], balance_cents=100), await api.new_account(balance_cents=100)
    own = (await api.transfer(mine, other, 5)).body
    foreign = (await api.transfer(other, await api.new_account(), 5)).body
    await wait_for_seal(api, own["id"])

    await console.open(f"/transactions/{own['id']}", customer["username"], PASSWORD)
    await console.sees(VERIFIED)
    await console.sees("Admins and auditors see who did it")
    await console.until("document.querySelectorAll('main .grid .rows .good').length === 2")
    await console.open(f"/transactions/{foreign['id']}")
    await console.sees("There is nothing here")

    assert not [each for each in console.page.requested if "/v1/audit" in each]


async def test_a_guest_has_no_right(console: Console, api: Api) -> None:
    console.expect(403)
    guest = await api.new_user(roles="guest")

    await console.open(f"/transactions/{NOBODY}", guest["username"], PASSWORD)

    await console.sees("Your roles do not allow this")


async def test_a_hold_is_followed_to_its_reversal_and_back_in_time(console: Console, api: Api) -> None:
    console.expect(404)
    source, destination = await api.new_account(balance_cents=5000), await api.new_account()
    body = {"source_account_id": source["id"], "destination_account_id": destination["id"], "amount_cents": 500}
    hold = (await api.post("/v1/transactions/hold", body)).body
    path = f"/v1/transactions/{hold['id']}"
    log = (await api.get("/v1/events?limit=200")).body
    end = log[-1]["position"]  # of the command that placed it; others would snap to it
    await api.post(f"{path}/capture", {"amount_cents": 200, "final": True})
    reversal = (await api.post(f"{path}/reverse", {"amount_cents": 40})).body

    await console.open(f"/transactions/{hold['id']}")
    await console.until("document.querySelectorAll('.chain li').length === 4")
    steps = [text.split("\n")[0] for text in await console.texts(".chain li")]
    moved = await console.texts(".side .money")
    await console.click(".chain li:last-child a")
    await console.until(f"location.pathname.endsWith({json.dumps(reversal['id'])})")
    await console.until("document.querySelector('.chain [aria-current]')?.innerText.startsWith('Reversed')")
    assert 4 == await console.run("document.querySelectorAll('.chain li').length")
    await console.open(f"/transactions/{hold['id']}?at={end}")
    await console.until("document.querySelector('.chain')?.innerText.includes('Expires')")
    assert [] == await console.texts(".side .money")  # nothing has moved yet
    await console.open(f"/transactions/{reversal['id']}?at={end}")
    await console.sees("Not recorded yet")

    assert ["Held", "Captured", "Released", "Reversed"] == steps
    assert ["\u22122.00", "+2.00"] == moved


async def test_an_entry_with_many_postings_and_an_amendment_is_readable(console: Console, api: Api) -> None:
    accounts = [await api.new_account(balance_cents=1000) for _ in range(12)]
    postings = [
        {"account_id": each["id"], "amount_cents": -10 if index else 110} for index, each in enumerate(accounts)
    ]
    entry = (await api.post("/v1/transactions", {"postings": postings, "description": "first"})).body
    await api.client.patch(
        f"/v1/transactions/{entry['id']}",
        json={"description": HOSTILE.strip()},
        headers={"Authorization": f"Bearer {api.token}"},
    )
    await wait_for_seal(api, entry["id"])

    await console.open(f"/transactions/{entry['id']}")
    await console.sees(VERIFIED)
    await console.sees("4 other accounts")
    await console.until("document.querySelectorAll('.versions li').length === 2")
    await console.click(".transaction .as-table summary")
    await console.until("document.querySelectorAll('.transaction .as-table tbody tr').length >= 12")
    for width in (1360, 390):
        await console.page.look(scheme="light", width=width)
        assert not await console.run("document.documentElement.scrollWidth > innerWidth")

    assert HOSTILE.strip() == await console.run("document.querySelector('.said-text').textContent")
    assert 0 == await console.run("document.querySelectorAll('main img, main b').length")


@pytest.mark.parametrize(("scheme", "width"), variants(("light", 1360), ("dark", 390)))
async def test_the_proof_and_its_failure_are_accessible(console: Console, api: Api, scheme: str, width: int) -> None:
    transfer = await sealed_transfer(api, description="rent", metadata={"cost-centre": "42"})
    await console.open()
    await console.page.look(scheme=scheme, width=width)

    for script, text in (("0", VERIFIED), (CHANGED, NOT_PROVEN)):
        await console.page.before_load(script)
        await console.load(f"/transactions/{transfer['id']}")
        await console.sees(text)
        await console.run("document.querySelectorAll('main details').forEach((each) => { each.open = true; }) ?? 0")
        assert [] == await findings(console.page), text
        assert not await console.run("document.documentElement.scrollWidth > innerWidth"), text
