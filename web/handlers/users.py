"""Users, for admins; and oneself."""

from uuid import UUID

from aiohttp import web

from ledger import errors, store, stored
from ledger.commands.decider import Credential
from ledger.commands.users import CreateUser, DeleteUser, UpdateUser
from ledger.database import Reader
from ledger.errors import OverloadedError, Refused, StaleCommandError
from ledger.events.users import User
from ledger.ids import new_id
from ledger.projections import accounts, users
from ledger.projections.users import Wanted
from ledger.runtime import Runtime
from web import schemas
from web.bodies import done, read_json
from web.conditional import expected_in, tagged
from web.context import ACTOR, RUNTIME, check_same_id, path_id
from web.pages import Page, by_position, list_of, span_in
from web.query import choice_in, time_in, words_in
from web.reading import reader
from web.reply import Reply, Stream
from web.writing import created, submit

MAX_READINGS = 5  # of a user who changes while a command is made


async def list_users(request: web.Request) -> Reply | Stream:
    """GET /users."""
    span, active = span_in(request, int), choice_in(request, "active", ("true", "false"))
    wanted = Wanted(words_in(request, "username", 64), None if active is None else active == "true")
    from_time, to_time = time_in(request, "from_time"), time_in(request, "to_time")

    async def query(source: Reader, before: int, limit: int) -> Page:
        return await users.page(source, wanted, await stored.bounds(source, from_time, to_time, before), limit)

    return await list_of(request, span, by_position(query))


async def get_user(request: web.Request) -> Reply:
    """GET /users/{id}."""
    user_id = path_id(request)
    actor = request[ACTOR]
    if user_id != actor.user_id and not actor.has("admin", "auditor"):
        raise Refused(errors.user_not_found(user_id))
    return await _user(request, user_id)


async def create_user(request: web.Request) -> Reply:
    """POST /users."""
    raw = await read_json(request)
    body = schemas.parse(schemas.NewUser, raw)
    user_id = body.id or new_id()
    runtime = request.app[RUNTIME]
    credential = await _credential(runtime, user_id, body.secret or "")
    command = CreateUser(user_id, body.username, body.email, body.active is not False, body.role_names(), credential)
    return await created(request, command, raw)


async def update_user(request: web.Request) -> Reply:
    """PUT /users/{id}."""
    user_id = path_id(request)
    body = schemas.parse(schemas.User, await read_json(request))
    check_same_id(user_id, body.id)
    runtime = request.app[RUNTIME]
    credential = await _credential(runtime, user_id, body.secret) if body.secret else None
    for _ in range(MAX_READINGS):
        known = await _known(runtime, user_id)
        command = UpdateUser(
            user_id,
            known.username,
            known.email,
            body.username,
            body.email,
            body.active,
            body.role_names(),
            credential,
            expected=expected_in(request),
        )
        try:
            outcome = await submit(request, command)
        except StaleCommandError:
            continue
        return await _user(request, user_id, outcome.position)
    raise OverloadedError("the user keeps changing")


async def delete_user(request: web.Request) -> Reply:
    """DELETE /users/{id}."""
    user_id = path_id(request)
    runtime, expected = request.app[RUNTIME], expected_in(request)
    for _ in range(MAX_READINGS):
        known = await _known(runtime, user_id)  # before the accounts: one that comes later changes its `assignments`
        account_ids = await accounts.open_ids(runtime.pool, user_id)
        command = DeleteUser(user_id, known.username, known.email, account_ids, known.assignments, expected=expected)
        try:
            outcome = await submit(request, command)
        except StaleCommandError:
            continue
        return done(outcome)
    raise OverloadedError("the user keeps changing")


async def _user(request: web.Request, user_id: UUID, position: int | None = None) -> Reply:
    user = await users.find(reader(request), user_id)
    if user is None:
        raise Refused(errors.user_not_found(user_id))
    return tagged(request, *user, position=position)


async def _known(runtime: Runtime, user_id: UUID) -> User:
    heads = await store.read_heads(runtime.pool, [user_id])
    state = heads[user_id].state if user_id in heads else None
    if not isinstance(state, User) or state.deleted:
        raise Refused(errors.user_not_found(user_id))
    return state


async def _credential(runtime: Runtime, user_id: UUID, secret: str) -> Credential:
    return Credential(new_id(), user_id, await runtime.passwords.hash(secret))
