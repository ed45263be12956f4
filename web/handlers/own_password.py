"""Users change their own password: they present the one they have, and their other sessions end."""

import time

from aiohttp import web

from ledger.commands.tokens import ChangePassword
from ledger.concurrency.deadline import DEADLINE
from web import requests
from web.handlers.auth import make_pair, read_address, sign_tokens
from web.handlers.codes import check_present, counted
from web.handlers.users import hash_secret, read_user
from web.http.idempotency import make_unkeyed_origin
from web.http.json import parse, read_json
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply


async def change_password(request: web.Request) -> Reply:
    """POST /users/me/password. Wrong passwords count as failed logins do.

    `Idempotency-Key` is ignored, as at a login: the response has tokens, which are not stored.
    """
    body = parse(requests.OwnPassword, await read_json(request))
    runtime, actor = request.app[RUNTIME], request[ACTOR]
    user = await read_user(runtime, actor.user_id)
    async with counted(request, user.username, read_address(request)):
        known = await check_present(runtime, actor.user_id, body.current_password.get_secret_value())
    credential = await hash_secret(runtime, actor.user_id, body, (user.username, user.email))
    settings, now = runtime.settings, int(time.time())
    command = ChangePassword(
        session_id=actor.session_id,
        user_id=actor.user_id,
        known_credential_id=known.id,
        credential=credential,
        pair=make_pair(settings, now, now + settings.ledger_session_seconds),
        enforced=settings.jwt_enable_revoked_tokens,
        factored=settings.roles_with_second_factor(),
    )
    outcome = await runtime.committer.submit(command, make_unkeyed_origin(request), deadline=DEADLINE.get())
    return await sign_tokens(request, outcome)
