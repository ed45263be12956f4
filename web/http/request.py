"""What a request carries besides its bytes: its id, its caller, and the runtime that all requests share."""

import re
from random import getrandbits
from uuid import UUID

import msgspec
from aiohttp import web

from ledger.commands.caller import Caller
from ledger.runtime import Runtime


class Actor(msgspec.Struct, frozen=True):
    """The calling user or client, with the roles at this time and the token that named them.

    `caller` is set if that was an access token. `is_client` says whether that was a machine's, and `limits` which users
    and accounts the machine is limited to, if any; where the command itself checks them, they are not read.
    """

    user_id: UUID
    roles: frozenset[str]
    session_id: UUID
    jti: UUID
    caller: Caller | None = None
    is_client: bool = False
    limits: tuple[UUID, ...] | None = None

    def has(self, *roles: str) -> bool:
        """Return whether the user has one of these roles."""
        return not self.roles.isdisjoint(roles)


RUNTIME = web.AppKey("RUNTIME", Runtime)
ACTOR = web.RequestKey("ACTOR", Actor)
REQUEST_ID = web.RequestKey("REQUEST_ID", str)

_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def make_request_id() -> str:
    """Return the id of a request. No client chooses it, so no two requests have the same."""
    return f"{getrandbits(128):032x}"


def read_client_request_id(request: web.BaseRequest) -> str | None:
    """Return the client's own id of the request, for the log, if `X-Request-Id` is a plain word."""
    given = request.headers.get("X-Request-Id")
    return given if given is not None and _CLIENT_REQUEST_ID.fullmatch(given) else None
