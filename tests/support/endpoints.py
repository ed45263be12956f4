"""The requests of docs/endpoints.http, one for each route, which an editor can send in order."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tests.support.controls import Api, Response
from tests.support.processes import ROOT

FILE = ROOT / "docs/endpoints.http"
IN_DAYS = re.compile(r"{{\$datetime iso8601 (\d+) d}}")  # a variable of the editor
NOW = datetime.now(UTC)  # each request can be sent again as it was
VARIABLE = re.compile(r"{{(\w+)(?:\.response\.body\.\$([\w.\[\]]+))?}}")


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


async def send(api: Api, request: Request, named: dict[str, Any], **options: Any) -> Response:
    """Send a request with the responses to the named requests before it."""
    headers = {name: fill_variables(text, named) for name, text in request.headers.items()}
    data = fill_variables(request.body, named)
    return await api.call(
        request.method, fill_variables(request.path, named), data=data or None, headers=headers, **options
    )


def fill_variables(text: str, named: dict[str, Any]) -> str:
    """Return a text with the values of its variables."""
    text = IN_DAYS.sub(lambda found: (NOW + timedelta(days=int(found[1]))).isoformat(), text)
    return VARIABLE.sub(lambda found: _value(named[found[1]], found[2] or ""), text)


def _value(value: Any, path: str) -> str:
    for member, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        value = value[member] if member else value[int(index)]
    return value if isinstance(value, str) else json.dumps(value)
