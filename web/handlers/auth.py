"""Sessions and their tokens: log in, refresh, log out, revoke."""

import time
from collections.abc import Mapping
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import structlog
from aiohttp import hdrs, web

from ledger import errors
from ledger.commands.command import Credential
from ledger.commands.second_factors import Code
from ledger.commands.tokens import (
    EndSession,
    ForgetTokens,
    LogOut,
    RefreshTokens,
    RevokeAllTokens,
    RevokeUserTokens,
    StartSession,
)
from ledger.concurrency.deadline import DEADLINE
from ledger.errors import DatabaseError, Refused
from ledger.events.tokens import ALL_TOKENS, Pair
from ledger.identity import passwords, session_clients
from ledger.identity.login_throttle import client_address
from ledger.identity.session_clients import Client
from ledger.identity.tokens import Claims, TokenType
from ledger.projections import sessions, tokens
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store.connections import UNREACHABLE, Reader
from ledger.values.ids import new_id
from ledger.write.group import Origin, Outcome
from web import requests
from web.handlers.codes import admit, is_failed_guess, read_login_code, warn_of_wrong_code
from web.http.dry_run import find_dry_run
from web.http.idempotency import compute_retry_hash, make_unkeyed_origin
from web.http.json import REPLAYED, answer, answer_empty, answer_outcome, parse, read_json
from web.http.pagination import Page, answer_list, read_span, walk_by_position
from web.http.params import id_parameter, read_path_id
from web.http.ratelimit import LIMITS, limit_headers
from web.http.request import ACTOR, REQUEST_ID, RUNTIME
from web.http.response import Reply, Stream
from web.http.submit import submit, submit_in_turn

log = structlog.get_logger(__name__)

USER_ID = id_parameter("user_id", "The user, by default the caller; other users for admins only")


async def log_in(request: web.Request) -> Reply:
    """POST /auth/login. The time and the response do not reveal whether the user exists.

    Only a client with the right password learns that the user has a second factor, and has not failed by that.

    `Idempotency-Key` is ignored: the caller is not authenticated yet, and tokens are not stored.
    """
    body = parse(requests.Login, await read_json(request))
    secret = body.password or body.password_hash
    if not body.username or secret is None or not secret.get_secret_value():
        raise Refused(errors.missing_credentials())
    runtime = request.app[RUNTIME]
    attempt = await admit(request, body.username, read_address(request))
    try:
        credential = await _check_password(runtime, body.username, secret.get_secret_value())
        with warn_of_wrong_code(request, credential.user_id, read_address(request)):
            code = await read_login_code(runtime, credential.user_id, body.otp)
            started = await _start_session(request, credential, code)
        reply = await sign_tokens(request, started)
    except Exception as error:
        if not is_failed_guess(error):
            request[LIMITS] = attempt.quotas_after_refund
            await runtime.throttle.refund(attempt)
        raise
    await runtime.throttle.record_success(attempt)
    runtime.rehasher.note(credential, secret.get_secret_value())
    reply.headers.update(limit_headers(attempt.quotas_after_refund))
    return reply


async def refresh_tokens(request: web.Request) -> Reply:
    """POST /auth/refresh, with the refresh token.

    The command log replays nothing here, because its answers are keys to the session. The session itself knows the
    token and the `Idempotency-Key` of its last rotation.
    """
    runtime = request.app[RUNTIME]
    presented, settings = request[ACTOR], runtime.settings
    now = int(time.time())
    command = RefreshTokens(
        session_id=presented.session_id,
        user_id=presented.user_id,
        refresh_jti=presented.jti,
        pair=make_pair(settings, now, now + settings.ledger_session_seconds),
        grace_seconds=settings.ledger_refresh_grace_seconds,
        enforced=settings.jwt_enable_revoked_tokens,
        retry_hash=compute_retry_hash(request),
        factored=settings.roles_with_second_factor(),
    )
    origin = make_unkeyed_origin(request)
    outcome = await runtime.committer.submit(command, origin, deadline=DEADLINE.get())
    return await sign_tokens(request, outcome)


async def log_out(request: web.Request) -> Reply:
    """POST /auth/logout, with the refresh token, which is also what an `Idempotency-Key` is bound to."""
    _check_revocation_is_on(request)
    presented = request[ACTOR]
    command = LogOut(presented.session_id, presented.user_id, presented.jti)
    return answer_empty(await submit(request, command, lambda: presented.jti.bytes))


async def revoke_user_tokens(request: web.Request) -> Reply:
    """POST /auth/revoke-user. Users may revoke their own tokens, admins those of any user."""
    _check_revocation_is_on(request)
    body = parse(requests.UserTokens, await read_json(request))
    actor = request[ACTOR]
    if body.user_id != actor.user_id and not actor.has("admin"):
        raise Refused(errors.forbidden())
    return answer_empty(await submit(request, RevokeUserTokens(body.user_id), body.canonical))


async def revoke_all_tokens(request: web.Request) -> Reply:
    """POST /auth/revoke-all. This includes the caller's own."""
    _check_revocation_is_on(request)
    return answer_empty(await submit(request, RevokeAllTokens()))


async def purge_revoked_tokens(request: web.Request) -> Reply:
    """POST /auth/cleanup."""
    _check_revocation_is_on(request)
    runtime = request.app[RUNTIME]
    expired_before = int(time.time()) - runtime.settings.jwt_validation_leeway_seconds

    if find_dry_run(request) is None:
        await session_clients.purge(runtime.pool)

    async def make() -> ForgetTokens:
        cleanups = await tokens.count_cleanups(runtime.pool)
        count, as_of_position = await tokens.count_purgeable(runtime.pool, expired_before=expired_before)
        return ForgetTokens(
            expired_before=expired_before, as_of_position=as_of_position, count=count, cleanups=cleanups
        )

    return answer_outcome(await submit_in_turn(request, ALL_TOKENS, make), status=200)


async def list_sessions(request: web.Request) -> Reply | Stream:
    """GET /auth/sessions: the caller's own or, for admins, those of `user_id`."""
    actor = request[ACTOR]
    user_id = USER_ID.read(request) or actor.user_id
    if user_id != actor.user_id and not actor.has("admin"):
        raise Refused(errors.forbidden())

    async def query(source: Reader, before: int, limit: int) -> Page:
        return await sessions.list_sessions(source, user_id, before=before, limit=limit)

    return await answer_list(request, read_span(request, int), walk_by_position(query))


async def end_session(request: web.Request) -> Reply:
    """DELETE /auth/sessions/{id}."""
    _check_revocation_is_on(request)
    actor = request[ACTOR]
    command = EndSession(read_path_id(request), None if actor.has("admin") else actor.user_id)
    return answer_empty(await submit(request, command))


def read_address(request: web.Request) -> str:
    """Return the address of the client."""
    forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", [])) or None
    hops = request.app[RUNTIME].settings.ledger_trusted_proxies
    if forwarded_for and not hops:
        warn_of_proxy()
    return client_address(request.remote, forwarded_for, hops)


@cache
def warn_of_proxy() -> None:
    """Say once that failed logins are counted for the address of a proxy, if that is what sends the header."""
    log.warning("X-Forwarded-For is ignored: if a proxy sends it, set LEDGER_TRUSTED_PROXIES")


def _read_user_agent(request: web.Request) -> str | None:
    """Return the user agent as plain text, without what a terminal or a page could take for something else."""
    return "".join(filter(str.isprintable, request.headers.get(hdrs.USER_AGENT, ""))) or None


async def _check_password(runtime: Runtime, username: str, password: str) -> Credential:
    """Return the credential of a user with this password. Raises `Refused`."""
    credential = await passwords.find_credential(runtime.pool, username)
    matches = await runtime.passwords.verify(credential, password)
    if credential is None or not matches:
        raise Refused(errors.wrong_credentials())
    return credential


async def _start_session(request: web.Request, credential: Credential, code: Code | None) -> Outcome:
    runtime, now = request.app[RUNTIME], int(time.time())
    ends_at = now + runtime.settings.ledger_session_seconds
    pair = make_pair(runtime.settings, now, ends_at)
    command = StartSession(
        session_id=new_id(),
        user_id=credential.user_id,
        credential_id=credential.id,
        pair=pair,
        session_expires_at=ends_at,
        code=code,
        factored=runtime.settings.roles_with_second_factor(),
    )
    source = Origin(new_id(), credential.user_id, command.session_id, request_id=request[REQUEST_ID])
    return await runtime.committer.submit(command, source, deadline=DEADLINE.get())


def _check_revocation_is_on(request: web.Request) -> None:
    if not request.app[RUNTIME].settings.jwt_enable_revoked_tokens:
        raise Refused(errors.revocation_is_off())


def make_pair(settings: Settings, now: int, latest: int) -> Pair:
    """Return a new pair of tokens, which expires at `latest`."""
    return Pair(
        access_jti=new_id(),
        access_expires_at=min(now + settings.jwt_expire_access_token_seconds, latest),
        refresh_jti=new_id(),
        refresh_expires_at=min(now + settings.jwt_expire_refresh_token_seconds, latest),
        issued_at=now,
    )


async def sign_tokens(request: web.Request, outcome: Outcome) -> Reply:
    """Answer with an outcome's pair of tokens, and note from where the session is used.

    A pair that was issued before is signed with its original claims.
    """
    runtime, issued = request.app[RUNTIME], outcome.result
    reissued = issued.get("reissued", False)
    position = None if reissued else outcome.position
    if position is None:
        position = await tokens.issued_at(runtime.pool, UUID(issued["access_jti"]))
    if position is None:
        raise DatabaseError("a pair of tokens was issued and is not in the tokens table")
    headers = REPLAYED if reissued else None
    await _remember_client(request, UUID(issued["session_id"]))
    return answer(_make_tokens(runtime, issued, position), headers=headers, position=position)


async def _remember_client(request: web.Request, session_id: UUID) -> None:
    """Note from where a session is used. The tokens are issued already, so a failure must not keep them back."""
    client = Client(read_address(request), _read_user_agent(request))
    try:
        await session_clients.remember(request.app[RUNTIME].pool, session_id, client)
    except (*UNREACHABLE, asyncpg.PostgresError) as error:
        log.warning("it is not noted from where a session is used", reason=type(error).__name__)


def _make_tokens(runtime: Runtime, issued: Mapping[str, Any], position: int) -> dict[str, object]:
    access = Claims(
        sub=issued["user_id"],
        jti=issued["access_jti"],
        iat=issued["issued_at"],
        exp=issued["access_expires_at"],
        typ=TokenType.ACCESS,
        roles=issued["roles"],
        sid=issued["session_id"],
        pos=position,
    )
    refresh_claims = msgspec.structs.replace(
        access,
        jti=issued["refresh_jti"],
        exp=issued["refresh_expires_at"],
        typ=TokenType.REFRESH,
        prf=access.jti,
        pex=access.exp,
    )
    return {
        "access_token": runtime.signer.sign(access),
        "refresh_token": runtime.signer.sign(refresh_claims),
        "token_type": "Bearer",
        "expires_in": access.exp - access.iat,
    }
