"""Walk the pages of a list, for the tests of lists."""

import re
from typing import Any

from tests.support.controls import Answer, Api


def next_of(answer: Answer) -> str | None:
    """The path of the next page."""
    link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
    return link and link[1]


async def all_of(api: Api, path: str | None) -> list[dict[str, Any]]:
    """Everything in a list, page by page."""
    found: list[dict[str, Any]] = []
    while path is not None:
        answer = await api.get(path)
        assert 200 == answer.status, answer
        found += answer.body
        path = next_of(answer)
    return found
