"""Users over HTTP: administration, access, and unique names."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from ledger.events.users import email_streams, username_stream
from ledger.settings import Settings
from tests.support.controls import NOBODY, PASSWORD, Api, Response, new_id, transfer_body, user_body

Serve = Callable[[Settings], Awaitable[Api]]

MEMBERS = {"id", "username", "email", "active", "roles", "created_at", "updated_at"}
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def conflicts(answer: Response) -> tuple[int, list[tuple[str, str, str]]]:
    entries = answer.body["errors"]
    return answer.status, [(entry["code"], entry["kind"], entry["detail"]["pointer"]) for entry in entries]


def taken_errors(*members: str) -> tuple[int, list[tuple[str, str, str]]]:
    return 409, [("user_already_exists", "conflict", f"/{member}") for member in members]


def assert_not_found(answer: Response, user_id: str) -> None:
    assert 404 == answer.status
    (entry,) = answer.body["errors"]
    assert {
        "code": "user_not_found",
        "kind": "resource_not_found",
        "message": f"user not found: {user_id}",
        "detail": {"user_id": user_id},
        "reason": "must be an existing user",
    }.items() <= entry.items()


async def pages(api: Api, path: str) -> list[list[dict[str, Any]]]:
    """Return all pages, following the links."""
    found, answer = [], await api.get(path)
    while True:
        assert 200 == answer.status
        found.append(answer.body)
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        if link is None:
            return found
        answer = await api.get(link[1])


# Creating


async def test_a_created_user_can_be_read_again(api: Api) -> None:
    made = await api.post("/v1/users", user_body(username="carol", email="carol@example.com", roles="admin,customer"))

    assert (201, MEMBERS) == (made.status, made.body.keys())
    assert {
        "username": "carol",
        "email": "carol@example.com",
        "active": True,
        "roles": "admin,customer",
    }.items() <= made.body.items()
    assert made.body == (await api.get(f"/v1/users/{made.body['id']}")).body


async def test_times_are_utc_with_microseconds(api: Api) -> None:
    user = await api.new_user()

    assert user["created_at"] == user["updated_at"]
    assert re.fullmatch(RFC3339, user["created_at"])


async def test_the_client_may_choose_the_id(api: Api) -> None:
    chosen = str(new_id())

    assert chosen == (await api.new_user(id=chosen))["id"]


async def test_a_user_can_be_created_inactive(api: Api) -> None:
    assert (await api.new_user(active=False))["active"] is False


async def test_read_only_members_are_accepted_and_ignored_when_creating(api: Api) -> None:
    body = user_body(created_at="1999-01-01T00:00:00Z", updated_at=None, password_salt="salt", id=None, active=None)

    made = await api.post("/v1/users", body)

    assert (201, True) == (made.status, made.body["active"])
    assert not made.body["created_at"].startswith("1999")


@pytest.mark.parametrize("length", [8, 1024])
async def test_a_password_has_8_to_1024_characters(api: Api, length: int) -> None:
    user = await api.new_user(password="ä" * length)

    assert (await api.logged_in(user["username"], "ä" * length)).token is not None


@pytest.mark.parametrize("length", [7, 1025])
async def test_a_password_of_another_length_is_refused(api: Api, length: int) -> None:
    refused = await api.post("/v1/users", user_body(password="ä" * length))

    assert (422, ["/password"]) == (refused.status, refused.pointers)


@pytest.mark.parametrize("length", [1, 1024])
async def test_a_password_hash_has_1_to_1024_characters(api: Api, length: int) -> None:
    body = user_body(password=None, password_hash="f" * length)

    assert 201 == (await api.post("/v1/users", body)).status


@pytest.mark.parametrize("length", [0, 1025])
async def test_a_password_hash_of_another_length_is_refused(api: Api, length: int) -> None:
    refused = await api.post("/v1/users", user_body(password=None, password_hash="f" * length))

    assert (422, ["/password_hash"]) == (refused.status, refused.pointers)


async def test_a_user_without_any_secret_is_refused(api: Api) -> None:
    body = user_body()
    del body["password"]

    refused = await api.post("/v1/users", body)

    assert (422, ["validation_error"], ["/password"]) == (refused.status, refused.codes, refused.pointers)


# Taken names and ids


async def test_a_taken_id_name_and_address_are_reported_together(api: Api) -> None:
    one, other = await api.new_user(), await api.new_user()
    body = {**other, "id": one["id"], "password": PASSWORD}

    refused = await api.post("/v1/users", body)

    assert taken_errors("id", "username", "email") == conflicts(refused)


@pytest.mark.parametrize("member", ["id", "username", "email"])
async def test_each_of_them_is_reported_alone(api: Api, member: str) -> None:
    user = await api.new_user()

    refused = await api.post("/v1/users", user_body(**{member: user[member]}))

    assert taken_errors(member) == conflicts(refused)


@pytest.mark.parametrize(
    ("first", "second"), [("dora", "DORA"), ("straße", "STRASSE"), ("\uff46isher", "fisher"), ("Zoë", "Zoe\u0308")]
)
async def test_a_name_is_taken_in_all_spellings_with_the_same_folding(api: Api, first: str, second: str) -> None:
    await api.new_user(username=first, email=f"{first}@example.com")

    by_name = await api.post("/v1/users", user_body(username=second))
    by_address = await api.post("/v1/users", user_body(email=f"{second}@EXAMPLE.com"))

    assert (taken_errors("username"), taken_errors("email")) == (conflicts(by_name), conflicts(by_address))


@pytest.mark.parametrize("member", ["id", "username", "email"])
async def test_only_one_of_racing_users_gets_a_name(serve: Serve, settings: Settings, member: str) -> None:
    """The requests reach two workers."""
    workers = [await serve(settings), await serve(settings)]
    prize = {"id": str(new_id()), "username": "prize", "email": "prize@example.com"}[member]
    spellings = [prize, prize.upper(), prize, prize.upper(), prize, prize]

    answers = await asyncio.gather(
        *(
            workers[number % 2].post("/v1/users", user_body(**{member: spelling}))
            for number, spelling in enumerate(spellings)
        )
    )

    assert [201, 409, 409, 409, 409, 409] == sorted(answer.status for answer in answers)
    assert [taken_errors(member)] * 5 == [conflicts(answer) for answer in answers if answer.status == 409]
    holders = [user for page in await pages(workers[0], "/v1/users") for user in page]
    assert 1 == len([user for user in holders if user[member].lower() == prize])


async def test_a_rename_to_a_taken_name_is_refused_and_changes_nothing(api: Api) -> None:
    user, other = await api.new_user(), await api.new_user()

    refused = await api.put(f"/v1/users/{user['id']}", {**user, "username": other["username"].upper()})

    assert taken_errors("username") == conflicts(refused)
    assert user == (await api.get(f"/v1/users/{user['id']}")).body


async def test_only_one_of_racing_renames_gets_a_name(api: Api) -> None:
    users = [await api.new_user() for _ in range(4)]

    answers = await asyncio.gather(
        *(api.put(f"/v1/users/{user['id']}", {**user, "username": "prize"}) for user in users)
    )

    assert [200, 409, 409, 409] == sorted(answer.status for answer in answers)


async def test_a_user_can_change_the_spelling_of_their_name(api: Api) -> None:
    user = await api.new_user()

    changed = await api.put(f"/v1/users/{user['id']}", {**user, "username": user["username"].upper()})

    assert (200, user["username"].upper()) == (changed.status, changed.body["username"])


async def test_a_name_is_free_again_after_a_rename(api: Api) -> None:
    user = await api.new_user(username="before", email="before@example.com")

    await api.put(f"/v1/users/{user['id']}", {**user, "username": "after", "email": "after@example.com"})

    assert "before" == (await api.new_user(username="before", email="before@example.com"))["username"]


async def test_a_deleted_user_releases_the_name_and_keeps_the_id(api: Api) -> None:
    user = await api.new_user()
    await api.delete(f"/v1/users/{user['id']}")

    same_id = await api.post("/v1/users", user_body(id=user["id"]))
    same_names = await api.post("/v1/users", user_body(username=user["username"], email=user["email"]))

    assert (taken_errors("id"), 201) == (conflicts(same_id), same_names.status)


@pytest.mark.parametrize("stream", [username_stream("squatted"), *email_streams("squatted@example.com")])
async def test_nobody_can_take_the_stream_of_a_name_by_choosing_its_id(api: Api, stream: Any) -> None:
    """A customer can choose transaction ids, but must not block the stream of a name."""
    customer = await api.as_new_user("customer")
    source = await api.new_account(customer.user_id, balance_cents=10)
    destination = await api.new_account()

    refused = await customer.post(
        "/v1/transactions/transfer", {**transfer_body(source, destination, 1), "id": str(stream)}
    )
    created = [
        await api.post("/v1/users", user_body(username="squatted", email="squatted@example.com")) for _ in range(2)
    ]

    assert refused.status in {409, 422}
    assert [201, 409] == [answer.status for answer in created]


# Reading


async def test_the_list_has_everyone_newest_first(api: Api) -> None:
    users = [await api.new_user() for _ in range(3)]

    listed = await api.get("/v1/users")

    assert 200 == listed.status
    assert users[::-1] == listed.body[:3]
    assert ["admin"] == [user["username"] for user in listed.body[3:]]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 200])
async def test_the_pages_list_every_user_once(api: Api, limit: int) -> None:
    for _ in range(5):
        await api.new_user()
    everyone = (await api.get("/v1/users")).body

    found = await pages(api, f"/v1/users?limit={limit}")

    assert everyone == [user for page in found for user in page]
    assert all(len(page) == limit for page in found[:-1])
    assert 1 <= len(found[-1]) <= limit


async def test_a_user_created_between_pages_moves_no_other(api: Api) -> None:
    before = [await api.new_user() for _ in range(3)][::-1]
    first = await api.get("/v1/users?limit=2")
    await api.new_user()

    second = await api.get(first.headers["Link"].split(">")[0][1:])

    assert before == [*first.body, second.body[0]]


@pytest.mark.parametrize("member", ["limit", "cursor"])
@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-1",
        "1.5",
        "1e2",
        "x",
        "",
        "%00",
        "²",
        "9" * 30,
        "0" * 20,
        "0" * 19 + "1" + "9" * 30,
        "0" * 19 + "1" * 5000,
    ],
)
async def test_page_parameters_must_be_integers_within_bounds(api: Api, member: str, value: str) -> None:
    """Lessons 33 and 36."""
    refused = await api.get(f"/v1/users?{member}={value}")

    assert (422, ["validation_error"], [f"query {member}"]) == (refused.status, refused.codes, refused.parameters)


async def test_a_page_has_at_most_1000_items(api: Api) -> None:
    """Lesson 36."""
    assert (200, 422) == tuple([(await api.get(f"/v1/users?limit={limit}")).status for limit in (1000, 1001)])


async def test_no_body_has_a_secret(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    """Lesson 20."""
    body = user_body(password="a secret of theirs", password_salt="a salt of theirs")
    made = await api.post("/v1/users", body)
    path = f"/v1/users/{made.body['id']}"
    caller = await api.logged_in(body["username"], "a secret of theirs")

    answers = [
        made,
        await api.get(path),
        await caller.get(path),
        await api.get("/v1/users"),
        await api.put(path, {**made.body, "password": "another secret"}),
        await api.post("/v1/users", body),
        await api.delete(path),
    ]

    assert [201, 200, 200, 200, 200, 409, 200] == [answer.status for answer in answers]
    hashes = [row["hash"] for row in await connection.fetch("SELECT hash FROM credentials")]
    forbidden = ["password", "hash", "salt", "secret", "argon2", *hashes]
    assert [] == [word for word in forbidden for answer in answers if word in str(answer.body).lower()]


async def test_an_unknown_user_is_not_found(api: Api) -> None:
    body = {"username": "x", "email": "x@example.com", "roles": "guest"}

    for answer in (
        await api.get(f"/v1/users/{NOBODY}"),
        await api.put(f"/v1/users/{NOBODY}", body),
        await api.delete(f"/v1/users/{NOBODY}"),
    ):
        assert_not_found(answer, NOBODY)


async def test_the_id_of_another_kind_is_not_a_user(api: Api) -> None:
    account = await api.new_account()

    assert_not_found(await api.get(f"/v1/users/{account['id']}"), account["id"])
    assert_not_found(await api.delete(f"/v1/users/{account['id']}"), account["id"])


# Changing


async def test_a_change_is_returned_and_can_be_read_again(api: Api) -> None:
    user = await api.new_user()
    body = {"username": "eve", "email": "eve@example.com", "active": False, "roles": "guest,auditor"}

    changed = await api.put(f"/v1/users/{user['id']}", body)

    assert (200, {**user, **body, "updated_at": changed.body["updated_at"]}) == (changed.status, changed.body)
    assert user["updated_at"] < changed.body["updated_at"]
    assert changed.body == (await api.get(f"/v1/users/{user['id']}")).body


@pytest.mark.parametrize("nulls", [(), ("created_at", "updated_at"), ("id", "password", "password_hash", "active")])
async def test_a_body_that_was_read_can_be_sent_back(api: Api, nulls: tuple[str, ...]) -> None:
    user = await api.new_user(active=False)

    changed = await api.put(f"/v1/users/{user['id']}", {**user, **dict.fromkeys(nulls)})

    assert (200, user) == (changed.status, changed.body)


async def test_sending_back_a_body_appends_nothing(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    user = await api.new_user()
    before = await connection.fetchval("SELECT count(*) FROM stored_events")

    await api.put(f"/v1/users/{user['id']}", user)

    assert before == await connection.fetchval("SELECT count(*) FROM stored_events")


async def test_an_id_in_the_body_that_differs_from_the_path_is_refused(api: Api) -> None:
    user = await api.new_user()

    refused = await api.put(f"/v1/users/{user['id']}", {**user, "id": NOBODY})

    assert (422, ["id_mismatch"], ["/id"]) == (refused.status, refused.codes, refused.pointers)
    assert "validation_error" == refused.body["errors"][0]["kind"]


async def test_an_id_in_capitals_is_the_same_id(api: Api) -> None:
    user = await api.new_user()

    changed = await api.put(f"/v1/users/{user['id'].upper()}", user)

    assert (200, user) == (changed.status, changed.body)


async def test_racing_changes_are_all_applied(api: Api) -> None:
    user = await api.new_user()
    names = [f"name-{number}" for number in range(4)]

    answers = await asyncio.gather(*(api.put(f"/v1/users/{user['id']}", {**user, "username": name}) for name in names))

    assert {200, 503} >= {answer.status for answer in answers}
    final = (await api.get(f"/v1/users/{user['id']}")).body["username"]
    for name in set(names) - {final}:
        await api.new_user(username=name)


# Deleting


async def test_a_deleted_user_is_not_found(api: Api) -> None:
    user = await api.new_user()

    deleted = await api.delete(f"/v1/users/{user['id']}")

    assert (200, "") == (deleted.status, deleted.body)
    for answer in (
        await api.get(f"/v1/users/{user['id']}"),
        await api.put(f"/v1/users/{user['id']}", user),
        await api.delete(f"/v1/users/{user['id']}"),
    ):
        assert_not_found(answer, user["id"])
    assert user["id"] not in {listed["id"] for listed in (await api.get("/v1/users")).body}


async def test_a_user_with_money_cannot_be_deleted(api: Api) -> None:
    user = await api.new_user()
    empty, full = await api.new_account(user["id"]), await api.new_account(user["id"], balance_cents=1)

    refused = await api.delete(f"/v1/users/{user['id']}")

    assert (409, ["account_not_empty"]) == (refused.status, refused.codes)
    assert {"account_id": full["id"]} == refused.body["errors"][0]["detail"]
    assert user == (await api.get(f"/v1/users/{user['id']}")).body
    assert "open" == (await api.get(f"/v1/accounts/{empty['id']}")).body["status"]


async def test_deleting_a_user_closes_the_accounts_and_keeps_them_readable(api: Api) -> None:
    user = await api.new_user()
    accounts = [await api.new_account(user["id"]) for _ in range(2)]

    deleted = await api.delete(f"/v1/users/{user['id']}")

    assert 200 == deleted.status
    read = [(await api.get(f"/v1/accounts/{account['id']}")).body for account in accounts]
    assert [("closed", user["id"])] * 2 == [(account["status"], account["user_id"]) for account in read]


async def test_a_user_who_gave_an_account_away_leaves_it_open(api: Api) -> None:
    user, heir = await api.new_user(), await api.new_user()
    account = await api.new_account(user["id"], balance_cents=5)
    await api.put(f"/v1/accounts/{account['id']}", {"user_id": heir["id"]})

    deleted = await api.delete(f"/v1/users/{user['id']}")

    assert (200, 5) == (deleted.status, await api.balance(account))


async def test_an_account_that_is_opened_while_its_owner_is_deleted_is_never_orphaned(api: Api) -> None:
    user = await api.new_user()
    body = {"user_id": user["id"], "balance_cents": 1}

    deleted, *opened = await asyncio.gather(
        api.delete(f"/v1/users/{user['id']}"), *(api.post("/v1/accounts", body) for _ in range(4))
    )

    assert (deleted.status, {answer.status for answer in opened}) in [(200, {404}), (409, {201})]


# Access


@pytest.mark.parametrize("roles", ["auditor", "customer", "guest", "auditor,customer,guest"])
async def test_only_admins_can_create_change_and_delete_users(api: Api, roles: str) -> None:
    caller, user = await api.as_new_user(roles), await api.new_user()

    answers = [
        await caller.post("/v1/users", user_body()),
        await caller.put(f"/v1/users/{user['id']}", {**user, "roles": "admin"}),
        await caller.put(f"/v1/users/{caller.user_id}", {**user, "id": caller.user_id, "roles": "admin"}),
        await caller.delete(f"/v1/users/{user['id']}"),
        await caller.delete(f"/v1/users/{caller.user_id}"),
    ]

    assert [403] * 5 == [answer.status for answer in answers]
    assert [["authentication_forbidden"]] * 5 == [answer.codes for answer in answers]
    assert {("authentication_error", "forbidden")} == {
        (entry["kind"], entry["message"]) for answer in answers for entry in answer.body["errors"]
    }
    assert user == (await api.get(f"/v1/users/{user['id']}")).body


@pytest.mark.parametrize("roles", ["admin", "auditor", "customer", "guest"])
async def test_every_role_can_read_the_own_user(api: Api, roles: str) -> None:
    caller = await api.as_new_user(roles)

    own = await caller.get(f"/v1/users/{caller.user_id}")

    assert (200, caller.user_id, roles) == (own.status, own.body["id"], own.body["roles"])


@pytest.mark.parametrize("roles", ["customer", "guest"])
async def test_another_user_looks_unknown(api: Api, roles: str) -> None:
    """Lesson 35."""
    caller, user = await api.as_new_user(roles), await api.new_user()

    assert_not_found(await caller.get(f"/v1/users/{user['id']}"), user["id"])
    assert_not_found(await caller.get(f"/v1/users/{NOBODY}"), NOBODY)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", ""), ("GET", f"/{NOBODY}"), ("PUT", f"/{NOBODY}"), ("DELETE", f"/{NOBODY}")],
)
async def test_without_a_token_there_are_no_users(api: Api, method: str, path: str) -> None:
    refused = await api.nobody.call(method, f"/v1/users{path}", {} if method in {"POST", "PUT"} else None)

    assert (401, ["authentication_wrong_credentials"]) == (refused.status, refused.codes)
