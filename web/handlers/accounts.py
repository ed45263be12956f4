"""Accounts: admins change and read all of them, auditors read all, customers read their own."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast, get_args
from uuid import UUID

import msgspec
from aiohttp import web

from ledger import errors
from ledger.audit import as_of
from ledger.commands.accounts import CloseAccount, OpenAccount, ReopenAccount, UpdateAccount
from ledger.errors import Refused
from ledger.events.accounts import Freeze
from ledger.projections import account_labels, accounts, holds
from ledger.projections.account_owners import WHOLE, Span, read_spans
from ledger.projections.accounts import Filters, Status
from ledger.projections.resource import Resource
from ledger.store import reader as event_reader
from ledger.store.connections import Reader
from ledger.store.sql import Party
from ledger.values.ids import new_id
from web import requests
from web.handlers.assets import read_currency
from web.http.account_refs import read_path_account
from web.http.json import answer_empty, parse, read_json, read_json_if_any
from web.http.label_filters import LABEL_FILTERS, read_label_filters
from web.http.metadata_filter import is_metadata_filter
from web.http.pagination import Page, answer_list, read_span, walk_by_position
from web.http.params import (
    CURRENCY,
    EFFECTIVE_AT,
    PERIOD,
    Parameter,
    check_same_id,
    choice_parameter,
    flag_parameter,
    id_parameter,
    read_account_point_in_time,
    read_period,
    read_point_in_time,
)
from web.http.preconditions import answer_resource, read_expected_versions
from web.http.replica import reader
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply, Stream
from web.http.submit import submit, submit_creation, submit_in_turn

USER_ID = id_parameter("user_id", "Only accounts of this user")
STATUS = choice_parameter("status", "Only with this status", get_args(Status))
WORLD = flag_parameter("world", "Whether to include the ledger's own accounts", default=False)
FILTERS: tuple[Parameter[Any], ...] = (USER_ID, CURRENCY, STATUS, *LABEL_FILTERS, *PERIOD)


async def list_accounts(request: web.Request) -> Reply | Stream:
    """GET /accounts, now or at a point in time; with `world=true` including the ledger's own."""
    span, owner_id, moment = read_span(request, int), readable_owner(request), read_point_in_time(request)
    world = WORLD.read(request) is True
    filters = Filters(
        owner_id,
        USER_ID.read(request),
        await read_currency(request),
        cast("Status | None", STATUS.read(request)),
        world=world,
        labels=read_label_filters(request),
    )
    from_time, to_time = read_period(request)
    effective_at = EFFECTIVE_AT.read(request)
    if moment is not None or effective_at is not None:
        _refuse_filters(request)
        position = await as_of.position_of(reader(request), moment)

        async def then(source: Reader, before: int, limit: int) -> Page:
            return await as_of.accounts_at(
                source,
                position,
                owner_id=owner_id,
                world=world,
                before=before,
                limit=limit,
                effective_at=effective_at,
            )

        return await answer_list(request, span, walk_by_position(then))

    async def now(source: Reader, before: int, limit: int) -> Page:
        return await accounts.page(
            source, filters, await event_reader.find_bounds(source, from_time, to_time, before), limit
        )

    return await answer_list(request, span, walk_by_position(now))


def _refuse_filters(request: web.Request) -> None:
    names = {filter_.name for filter_ in FILTERS}
    given = [name for name in request.query if name in names or is_metadata_filter(name, names)]
    if given:
        message = "must not be given together with at_position, at_time or effective_at"
        raise Refused(*(errors.invalid_parameter(name, message) for name in given))


async def get_account(request: web.Request) -> Reply:
    """GET /accounts/{id}, now or at a point in time."""
    account_id, moment = await read_path_account(request), read_account_point_in_time(request)
    effective_at = EFFECTIVE_AT.read(request)
    if moment is None and effective_at is None:
        return answer_resource(request, *await find_account(request, account_id))
    then = await as_of.account_at(
        reader(request), account_id, moment, owner_id=readable_owner(request), effective_at=effective_at
    )
    if then is None:
        raise Refused(errors.account_not_found(account_id))
    return answer_resource(request, then, then["version"])


async def open_account(request: web.Request) -> Reply:
    """POST /accounts."""
    body = parse(requests.NewAccount, await read_json(request))
    runtime = request.app[RUNTIME]
    command = OpenAccount(
        account_id=body.id or new_id(),
        owner_id=body.user_id,
        currency=body.currency or runtime.settings.ledger_default_currency,
        balance_cents=body.balance_cents or 0,
        transaction_id=new_id(),
        overdraft_limit_cents=body.overdraft_limit_cents or 0,
        frozen=body.frozen or "none",
        max_balance_cents=body.max_balance_cents,
        labels=body.labels(),
    )
    return await submit_creation(request, command, body.canonical)


async def update_account(request: web.Request) -> Reply:
    """PUT /accounts/{id}."""
    account_id = await read_path_account(request)
    body = parse(requests.Account, await read_json(request))
    return await _change(request, account_id, body, body.overdraft_limit_cents, body.frozen)


async def patch_account(request: web.Request) -> Reply:
    """PATCH /accounts/{id}: change only the given members (RFC 7396); null removes a policy."""
    account_id = await read_path_account(request)
    body = parse(requests.AccountPatch, await read_json(request))
    given = body.model_fields_set
    limit = (body.overdraft_limit_cents or 0) if "overdraft_limit_cents" in given else None
    frozen = (body.frozen or "none") if "frozen" in given else None
    removes_max_balance = "max_balance_cents" in given and body.max_balance_cents is None
    return await _change(request, account_id, body, limit, frozen, removes_max_balance=removes_max_balance)


async def _change(
    request: web.Request,
    account_id: UUID,
    body: requests.Account | requests.AccountPatch,
    overdraft_limit_cents: int | None,
    frozen: Freeze | None,
    *,
    removes_max_balance: bool = False,
) -> Reply:
    check_same_id(account_id, body.id)
    known = await find_account(request, account_id)
    command = UpdateAccount(
        account_id=account_id,
        owner_id=body.user_id,
        balance_cents=body.balance_cents,
        currency=body.currency or known.body["currency"],
        transaction_id=new_id(),
        overdraft_limit_cents=overdraft_limit_cents,
        frozen=frozen,
        max_balance_cents=body.max_balance_cents,
        is_unbounded=removes_max_balance,
        balance_expected=_versions_to_adjust(body.updated_at, known),
        expected=read_expected_versions(request),
    )

    async def make() -> UpdateAccount:
        labels = await account_labels.find_known(request.app[RUNTIME].pool, account_id)
        return msgspec.structs.replace(command, labels=body.change(labels))

    changes_labels = body.changes_labels()
    outcome = await (submit_in_turn(request, account_id, make) if changes_labels else submit(request, command))
    return answer_resource(request, *await find_account(request, account_id), position=outcome.position)


def _versions_to_adjust(read_at: datetime | None, known: Resource) -> frozenset[int] | None:
    """Return the versions at which a client that read the account at `read_at` may change its balance; None: any."""
    if read_at is None:
        return None
    return frozenset({int(known.tag.partition(".")[0])} if read_at == known.body["updated_at"] else ())


async def close_account(request: web.Request) -> Reply:
    """DELETE /accounts/{id}."""
    account_id = await read_path_account(request)
    expecting = await holds.have_incoming_holds(request.app[RUNTIME].pool, [account_id])
    command = CloseAccount(account_id, expects_money=bool(expecting), expected=read_expected_versions(request))
    return answer_empty(await submit(request, command))


async def reopen_account(request: web.Request) -> Reply:
    """POST /accounts/{id}/reopen."""
    parse(requests.Nothing, await read_json_if_any(request) or b"{}")
    known = await find_account(request, await read_path_account(request))
    account_id, owner_id = known.body["id"], known.body["user_id"]
    if owner_id is not None:  # the accounts of the ledger itself are never closed
        command = ReopenAccount(account_id, owner_id, expected=read_expected_versions(request))
        outcome = await submit(request, command)
        return answer_resource(request, *await find_account(request, account_id), position=outcome.position)
    return answer_resource(request, *known)


def readable_owner(request: web.Request) -> Party | None:
    """Return the user, or what a client is limited to, whose accounts the caller may read; None for all accounts."""
    actor = request[ACTOR]
    if actor.limits is not None:
        return actor.limits
    return None if actor.has("admin", "auditor") else actor.user_id


async def find_account(request: web.Request, account_id: UUID) -> Resource:
    """Return an account that the caller may read. Raises `Refused`."""
    account = await accounts.find(reader(request), account_id, owner_id=readable_owner(request))
    if account is None:
        raise Refused(errors.account_not_found(account_id))
    return account


async def find_spans(request: web.Request, account_id: UUID) -> Sequence[Span]:
    """Return the parts of an account's history that the caller may read, oldest first. Raises `Refused` without any.

    A customer reads the parts in which the account was theirs, as does a client that is limited to this user.
    """
    owner_id = readable_owner(request)
    if owner_id is None:
        await find_account(request, account_id)
        return (WHOLE,)
    spans = await read_spans(reader(request), account_id, owner_id)
    if not spans:
        raise Refused(errors.account_not_found(account_id))
    return spans
