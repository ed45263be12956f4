"""Access tokens for machine clients: the client credentials grant of OAuth 2.0 (RFC 6749, section 4.4)."""

import base64
import binascii
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus
from uuid import UUID

from aiohttp import hdrs, web

from ledger.commands.clients import INVALID_CLIENT, INVALID_SCOPE, IssueClientToken
from ledger.concurrency.deadline import DEADLINE
from ledger.errors import DatabaseError, Refused
from ledger.identity.client_secrets import find_secret
from ledger.identity.tokens import Claims, TokenType
from ledger.projections import tokens
from ledger.runtime import Runtime
from ledger.values.ids import new_id, parse_id
from ledger.write.group import Origin, Outcome
from web.http.errors import UNSUPPORTED_GRANT_TYPE, invalid_token_request
from web.http.json import answer, read_body
from web.http.request import REQUEST_ID, RUNTIME
from web.http.response import Reply
from web.http.scopes import SCOPES

FORM = "application/x-www-form-urlencoded"
MAX_PARAMETERS = 100


class _Credentials(NamedTuple):
    client_id: str
    secret: str


async def issue_client_token(request: web.Request) -> Reply:
    """POST /auth/token. There is no refresh token (section 4.4.3): the client asks again.

    `Idempotency-Key` is ignored: the caller is not authenticated yet, and tokens are not stored.
    """
    form = await _read_form(request)
    if "grant_type" not in form:
        raise Refused(invalid_token_request("grant_type is missing"))
    if form["grant_type"] != "client_credentials":
        raise Refused(UNSUPPORTED_GRANT_TYPE)
    client_id, secret = _read_credentials(request, form)
    runtime, now = request.app[RUNTIME], int(time.time())
    known = await find_secret(runtime.pool, client_id, secret, now)
    if known is None:
        raise Refused(INVALID_CLIENT)
    command = IssueClientToken(
        session_id=new_id(),
        client_id=client_id,
        secret_id=known.id,
        scopes=_parse_scope(form.get("scope", "")),
        jti=new_id(),
        issued_at=now,
        expires_at=now + runtime.settings.jwt_expire_access_token_seconds,
    )
    origin = Origin(new_id(), client_id, command.session_id, command.jti, request_id=request[REQUEST_ID])
    outcome = await runtime.committer.submit(command, origin, deadline=DEADLINE.get())
    return await _answer_token(runtime, command, outcome)


async def _read_form(request: web.Request) -> Mapping[str, str]:
    """Return the parameters that have a value (RFC 6749, section 3.2). Raises `Refused`."""
    if request.content_type != FORM:
        raise Refused(invalid_token_request(f"the body must be {FORM}"))
    raw = await read_body(request)
    try:
        pairs = parse_qsl(raw.decode(), strict_parsing=bool(raw), errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:  # bytes that are not UTF-8 too
        raise Refused(invalid_token_request("the body is not a valid form")) from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise Refused(invalid_token_request("a parameter is given twice"))
    return form


def _read_credentials(request: web.Request, form: Mapping[str, str]) -> tuple[UUID, str]:
    """Return the client's id and the presented secret (section 2.3.1). Raises `Refused`."""
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if given and "client_secret" in form:
        raise Refused(invalid_token_request("the client authenticates in two ways"))
    found = _parse_basic(given) if given else _Credentials(form.get("client_id", ""), form.get("client_secret", ""))
    if given and form.get("client_id", found.client_id) != found.client_id:
        raise Refused(invalid_token_request("the body names another client"))
    try:
        return parse_id(found.client_id), found.secret
    except ValueError:
        raise Refused(INVALID_CLIENT) from None


def _parse_basic(given: list[str]) -> _Credentials:
    """Return the id and the secret in the header (RFC 7617), each of them encoded as in a form."""
    scheme, _, text = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "basic":
        raise Refused(INVALID_CLIENT)
    try:
        client_id, _, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise Refused(INVALID_CLIENT) from None
    return _Credentials(unquote_plus(client_id), unquote_plus(secret))


def _parse_scope(text: str) -> tuple[str, ...]:
    """Return the requested scopes; none stand for all that the client has. Raises `Refused`."""
    scopes = tuple(text.split(" ")) if text else ()
    if not set(scopes) <= SCOPES.keys():
        raise Refused(INVALID_SCOPE)
    return scopes


async def _answer_token(runtime: Runtime, command: IssueClientToken, outcome: Outcome) -> Reply:
    position = outcome.position
    if position is None:  # the connection was lost, and the outcome is that in the command log
        position = await tokens.issued_at(runtime.pool, command.jti)
    if position is None:
        raise DatabaseError("a token was issued and is not in the tokens table")
    claims = Claims(
        sub=str(command.client_id),
        jti=str(command.jti),
        iat=command.issued_at,
        exp=command.expires_at,
        typ=TokenType.ACCESS,
        roles=outcome.result["roles"],
        sid=str(command.session_id),
        pos=position,
        scope=outcome.result["scope"],
    )
    body = {
        "access_token": runtime.signer.sign(claims),
        "token_type": "Bearer",
        "expires_in": claims.exp - claims.iat,
        "scope": claims.scope,
    }
    return answer(body, headers={"Pragma": "no-cache"}, position=position)
