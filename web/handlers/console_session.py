"""The console's session: its tokens are in cookies that no script can read, and in no body."""

from datetime import UTC, datetime
from typing import cast

import msgspec
from aiohttp import web

from ledger import errors
from ledger.errors import Refused
from ledger.identity.tokens import InvalidTokenError, TokenType
from ledger.projections import users
from web.auth import check_session
from web.handlers import auth
from web.http.cookies import (
    Cookie,
    clear_cookies,
    is_from_console,
    read_access_cookie,
    read_refresh_cookie,
    set_cookies,
)
from web.http.json import answer
from web.http.replica import reader
from web.http.request import ACTOR, RUNTIME, Actor
from web.http.response import Reply


async def sign_in(request: web.Request) -> Reply:
    """POST /console/session: log in, with the same checks and limits, and give the browser the tokens as cookies."""
    if not is_from_console(request):
        raise Refused(errors.wrong_credentials())
    return _keep_tokens(request, await auth.log_in(request))


async def get_session(request: web.Request) -> Reply:
    """GET /console/session: the user, the roles and the expiry of the access token; 204 if nobody has signed in."""
    if is_from_console(request) and not (read_access_cookie(request) or read_refresh_cookie(request)):
        return Reply(status=204)
    verified = await check_session(request, read_access_cookie(request))
    found = await users.find(reader(request), verified.user_id)
    if found is None:
        raise Refused(errors.wrong_credentials())
    body = {
        "id": str(verified.user_id),
        "username": found.body["username"],
        "roles": sorted(verified.roles),
        "session_id": str(verified.session_id),
        "expires_at": datetime.fromtimestamp(verified.claims.exp, UTC),
    }
    return answer(body)


async def extend_session(request: web.Request) -> Reply:
    """POST /console/session/refresh: exchange the refresh token. With an `Idempotency-Key`, a retry gets the same."""
    _present_refresh_token(request)
    return _keep_tokens(request, await auth.refresh_tokens(request))


async def sign_out(request: web.Request) -> Reply:
    """DELETE /console/session: end the session, if it has not ended, and let the browser forget it."""
    if not is_from_console(request):
        raise Refused(errors.wrong_credentials())
    reply = Reply(status=204)
    try:
        _present_refresh_token(request)
        reply.position = (await auth.log_out(request)).position
    except Refused as error:
        if {refusal.code for refusal in error.refusals} - _ENDED:
            raise
    clear_cookies(request, reply)
    return reply


_ENDED = {errors.wrong_credentials().code, errors.revocation_is_off().code}


def _present_refresh_token(request: web.Request) -> None:
    """Take the caller from the refresh token in the cookie. Raises `Refused`."""
    try:
        verified = request.app[RUNTIME].signer.verify(read_refresh_cookie(request), TokenType.REFRESH)
    except InvalidTokenError:
        raise Refused(errors.wrong_credentials()) from None
    request[ACTOR] = Actor(verified.user_id, verified.roles, verified.session_id, verified.jti)


def _keep_tokens(request: web.Request, issued: Reply) -> Reply:
    """Return the response without its body, whose tokens become cookies."""
    reply = Reply(status=204, headers={name: value for name, value in issued.headers.items() if "RateLimit" in name})
    reply.position = issued.position
    tokens = msgspec.json.decode(cast("bytes", issued.body))
    refresh = tokens["refresh_token"]
    claims = request.app[RUNTIME].signer.verify(refresh, TokenType.REFRESH).claims
    set_cookies(
        request,
        reply,
        access=Cookie(tokens["access_token"], tokens["expires_in"]),
        refresh=Cookie(refresh, claims.exp - claims.iat),
    )
    return reply
