"""Authentication and authorization: each route names the rule that decides which callers it admits.

Users are admitted by their roles. A machine client also needs the scope of the route, and a route without a scope
admits no machine. A client that is limited to some accounts is admitted only where accounts decide what a caller sees.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from uuid import UUID

import msgspec
from aiohttp import hdrs, web

from ledger import errors
from ledger.commands.caller import Caller
from ledger.commands.second_factors import LEAST_ROLE
from ledger.errors import Refusal, Refused, StaleCallerError
from ledger.events.users import ROLES
from ledger.identity.rate_limit import RouteClass
from ledger.identity.tokens import InvalidTokenError, TokenType, Verified
from ledger.projections.sessions import is_recent
from ledger.projections.tokens import NEVER, revoked_below
from ledger.runtime import Runtime
from web.http.cookies import read_access_cookie
from web.http.negotiation import accept_of, choose_media
from web.http.ratelimit import LIMITS, limit_headers
from web.http.request import ACTOR, RUNTIME, Actor
from web.http.response import Reply, Stream

ANY_SCOPE = "*"  # of a route that any token of a machine client may call
NO_MACHINES = "machine clients may not call this route"
LIMITED = "a client that is limited to some accounts may not call this route"
LOGIN_TOO_OLD = Refusal("login_too_old", "the login is too old for this change: log in again")
SMALL_BODY_BYTES = 4096  # of a command that may be parsed before its token is known to be valid

Handler = Callable[[web.Request], Awaitable[Reply | Stream]]


@dataclass(frozen=True, slots=True)
class Access:
    """A rule: admit everyone (`roles` is None), or callers with a token of this kind and one of the roles.

    The guard checks before the handler runs that an access token is still valid. The committer checks it again in the
    command's transaction. With `in_transaction` it alone does for a small body, which saves a round trip, unless the
    request is refused before. A refresh token is checked by the command that uses it. `by_secret` also admits
    Prometheus, which cannot log in, by the secret in the settings. A browser without a token is redirected to
    `browsers_to`.

    `scope` is what the token of a machine client must have. With `owned`, the route shows or changes only what belongs
    to the caller, so it also admits clients that are limited to some accounts. `machine_roles` are further roles that
    it admits if a machine client has them.
    """

    roles: frozenset[str] | None
    in_transaction: bool = False
    token: TokenType = TokenType.ACCESS
    by_secret: bool = False
    browsers_to: str | None = None
    scope: str | None = None
    owned: bool = False
    machine_roles: frozenset[str] = frozenset()


PUBLIC = Access(None)
REFRESH_TOKEN = Access(frozenset(ROLES), token=TokenType.REFRESH)
SCRAPER = Access(frozenset({"admin", "auditor"}), by_secret=True)


def roles(*names: str, in_transaction: bool = False, owned: bool = False) -> Access:
    """Return the rule that admits callers with one of these roles."""
    return Access(frozenset(names), in_transaction, owned=owned)


def guard(access: Access, handler: Handler) -> Handler:
    """Return the handler behind its rule."""
    if access.roles is None:
        return handler
    if access.token is TokenType.REFRESH:
        return _with_refresh_token(handler)
    if access.browsers_to is not None:
        return _redirect_browsers(access.browsers_to, guard(replace(access, browsers_to=None), handler))
    if access.by_secret:
        return _with_secret(handler, guard(replace(access, by_secret=False), handler))
    return _with_access_token(access, access.roles, handler)


def _with_access_token(access: Access, allowed: frozenset[str], handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> Reply | Stream:
        runtime = request.app[RUNTIME]
        verified = _verify_bearer(runtime, request, TokenType.ACCESS)
        refusal = _find_refusal(access, allowed, verified)
        later = refusal is None and access.in_transaction and _may_check_later(request)
        if not later:
            await _check_validity(runtime, verified)
        request[ACTOR] = _make_actor(verified, runtime.settings.jwt_enable_revoked_tokens)
        if refusal is not None:
            raise Refused(refusal)
        if verified.scopes is not None:
            await _read_limits(request, access, verified.user_id)
        try:
            return await handler(request)
        except StaleCallerError:
            raise Refused(errors.wrong_credentials()) from None
        except (Refused, web.HTTPException):  # the committer has checked the caller of a success, but not of a refusal
            if later:
                await _check_validity(runtime, verified)
            raise

    return guarded


def _may_check_later(request: web.Request) -> bool:
    """Return whether a request is small, and not a retry whose outcome is known already.

    Larger bodies cost memory and time to parse, and one without a length may be of any size.
    """
    length = request.content_length
    return length is not None and length <= SMALL_BODY_BYTES and "Idempotency-Key" not in request.headers


def _find_refusal(access: Access, allowed: frozenset[str], verified: Verified) -> Refusal | None:
    """Return the refusal of a token without any of the roles or, of a machine client, without the scope; or None."""
    if verified.scopes is not None:
        allowed |= access.machine_roles
    if verified.roles.isdisjoint(allowed):
        return errors.forbidden()
    return None if verified.scopes is None else _find_scope_refusal(access, verified.scopes)


def _find_scope_refusal(access: Access, scopes: frozenset[str]) -> Refusal | None:
    if access.scope == ANY_SCOPE or access.scope in scopes:
        return None
    reason = NO_MACHINES if access.scope is None else f"the token must have the scope {access.scope}"
    return msgspec.structs.replace(errors.forbidden(), reason=reason)


async def _read_limits(request: web.Request, access: Access, client_id: UUID) -> None:
    """Read what a machine client is limited to. Raises `Refused` if its limits do not fit the route.

    Without enforced revocation, a token does not end when the client's scopes change, so they are read again.
    """
    runtime = request.app[RUNTIME]
    is_enforced = runtime.settings.jwt_enable_revoked_tokens
    if access.in_transaction and is_enforced:
        return  # the command checks the limits
    standing = await runtime.standings.get(client_id)
    if standing is None:
        raise Refused(errors.wrong_credentials())
    refusal = None if is_enforced else _find_scope_refusal(access, standing.scopes)
    if standing.limits is not None and not access.owned:
        refusal = msgspec.structs.replace(errors.forbidden(), reason=LIMITED)
    if refusal is not None:
        raise Refused(refusal)
    request[ACTOR] = msgspec.structs.replace(request[ACTOR], limits=standing.limits)


def limit_requests(route_class: RouteClass, handler: Handler) -> Handler:
    """Return the handler behind the limit of its class of routes. Raises `TooManyRequestsError`."""

    async def limited(request: web.Request) -> Reply | Stream:
        limiter, actor = request.app[RUNTIME].rate_limiter, request[ACTOR]
        if not limiter.is_limited(route_class, is_admin=actor.has("admin")):
            return await handler(request)
        request[LIMITS] = quotas = (limiter.admit(actor.user_id, route_class),)
        try:
            reply = await handler(request)
        except StaleCallerError:  # the token was revoked, so the caller need not be its user
            limiter.refund(actor.user_id, route_class)
            raise
        if isinstance(reply, Reply):
            reply.limits = limit_headers(quotas)
        return reply

    return limited


def require_recent_login(handler: Handler) -> Handler:
    """Return the handler behind the operator's limit for the age of a session, which refreshes do not renew."""

    async def recent(request: web.Request) -> Reply | Stream:
        runtime = request.app[RUNTIME]
        seconds = runtime.settings.ledger_reauthenticate_seconds
        if seconds and not await is_recent(runtime.pool, request[ACTOR].session_id, seconds):
            raise Refused(LOGIN_TOO_OLD)
        return await handler(request)

    return recent


async def check_again(request: web.Request) -> None:
    """Raise `Refused` if the access token of a long request has expired or was revoked since the request began.

    It reads PostgreSQL, because the revocation cache learns of a revocation shortly after the commit. So a request that
    has read an event has also seen every revocation before it.
    """
    runtime = request.match_info.apps[0][RUNTIME]  # in a dry run on a past state, that of the present
    verified = _verify_bearer(runtime, request, TokenType.ACCESS)
    if runtime.settings.jwt_enable_revoked_tokens:
        session = (verified.session_id, verified.user_id)
        _check_issued_after(verified, (await revoked_below(runtime.pool, [session])).get(session))
    else:
        await _check_validity(runtime, verified)


async def check_session(request: web.Request, token: str) -> Verified:
    """Return the content of an access token that is still valid. Raises `Refused`."""
    runtime = request.app[RUNTIME]
    try:
        verified = runtime.signer.verify(token, TokenType.ACCESS)
    except InvalidTokenError:
        raise Refused(errors.wrong_credentials()) from None
    await _check_validity(runtime, verified)
    return verified


def _with_refresh_token(handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> Reply | Stream:
        verified = _verify_bearer(request.app[RUNTIME], request, TokenType.REFRESH)
        request[ACTOR] = Actor(verified.user_id, verified.roles, verified.session_id, verified.jti)
        return await handler(request)

    return guarded


def _with_secret(handler: Handler, otherwise: Handler) -> Handler:
    async def guarded(request: web.Request) -> Reply | Stream:
        secret = request.app[RUNTIME].settings.ledger_metrics_token
        given = _bearer_of(request).encode(errors="surrogateescape")
        if secret is not None and hmac.compare_digest(given, secret.get_secret_value().encode()):
            return await handler(request)
        return await otherwise(request)

    return guarded


def _redirect_browsers(path: str, otherwise: Handler) -> Handler:
    async def guarded(request: web.Request) -> Reply | Stream:
        choice = choose_media(accept_of(request), ("application/json", "text/html"))
        if hdrs.AUTHORIZATION not in request.headers and choice == "text/html":
            return Reply(status=303, headers={hdrs.LOCATION: path, hdrs.VARY: hdrs.ACCEPT})
        return await otherwise(request)

    return guarded


@lru_cache(maxsize=4096)
def _make_actor(verified: Verified, enforced: bool) -> Actor:
    """Return the same object each time, so that a commit group compares the callers of its commands by identity."""
    caller = (verified.user_id, verified.roles, verified.session_id, verified.jti)
    return Actor(*caller, Caller(*caller, enforced), verified.scopes is not None)


def _verify_bearer(runtime: Runtime, request: web.Request, kind: TokenType) -> Verified:
    """Return the verified token of the request. Raises `Refused`, without saying what is wrong with the token."""
    presented = _bearer_of(request)
    if not presented and hdrs.AUTHORIZATION not in request.headers:
        presented = read_access_cookie(request)
    try:
        return runtime.signer.verify(presented, kind)
    except InvalidTokenError:
        raise Refused(errors.wrong_credentials() if presented else _explain_missing_token(request)) from None


def _explain_missing_token(request: web.Request) -> Refusal:
    has_header = hdrs.AUTHORIZATION in request.headers
    return errors.authorization_without_token() if has_header else errors.authorization_missing()


def _bearer_of(request: web.Request) -> str:
    """Return the bearer token (RFC 6750, section 2.1), or an empty text unless exactly one header has one.

    With two headers, a proxy in front might check the other one.
    """
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token if scheme.lower() == "bearer" else ""


async def _check_validity(runtime: Runtime, verified: Verified) -> None:
    """Raise `Refused` if the token was revoked.

    Without revocation, do so if its user has lost one of its roles, or if its session is that of another ledger, which
    may have the same key.
    """
    session = (verified.session_id, verified.user_id)
    if runtime.settings.jwt_enable_revoked_tokens:
        _check_issued_after(verified, await runtime.revoked_below.get(session))
    elif not await runtime.known_sessions.get(session):
        raise Refused(errors.wrong_credentials())
    elif verified.scopes is not None:
        standing = await runtime.standings.get(verified.user_id)
        if standing is None or not verified.roles <= standing.roles:
            raise Refused(errors.wrong_credentials())
    else:
        roles = await runtime.active_roles.get(verified.user_id)
        if roles is None or not verified.roles <= {*roles, LEAST_ROLE}:
            raise Refused(errors.wrong_credentials())


def _check_issued_after(verified: Verified, below: int | None) -> None:
    """Raise `Refused` if the token was issued before position `below`; None means that its session has ended."""
    if verified.claims.pos < (NEVER if below is None else below):
        raise Refused(errors.wrong_credentials())
