"""Who is calling, and who may call what. Every route names its rule; there is no route without one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from ledger import errors
from ledger.errors import Refused
from ledger.jwt import InvalidTokenError, TokenType
from web.context import ACTOR, RUNTIME, Actor

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Access:
    """A rule: anyone (`roles` None), or those who show an access token and have one of the roles."""

    roles: frozenset[str] | None


PUBLIC = Access(None)


def roles(*names: str) -> Access:
    """The rule that lets in users with one of these roles."""
    return Access(frozenset(names))


def guarded(access: Access, handler: Handler) -> Handler:
    """The handler, behind its rule."""
    if access.roles is None:
        return handler
    allowed = access.roles

    async def guard(request: web.Request) -> web.StreamResponse:
        actor = await authenticate(request)
        request[ACTOR] = actor
        if actor.roles.isdisjoint(allowed):
            raise Refused(errors.forbidden())
        return await handler(request)

    return guard


async def authenticate(request: web.Request) -> Actor:
    """The user behind the access token, with the roles of now. Raises `Refused`: one answer, whatever is wrong."""
    runtime = request.app[RUNTIME]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        verified = runtime.signer.verify(token if scheme.lower() == "bearer" else "", TokenType.ACCESS)
    except InvalidTokenError:
        raise Refused(errors.wrong_credentials()) from None
    standing = await runtime.standing.get(verified.user_id)
    if standing is None:
        raise Refused(errors.wrong_credentials())
    return Actor(verified.user_id, standing, verified.session_id, verified.jti)
