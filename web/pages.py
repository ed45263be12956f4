"""Lists in pages: newest first, at most 200 items, and a `Link` to the next page (RFC 8288) while there is one."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ledger.stored import LAST
from web.bodies import answer
from web.cursors import cursor_in, cursor_of
from web.query import number_in
from web.reply import Reply

MAX_LIMIT = 200

Page = list[tuple[int, dict[str, Any]]]


async def page(request: web.Request, query: Callable[[int, int], Awaitable[Page]]) -> Reply:
    """The page that `limit` (1 to 200) and `cursor` ask for; `query` gets the position to stay below, and a limit."""
    limit = limit_of(request)
    before = cursor_in(request, int)
    rows = await query(LAST if before is None else before, limit + 1)
    items = [body for _, body in rows[:limit]]
    return answer(items, headers=link_to_next(request, limit, rows[limit - 1][0] if len(rows) > limit else None))


def limit_of(request: web.Request) -> int:
    """How many items a page has."""
    return number_in(request, "limit", minimum=1, maximum=MAX_LIMIT) or MAX_LIMIT


def link_to_next(request: web.Request, limit: int, place: object) -> dict[str, str]:
    """The header that leads to the page after this place; none if there is none."""
    if place is None:
        return {}
    url = request.rel_url.update_query({"limit": limit, "cursor": cursor_of(request, place)})
    return {"Link": f'<{url}>; rel="next"'}
