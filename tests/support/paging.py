"""Follow the pages of a list, for the tests of lists."""

import re
from typing import Any

from tests.support.controls import Api, Response


def next_path(answer: Response) -> str | None:
    """Return the path of the next page, or None."""
    link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
    return link and link[1]


async def all_items(api: Api, path: str | None, **options: Any) -> list[dict[str, Any]]:
    """Return all items of a list, page by page."""
    found: list[dict[str, Any]] = []
    while path is not None:
        answer = await api.get(path, **options)
        assert 200 == answer.status, answer
        found += answer.body
        path = next_path(answer)
    return found
