"""Webhooks, as `/webhooks` shows them and the delivery reads them, and the events that were asked for again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, assert_never, cast, get_args
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.commands.webhooks import describe_secrets
from ledger.events import Recorded, encode
from ledger.events.webhooks import (
    Order,
    RedeliveryRequested,
    Webhook,
    WebhookChange,
    WebhookChanged,
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookEvent,
    WebhookRewound,
    WebhookSecret,
    WebhookSecretRotated,
    WebhookSettings,
)
from ledger.projections.resource import Resource
from ledger.projections.table import CHANGE, POSITION, TIME, Column, Index, Table, encode_columns, insert, update
from ledger.store.connections import Reader
from ledger.store.sql import HEAD_VERSIONS
from ledger.store.statements import Statement, uuids

HANDLED = frozenset(get_args(WebhookEvent))
MAX_REDELIVERIES = 100  # of a webhook that are read at once
ENABLED = "enabled"  # any other status is the reason why a webhook is disabled
_WITH_URL = "CASE WHEN new.url IS NULL THEN {table}.{name} ELSE {new} END"  # null is a value here
_WITH_START = "CASE WHEN new.started_by IS NULL THEN {table}.{name} ELSE {new} END"

WEBHOOKS = Table(
    name="webhooks",
    key=("id",),
    stream="id",
    columns=(
        Column("id", "uuid"),
        Column("url", "text"),
        Column("topics", "text"),
        Column("code_prefix", "text", change=_WITH_URL, optional=True),
        Column("delivery_order", "text"),
        Column("description", "text", change=_WITH_URL, optional=True),
        Column("client_id", "uuid", optional=True),
        Column("status", "text"),
        Column("secrets", "jsonb"),
        Column("starts_after", "bigint", change=_WITH_START, optional=True),
        Column("started_by", "bigint", POSITION),
        Column("position", "bigint", POSITION),
        Column("created_at", "timestamptz", TIME),
        Column("updated_at", "timestamptz", TIME, CHANGE),
    ),
    indexes=(Index("webhooks_position_idx", '("position")', unique=True),),
    changes="update",
)
REDELIVERIES = Table(
    name="webhook_redeliveries",
    key=("webhook_id", "position"),
    stream="webhook_id",
    columns=(
        Column("webhook_id", "uuid"),
        Column("position", "bigint", POSITION),
        Column("event_position", "bigint"),
    ),
    changes="never",
)
TABLES = (WEBHOOKS, REDELIVERIES)
_CHANGING = tuple(name for name in WEBHOOKS.names if name not in {"client_id", "position", "created_at"})


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the inserts, updates and deletes of webhooks, each row at most once, and the requests of redeliveries."""
    rows: dict[UUID, _Row] = {}
    requested: list[_Redelivery] = []
    for recorded in events:
        if type(recorded.event) in HANDLED:
            event = cast("WebhookEvent", recorded.event)
            if isinstance(event, RedeliveryRequested):  # it leaves the webhook as it is
                requested.append(_Redelivery(recorded.stream_id, recorded.position, event.event_position))
            else:
                rows.setdefault(recorded.stream_id, _Row(recorded.stream_id)).change(recorded, event)
    created = [row for row in rows.values() if row.position is not None and not row.deleted]
    changed = [row for row in rows.values() if row.position is None and not row.deleted]
    deleted = [row.id for row in rows.values() if row.position is None and row.deleted]
    return [
        *([insert(WEBHOOKS, encode_columns(WEBHOOKS, WEBHOOKS.names, created))] if created else []),
        *([update(WEBHOOKS, encode_columns(WEBHOOKS, _CHANGING, changed))] if changed else []),
        *([Statement("DELETE FROM webhooks WHERE id = ANY($1::uuid[])", (uuids(deleted),))] if deleted else []),
        *([insert(REDELIVERIES, encode_columns(REDELIVERIES, REDELIVERIES.names, requested))] if requested else []),
    ]


class _Redelivery(NamedTuple):
    webhook_id: UUID
    position: int
    event_position: int


@dataclass(slots=True)
class _Row:
    """The values that a run of events gives the columns of one webhook.

    None leaves a column unchanged. But what may be null follows the URL or, for the start, the event that set it.
    """

    id: UUID
    url: str | None = None
    topics: str | None = None
    code_prefix: str | None = None
    delivery_order: str | None = None
    description: str | None = None
    client_id: UUID | None = None
    status: str | None = None
    secrets: bytes | None = None
    starts_after: int | None = None
    started_by: int | None = None
    position: int | None = None
    created_at: Any = None
    updated_at: Any = None
    deleted: bool = False

    def change(self, recorded: Recorded, event: WebhookChange) -> None:
        self.updated_at = recorded.recorded_at
        match event:
            case WebhookCreated():
                self.position, self.created_at = recorded.position, recorded.recorded_at
                self.client_id, self.status = event.client_id, ENABLED
                self._set(event.settings)
                self._start(recorded.position, event.from_position)
                self.secrets = _encode_secrets(event.secrets)
            case WebhookChanged():
                self._set(event.settings)
            case WebhookSecretRotated():
                self.secrets = _encode_secrets(event.secrets)
            case WebhookDisabled():
                self.status = event.reason
            case WebhookEnabled():
                self.status = ENABLED
                if event.from_position is not None:
                    self._start(recorded.position, event.from_position)
            case WebhookRewound():
                self._start(recorded.position, event.from_position)
            case WebhookDeleted():
                self.deleted = True
            case _:
                assert_never(event)

    def _set(self, settings: WebhookSettings) -> None:
        for column, value in columns_of(settings).items():
            setattr(self, column, value)

    def _start(self, position: int, from_position: int | None) -> None:
        self.started_by, self.starts_after = position, None if from_position is None else from_position - 1


def columns_of(settings: WebhookSettings) -> dict[str, str | None]:
    """Return the columns of the settings of a webhook."""
    return {
        "url": settings.url,
        "topics": " ".join(settings.topics),
        "code_prefix": settings.code_prefix,
        "delivery_order": settings.order,
        "description": settings.description,
    }


def row_of(webhook: Webhook) -> dict[str, Any]:
    """Return the columns that follow from the state of a webhook."""
    return {**columns_of(webhook.settings), "client_id": webhook.client_id, "status": webhook.disabled or ENABLED}


def _encode_secrets(secrets: Sequence[WebhookSecret]) -> bytes:
    return encode(describe_secrets(secrets))


class ActiveWebhook(NamedTuple):
    """A webhook that sends events: its settings, its client, and when which of its secrets ends.

    The event at `started_by` has let it start after the position `starts_after`. It last changed at `changed_at`.
    """

    id: UUID
    settings: WebhookSettings
    client_id: UUID | None
    secrets: tuple[WebhookSecret, ...]
    starts_after: int
    started_by: int
    changed_at: datetime


async def list_active(reader: Reader) -> list[ActiveWebhook]:
    """Return all webhooks that send events, in the order of their creation."""
    rows = await reader.fetch("SELECT * FROM webhooks WHERE status = $1 ORDER BY position", ENABLED)
    return [_active(row) for row in rows]


async def count(reader: Reader, client_id: UUID | None) -> int:
    """Return the number of all webhooks, or of a client's."""
    where = "true" if client_id is None else "client_id = $1"
    number: int = await reader.fetchval(
        f"SELECT count(*) FROM webhooks WHERE {where}", *(() if client_id is None else (client_id,))
    )
    return number


async def list_redeliveries(reader: Reader, done: Mapping[UUID, int], upto: int) -> dict[UUID, list[tuple[int, int]]]:
    """Return what was asked for again after these positions, and up to another one, by webhook.

    Each request is its own position and that of the event.
    """
    rows = await reader.fetch(
        """SELECT done.webhook_id, following.*
           FROM unnest($1::uuid[], $2::bigint[]) AS done (webhook_id, after),
                LATERAL (SELECT "position", event_position FROM webhook_redeliveries AS requested
                         WHERE requested.webhook_id = done.webhook_id AND "position" > after AND "position" <= $3
                         ORDER BY "position" LIMIT $4) AS following""",
        list(done),
        list(done.values()),
        upto,
        MAX_REDELIVERIES,
    )
    found: dict[UUID, list[tuple[int, int]]] = {}
    for webhook_id, position, event_position in rows:
        found.setdefault(webhook_id, []).append((position, event_position))
    return found


async def find(reader: Reader, webhook_id: UUID) -> Resource | None:
    """Return one webhook, or None, with the version from the head of its stream."""
    row = await reader.fetchrow(
        f"""SELECT webhooks.*, version FROM webhooks JOIN ({HEAD_VERSIONS}) AS heads ON stream_id = webhooks.id
            WHERE webhooks.id = $1""",
        webhook_id,
    )
    return Resource(_body(row), str(row["version"])) if row else None


async def find_active(reader: Reader, webhook_id: UUID) -> ActiveWebhook | None:
    """Return what is needed to send through a webhook, be it enabled or not; None if there is no such webhook."""
    row = await reader.fetchrow("SELECT * FROM webhooks WHERE id = $1", webhook_id)
    return _active(row) if row else None


async def page(reader: Reader, *, client_id: UUID | None, before: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return up to `limit` webhooks created before a position, newest first, of a client or of all, with positions."""
    rows = await reader.fetch(
        """SELECT * FROM webhooks WHERE position < $1 AND ($3::uuid IS NULL OR client_id = $3)
           ORDER BY position DESC LIMIT $2""",
        before,
        limit,
        client_id,
    )
    return [(row["position"], _body(row)) for row in rows]


def _active(row: Record) -> ActiveWebhook:
    settings = WebhookSettings(
        row["url"],
        tuple(row["topics"].split()),
        row["code_prefix"],
        cast("Order", row["delivery_order"]),
        row["description"],
    )
    secrets = tuple(
        WebhookSecret(UUID(one["id"]), _parse_second(one["expires_at"])) for one in msgspec.json.decode(row["secrets"])
    )
    starts_after = row["started_by"] if row["starts_after"] is None else row["starts_after"]
    return ActiveWebhook(
        row["id"], settings, row["client_id"], secrets, starts_after, row["started_by"], row["updated_at"]
    )


def _parse_second(text: str | None) -> int | None:
    return None if text is None else int(datetime.fromisoformat(text).timestamp())


def _body(row: Record) -> dict[str, Any]:
    is_enabled = row["status"] == ENABLED
    return {
        "id": row["id"],
        "url": row["url"],
        "topics": row["topics"].split(),
        "code_prefix": row["code_prefix"],
        "order": row["delivery_order"],
        "description": row["description"],
        "client_id": row["client_id"],
        "status": ENABLED if is_enabled else "disabled",
        "status_reason": None if is_enabled else row["status"],
        "secrets": msgspec.json.decode(row["secrets"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
