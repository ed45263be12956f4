"""Logging in."""

import time

import msgspec
from aiohttp import web

from ledger import credentials, errors
from ledger.batch import Origin
from ledger.commands.decider import Credential
from ledger.commands.tokens import StartSession
from ledger.errors import Refused
from ledger.events.tokens import TokensIssued
from ledger.ids import new_id
from ledger.jwt import Claims, TokenType
from ledger.runtime import Runtime
from web import schemas
from web.bodies import answer, read_json
from web.context import REQUEST_ID, RUNTIME
from web.reply import Reply


async def login(request: web.Request) -> Reply:
    """POST /auth/login. Takes as long, and answers the same, whether the user exists or not.

    `Idempotency-Key` has no meaning here: nobody is known yet whose key it could be, and tokens are not stored.
    """
    body = schemas.parse(schemas.Login, await read_json(request))
    secret = body.password or body.password_hash
    if not body.username or secret is None or not secret.get_secret_value():
        raise Refused(errors.missing_credentials())
    runtime = request.app[RUNTIME]
    credential = await credentials.find(runtime.pool, body.username)
    matches = await runtime.passwords.verify(credential.hash if credential else None, secret.get_secret_value())
    if credential is None or not matches:
        raise Refused(errors.wrong_credentials())
    command = _start_session(runtime, credential)
    origin = Origin(new_id(), credential.user_id, command.session_id, request_id=request[REQUEST_ID])
    outcome = await runtime.committer.submit(command, origin)
    return answer(_tokens(runtime, command, roles=outcome.result["roles"], position=outcome.position or 0))


def _start_session(runtime: Runtime, credential: Credential) -> StartSession:
    now = int(time.time())
    tokens = TokensIssued(
        credential.user_id,
        access_jti=new_id(),
        access_expires_at=now + runtime.settings.jwt_expire_access_token_seconds,
        refresh_jti=new_id(),
        refresh_expires_at=now + runtime.settings.jwt_expire_refresh_token_seconds,
    )
    return StartSession(new_id(), tokens, credential.id)


def _tokens(runtime: Runtime, command: StartSession, *, roles: str, position: int) -> dict[str, object]:
    issued = command.tokens
    lifetime = runtime.settings.jwt_expire_access_token_seconds
    access = Claims(
        sub=str(issued.user_id),
        jti=str(issued.access_jti),
        iat=issued.access_expires_at - lifetime,
        exp=issued.access_expires_at,
        typ=TokenType.ACCESS,
        roles=roles,
        sid=str(command.session_id),
        pos=position,
    )
    refresh = msgspec.structs.replace(
        access,
        jti=str(issued.refresh_jti),
        exp=issued.refresh_expires_at,
        typ=TokenType.REFRESH,
        prf=access.jti,
        pex=access.exp,
    )
    return {
        "access_token": runtime.signer.sign(access),
        "refresh_token": runtime.signer.sign(refresh),
        "token_type": "Bearer",
        "expires_in": lifetime,
    }
