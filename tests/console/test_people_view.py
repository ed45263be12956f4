"""People and machines: their roles and sessions, what each did, and how an admin ends what is wrong."""

import json

from tests.support.console import Console
from tests.support.console_buttons import button, confirm, press
from tests.support.controls import PASSWORD, Api, Clock
from tests.support.machines import machine, register
from tests.support.second_factors import enrol

HOSTILE = ("<img src=x onerror=alert(1)>", "\u05e9\u05dc\u05d5\u05dd", "a&amp;b<i>", "x" * 60)
ROWS = "main .rows .row"
# The response to a DELETE is held back until another request has found out that the session is lost.
LATE_RESPONSE = """(() => {
  const ask = fetch;
  fetch = async (address, options) => {
    const response = await ask(address, options);
    if (options.method === 'DELETE') {
      const lost = new Promise((resolve) => addEventListener('ledger-signed-out', resolve));
      void import('/console/api.js').then((api) => api.get('/v1/auth/sessions')).catch(() => {});
      await lost;
    }
    return response;
  };
  return true;
})()"""


async def counts(console: Console, text: str) -> None:
    """Wait until the list of users says how many there are."""
    await console.until(f"document.querySelector('main header [role=status]')?.innerText === {json.dumps(text)}")


async def test_users_are_searched_and_filtered(console: Console, api: Api) -> None:
    for username, roles, active in (
        ("alice", "customer", True),
        ("albert", "auditor", True),
        ("bob", "customer", False),
    ):
        await api.new_user(username=username, email=f"{username}@example.com", roles=roles, active=active)

    await console.open("/people")
    await counts(console, "4 users")
    await console.fill("main [name=q]", "al example")
    await counts(console, "2 users")
    await console.fill("main [name=role]", "auditor")
    await counts(console, "1 user")
    found = await console.texts(f"{ROWS} .name")
    await console.open("/people?status=inactive")
    await counts(console, "1 user")

    assert ["albert"] == found
    assert ["bob"] == await console.texts(f"{ROWS} .name")


async def test_a_new_user_appears_and_only_rows_in_sight_are_elements(console: Console, api: Api) -> None:
    await console.open("/people")
    await counts(console, "1 user")
    for _ in range(60):
        await api.new_user()
    await counts(console, "61 users")

    assert await console.run(f"document.querySelectorAll({json.dumps(ROWS)}).length") < 60


async def test_a_user_has_sessions_accounts_and_a_history(console: Console, api: Api) -> None:
    user = await api.new_user(username="alice")
    account = await api.new_account(user["id"], balance_cents=7000, code="users:alice")
    other = await api.new_account(code="shop:main")
    alice = await api.logged_in("alice")
    await alice.transfer(account, other, 1234)
    await alice.transfer(account, other, 10**9)

    await console.open(f"/people/{user['id']}")
    for text in ("users:alice", "57.66 USD", "12.34 USD", "Transfer money", "refused", "sufficient funds", "127.0.0.1"):
        await console.sees(text)
    await console.run("document.querySelector('.activity .rows .copy').click()")
    await console.until("document.querySelector('.activity header').innerText.includes('session')")
    await console.until("document.querySelector('.activity .rows .row')")
    await console.page.press("j", "Enter")
    await console.until("document.querySelector('dialog[open] pre')?.innerText.includes('TransferMoney')")


async def test_ending_a_session_logs_that_session_out(console: Console, api: Api) -> None:
    user = await api.new_user(username="alice")
    kept = await api.logged_in("alice")
    ended = await api.logged_in("alice")  # the newest is the first row

    await console.open(f"/people/{user['id']}")
    await console.until("document.querySelectorAll('main .danger').length === 3")
    await confirm(console, "End", "End session")
    await console.until("document.querySelectorAll('main .danger').length === 2")

    assert [200, 401] == [(await each.get("/v1/auth/sessions")).status for each in (kept, ended)]


async def test_revoking_ends_all_sessions_of_a_user(console: Console, api: Api) -> None:
    user = await api.new_user(username="alice")
    sessions = [await api.logged_in("alice") for _ in range(2)]

    await console.open(f"/people/{user['id']}")
    await confirm(console, "Revoke all tokens", "Revoke all tokens")
    await console.sees("No session is open.")

    assert [401, 401] == [(await each.get("/v1/auth/sessions")).status for each in sessions]


async def test_users_end_their_own_session_and_sign_in_again(console: Console, api: Api) -> None:
    console.expect(401)
    user = await api.new_user(roles="guest")
    await console.open("", user["username"], PASSWORD)
    await console.click(".menu summary")
    await console.click(".menu-body a")
    await console.sees("this session")
    await confirm(console, "End", "End session")
    await console.until("document.querySelector('.sign-in')")
    await console.sign_in(user["username"], PASSWORD)

    assert f"/console/people/{user['id']}" == await console.run("location.pathname")


async def test_a_dialog_whose_change_ended_the_session_does_not_come_back(console: Console, api: Api) -> None:
    console.expect(401)
    user = await api.new_user(roles="guest")
    await console.open(f"/people/{user['id']}", user["username"], PASSWORD)
    await console.sees("this session")
    await console.run(LATE_RESPONSE)
    await confirm(console, "End", "End session")
    await console.sign_in(user["username"], PASSWORD)

    assert not await console.run("Boolean(document.querySelector('dialog'))")


async def test_a_lost_second_factor_is_removed(console: Console, api: Api, clock: Clock) -> None:
    user = await api.new_user(username="alice")
    await enrol(await api.logged_in("alice"), clock)

    await console.open(f"/people/{user['id']}")
    await console.sees("10 recovery codes are left")
    await confirm(console, "Remove", "Remove it")
    await console.sees("Logins need the password alone.")

    assert not (await api.get(f"/v1/users/{user['id']}/totp")).body["enabled"]


async def test_a_machine_client_is_shown_and_revoked(console: Console, api: Api) -> None:
    client = await register(api, "ledger:read audit:read", name=HOSTILE[0])

    await console.open("/people?show=machines")
    await console.sees(HOSTILE[0])
    await console.click(f"{ROWS} .name")
    await console.sees("audit:read")
    await confirm(console, "Revoke client", "Revoke client")
    await console.sees("No machine client is registered")
    await console.open(f"/people/{client['id']}")
    await console.until("document.querySelector('main .badge.bad')?.innerText === 'revoked'")

    assert 404 == (await api.get(f"/v1/clients/{client['id']}")).status


async def test_what_a_machine_did_leads_to_it(console: Console, api: Api) -> None:
    robot = await machine(api, name="web shop")
    one, other = await api.new_account(balance_cents=100), await api.new_account()
    transfer = (await robot.transfer(one, other, 10)).body
    auditor = await api.new_user(roles="auditor")

    await console.open(f"/transactions/{transfer['id']}")
    await console.click(".sender-what a")
    await console.sees("Scopes")
    assert ["web shop"] == await console.texts("main h1")
    client_id = str(await console.run("location.pathname")).rpartition("/")[2]
    await console.fill("#search", client_id)
    await console.run("document.querySelector('.search').requestSubmit()")
    await console.sees("Transfer money")
    await console.change_user(auditor["username"])
    await console.sees("Only admins see the roles and secrets of machine clients.")
    await console.sees("Transfer money")


async def test_an_auditor_sees_and_cannot_change(console: Console, api: Api) -> None:
    auditor, user = await api.new_user(roles="auditor"), await api.new_user(username="alice")

    await console.open("/people", auditor["username"], PASSWORD)
    await console.sees("alice")
    tabs = await console.texts("main nav a")
    await console.open(f"/people/{user['id']}")
    await console.sees("Only admins see the sessions of others.")
    await console.sees("Nothing yet")

    assert ["Users"] == tabs
    assert [] == await console.texts("main .danger")


async def test_the_past_shows_who_there_was_and_changes_nothing(console: Console, api: Api) -> None:
    user = await api.new_user(username="alice")
    await api.new_account(user["id"], balance_cents=7000, code="users:alice")
    position = (await api.get("/v1/ledger/trial-balance")).body["position"]
    await api.new_account(user["id"], balance_cents=100, code="users:alice:later")
    await api.new_user(username="bob")

    await console.open(f"/people?at={position}")
    await counts(console, "2 users")
    await console.open(f"/people/{user['id']}?at={position}")
    await console.sees("70.00 USD")
    await console.sees("Sessions are known as of now only.")

    assert await console.run(f"{button('Revoke all tokens')}.disabled")
    assert 1 == await console.run("document.querySelectorAll('[aria-label=Accounts] .rows .row').length")


async def test_others_see_themselves_alone(console: Console, api: Api) -> None:
    other, customer, guest = [await api.new_user(roles=roles) for roles in ("customer", "customer", "guest")]
    await console.open("", customer["username"], PASSWORD)

    for user in (customer, guest):
        if user is guest:
            await console.change_user(guest["username"])
        await console.open("/people")
        await console.sees("Your roles do not allow this")
        await console.open(f"/people/{other['id']}")
        await console.sees("You can see no other user")
        await console.click("main .state a")
        await console.sees(user["email"])
        await console.sees("this session")


async def test_names_are_shown_as_text(console: Console, api: Api) -> None:
    for name in HOSTILE:
        user = await api.new_user(username=name)
        await console.open("/people")
        await console.until(f"document.querySelector('main').textContent.includes({json.dumps(name)})")
        await console.open(f"/people/{user['id']}")
        await console.until(f"document.querySelector('main h1').textContent === {json.dumps(name)}")
        await press(console, "Revoke all tokens")
        await console.until("document.querySelector('dialog[open]')")

        assert 0 == await console.run("document.querySelectorAll('main img, main b, dialog img, dialog b').length")
        assert not await console.run("document.documentElement.scrollWidth > innerWidth")
