"""Users: admins change them, admins and auditors read all, and every user reads their own."""

from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.audit import as_of, users_at
from ledger.audit.as_of import PointInTime
from ledger.commands.command import Credential
from ledger.commands.users import CreateUser, DeleteUser, UpdateUser
from ledger.errors import Refused
from ledger.events.users import User
from ledger.identity import passwords
from ledger.identity.password_rules import names_of
from ledger.projections import accounts, holds, users
from ledger.projections.users import Filters
from ledger.runtime import Runtime
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.heads import read_heads
from ledger.store.reader import MAX_POSITION
from ledger.values.ids import new_id
from ledger.values.names import MAX_USERNAME_LENGTH
from web import requests
from web.http.json import answer_empty, parse, read_json
from web.http.pagination import Chunk, Page, answer_list, read_span, walk_by_position
from web.http.params import (
    check_same_id,
    flag_parameter,
    read_path_id,
    read_period,
    read_point_in_time,
    text_parameter,
)
from web.http.preconditions import answer_resource, read_expected_versions
from web.http.replica import reader
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply, Stream
from web.http.submit import submit_creation, submit_in_turn

USERNAME = text_parameter("username", "Only the user with this name", max_length=MAX_USERNAME_LENGTH)
ACTIVE = flag_parameter("active", "Only active, or only inactive users")


async def list_users(request: web.Request) -> Reply | Stream:
    """GET /users, now or at a point in time."""
    span, active = read_span(request, int), ACTIVE.read(request)
    filters = Filters(USERNAME.read(request), active)
    from_time, to_time = read_period(request)
    if (moment := read_point_in_time(request)) is not None:
        return await _list_past(request, filters, moment)

    async def query(source: Reader, before: int, limit: int) -> Page:
        return await users.page(
            source, filters, await event_reader.find_bounds(source, from_time, to_time, before), limit
        )

    return await answer_list(request, span, walk_by_position(query))


async def get_user(request: web.Request) -> Reply:
    """GET /users/{id}, now or at a point in time."""
    user_id = read_path_id(request)
    actor = request[ACTOR]
    if user_id != actor.user_id and not actor.has("admin", "auditor"):
        raise Refused(errors.user_not_found(user_id))
    if (moment := read_point_in_time(request)) is None:
        return await _answer_user(request, user_id)
    then = await users_at.find(reader(request), user_id, await as_of.position_of(reader(request), moment))
    if then is None:
        raise Refused(errors.user_not_found(user_id))
    return answer_resource(request, *then)


async def _list_past(request: web.Request, filters: Filters, moment: PointInTime) -> Reply | Stream:
    """Answer with the users at a point in time; the filters apply to the state of then."""
    position = await as_of.position_of(reader(request), moment)
    from_time, to_time = read_period(request)

    async def walk(source: Reader, place: int | None, limit: int) -> Chunk[int]:
        before = min(MAX_POSITION if place is None else place, position + 1)
        bounds = await event_reader.find_bounds(source, from_time, to_time, before)
        return Chunk(*await users_at.page(source, filters, position, bounds, limit))

    return await answer_list(request, read_span(request, int), walk)


async def create_user(request: web.Request) -> Reply:
    """POST /users."""
    body = parse(requests.NewUser, await read_json(request))
    user_id = body.id or new_id()
    runtime = request.app[RUNTIME]
    credential = await hash_secret(runtime, user_id, body, (body.username, body.email))
    roles = body.role_names() or ("guest",)
    command = CreateUser(
        user_id=user_id,
        username=body.username,
        email=body.email,
        active=body.active is not False,
        roles=roles,
        credential=credential,
    )
    return await submit_creation(request, command, body.canonical)


async def update_user(request: web.Request) -> Reply:
    """PUT /users/{id}."""
    user_id = read_path_id(request)
    return await _change(request, user_id, parse(requests.User, await read_json(request)))


async def patch_user(request: web.Request) -> Reply:
    """PATCH /users/{id}: change only the given members (RFC 7396)."""
    user_id = read_path_id(request)
    return await _change(request, user_id, parse(requests.UserPatch, await read_json(request)))


async def _change(request: web.Request, user_id: UUID, body: requests.User | requests.UserPatch) -> Reply:
    check_same_id(user_id, body.id)
    runtime, expected = request.app[RUNTIME], read_expected_versions(request)
    user = await read_user(runtime, user_id)  # before the costly hash
    names = (body.username or user.username, body.email or user.email)
    credential = await _hash_new_secret(runtime, user_id, body, names)

    async def make() -> UpdateUser:
        known = await read_user(runtime, user_id)
        return UpdateUser(
            user_id=user_id,
            known_username=known.username,
            known_email=known.email,
            username=body.username,
            email=body.email,
            active=body.active,
            roles=body.role_names(),
            credential=credential,
            expected=expected,
            other_admins=await _find_other_admins(runtime, user_id, known),
        )

    outcome = await submit_in_turn(request, user_id, make)
    return await _answer_user(request, user_id, outcome.position)


async def delete_user(request: web.Request) -> Reply:
    """DELETE /users/{id}."""
    user_id = read_path_id(request)
    runtime, expected = request.app[RUNTIME], read_expected_versions(request)

    async def make() -> DeleteUser:
        known = await read_user(runtime, user_id)  # before the accounts: a later assignment changes the user's version
        account_ids = await accounts.open_ids(runtime.pool, user_id)
        return DeleteUser(
            user_id=user_id,
            known_username=known.username,
            known_email=known.email,
            account_ids=account_ids,
            assignments=known.assignments,
            expecting=tuple(await holds.have_incoming_holds(runtime.pool, account_ids)),
            expected=expected,
            other_admins=await _find_other_admins(runtime, user_id, known),
        )

    return answer_empty(await submit_in_turn(request, user_id, make))


async def _answer_user(request: web.Request, user_id: UUID, position: int | None = None) -> Reply:
    user = await users.find(reader(request), user_id)
    if user is None:
        raise Refused(errors.user_not_found(user_id))
    return answer_resource(request, *user, position=position)


async def read_user(runtime: Runtime, user_id: UUID) -> User:
    """Return a user from the log. Raises `Refused`."""
    heads = await read_heads(runtime.pool, [user_id])
    state = heads[user_id].state if user_id in heads else None
    if not isinstance(state, User) or state.deleted:
        raise Refused(errors.user_not_found(user_id))
    return state


async def _find_other_admins(runtime: Runtime, user_id: UUID, user: User) -> tuple[UUID, ...] | None:
    return await users.find_other_admins(runtime.pool, user_id) if user.is_active_admin else None


async def _hash_new_secret(
    runtime: Runtime, user_id: UUID, body: requests.Secret, names: tuple[str, str]
) -> Credential | None:
    """Return the credential of a new secret; None if it is absent or is the current one. Raises `Refused`."""
    if body.secret is None:
        return None
    known = await passwords.read_credential(runtime.pool, user_id)
    if known is not None and await runtime.passwords.verify(known, body.secret):
        return None
    return await hash_secret(runtime, user_id, body, names)


async def hash_secret(runtime: Runtime, user_id: UUID, body: requests.Secret, names: tuple[str, str]) -> Credential:
    """Return the credential of a secret. Raises `Refused` if it is one that the user may not choose.

    `names` are the user name and the e-mail address.
    """
    is_password = body.password is not None
    check = runtime.passwords.check_password if is_password else runtime.passwords.check_digest
    try:
        await check(body.secret or "", names_of(*names))
    except ValueError as error:
        raise Refused(errors.invalid("/password" if is_password else "/password_hash", str(error))) from None
    return Credential(new_id(), user_id, await runtime.passwords.hash(body.secret or ""))
