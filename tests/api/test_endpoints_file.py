"""docs/endpoints.http has a request for every route, and an editor can send them in order."""

from typing import Any

from tests.support.conformity import route_of
from tests.support.controls import ADMIN_PASSWORD, Api
from tests.support.endpoints import fill_variables, requests, send
from web.routes import ROUTES, UNVERSIONED


async def test_the_file_has_a_request_for_every_route_and_each_gets_its_status(api: Api) -> None:
    named: dict[str, Any] = {"password": ADMIN_PASSWORD}
    sent = set()

    for request in requests():
        answer = await send(api.nobody, request, named)
        assert answer.status in request.answers, (request, answer)
        named[request.name] = answer.body
        sent.add(route_of(request.method, fill_variables(request.path, named).partition("?")[0]))

    assert {*ROUTES, *UNVERSIONED} == sent
