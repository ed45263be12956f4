"""A ledger keeps an active admin, whatever its admins do to themselves and to each other."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, Response
from tests.support.token_api import Connection, claims_of, log_in

Change = Callable[[Api, str], Awaitable[Response]]


async def demote(api: Api, user_id: str) -> Response:
    return await api.patch(f"/v1/users/{user_id}", {"roles": "auditor,customer"})


async def deactivate(api: Api, user_id: str) -> Response:
    return await api.patch(f"/v1/users/{user_id}", {"active": False})


async def replace_roles(api: Api, user_id: str) -> Response:
    known = (await api.get(f"/v1/users/{user_id}")).body
    return await api.put(f"/v1/users/{user_id}", {**known, "roles": "guest"})


async def delete(api: Api, user_id: str) -> Response:
    return await api.delete(f"/v1/users/{user_id}")


CHANGES = pytest.mark.parametrize("change", [demote, deactivate, replace_roles, delete])


def user_of(api: Api) -> str:
    return str(claims_of(api.token or "")["sub"])


async def other_admin(api: Api, roles: str = "admin") -> Api:
    user = await api.new_user(roles=roles)
    return replace(api, token=(await log_in(api, user))["access_token"])


async def active_admins(connection: Connection) -> int:
    query = "SELECT count(*) FROM users WHERE active AND 'admin' = ANY(string_to_array(roles, ','))"
    return int(await connection.fetchval(query))


@CHANGES
async def test_the_last_active_admin_cannot_end_itself(api: Api, connection: Connection, change: Change) -> None:
    """Inactive admins, and users with other roles, cannot take over."""
    user_id = user_of(api)
    await api.new_user(roles="admin", active=False)
    await api.new_user(roles="auditor,customer,guest")
    before = await connection.fetchval("SELECT count(*) FROM stored_events")

    refused = await change(api, user_id)

    assert (409, ["last_admin"], "conflict") == (refused.status, refused.codes, refused.body["errors"][0]["kind"])
    assert {"user_id": user_id} == refused.body["errors"][0]["detail"]
    assert before == await connection.fetchval("SELECT count(*) FROM stored_events")
    assert 200 == (await api.get("/v1/users")).status


@CHANGES
async def test_an_admin_can_end_itself_or_another_while_one_remains(api: Api, change: Change) -> None:
    second, third = await other_admin(api), await other_admin(api, "admin,customer")

    assert 200 == (await change(second, user_of(third))).status
    assert 200 == (await change(second, user_of(second))).status

    assert 409 == (await change(api, user_of(api))).status


async def test_the_last_admin_can_be_renamed_and_given_more_roles_and_another_password(api: Api) -> None:
    path = f"/v1/users/{user_of(api)}"

    changes = [{"username": "root"}, {"roles": "admin,auditor"}, {"active": True}, {"password": "another password"}]

    assert [200] * 4 == [(await api.patch(path, change)).status for change in changes]


@CHANGES
async def test_two_admins_who_end_each_other_at_once_do_not_both_succeed(
    api: Api, serve: Callable[[Settings], Awaitable[Api]], settings: Settings, connection: Connection, change: Change
) -> None:
    """Whatever the interleaving: each change depends on the stream of an admin who remains."""
    other = await serve(settings)
    admins = [await other_admin(api), replace(await other_admin(api), client=other.client)]
    assert 200 == (await change(admins[0], user_of(api))).status  # so that only two are left

    for _ in range(5):
        one, two = (user_of(admin) for admin in admins)
        answers = await asyncio.gather(change(admins[0], two), change(admins[1], one))

        assert 1 == [answer.status for answer in answers].count(200), answers
        assert 1 == await active_admins(connection)
        (survivor,) = (admin for admin, answer in zip(admins, answers, strict=True) if answer.status == 200)
        assert 409 == (await change(survivor, user_of(survivor))).status
        admins = [survivor, replace(await other_admin(survivor), client=other.client)]
