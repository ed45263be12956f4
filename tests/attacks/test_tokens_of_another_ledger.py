"""A token of another ledger is refused, even if both ledgers have the same key and the same users.

The ids of first admins are the same everywhere, and clients choose ids: only the session tells the ledgers apart.
"""

from dataclasses import replace
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import Api, Response, Serve, new_id, transfer_body
from tests.support.machines import as_machine, register
from tests.support.token_api import NOT_ENFORCED, claims_of, log_in

ENFORCED: dict[str, Any] = {}


@pytest.fixture(params=[ENFORCED, NOT_ENFORCED], ids=["revocation enforced", "revocation not enforced"])
async def ledgers(
    request: pytest.FixtureRequest, settings: Settings, elsewhere: Settings, serve: Serve
) -> tuple[Api, Api]:
    """Return two ledgers with the same key and the same first admin."""
    one = await serve(settings.model_copy(update=request.param))
    other = await serve(elsewhere.model_copy(update=request.param))
    assert settings.jwt_secret == elsewhere.jwt_secret
    assert claims_of(one.token or "")["sub"] == claims_of(other.token or "")["sub"]
    return one, other


async def use(api: Api, token: str, accounts: list[str]) -> list[Response]:
    """Use an access token of an admin for reads and for changes."""
    caller = replace(api, token=token)
    return [
        await caller.get("/"),
        await caller.get("/v1/users"),
        await caller.get("/v1/auth/sessions"),
        await caller.post("/v1/transactions/transfer", transfer_body(accounts[0], accounts[1], 1)),
        await caller.post(
            "/v1/transactions/transfer",
            transfer_body(accounts[0], accounts[1], 1),
            headers={"Idempotency-Key": str(new_id())},
        ),
        await caller.post("/v1/accounts", {"user_id": claims_of(token)["sub"]}),
    ]


async def test_an_access_token_of_another_ledger_is_refused(ledgers: tuple[Api, Api]) -> None:
    one, other = ledgers
    accounts = [(await one.new_account(balance_cents=100))["id"] for _ in range(2)]

    assert {200, 201} == {answer.status for answer in await use(one, one.token or "", accounts)}
    refused = await use(one, other.token or "", accounts)

    assert {401} == {answer.status for answer in refused}
    assert {(401, "authentication_wrong_credentials")} == {(answer.status, answer.codes[0]) for answer in refused}


async def test_a_refresh_token_of_another_ledger_is_refused(ledgers: tuple[Api, Api]) -> None:
    one, other = ledgers
    pair = await log_in(other)

    for path in ("/v1/auth/refresh", "/v1/auth/logout"):
        answer = await replace(one, token=pair["refresh_token"]).post(path)
        assert answer.status in {400, 401}, path
    assert 200 == (await replace(other, token=pair["refresh_token"]).post("/v1/auth/refresh")).status


async def test_a_machine_of_another_ledger_is_refused(ledgers: tuple[Api, Api]) -> None:
    one, other = ledgers
    client_id = str(new_id())
    registered = [await register(api, id=client_id) for api in (one, other)]
    assert [client_id] * 2 == [client["id"] for client in registered]
    accounts = [(await one.new_account(balance_cents=100))["id"] for _ in range(2)]
    own, foreign = await as_machine(one, registered[0]), await as_machine(other, registered[1])

    for path in ("/v1/accounts", f"/v1/accounts/{accounts[0]}"):
        assert (200, 401) == ((await own.get(path)).status, (await replace(one, token=foreign.token).get(path)).status)
    body = transfer_body(accounts[0], accounts[1], 1)
    moved = [
        await replace(one, token=caller.token).post("/v1/transactions/transfer", body) for caller in (own, foreign)
    ]
    assert [200, 401] == [answer.status for answer in moved]
