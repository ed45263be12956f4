"""Webhooks: admins and machine clients create, change and delete them, and look at what they deliver."""

import time
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.commands.webhooks import (
    ChangeWebhook,
    CreateWebhook,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    RequestRedelivery,
    RewindWebhook,
    RotateWebhookSecret,
    SettingName,
    delivery_not_found,
    too_many_webhooks,
    webhook_client_revoked,
    webhook_not_found,
)
from ledger.errors import Refused
from ledger.events.webhooks import WebhookSettings
from ledger.identity.webhook_secrets import create_secret
from ledger.projections import webhooks
from ledger.projections.webhooks import ActiveWebhook
from ledger.publish.webhooks import cursors, standing, testing
from ledger.publish.webhooks.sender import Sender
from ledger.store.connections import Reader
from ledger.store.reader import log_end
from ledger.values.ids import new_id
from web.http.concurrency import ConcurrencyLimit
from web.http.json import answer, answer_empty, answer_outcome, parse, read_json, read_json_if_any
from web.http.pagination import Chunk, Page, answer_list, read_span, walk_by_position
from web.http.params import check_same_id, read_path_id
from web.http.preconditions import answer_resource, read_expected_versions
from web.http.replica import reader
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply, Stream
from web.http.submit import submit, submit_creation
from web.webhooks import Enabling, NewWebhook, Redelivery, SecretRotation, WebhookPatch

MAX_WEBHOOKS = 1000
MAX_WEBHOOKS_EACH = 50  # of one client
MAX_TESTS, MAX_TESTS_EACH = 8, 2  # at once, in a worker
SETTINGS = get_args(SettingName)
LAST_ID = UUID(int=2**128 - 1)
UNKNOWN_POSITION = "must be the position of an event that this webhook sends"
UNKNOWN_DELIVERY = "must be a delivery of an event that this webhook still sends"
BEYOND_THE_END = "must not be beyond the end of the log"

SENDER = web.AppKey("SENDER", Sender)
TESTS = web.AppKey("TESTS", ConcurrencyLimit)


async def list_webhooks(request: web.Request) -> Reply | Stream:
    """GET /webhooks: an admin's are all, a client's its own."""
    owner = _owner(request)

    async def query(source: Reader, before: int, limit: int) -> Page:
        return await webhooks.page(source, client_id=owner, before=before, limit=limit)

    return await answer_list(request, read_span(request, int), walk_by_position(query))


async def get_webhook(request: web.Request) -> Reply:
    """GET /webhooks/{id}."""
    return await _answer_webhook(request, read_path_id(request))


async def create_webhook(request: web.Request) -> Reply:
    """POST /webhooks. The response has the secret, which is then only used to sign."""
    body, runtime, actor = parse(NewWebhook, await read_json(request)), request.app[RUNTIME], request[ACTOR]
    await _check_url(request, body.url)
    await _check_end(request, body.from_position)
    client_id = actor.user_id if actor.is_client else None
    await _check_count(request, client_id)
    webhook_id = body.id or new_id()
    secret, sealed = create_secret(runtime.webhook_box, webhook_id)
    settings = WebhookSettings(body.url, tuple(body.topics), body.code_prefix, body.order, body.description)
    command = CreateWebhook(
        webhook_id=webhook_id,
        settings=settings,
        secret=sealed,
        client_id=client_id,
        from_position=body.from_position,
    )
    return await submit_creation(request, command, body.canonical, secret=secret)


async def patch_webhook(request: web.Request) -> Reply:
    """PATCH /webhooks/{id}: change only the given members (RFC 7396)."""
    webhook_id, body = read_path_id(request), parse(WebhookPatch, await read_json(request))
    check_same_id(webhook_id, body.id)
    await _check_owner(request, webhook_id)
    if body.url is not None:
        await _check_url(request, body.url)
    command = ChangeWebhook(
        webhook_id=webhook_id,
        given=frozenset(name for name in SETTINGS if name in body.model_fields_set),
        url=body.url or "",
        topics=tuple(body.topics or ()),
        code_prefix=body.code_prefix,
        order=body.order or "webhook",
        description=body.description,
        expected=read_expected_versions(request),
    )
    outcome = await submit(request, command)
    return await _answer_webhook(request, webhook_id, outcome.position)


async def delete_webhook(request: web.Request) -> Reply:
    """DELETE /webhooks/{id}."""
    webhook_id = read_path_id(request)
    await _check_owner(request, webhook_id)
    return answer_empty(
        await submit(request, DeleteWebhook(webhook_id=webhook_id, expected=read_expected_versions(request)))
    )


async def rotate_secret(request: web.Request) -> Reply:
    """POST /webhooks/{id}/rotate-secret. The response has the new secret."""
    webhook_id, body = read_path_id(request), parse(SecretRotation, await read_json_if_any(request) or b"{}")
    await _check_owner(request, webhook_id)
    secret, sealed = create_secret(request.app[RUNTIME].webhook_box, webhook_id)
    ends_at = int(time.time()) + body.overlap_seconds if body.overlap_seconds else None
    command = RotateWebhookSecret(webhook_id=webhook_id, secret=sealed, overlap_ends_at=ends_at)
    outcome = await submit(request, command, body.canonical)
    return answer_outcome(outcome, status=200, **({} if outcome.replayed else {"secret": secret}))


async def disable_webhook(request: web.Request) -> Reply:
    """POST /webhooks/{id}/disable."""
    webhook_id = read_path_id(request)
    await _check_owner(request, webhook_id)
    outcome = await submit(request, DisableWebhook(webhook_id=webhook_id, reason="requested"))
    return await _answer_webhook(request, webhook_id, outcome.position)


async def enable_webhook(request: web.Request) -> Reply:
    """POST /webhooks/{id}/enable."""
    webhook_id, body = read_path_id(request), parse(Enabling, await read_json_if_any(request) or b"{}")
    webhook = await _find(request, webhook_id)
    if not await standing.has_client(request.app[RUNTIME].pool, webhook):
        raise Refused(webhook_client_revoked(webhook_id))
    await _check_end(request, body.from_position)
    command = EnableWebhook(webhook_id=webhook_id, from_position=body.from_position)
    outcome = await submit(request, command, body.canonical)
    return await _answer_webhook(request, webhook_id, outcome.position)


async def redeliver_events(request: web.Request) -> Reply:
    """POST /webhooks/{id}/redeliver. It is done after the response: the deliveries show the result."""
    webhook_id, body = read_path_id(request), parse(Redelivery, await read_json(request))
    await _find(request, webhook_id)
    if body.from_position is not None:
        await _check_end(request, body.from_position)
        rewind = RewindWebhook(webhook_id=webhook_id, from_position=body.from_position)
        return answer_empty(await submit(request, rewind, body.canonical))
    position = body.position
    if body.delivery_id is not None:
        position = await cursors.find_position(request.app[RUNTIME].pool, webhook_id, body.delivery_id)
        if position is None:
            raise Refused(delivery_not_found(body.delivery_id))
    assert position is not None  # noqa: S101 - the body has one of them
    if not await standing.sends(request.app[RUNTIME].pool, webhook_id, position):
        member = "/position" if body.delivery_id is None else "/delivery_id"
        raise Refused(errors.invalid(member, UNKNOWN_POSITION if body.delivery_id is None else UNKNOWN_DELIVERY))
    command = RequestRedelivery(webhook_id=webhook_id, event_position=position)
    return answer_empty(await submit(request, command, body.canonical))


async def test_webhook(request: web.Request) -> Reply:
    """POST /webhooks/{id}/test: send an event that is not in the log, and answer with the result."""
    webhook_id, runtime = read_path_id(request), request.app[RUNTIME]
    await _check_owner(request, webhook_id)
    async with request.app[TESTS].admit(request[ACTOR].user_id):
        delivery = await testing.send_test(
            runtime.pool, runtime.webhook_box, request.app[SENDER], runtime.ledger_id, webhook_id
        )
    if delivery is None:
        raise Refused(webhook_not_found(webhook_id))
    return answer({name: value for name, value in delivery._asdict().items() if name != "webhook_id"})


async def list_deliveries(request: web.Request) -> Reply | Stream:
    """GET /webhooks/{id}/deliveries, newest first."""
    webhook_id = read_path_id(request)
    await _find(request, webhook_id)

    async def walk(source: Reader, place: UUID | None, limit: int) -> Chunk[UUID]:
        rows = await cursors.page(source, webhook_id, place or LAST_ID, limit + 1)
        return Chunk(rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None)

    return await answer_list(request, read_span(request, UUID), walk)


async def get_progress(request: web.Request) -> Reply:
    """GET /webhooks/{id}/progress."""
    webhook_id, source = read_path_id(request), reader(request)
    await _check_owner(request, webhook_id)
    webhook = await webhooks.find_active(source, webhook_id)
    if webhook is None:
        raise Refused(webhook_not_found(webhook_id))
    cursor = (await cursors.read_cursors(source, [webhook_id])).get(webhook_id)
    if cursor is None or cursor.started_by != webhook.started_by:  # it has yet to begin, or to begin again
        cursor = cursors.Cursor(webhook_id, webhook.started_by, webhook.starts_after, [], 0)
    failing = [one for one in cursor.pending if one.failures]
    first = min((one.failed_since for one in failing if one.failed_since is not None), default=None)
    following = min((one.next_attempt_at for one in failing), default=None)
    shown: dict[str, Any] = {
        "position": cursor.position,
        "log_end": await log_end(source),
        "pending": len(cursor.pending),
        "failures": max((one.failures for one in failing), default=0),
        "failed_since": None if first is None else datetime.fromtimestamp(first, UTC),
        "next_attempt_at": None if following is None else datetime.fromtimestamp(following, UTC),
    }
    return answer(shown)


def _owner(request: web.Request) -> UUID | None:
    """Return the client whose webhooks the caller may see and change; None for all."""
    actor = request[ACTOR]
    return actor.user_id if actor.is_client and not (actor.has("admin") and actor.limits is None) else None


async def _check_owner(request: web.Request, webhook_id: UUID) -> None:
    """Raise `Refused` if the webhook belongs to another client, as if it did not exist."""
    if _owner(request) is not None:
        await _find(request, webhook_id)


async def _find(request: web.Request, webhook_id: UUID) -> ActiveWebhook:
    """Return a webhook. Raises `Refused` if there is none, or it belongs to another client."""
    webhook, owner = await webhooks.find_active(request.app[RUNTIME].pool, webhook_id), _owner(request)
    if webhook is None or (owner is not None and webhook.client_id != owner):
        raise Refused(webhook_not_found(webhook_id))
    return webhook


async def _answer_webhook(request: web.Request, webhook_id: UUID, position: int | None = None) -> Reply:
    webhook, owner = await webhooks.find(reader(request), webhook_id), _owner(request)
    if webhook is None or (owner is not None and webhook.body["client_id"] != owner):
        raise Refused(webhook_not_found(webhook_id))
    return answer_resource(request, *webhook, position=position)


async def _check_url(request: web.Request, url: str) -> None:
    """Raise `Refused` unless requests may go to the URL now; each delivery checks it again."""
    try:
        await request.app[SENDER].check(url)
    except ValueError as error:
        raise Refused(errors.invalid("/url", str(error))) from None


async def _check_end(request: web.Request, from_position: int | None) -> None:
    if from_position is not None and from_position > await log_end(request.app[RUNTIME].pool) + 1:
        raise Refused(errors.invalid("/from_position", BEYOND_THE_END))


async def _check_count(request: web.Request, client_id: UUID | None) -> None:
    """Raise `Refused` if there are too many webhooks already. Requests at the same time may exceed that a little."""
    pool = request.app[RUNTIME].pool
    limits = [(None, MAX_WEBHOOKS), *([] if client_id is None else [(client_id, MAX_WEBHOOKS_EACH)])]
    for owner, most in limits:
        if await webhooks.count(pool, owner) >= most:
            raise Refused(too_many_webhooks(most))
