"""Users enrol a second factor, confirm it and remove it; admins remove that of a user who has lost it."""

import time
from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.commands.command import Command
from ledger.commands.second_factors import (
    Code,
    ConfirmSecondFactor,
    OfferSecondFactor,
    RemoveSecondFactor,
    wrong_code,
)
from ledger.concurrency.deadline import DEADLINE
from ledger.errors import Refused
from ledger.identity.second_factors import (
    create_factor,
    create_recovery_codes,
    digest_of,
    make_uri,
    match_code,
    read_factor,
    show_secret,
)
from ledger.values.ids import new_id
from ledger.write.group import Outcome
from web import second_factors as models
from web.handlers.auth import read_address
from web.handlers.codes import check_present, counted
from web.handlers.users import read_user
from web.http.idempotency import make_unkeyed_origin
from web.http.json import answer, answer_empty, parse, read_json
from web.http.params import read_path_id
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply
from web.http.submit import submit


async def offer_second_factor(request: web.Request) -> Reply:
    """POST /users/me/totp/enrol. Wrong passwords count as failed logins do.

    `Idempotency-Key` is ignored, here and in the next two: what they show once is not stored.
    """
    body = parse(models.Enrolment, await read_json(request))
    runtime, user_id = request.app[RUNTIME], request[ACTOR].user_id
    user = await read_user(runtime, user_id)
    async with counted(request, user.username, read_address(request)):
        known = await check_present(runtime, user_id, body.current_password.get_secret_value())
    secret, sealed = create_factor(runtime.secret_box, user_id, new_id())
    outcome = await _submit(request, OfferSecondFactor(user_id=user_id, credential_id=known.id, secret=sealed))
    shown = {"secret": show_secret(secret), "otpauth_uri": make_uri(secret, user.username)}
    return answer(shown, position=outcome.position)


async def confirm_second_factor(request: web.Request) -> Reply:
    """POST /users/me/totp/confirm."""
    body = parse(models.Confirmation, await read_json(request))
    runtime, user_id = request.app[RUNTIME], request[ACTOR].user_id
    user = await read_user(runtime, user_id)
    codes = create_recovery_codes()
    digests = tuple(map(digest_of, codes))
    async with counted(request, user.username, read_address(request)):
        code = await _match(request, user_id, body.otp.get_secret_value())
        outcome = await _submit(request, ConfirmSecondFactor(user_id=user_id, code=code, recovery_digests=digests))
    return answer({"recovery_codes": codes}, position=outcome.position)


async def remove_own_second_factor(request: web.Request) -> Reply:
    """POST /users/me/totp/remove."""
    body = parse(models.Removal, await read_json(request))
    runtime, user_id = request.app[RUNTIME], request[ACTOR].user_id
    user = await read_user(runtime, user_id)
    async with counted(request, user.username, read_address(request)):
        await check_present(runtime, user_id, body.current_password.get_secret_value())
        code = await _match(request, user_id, body.otp.get_secret_value())
        outcome = await _submit(request, RemoveSecondFactor(user_id=user_id, code=code))
    return answer_empty(outcome)


async def get_second_factor(request: web.Request) -> Reply:
    """GET /users/{id}/totp."""
    user_id, actor, runtime = read_path_id(request), request[ACTOR], request.app[RUNTIME]
    if user_id != actor.user_id and not actor.has("admin", "auditor"):
        raise Refused(errors.user_not_found(user_id))
    await read_user(runtime, user_id)
    factor = await read_factor(runtime.pool, user_id)
    is_enabled = factor is not None and factor.factor_id is not None
    left = len(factor.recovery_digests) if factor is not None else 0
    return answer({"enabled": is_enabled, "recovery_codes_left": left})


async def remove_second_factor(request: web.Request) -> Reply:
    """DELETE /users/{id}/totp."""
    return answer_empty(await submit(request, RemoveSecondFactor(user_id=read_path_id(request))))


async def _match(request: web.Request, user_id: UUID, presented: str) -> Code:
    """Return a code of the user's factor, be it in force or offered. Raises `Refused`."""
    runtime = request.app[RUNTIME]
    factor = await read_factor(runtime.pool, user_id)
    if factor is not None:
        code = await match_code(runtime.pool, runtime.secret_box, factor, presented, int(time.time()))
        if code is not None:
            return code
    raise Refused(wrong_code())


async def _submit(request: web.Request, command: Command) -> Outcome:
    committer = request.app[RUNTIME].committer
    return await committer.submit(command, make_unkeyed_origin(request), deadline=DEADLINE.get())
