"""Who is calling, and who may call what. Every route names its rule; there is no route without one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from ledger import errors
from ledger.commands.decider import Claim
from ledger.errors import Refused, StaleClaimError
from ledger.jwt import InvalidTokenError, TokenType, Verified
from web.context import ACTOR, CLAIM, RUNTIME, Actor
from web.reply import Reply

Handler = Callable[[web.Request], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Access:
    """A rule: anyone (`roles` None), or those who show an access token and have one of the roles.

    Who the caller is now is looked up before the handler runs; with `in_transaction`, the committer finds out together
    with all else that the command depends on, which saves a round trip.
    """

    roles: frozenset[str] | None
    in_transaction: bool = False


PUBLIC = Access(None)


def roles(*names: str, in_transaction: bool = False) -> Access:
    """The rule that lets in users with one of these roles."""
    return Access(frozenset(names), in_transaction)


def guarded(access: Access, handler: Handler) -> Handler:
    """The handler, behind its rule."""
    if access.roles is None:
        return handler
    allowed = access.roles

    async def guard(request: web.Request) -> Reply:
        verified = _token(request)
        claim = Claim(verified.user_id, verified.roles)
        if access.in_transaction and not claim.roles.isdisjoint(allowed) and "Idempotency-Key" not in request.headers:
            request[CLAIM] = claim
            request[ACTOR] = _actor(verified, claim.roles)
            try:
                return await handler(request)
            except StaleClaimError:
                del request[CLAIM]
            except Refused:  # a success has been checked; who is refused must be known as well
                await _roles_now(request, verified)
                raise
        request[ACTOR] = actor = _actor(verified, await _roles_now(request, verified))
        if actor.roles.isdisjoint(allowed):
            raise Refused(errors.forbidden())
        return await handler(request)

    return guard


def _token(request: web.Request) -> Verified:
    """The access token of the request. Raises `Refused`: one answer, whatever is wrong."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        return request.app[RUNTIME].signer.verify(token if scheme.lower() == "bearer" else "", TokenType.ACCESS)
    except InvalidTokenError:
        raise Refused(errors.wrong_credentials()) from None


async def _roles_now(request: web.Request, verified: Verified) -> frozenset[str]:
    """The roles of now. Raises `Refused` if the user is not there, or not active."""
    standing = await request.app[RUNTIME].standing.get(verified.user_id)
    if standing is None:
        raise Refused(errors.wrong_credentials())
    return standing


def _actor(verified: Verified, roles: frozenset[str]) -> Actor:
    return Actor(verified.user_id, roles, verified.session_id, verified.jti)
