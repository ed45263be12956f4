"""Query parameters that a route does not have are refused by name: lesson 42."""

from typing import Any

import asyncpg

from ledger.identity.tokens import TokenType
from tests.support.controls import NOBODY, Api
from web.openapi import parameters_of, path_of
from web.routes import ROUTES, UNVERSIONED

PAGES = {"/docs", "/docs/{name}", "/errors", "/errors/{code}", "/metrics"}  # for people; clients do not compose these
STRICT = [route for route in (*UNVERSIONED, *ROUTES) if route.path not in PAGES]


async def test_an_unknown_parameter_is_refused_by_name_on_every_route(api: Api) -> None:
    for route in STRICT:
        path = path_of(route).replace("{id}", NOBODY).replace("{name}", "accounts").replace("{code}", "EUR")

        answer = await api.call(route.method, path, params={"dryrun": "true", "accont_id": NOBODY})

        if route.access.token is TokenType.REFRESH:  # the token is checked first
            assert 401 == answer.status, route
        else:
            assert (422, ["query accont_id", "query dryrun"]) == (answer.status, answer.parameters), route


async def test_a_repeated_parameter_is_refused_on_every_route(api: Api) -> None:
    """Two parsers could use different values."""
    given = [
        (route.method, path_of(route), parameter.name)
        for route in STRICT
        for parameter in parameters_of(route)
        if parameter.place == "query" and "{" not in route.path and route.access.token is TokenType.ACCESS
    ]

    answers = {
        (method, path, name): await api.call(method, path, params=[(name, NOBODY), (name, NOBODY)])
        for method, path, name in given
    }

    assert {("GET", "/v1/auth/sessions", "user_id"), ("POST", "/v1/accounts", "dry_run")} <= answers.keys()
    assert {asked: (422, [f"query {asked[-1]}"]) for asked in given} == {
        asked: (answer.status, answer.parameters) for asked, answer in answers.items()
    }


async def test_a_transfer_with_an_unknown_parameter_moves_no_money(
    api: Api, connection: "asyncpg.Connection[Any]"
) -> None:
    alice, bob = await api.new_account(balance_cents=100), await api.new_account()
    before = await connection.fetchval("SELECT count(*) FROM stored_events")

    for key in ({}, {"Idempotency-Key": "a-key"}):
        answer = await api.transfer(alice, bob, 30, params={"dryrun": "true"}, headers=key)
        assert (422, ["query dryrun"]) == (answer.status, answer.parameters)

    assert before == await connection.fetchval("SELECT count(*) FROM stored_events")


async def test_the_refusal_names_the_known_parameters_and_is_bounded(api: Api) -> None:
    answer = await api.get("/v1/users", params={f"x{number}": "1" for number in range(500)})

    assert 10 == len(answer.body["errors"])
    assert "active" in answer.body["errors"][0]["message"]


async def test_links_to_pages_for_people_can_have_parameters(api: Api) -> None:
    for path in ("/docs", "/errors", "/errors/validation_error"):
        assert 200 == (await api.nobody.get(path, params={"utm_source": "mail"})).status
