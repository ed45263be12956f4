"""Changes of users and accounts: PUT replaces, PATCH changes single members, and neither loses a concurrent change."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from ledger.settings import Settings
from tests.support.controls import NOBODY, PASSWORD, Api, user_body

Serve = Callable[[Settings], Awaitable[Api]]

DIGEST = "7c44575b741f02d49c3e988ba7aa95a8fb6d90c0ef63a97236fa54bfcfbd9d51"


async def events(connection: "asyncpg.Connection[Any]") -> int:
    return int(await connection.fetchval("SELECT count(*) FROM stored_events"))


@pytest.mark.parametrize(("member", "secret"), [("password", PASSWORD), ("password_hash", DIGEST)])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_sending_the_current_secret_changes_nothing_and_ends_no_session(
    api: Api, connection: "asyncpg.Connection[Any]", method: str, member: str, secret: str
) -> None:
    """The reference requires the secret in every PUT, so its clients send it."""
    body = {key: value for key, value in user_body().items() if key != "password"} | {member: secret}
    user = (await api.post("/v1/users", body)).body
    customer = await api.logged_in(user["username"], secret)
    before = await events(connection)

    same = await api.call(method, f"/v1/users/{user['id']}", body)
    renamed = await api.call(method, f"/v1/users/{user['id']}", {**body, "email": "other@example.com"})

    assert (200, user) == (same.status, same.body)
    assert (200, before + 3) == (renamed.status, await events(connection))  # the address, released and claimed
    assert 200 == (await customer.get("/")).status
    assert 200 == (await (await api.logged_in(user["username"], secret)).get("/")).status


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_new_secret_is_a_change_and_ends_all_sessions(api: Api, method: str) -> None:
    body = user_body()
    user = (await api.post("/v1/users", body)).body
    customer = await api.logged_in(user["username"])

    changed = await api.call(method, f"/v1/users/{user['id']}", {**body, "password": "another secret"})

    assert (200, 401) == (changed.status, (await customer.get("/")).status)
    assert 200 == (await (await api.logged_in(user["username"], "another secret")).get("/")).status


@pytest.mark.parametrize(
    "absent", [{}, {"password": None}, {"password": ""}, {"password_hash": None}, {"password_hash": ""}]
)
async def test_an_empty_secret_in_a_put_counts_as_absent(api: Api, absent: dict[str, Any]) -> None:
    """Typed clients that did not read a secret send it back empty."""
    body = user_body()
    user = (await api.post("/v1/users", body)).body
    customer = await api.logged_in(user["username"])

    answer = await api.put(f"/v1/users/{user['id']}", {**user, **absent})

    assert (200, user) == (answer.status, answer.body)
    assert 200 == (await customer.get("/")).status


@pytest.mark.parametrize("secret", [{"password": ""}, {"password_hash": ""}, {"password": "7 chars"}])
async def test_a_user_cannot_be_created_with_an_empty_or_short_secret(api: Api, secret: dict[str, str]) -> None:
    body = {key: value for key, value in user_body().items() if key != "password"}

    answers = [await api.post("/v1/users", body | secret), await api.post("/v1/users", body)]

    assert [422, 422] == [answer.status for answer in answers]


async def test_roles_can_be_left_out(api: Api) -> None:
    """As in the reference's samples: a new user is a guest, and a change keeps the roles."""
    body = {key: value for key, value in user_body().items() if key != "roles"}
    guest = (await api.post("/v1/users", body)).body
    admin = await api.new_user(roles="admin,customer")

    put = await api.put(f"/v1/users/{admin['id']}", {**body, "username": "someone", "email": "someone@example.com"})

    assert ("guest", "admin,customer") == (guest["roles"], put.body["roles"])


@pytest.mark.parametrize("workers", [1, 2])
async def test_racing_changes_of_one_user_all_succeed(serve: Serve, settings: Settings, workers: int) -> None:
    """Six clients, twenty renames each; with two workers, half of the clients at each."""
    services = [await serve(settings) for _ in range(workers)]
    user = await services[0].new_user()

    async def rename(client: int) -> list[int]:
        api = services[client % workers]
        path, statuses = f"/v1/users/{user['id']}", []
        for number in range(20):
            names = {"username": f"name-{client}-{number}", "email": f"{client}-{number}@example.com"}
            statuses.append((await api.put(path, {**user, **names})).status)
        return statuses

    statuses = await asyncio.gather(*map(rename, range(6)))

    assert [[200] * 20] * 6 == statuses


async def test_racing_deletions_and_changes_of_one_user_get_truthful_responses(
    serve: Serve, settings: Settings
) -> None:
    services = [await serve(settings), await serve(settings)]
    user = await services[0].new_user()
    path = f"/v1/users/{user['id']}"

    async def rename(number: int) -> int:
        names = {"username": f"name-{number}", "email": f"{number}@example.com"}
        return (await services[number % 2].put(path, {**user, **names})).status

    async def delete(number: int) -> int:
        return (await services[number % 2].delete(path)).status

    statuses = await asyncio.gather(*(rename(number) for number in range(20)), *(delete(number) for number in range(4)))

    assert {200, 404} >= set(statuses)
    assert 1 == statuses[20:].count(200)


async def test_racing_cleanups_all_succeed(serve: Serve, settings: Settings) -> None:
    services = [await serve(settings), await serve(settings)]

    answers = await asyncio.gather(*(services[number % 2].post("/v1/auth/cleanup") for number in range(40)))

    assert [200] * 40 == [answer.status for answer in answers]


async def test_a_patch_changes_only_its_members(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    user = await api.new_user(roles="admin,customer", active=False)
    before = await events(connection)

    patched = await api.patch(f"/v1/users/{user['id']}", {"email": "new@example.com"})
    nothing = await api.patch(f"/v1/users/{user['id']}", {})

    assert {**user, "email": "new@example.com", "updated_at": patched.body["updated_at"]} == patched.body
    assert (200, patched.body, before + 3) == (nothing.status, nothing.body, await events(connection))


@pytest.mark.parametrize("member", ["id", "username", "email", "password", "password_hash", "active", "roles"])
async def test_members_of_a_user_cannot_be_removed(api: Api, member: str) -> None:
    """RFC 7396: null removes."""
    user = await api.new_user()

    answer = await api.patch(f"/v1/users/{user['id']}", {member: None})

    assert (422, [f"/{member}"]) == (answer.status, answer.pointers)


async def test_a_patch_of_an_account_changes_single_members_and_null_removes_a_policy(api: Api) -> None:
    account = await api.new_account(balance_cents=100, overdraft_limit_cents=50, frozen="debits")
    path = f"/v1/accounts/{account['id']}"

    first = await api.patch(path, {"overdraft_limit_cents": 70})
    second = await api.patch(path, {"overdraft_limit_cents": None, "frozen": None})
    removed = [await api.patch(path, {member: None}) for member in ("id", "user_id", "balance_cents", "currency")]

    assert (70, "debits", 100) == (
        first.body["overdraft_limit_cents"],
        first.body["frozen"],
        first.body["balance_cents"],
    )
    assert (0, "none", 100) == (
        second.body["overdraft_limit_cents"],
        second.body["frozen"],
        second.body["balance_cents"],
    )
    assert [422] * 4 == [answer.status for answer in removed]


@pytest.mark.parametrize("path", ["users", "accounts"])
async def test_a_patch_is_conditional_and_may_be_a_merge_patch(api: Api, path: str) -> None:
    user = await api.new_user()
    thing = user if path == "users" else await api.new_account(user["id"])
    url = f"/v1/{path}/{thing['id']}"
    tag = (await api.get(url)).headers["ETag"]
    body = b'{"roles": "guest"}' if path == "users" else b'{"overdraft_limit_cents": 5}'

    async def patch(tag: str) -> Any:
        headers = {"Content-Type": "application/merge-patch+json", "If-Match": tag}
        return await api.call("PATCH", url, data=body, headers=headers)

    assert (200, 412) == ((await patch(tag)).status, (await patch(tag)).status)
    assert 404 == (await api.patch(f"/v1/{path}/{NOBODY}", {})).status
    assert 422 == (await api.patch(url, {"id": NOBODY})).status


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest"])
async def test_only_admins_can_patch(api: Api, roles: str) -> None:
    caller = await api.as_new_user(roles)

    assert 403 == (await caller.patch(f"/v1/users/{caller.user_id}", {"roles": "admin"})).status
    assert 403 == (await caller.patch(f"/v1/accounts/{NOBODY}", {"balance_cents": 1})).status


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_body_that_was_read_before_a_transfer_does_not_undo_it(
    api: Api, connection: "asyncpg.Connection[Any]", method: str
) -> None:
    """Lesson 63."""
    account, other = await api.new_account(balance_cents=100), await api.new_account()
    path = f"/v1/accounts/{account['id']}"
    await api.transfer(account, other, 30)
    before = await events(connection)

    stale = await api.call(method, path, {**account, "overdraft_limit_cents": 5})

    assert (412, ["precondition_failed"], before) == (stale.status, stale.codes, await events(connection))
    fresh = (await api.get(path)).body
    again = await api.call(method, path, {**fresh, "overdraft_limit_cents": 5})
    assert (200, 70, 5) == (again.status, again.body["balance_cents"], again.body["overdraft_limit_cents"])


async def test_an_old_time_with_the_current_balance_is_no_conflict(api: Api) -> None:
    account = await api.new_account(balance_cents=100)
    path = f"/v1/accounts/{account['id']}"
    await api.put(path, {"overdraft_limit_cents": 5})

    answer = await api.put(path, {**account, "overdraft_limit_cents": 7})

    assert (200, 7) == (answer.status, answer.body["overdraft_limit_cents"])


@pytest.mark.parametrize("spelt", [lambda time: time, lambda time: time.replace("Z", "+00:00"), lambda time: time[:-1]])
async def test_a_balance_can_be_set_with_the_time_that_was_read(api: Api, spelt: Callable[[str], str]) -> None:
    """Also without a zone, as clients of the reference send it."""
    account = await api.new_account(balance_cents=100)
    body = {**account, "balance_cents": 80, "updated_at": spelt(account["updated_at"])}

    answers = [await api.put(f"/v1/accounts/{account['id']}", body) for _ in range(2)]

    assert [200, 200] == [answer.status for answer in answers]
    assert 80 == answers[-1].body["balance_cents"]
    assert 412 == (await api.put(f"/v1/accounts/{account['id']}", {**body, "balance_cents": 90})).status


@pytest.mark.parametrize("given", [{}, {"updated_at": None}])
async def test_without_a_time_a_balance_is_set_unconditionally(api: Api, given: dict[str, Any]) -> None:
    account = await api.new_account(balance_cents=100)
    await api.put(f"/v1/accounts/{account['id']}", {"overdraft_limit_cents": 5})

    answer = await api.put(f"/v1/accounts/{account['id']}", {"balance_cents": 80, **given})

    assert (200, 80) == (answer.status, answer.body["balance_cents"])


async def test_a_malformed_time_is_refused_in_a_change_of_an_account(api: Api) -> None:
    account = await api.new_account()

    answer = await api.put(f"/v1/accounts/{account['id']}", {"balance_cents": 80, "updated_at": "yesterday"})

    assert (422, ["/updated_at"]) == (answer.status, answer.pointers)


async def test_sending_back_bodies_during_transfers_creates_no_money(serve: Serve, settings: Settings) -> None:
    """One client transfers while another reads and sends back accounts at a second worker; the total stays the same."""
    payer, editor = await serve(settings), await serve(settings)
    source, sink = await payer.new_account(balance_cents=1_000), await payer.new_account()
    path = f"/v1/accounts/{source['id']}"

    async def pay() -> None:
        for _ in range(60):
            assert 200 == (await payer.transfer(source, sink, 1)).status

    async def edit() -> list[int]:
        statuses = []
        for number in range(60):
            read = (await editor.get(path)).body
            statuses.append((await editor.put(path, {**read, "overdraft_limit_cents": number})).status)
        return statuses

    _, statuses = await asyncio.gather(pay(), edit())

    assert {200, 412} >= set(statuses)
    assert 1_000 == await payer.balance(source) + await payer.balance(sink)
