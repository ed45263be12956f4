"""`ledger import` logs in with one code, and goes on when its token expires, without a code that is used up by then."""

import asyncio

import pytest

from ledger.cli.import_assets import ServiceAssets
from ledger.cli.import_client import ImportFailedError, Service, connect
from ledger.money import Assets
from tests.support.controls import PASSWORD, Api, Clock
from tests.support.second_factors import enrol


async def test_an_import_outlasts_its_token_with_one_code(api: Api, code_clock: Clock) -> None:
    user = await api.new_user()
    device = await enrol(await api.logged_in(user["username"]), code_clock)
    service = Service(str(api.client.make_url("/")).rstrip("/"), user["username"], PASSWORD, device.next_code())

    async with connect(service) as client:
        used = client.authorization
        client._session.headers["Authorization"] = "Bearer expired"  # noqa: SLF001
        status, _ = await client.call("GET", "/v1/accounts")
        renewed = client.authorization

        await client.renew("one that was replaced already")

    assert (200, renewed) == (status, client.authorization)
    assert renewed not in {used, "Bearer expired"}


async def test_an_import_without_the_code_says_what_is_missing(api: Api, code_clock: Clock) -> None:
    user = await api.new_user()
    await enrol(await api.logged_in(user["username"]), code_clock)
    service = Service(str(api.client.make_url("/")).rstrip("/"), user["username"], PASSWORD)

    with pytest.raises(ImportFailedError, match="401 authentication_otp_required: a one-time code is required"):
        async with connect(service):
            pass


async def test_the_check_of_a_file_and_the_import_share_one_login(api: Api, code_clock: Clock) -> None:
    for code, places in (("HOURS", 2), ("POINTS", 0)):
        assert 201 == (await api.post("/v1/assets", {"code": code, "name": code, "digits": places})).status
    user = await api.new_user()
    device = await enrol(await api.logged_in(user["username"]), code_clock)
    service = Service(str(api.client.make_url("/")).rstrip("/"), user["username"], PASSWORD, device.next_code())
    assets = Assets(ServiceAssets(lambda: service))

    digits = [await asyncio.to_thread(assets.digits, code) for code in ("HOURS", "POINTS")]
    async with connect(service) as client:
        status, _ = await client.call("GET", "/v1/accounts")

    assert ([2, 0], 200) == (digits, status)
