"""Users as they were at a position of the log, those among them who were deleted later."""

from typing import Any, NamedTuple
from uuid import UUID

from ledger.events.users import UserCreated, username_stream
from ledger.projections import users
from ledger.projections.resource import Resource
from ledger.projections.users import Filters
from ledger.store import beginnings
from ledger.store.connections import Reader
from ledger.store.reader import Bounds
from ledger.store.streams_at import read_events_at


class Found(NamedTuple):
    """A page of users, and the position down to which it is complete, or None if there are no more."""

    bodies: list[dict[str, Any]]
    reached: int | None


async def find(reader: Reader, user_id: UUID, position: int) -> Resource | None:
    """Return a user at a position, or None before the creation and after the deletion."""
    run = (await read_events_at(reader, [user_id], users.HANDLED, position)).get(user_id)
    body = None if run is None else users.fold_body(run)
    return None if run is None or body is None else Resource(body, str(run[-1].version))


async def page(reader: Reader, filters: Filters, position: int, bounds: Bounds, limit: int) -> Found:
    """Return up to `limit` users at a position who were created within the bounds, newest first.

    It examines no more than `limit` users, so a page of those with filters may be short although another one follows.
    """
    candidates = await beginnings.find_by_topic(reader, (UserCreated,), bounds, limit)
    runs = await read_events_at(reader, list(candidates.ids), users.HANDLED, position)
    bodies = [users.fold_body(runs[user_id]) for user_id in candidates.ids]
    return Found([body for body in bodies if body is not None and _matches(body, filters)], candidates.reached)


def _matches(body: dict[str, Any], filters: Filters) -> bool:
    is_named = filters.username is None or username_stream(filters.username) == username_stream(body["username"])
    return is_named and filters.active in {None, body["active"]}
