"""Who is calling, and who may call what. Every route names its rule; there is no route without one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from ledger import errors
from ledger.commands.decider import Claim
from ledger.errors import Refused, StaleClaimError
from ledger.events.users import ROLES
from ledger.jwt import InvalidTokenError, TokenType, Verified
from ledger.projections.tokens import NEVER
from ledger.runtime import Runtime
from web.context import ACTOR, CLAIM, RUNTIME, Actor
from web.reply import Reply, Stream

Handler = Callable[[web.Request], Awaitable[Reply | Stream]]


@dataclass(frozen=True, slots=True)
class Access:
    """A rule: anyone (`roles` None), or those who show a token of this kind and have one of the roles.

    Whether an access token is still in force is looked up before the handler runs. The committer finds it out once
    more, together with all else that a command depends on; with `in_transaction`, it alone does, which saves a round
    trip. What a refresh token is worth, the command that uses it finds out.
    """

    roles: frozenset[str] | None
    in_transaction: bool = False
    token: TokenType = TokenType.ACCESS


PUBLIC = Access(None)
REFRESH_TOKEN = Access(frozenset(ROLES), token=TokenType.REFRESH)


def roles(*names: str, in_transaction: bool = False) -> Access:
    """The rule that lets in users with one of these roles."""
    return Access(frozenset(names), in_transaction)


def guarded(access: Access, handler: Handler) -> Handler:
    """The handler, behind its rule."""
    if access.roles is None:
        return handler
    if access.token is TokenType.REFRESH:
        return _with_refresh_token(handler)
    allowed = access.roles

    async def guard(request: web.Request) -> Reply | Stream:
        runtime = request.app[RUNTIME]
        verified = _bearer(request, TokenType.ACCESS)
        may = not verified.roles.isdisjoint(allowed)
        later = may and access.in_transaction and "Idempotency-Key" not in request.headers
        if not later:
            await _check_in_force(runtime, verified)
        request[ACTOR] = _actor(verified)
        if not may:
            raise Refused(errors.forbidden())
        enforced = runtime.settings.jwt_enable_revoked_tokens
        request[CLAIM] = Claim(verified.user_id, verified.roles, verified.session_id, verified.jti, enforced)
        try:
            return await handler(request)
        except StaleClaimError:
            raise Refused(errors.wrong_credentials()) from None
        except (Refused, web.HTTPException):  # a success has been checked; who is refused must be known as well
            if later:
                await _check_in_force(runtime, verified)
            raise

    return guard


async def check_again(request: web.Request) -> None:
    """Raise `Refused` if the access token of a request that takes long has ended or was revoked meanwhile."""
    await _check_in_force(request.app[RUNTIME], _bearer(request, TokenType.ACCESS))


def _with_refresh_token(handler: Handler) -> Handler:
    async def guard(request: web.Request) -> Reply | Stream:
        request[ACTOR] = _actor(_bearer(request, TokenType.REFRESH))
        return await handler(request)

    return guard


def _actor(verified: Verified) -> Actor:
    return Actor(verified.user_id, verified.roles, verified.session_id, verified.jti)


def _bearer(request: web.Request, kind: TokenType) -> Verified:
    """The token of the request. Raises `Refused`: one answer, whatever is wrong."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        return request.app[RUNTIME].signer.verify(token if scheme.lower() == "bearer" else "", kind)
    except InvalidTokenError:
        raise Refused(errors.wrong_credentials()) from None


async def _check_in_force(runtime: Runtime, verified: Verified) -> None:
    """Raise `Refused` if the token was revoked; if that is not enforced, if its user has not these roles any more."""
    if runtime.settings.jwt_enable_revoked_tokens:
        below = await runtime.revoked_below.get((verified.session_id, verified.user_id))
        in_force = verified.claims.pos >= (NEVER if below is None else below)
    else:
        in_force = verified.roles <= (await runtime.standing.get(verified.user_id) or frozenset())
    if not in_force:
        raise Refused(errors.wrong_credentials())
