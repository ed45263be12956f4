"""docs/endpoints.http has a request for every route, and an editor can send them in order."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tests.support.conformity import route_of
from tests.support.controls import ADMIN_PASSWORD, Api, Response
from tests.support.processes import ROOT
from web.routes import ROUTES, UNVERSIONED

FILE = ROOT / "docs/endpoints.http"
VARIABLE = re.compile(r"{{(\w+)(?:\.response\.body\.\$([\w.\[\]]+))?}}")

IN_DAYS = re.compile(r"{{\$datetime iso8601 (\d+) d}}")  # a variable of the editor


class Request(NamedTuple):
    """A request as written, with its variables."""

    name: str
    answers: tuple[int, ...]
    method: str
    path: str
    headers: dict[str, str]
    body: str


def requests() -> list[Request]:
    _, *blocks = re.split(r"^###.*\n", FILE.read_text(), flags=re.MULTILINE)
    return [_request(block) for block in blocks]


def _request(block: str) -> Request:
    head, _, body = block.strip().partition("\n\n")
    lines = head.splitlines()
    said = "\n".join(line for line in lines if line.startswith("#"))
    first, *headers = [line for line in lines if not line.startswith("#")]
    method, url = first.split(" ")
    name = re.search(r"@name (\w+)", said)
    return Request(
        name[1] if name else "",
        tuple(map(int, re.findall(r"\d{3}", said))) or (200, 201),
        method,
        url.removeprefix("{{url}}"),
        dict(line.split(": ", 1) for line in headers),
        body,
    )


async def test_the_file_has_a_request_for_every_route_and_each_gets_its_status(api: Api) -> None:
    named: dict[str, Any] = {"password": ADMIN_PASSWORD}
    sent = set()

    for request in requests():
        answer = await _send(api.nobody, request, named)
        assert answer.status in request.answers, (request, answer)
        named[request.name] = answer.body
        sent.add(route_of(request.method, _fill_variables(request.path, named).partition("?")[0]))

    assert {*ROUTES, *UNVERSIONED} == sent


async def _send(api: Api, request: Request, named: dict[str, Any]) -> Response:
    headers = {name: _fill_variables(text, named) for name, text in request.headers.items()}
    data = _fill_variables(request.body, named)
    return await api.call(request.method, _fill_variables(request.path, named), data=data or None, headers=headers)


def _fill_variables(text: str, named: dict[str, Any]) -> str:
    text = IN_DAYS.sub(lambda found: (datetime.now(UTC) + timedelta(days=int(found[1]))).isoformat(), text)
    return VARIABLE.sub(lambda found: _value(named[found[1]], found[2] or ""), text)


def _value(value: Any, path: str) -> str:
    for member, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        value = value[member] if member else value[int(index)]
    return value if isinstance(value, str) else json.dumps(value)
