"""No caller takes what all callers share: places for batches, streams and feeds, and the time of the service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientResponse

from ledger.settings import Settings
from tests.support.controls import Api, Response, Serve, transfer_body
from web.handlers import batch
from web.http import sse

BATCH = "/v1/transactions/batch"
JSON_LINES = {"Content-Type": "application/jsonl"}
FEED = {"Accept": "text/event-stream"}
LIMITS = ("RateLimit-Policy", "RateLimit")


async def send_batch(api: Api, *items: Any) -> Response:
    return await api.post(BATCH, {"atomic": False, "items": list(items)})


async def party(admin: Api) -> tuple[Api, dict[str, Any], dict[str, Any]]:
    api = await admin.as_new_user("customer")
    return api, await admin.new_account(api.user_id, balance_cents=100), await admin.new_account(api.user_id)


async def open_stream(api: Api, held: AsyncExitStack, lines: AsyncIterator[bytes]) -> ClientResponse:
    headers = {**JSON_LINES, "Authorization": f"Bearer {api.token}"}
    return await held.enter_async_context(api.client.request("POST", BATCH, data=lines, headers=headers))


async def repeat(line: bytes, pause_seconds: float) -> AsyncIterator[bytes]:
    while True:
        yield line
        await asyncio.sleep(pause_seconds)


async def test_one_customer_with_streams_of_nothing_leaves_places_for_others(api: Api) -> None:
    (eve, *_), (alice, pays, gets) = await party(api), await party(api)

    async with AsyncExitStack() as held:
        opened = [await open_stream(eve, held, repeat(b"x\n", 0.05)) for _ in range(batch.MAX_BATCHES)]
        paid = await send_batch(alice, transfer_body(pays, gets, 1))

        assert [200] * batch.MAX_BATCHES_EACH == [one.status for one in opened if one.status != 503]
        assert [200] == [item["status"] for item in paid.body["results"]]


@pytest.mark.parametrize("kind", ["malformed", "refused"])
async def test_a_stream_ends_unless_its_lines_are_accepted(serve: Serve, settings: Settings, kind: str) -> None:
    admin = await serve(settings)
    eve, pays, gets = await party(admin)
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.3}), logs_in=False)
    line = b"x\n" if kind == "malformed" else str(transfer_body(gets, pays, 1)).replace("'", '"').encode() + b"\n"

    async with AsyncExitStack() as held, asyncio.timeout(30):
        opened = await open_stream(replace(api, token=eve.token), held, repeat(line, 0.02))
        last = (await opened.read()).splitlines()[-1]

    assert b'"status":408' in last


async def test_a_stream_of_accepted_lines_outlasts_the_time_for_a_body(serve: Serve, settings: Settings) -> None:
    admin = await serve(settings)
    alice, pays, gets = await party(admin)
    api = await serve(settings.model_copy(update={"ledger_body_timeout_seconds": 0.5}), logs_in=False)
    line = str(transfer_body(pays, gets, 1)).replace("'", '"').encode() + b"\n"

    async def lines() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield line
            await asyncio.sleep(0.15)

    async with AsyncExitStack() as held:
        opened = await open_stream(replace(api, token=alice.token), held, lines())
        found = (await opened.read()).splitlines()

    assert 10 == len(found) == sum(b'"status":200' in one for one in found)


async def test_one_auditor_with_feeds_leaves_places_for_others(api: Api) -> None:
    auditor = await api.as_new_user("auditor")

    async with AsyncExitStack() as held:
        for number in range(sse.MAX_FEEDS_EACH + 2):
            headers = {**FEED, "Authorization": f"Bearer {auditor.token}"}
            opened = await held.enter_async_context(api.client.get("/v1/events", headers=headers))
            assert (200 if number < sse.MAX_FEEDS_EACH else 503) == opened.status
        headers = {**FEED, "Authorization": f"Bearer {api.token}"}
        async with api.client.get("/v1/events", headers=headers) as others:
            assert 200 == others.status


@pytest.mark.parametrize("how", ["revoked", "deactivated"])
async def test_a_dead_token_takes_no_place_and_no_time_for_its_body(api: Api, how: str) -> None:
    """A body that never arrives shows that the token is refused first."""
    eve, *_ = await party(api)
    if how == "revoked":
        assert 200 == (await api.post("/v1/auth/revoke-user", {"user_id": eve.user_id})).status
    else:
        assert 200 == (await api.patch(f"/v1/users/{eve.user_id}", {"active": False})).status

    for media in ("application/json", "application/jsonl"):
        headers = {"Content-Type": media, "Authorization": f"Bearer {eve.token}"}
        async with AsyncExitStack() as held, asyncio.timeout(5):
            request = api.client.request("POST", BATCH, data=repeat(b"[", 3600), headers=headers)
            assert 401 == (await held.enter_async_context(request)).status
    assert 0 == api.client.app[batch.BATCH_LIMIT].admitted


@pytest.fixture
async def limited(serve: Serve, settings: Settings) -> Api:
    """Return an admin of a service that admits few requests of a caller in a minute."""
    few = {"ledger_rate_limit_reads": 3, "ledger_rate_limit_writes": 2, "ledger_rate_limit_batches": 1}
    return await serve(settings.model_copy(update=few))


async def test_a_caller_who_sends_too_many_requests_is_told_when_to_go_on(limited: Api) -> None:
    alice, pays, gets = await party(limited)

    for left in (1, 0):
        paid = await alice.transfer(pays, gets, 1)
        assert (200, f'"writes";r={left}') == (paid.status, paid.headers["RateLimit"].rpartition(";")[0])
        assert '"writes";q=2;w=60' == paid.headers["RateLimit-Policy"]
    refused = await alice.transfer(pays, gets, 1)

    assert (429, ["rate_limited"]) == (refused.status, refused.codes)
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert '"writes";r=0;t=60' == refused.headers["RateLimit"]


async def test_each_caller_and_each_class_of_routes_has_its_own_limit(limited: Api) -> None:
    (alice, pays, gets), (bob, *_) = await party(limited), await party(limited)

    statuses = [(await alice.transfer(pays, gets, 1)).status for _ in range(3)]
    reads = [(await alice.get("/v1/accounts")).status for _ in range(4)]
    batches = [(await send_batch(alice, transfer_body(pays, gets, 1))).status for _ in range(2)]

    assert ([200, 200, 429], [200, 200, 200, 429], [200, 429]) == (statuses, reads, batches)
    assert 200 == (await bob.get("/v1/accounts")).status


async def test_admins_are_limited_on_demand_only(limited: Api, serve: Serve, settings: Settings) -> None:
    free = [await limited.get("/v1/accounts") for _ in range(5)]
    also_admins = settings.model_copy(update={"ledger_rate_limit_reads": 3, "ledger_rate_limit_admins": True})
    api = await serve(also_admins)

    assert [200] * 5 == [answer.status for answer in free]
    assert not any(name in answer.headers for answer in free for name in LIMITS)
    assert [200, 200, 200, 429] == [(await api.get("/v1/accounts")).status for _ in range(4)]


async def test_a_thief_with_a_revoked_token_uses_up_nothing_of_its_user(limited: Api) -> None:
    alice, pays, gets = await party(limited)
    username = (await limited.get(f"/v1/users/{alice.user_id}")).body["username"]
    assert 200 == (await limited.post("/v1/auth/revoke-user", {"user_id": alice.user_id})).status

    stolen = [(await alice.transfer(pays, gets, 1)).status for _ in range(5)]
    paid = await (await alice.logged_in(username)).transfer(pays, gets, 1)

    assert ([401] * 5, 200) == (stolen, paid.status)
