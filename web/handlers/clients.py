"""Machine clients: admins register, change and revoke them, and rotate their secrets."""

import time
from collections.abc import Sequence
from uuid import UUID

from aiohttp import web

from ledger.commands.clients import (
    GrantName,
    RegisterClient,
    RevokeClient,
    RotateClientSecret,
    UpdateClient,
    client_not_found,
)
from ledger.errors import Refused
from ledger.events.clients import Grants
from ledger.events.users import ROLES, Role
from ledger.identity.client_secrets import create_secret
from ledger.projections import clients
from ledger.store.connections import Reader
from ledger.values.account_codes import AccountRef
from ledger.values.ids import new_id
from web.clients import ClientPatch, NewClient, Rotation
from web.http.account_refs import find_existing_ids
from web.http.json import answer_empty, answer_outcome, parse, read_json, read_json_if_any
from web.http.pagination import Page, answer_list, read_span, walk_by_position
from web.http.params import check_same_id, read_path_id
from web.http.preconditions import answer_resource, read_expected_versions
from web.http.replica import reader
from web.http.response import Reply, Stream
from web.http.submit import submit, submit_creation

GRANTS: dict[str, GrantName] = {
    "roles": "roles",
    "scope": "scopes",
    "account_ids": "account_ids",
    "user_ids": "user_ids",
}


async def list_clients(request: web.Request) -> Reply | Stream:
    """GET /clients."""

    async def query(source: Reader, before: int, limit: int) -> Page:
        return await clients.page(source, before=before, limit=limit)

    return await answer_list(request, read_span(request, int), walk_by_position(query))


async def get_client(request: web.Request) -> Reply:
    """GET /clients/{id}."""
    return await _answer_client(request, read_path_id(request))


async def register_client(request: web.Request) -> Reply:
    """POST /clients. The response has the secret, which nothing keeps."""
    body = parse(NewClient, await read_json(request))
    secret, known = create_secret()
    command = RegisterClient(
        client_id=body.id or new_id(),
        client_name=body.name,
        grants=Grants(
            _parse_roles(body.roles),
            tuple(body.scope.split(" ")),
            await _account_ids(request, body.account_ids),
            _ids(body.user_ids),
        ),
        secret=known,
    )
    return await submit_creation(request, command, body.canonical, client_secret=secret)


async def patch_client(request: web.Request) -> Reply:
    """PATCH /clients/{id}: change only the given members (RFC 7396)."""
    client_id, body = read_path_id(request), parse(ClientPatch, await read_json(request))
    check_same_id(client_id, body.id)
    command = UpdateClient(
        client_id=client_id,
        client_name=body.name,
        given=frozenset(GRANTS[member] for member in body.model_fields_set & GRANTS.keys()),
        roles=_parse_roles(body.roles or ""),
        scopes=tuple((body.scope or "").split(" ")),
        account_ids=await _account_ids(request, body.account_ids),
        user_ids=_ids(body.user_ids),
        expected=read_expected_versions(request),
    )
    outcome = await submit(request, command)
    return await _answer_client(request, client_id, outcome.position)


async def rotate_client_secret(request: web.Request) -> Reply:
    """POST /clients/{id}/secrets. The response has the new secret, which nothing keeps."""
    client_id, body = read_path_id(request), parse(Rotation, await read_json_if_any(request) or b"{}")
    secret, known = create_secret()
    now, overlap = int(time.time()), body.overlap_seconds
    command = RotateClientSecret(
        client_id=client_id, secret=known, now=now, overlap_ends_at=now + overlap if overlap else None
    )
    outcome = await submit(request, command, body.canonical)
    return answer_outcome(outcome, status=200, **({} if outcome.replayed else {"client_secret": secret}))


async def revoke_client(request: web.Request) -> Reply:
    """DELETE /clients/{id}."""
    command = RevokeClient(client_id=read_path_id(request), expected=read_expected_versions(request))
    return answer_empty(await submit(request, command))


async def _answer_client(request: web.Request, client_id: UUID, position: int | None = None) -> Reply:
    client = await clients.find(reader(request), client_id)
    if client is None:
        raise Refused(client_not_found(client_id))
    return answer_resource(request, *client, position=position)


def _parse_roles(text: str) -> tuple[Role, ...]:
    names = text.split(",")
    return tuple(sorted((role for role in ROLES if role in names), key=names.index))


async def _account_ids(request: web.Request, given: Sequence[AccountRef] | None) -> tuple[UUID, ...] | None:
    return None if given is None else await find_existing_ids(request, given, "/account_ids")


def _ids(given: list[UUID] | None) -> tuple[UUID, ...] | None:
    return None if given is None else tuple(dict.fromkeys(given))
