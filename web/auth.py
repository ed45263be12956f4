"""Who is calling, and who may call what. Every route names its rule; there is no route without one."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from aiohttp import hdrs, web

from ledger import errors
from ledger.commands.caller import Caller
from ledger.errors import Refusal, Refused, StaleCallerError
from ledger.events.users import ROLES
from ledger.identity.tokens import InvalidTokenError, TokenType, Verified
from ledger.projections.tokens import NEVER, revoked_below
from ledger.runtime import Runtime
from web.http.negotiation import accept_of, choose_media
from web.http.request import ACTOR, RUNTIME, Actor
from web.http.response import Reply, Stream

Handler = Callable[[web.Request], Awaitable[Reply | Stream]]


@dataclass(frozen=True, slots=True)
class Access:
    """A rule: anyone (`roles` None), or those who show a token of this kind and have one of the roles.

    Whether an access token is still in force is looked up before the handler runs. The committer finds it out once
    more, together with all else that a command depends on; with `in_transaction`, it alone does, which saves a round
    trip. What a refresh token is worth, the command that uses it finds out. `by_secret` also lets in who has the secret
    that the settings name for Prometheus, which cannot log in. A browser without a token is sent to `browsers_to`.
    """

    roles: frozenset[str] | None
    in_transaction: bool = False
    token: TokenType = TokenType.ACCESS
    by_secret: bool = False
    browsers_to: str | None = None


PUBLIC = Access(None)
REFRESH_TOKEN = Access(frozenset(ROLES), token=TokenType.REFRESH)
SCRAPER = Access(frozenset({"admin", "auditor"}), by_secret=True)


def roles(*names: str, in_transaction: bool = False) -> Access:
    """The rule that lets in users with one of these roles."""
    return Access(frozenset(names), in_transaction)


def guarded(access: Access, handler: Handler) -> Handler:
    """The handler, behind its rule."""
    if access.roles is None:
        return handler
    if access.token is TokenType.REFRESH:
        return _with_refresh_token(handler)
    if access.browsers_to is not None:
        return _leading_browsers(access.browsers_to, guarded(replace(access, browsers_to=None), handler))
    if access.by_secret:
        return _with_secret(handler, guarded(replace(access, by_secret=False), handler))
    return _with_access_token(access.roles, access.in_transaction, handler)


def _with_access_token(allowed: frozenset[str], in_transaction: bool, handler: Handler) -> Handler:
    async def guard(request: web.Request) -> Reply | Stream:
        runtime = request.app[RUNTIME]
        verified = _bearer(request, TokenType.ACCESS)
        may = not verified.roles.isdisjoint(allowed)
        later = may and in_transaction and "Idempotency-Key" not in request.headers
        if not later:
            await _check_in_force(runtime, verified)
        request[ACTOR] = _claimant(verified, runtime.settings.jwt_enable_revoked_tokens)
        if not may:
            raise Refused(errors.forbidden())
        try:
            return await handler(request)
        except StaleCallerError:
            raise Refused(errors.wrong_credentials()) from None
        except (Refused, web.HTTPException):  # a success has been checked; who is refused must be known as well
            if later:
                await _check_in_force(runtime, verified)
            raise

    return guard


async def check_again(request: web.Request) -> None:
    """Raise `Refused` if the access token of a request that takes long has ended or was revoked meanwhile.

    It asks PostgreSQL and not the mirror, which hears of a revocation a moment after it was committed: whoever has read
    an event knows of every revocation before it.
    """
    runtime, verified = request.app[RUNTIME], _bearer(request, TokenType.ACCESS)
    if runtime.settings.jwt_enable_revoked_tokens:
        session = (verified.session_id, verified.user_id)
        _check_issued_after(verified, (await revoked_below(runtime.pool, [session])).get(session))
    else:
        await _check_in_force(runtime, verified)


def _with_refresh_token(handler: Handler) -> Handler:
    async def guard(request: web.Request) -> Reply | Stream:
        verified = _bearer(request, TokenType.REFRESH)
        request[ACTOR] = Actor(verified.user_id, verified.roles, verified.session_id, verified.jti)
        return await handler(request)

    return guard


def _with_secret(handler: Handler, otherwise: Handler) -> Handler:
    async def guard(request: web.Request) -> Reply | Stream:
        secret = request.app[RUNTIME].settings.ledger_metrics_token
        given = _presented(request).encode(errors="surrogateescape")
        if secret is not None and hmac.compare_digest(given, secret.get_secret_value().encode()):
            return await handler(request)
        return await otherwise(request)

    return guard


def _leading_browsers(path: str, otherwise: Handler) -> Handler:
    async def guard(request: web.Request) -> Reply | Stream:
        choice = choose_media(accept_of(request), ("application/json", "text/html"))
        if hdrs.AUTHORIZATION not in request.headers and choice == "text/html":
            return Reply(status=303, headers={hdrs.LOCATION: path, hdrs.VARY: hdrs.ACCEPT})
        return await otherwise(request)

    return guard


@lru_cache(maxsize=4096)
def _claimant(verified: Verified, enforced: bool) -> Actor:
    """The same object each time, so that a batch sees at once that two commands claim the same."""
    who = (verified.user_id, verified.roles, verified.session_id, verified.jti)
    return Actor(*who, Caller(*who, enforced))


def _bearer(request: web.Request, kind: TokenType) -> Verified:
    """Return the token of the request. Raises `Refused`: one answer, whatever is wrong with the token."""
    presented = _presented(request)
    try:
        return request.app[RUNTIME].signer.verify(presented, kind)
    except InvalidTokenError:
        raise Refused(errors.wrong_credentials() if presented else _nothing_presented(request)) from None


def _nothing_presented(request: web.Request) -> Refusal:
    has_header = hdrs.AUTHORIZATION in request.headers
    return errors.authorization_without_token() if has_header else errors.authorization_missing()


def _presented(request: web.Request) -> str:
    """Return what is presented as a bearer token (RFC 6750, section 2.1): nothing, unless exactly one header has one.

    A proxy in front may look at another one of two headers.
    """
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token if scheme.lower() == "bearer" else ""


async def _check_in_force(runtime: Runtime, verified: Verified) -> None:
    """Raise `Refused` if the token was revoked; if that is not enforced, if its user has not these roles any more."""
    if runtime.settings.jwt_enable_revoked_tokens:
        _check_issued_after(verified, await runtime.revoked_below.get((verified.session_id, verified.user_id)))
    elif not verified.roles <= (await runtime.standing.get(verified.user_id) or frozenset()):
        raise Refused(errors.wrong_credentials())


def _check_issued_after(verified: Verified, below: int | None) -> None:
    """Raise `Refused` if the token was issued before what revoked all of its session, which None says of any."""
    if verified.claims.pos < (NEVER if below is None else below):
        raise Refused(errors.wrong_credentials())
