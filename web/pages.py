"""Lists in pages: newest first, at most 200 items, and a `Link` to the next page (RFC 8288) while there is one."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ledger import errors
from ledger.errors import Refused
from web.bodies import answer
from web.reply import Reply

MAX_LIMIT = 200
LAST = 2**63 - 1  # before any position there can be

Page = list[tuple[int, dict[str, Any]]]


async def page(request: web.Request, query: Callable[[int, int], Awaitable[Page]]) -> Reply:
    """The page that `limit` (1 to 200) and `before` (a position) ask for; `query` gets `before` and a limit."""
    limit = _number(request, "limit", MAX_LIMIT, MAX_LIMIT)
    rows = await query(_number(request, "before", LAST, LAST), limit + 1)
    items = [body for _, body in rows[:limit]]
    headers = {}
    if len(rows) > limit:
        url = request.rel_url.update_query(limit=limit, before=rows[limit - 1][0])
        headers["Link"] = f'<{url}>; rel="next"'
    return answer(items, headers=headers)


def _number(request: web.Request, name: str, default: int, maximum: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(maximum)) and 1 <= int(text) <= maximum):
        raise Refused(errors.invalid(f"/{name}", f"must be a whole number from 1 to {maximum}"))
    return int(text)
