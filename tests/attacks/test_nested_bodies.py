"""A body that is nested as deeply as a parser can bear, or deeper, is the client's fault and never a fault."""

import pytest

from tests.support.controls import NOBODY, Api
from web.auth import PUBLIC
from web.routes import ROUTES
from web.routes.route import Route

DEPTHS = [100, 190, 200, 250, 500, 900, 960, 980, 990, 1_000, 1_100, 5_000, 20_000]
WRITES = [route for route in ROUTES if route.operation.request_model is not None]
JSON_LINES = [route for route in WRITES if route.operation.accepts_json_lines]


def nested_texts(depth: int) -> list[str]:
    """Return bodies that are nested in the places where parsers differ: at the top, in a member, and in an item."""
    arrays, objects = "[" * depth + "]" * depth, '{"metadata":' * depth + "1" + "}" * depth
    return [
        arrays,
        objects,
        *(f'{{"{member}":{text}}}' for member in ("amount_cents", "metadata", "unknown") for text in (arrays, objects)),
        f'{{"atomic":false,"items":[{arrays}]}}',
        f'{{"atomic":false,"items":[{objects}]}}',
        "[" * depth,
    ]


def test_every_route_with_a_body_is_attacked() -> None:
    assert len(WRITES) >= 15
    assert JSON_LINES


@pytest.mark.parametrize("route", WRITES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_nested_body_is_refused(api: Api, route: Route) -> None:
    caller = api.nobody if route.access is PUBLIC else api
    path = f"/v1{route.path}".replace("{id}", NOBODY).replace("{name}", "accounts")

    statuses = {
        (depth, number): (
            await caller.call(route.method, path, data=text, headers={"Content-Type": "application/json"})
        ).status
        for depth in DEPTHS
        for number, text in enumerate(nested_texts(depth))
        if len(text) < 60_000
    }

    assert {} == {case: status for case, status in statuses.items() if status not in {400, 404, 422, 429}}


@pytest.mark.parametrize("route", JSON_LINES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_nested_line_is_refused(api: Api, route: Route) -> None:
    lines = [text for depth in DEPTHS for text in nested_texts(depth) if len(text) < 60_000]

    answer = await api.call(
        route.method, f"/v1{route.path}", data="\n".join(lines), headers={"Content-Type": "application/jsonl"}
    )

    results = str(answer.body)
    assert (200, len(lines)) == (answer.status, results.count('"line":'))
    assert "internal_error" not in results
