"""A dry run of any change: the response is that of the change, and nothing is written.

The requests are those of docs/endpoints.http, so a route that is added later is tested as well.
"""

from typing import Any

from ledger.settings import Settings
from tests.support.conformity import route_of
from tests.support.controls import ADMIN_PASSWORD, Api, Response
from tests.support.dry_runs import Compared
from tests.support.endpoints import Request, fill_variables, requests, send
from tests.support.everything import read_everything
from web.routes import ROUTES
from web.routes.route import Route


def find_route(request: Request, named: dict[str, Any]) -> Route:
    route = route_of(request.method, fill_variables(request.path, named).partition("?")[0])
    assert route is not None
    return route


async def test_it_is_answered_as_the_change_is_and_writes_nothing(
    api: Api, connection: Any, settings: Settings
) -> None:
    named: dict[str, Any] = {"password": ADMIN_PASSWORD}
    compared, tried = Compared(), set()

    for request in requests():
        route = find_route(request, named)
        answers: list[Response] = []
        if route.takes_dry_run:
            tried.add(route)
            reading = request._replace(method="GET", path="/", body="")
            await send(api.nobody, reading, named)  # the service caches that a token is valid
            before = await read_everything(connection, settings)
            position = await connection.fetchval("SELECT max(notification_id) FROM stored_events")
            for params in ({}, {"at_position": str(position)}):
                answers.append(await send(api.nobody, request, named, params={"dry_run": "true", **params}))
                assert "true" == answers[-1].headers.get("Dry-Run"), (request, answers[-1])
            assert before == await read_everything(connection, settings), request
            assert [str(position)] * 2 == [one.headers.get("Ledger-Position", str(position)) for one in answers]
        answer = await send(api.nobody, request, named)
        for one in answers:
            assert compared.describe(*answer) == compared.describe(*one), (request, answer, one)
        named[request.name] = answer.body
        compared.learn(answer.body)

    assert {route for route in ROUTES if route.takes_dry_run} == tried


async def test_only_what_issues_tokens_or_starts_a_process_takes_none(api: Api) -> None:
    changing = [route for route in ROUTES if route.method != "GET"]

    others = {route.path for route in changing if not route.takes_dry_run and not route.operation.starts_process}

    assert {"/auth/login", "/auth/refresh", "/auth/token", "/users/me/password"} == others
    for path in ("/v1/auth/login", "/v1/users/me/password"):
        answer = await api.post(path, {}, params={"dry_run": "true"})
        assert (422, ["query dry_run"]) == (answer.status, answer.parameters)
