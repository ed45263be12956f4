"""A dry run of any change: the response is that of the change, and nothing is written.

The requests are those of docs/endpoints.http, so a route that is added later is tested as well.
"""

import re
from typing import Any
from uuid import UUID

from ledger.settings import Settings
from tests.support.conformity import route_of
from tests.support.controls import ADMIN_PASSWORD, Api, Response
from tests.support.endpoints import Request, fill_variables, requests, send
from tests.support.everything import read_everything
from web.routes import ROUTES
from web.routes.route import Route

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
OF_ONE_REQUEST = frozenset({"trace_id", "client_secret", "position"})


def find_route(request: Request, named: dict[str, Any]) -> Route:
    return route_of(request.method, fill_variables(request.path, named).partition("?")[0])


class Compared:
    """What two responses have in common if one is that of a dry run: all but times, new ids and secrets."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def learn(self, body: Any) -> None:
        """Take over the ids of a response; others are new."""
        self._known.update(ID.findall(str(body)))

    def describe(self, response: Response) -> dict[str, Any]:
        headers = {name: response.headers.get(name) for name in ("ETag", "Content-Type", "Idempotent-Replayed")}
        location = self._mask(response.headers.get("Location"))
        return {"status": response.status, "body": self._mask(response.body), "Location": location, **headers}

    def _mask(self, value: Any) -> Any:
        match value:
            case dict():
                return {name: self._mask(one) for name, one in value.items() if name not in OF_ONE_REQUEST}
            case list():
                return [self._mask(one) for one in value]
            case str():
                ids = ID.sub(lambda found: found[0] if found[0] in self._known else str(UUID(int=0)), value)
                return TIME.sub("a time", ids)
            case _:
                return value


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
            assert compared.describe(answer) == compared.describe(one), (request, answer, one)
        named[request.name] = answer.body
        compared.learn(answer.body)

    assert {route for route in ROUTES if route.takes_dry_run} == tried


async def test_only_what_issues_tokens_takes_none(api: Api) -> None:
    changing = [route for route in ROUTES if route.method != "GET"]

    others = {route.path for route in changing if not route.takes_dry_run}

    assert {"/auth/login", "/auth/refresh", "/auth/token", "/users/me/password"} == others
    for path in ("/v1/auth/login", "/v1/users/me/password"):
        answer = await api.post(path, {}, params={"dry_run": "true"})
        assert (422, ["query dry_run"]) == (answer.status, answer.parameters)
