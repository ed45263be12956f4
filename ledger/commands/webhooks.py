"""Webhooks: create, change, disable, enable and delete them, rotate their secrets, and ask for events again.

A webhook belongs to the admins, or to the machine client that created it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

import msgspec

from ledger.commands.command import (
    Command,
    Decision,
    SealedSecret,
    States,
    StreamEvent,
    WebhookSecrets,
    state_of,
)
from ledger.commands.expected_version import Conditional, check_version
from ledger.errors import Refusal, Refused
from ledger.events.webhooks import (
    Order,
    Reason,
    RedeliveryRequested,
    Webhook,
    WebhookChanged,
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookRewound,
    WebhookSecret,
    WebhookSecretRotated,
    WebhookSettings,
)
from ledger.values.timestamps import rfc3339

SettingName = Literal["url", "topics", "code_prefix", "order", "description"]


def webhook_already_exists(webhook_id: UUID) -> Refusal:
    """Refuse an id that was used before."""
    return Refusal("webhook_already_exists", f"webhook already exists: {webhook_id}", detail={"pointer": "/id"})


def webhook_not_found(webhook_id: UUID) -> Refusal:
    """Refuse a webhook that does not exist, was deleted, or belongs to another client."""
    return Refusal("resource_not_found", f"webhook not found: {webhook_id}", detail={"webhook_id": str(webhook_id)})


def webhook_disabled(webhook_id: UUID) -> Refusal:
    """Refuse to send events through a webhook that is disabled."""
    return Refusal("webhook_disabled", f"webhook is disabled: {webhook_id}", detail={"webhook_id": str(webhook_id)})


def webhook_client_revoked(webhook_id: UUID) -> Refusal:
    """Refuse to enable a webhook whose client was revoked or has lost the scope."""
    return Refusal(
        "webhook_client_revoked",
        f"the client of the webhook may have none: {webhook_id}",
        detail={"webhook_id": str(webhook_id)},
    )


def delivery_not_found(delivery_id: UUID) -> Refusal:
    """Refuse a delivery that is not, or no longer, in the list of a webhook."""
    return Refusal("resource_not_found", f"delivery not found: {delivery_id}", detail={"delivery_id": str(delivery_id)})


def too_many_webhooks(most: int) -> Refusal:
    """Refuse another webhook where there are as many as there may be."""
    return Refusal("too_many_webhooks", f"there are already {most} webhooks", reason="delete one that is not needed")


class CreateWebhook(Command, frozen=True, kw_only=True):
    """Create a webhook with its first secret."""

    name: ClassVar[str] = "CreateWebhook"
    always_appends: ClassVar[bool] = True

    webhook_id: UUID
    settings: WebhookSettings
    secret: SealedSecret
    client_id: UUID | None = None
    from_position: int | None = None

    @property
    def resource_id(self) -> UUID:
        """Return the id of the webhook."""
        return self.webhook_id

    def streams(self) -> Iterable[UUID]:
        """Return the webhook, which must be new."""
        return (self.webhook_id,)

    def decide(self, states: States) -> Decision:
        """Return the creation."""
        if states[self.webhook_id] is not None:
            raise Refused(webhook_already_exists(self.webhook_id))
        secrets = (WebhookSecret(self.secret.id),)
        created = WebhookCreated(self.settings, secrets, self.client_id, self.from_position)
        result = describe_webhook(self.webhook_id, Webhook(self.settings, secrets, self.client_id))
        kept = WebhookSecrets(self.webhook_id, (self.secret.id,), self.secret)
        return Decision([(self.webhook_id, created)], result, kept)


class ChangeWebhook(Conditional, frozen=True, kw_only=True):
    """Change the `given` members of a webhook's settings; all others stay as they are."""

    name: ClassVar[str] = "ChangeWebhook"
    always_appends: ClassVar[bool] = False

    webhook_id: UUID
    given: frozenset[SettingName]
    url: str = ""
    topics: tuple[str, ...] = ()
    code_prefix: str | None = None
    order: Order = "webhook"
    description: str | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the webhook."""
        return (self.webhook_id,)

    def decide(self, states: States) -> Decision:
        """Return the change, if there is any."""
        webhook = require_webhook(states, self.webhook_id)
        check_version(states, self.webhook_id, self.expected)
        changes = {name: getattr(self, name) for name in self.given}
        settings = msgspec.structs.replace(webhook.settings, **changes)
        events: list[StreamEvent] = []
        if settings != webhook.settings:
            events.append((self.webhook_id, WebhookChanged(settings)))
        return Decision(events, {"id": str(self.webhook_id)})


class RotateWebhookSecret(Command, frozen=True, kw_only=True):
    """Give a webhook a new secret. The one before it signs as well until `overlap_ends_at`, and any older one ends."""

    name: ClassVar[str] = "RotateWebhookSecret"
    always_appends: ClassVar[bool] = True

    webhook_id: UUID
    secret: SealedSecret
    overlap_ends_at: int | None

    def streams(self) -> Iterable[UUID]:
        """Return the webhook."""
        return (self.webhook_id,)

    def decide(self, states: States) -> Decision:
        """Return the rotation."""
        webhook = require_webhook(states, self.webhook_id)
        secrets: tuple[WebhookSecret, ...] = (WebhookSecret(self.secret.id),)
        if self.overlap_ends_at is not None:
            before = webhook.secrets[0]
            ends_at = min(before.expires_at or self.overlap_ends_at, self.overlap_ends_at)
            secrets = (*secrets, WebhookSecret(before.id, ends_at))
        kept = WebhookSecrets(self.webhook_id, tuple(one.id for one in secrets), self.secret)
        result = describe_webhook(self.webhook_id, msgspec.structs.replace(webhook, secrets=secrets))
        return Decision([(self.webhook_id, WebhookSecretRotated(secrets))], result, kept)


class DisableWebhook(Command, frozen=True, kw_only=True):
    """Let a webhook send nothing until it is enabled. One that is disabled keeps its reason."""

    name: ClassVar[str] = "DisableWebhook"
    always_appends: ClassVar[bool] = False

    webhook_id: UUID
    reason: Reason
    failed_position: int | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the webhook."""
        return (self.webhook_id,)

    def decide(self, states: States) -> Decision:
        """Return the event, unless the webhook is disabled already."""
        webhook = require_webhook(states, self.webhook_id)
        if webhook.disabled is not None:
            return Decision([], {"id": str(self.webhook_id)})
        disabled = WebhookDisabled(self.reason, self.failed_position)
        return Decision([(self.webhook_id, disabled)], {"id": str(self.webhook_id)})


class EnableWebhook(Command, frozen=True, kw_only=True):
    """Let a webhook send events again, from where it was disabled or from another position on."""

    name: ClassVar[str] = "EnableWebhook"
    always_appends: ClassVar[bool] = False

    webhook_id: UUID
    from_position: int | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the webhook."""
        return (self.webhook_id,)

    def decide(self, states: States) -> Decision:
        """Return the event, unless the webhook is enabled and is to stay where it is."""
        webhook = require_webhook(states, self.webhook_id)
        events: list[StreamEvent] = []
        if webhook.disabled is not None or self.from_position is not None:
            events.append((self.webhook_id, WebhookEnabled(self.from_position)))
        return Decision(events, {"id": str(self.webhook_id)})


class RewindWebhook(Command, frozen=True, kw_only=True):
    """Send all events from a position on again."""

    name: ClassVar[str] = "RewindWebhook"
    always_appends: ClassVar[bool] = True

    webhook_id: UUID
    from_position: int

    def streams(self) -> Iterable[UUID]:
        """Return the webhook."""
        return (self.webhook_id,)

    def decide(self, states: States) -> Decision:
        """Return the event."""
        require_enabled(states, self.webhook_id)
        return Decision([(self.webhook_id, WebhookRewound(self.from_position))], {"id": str(self.webhook_id)})


class RequestRedelivery(Command, frozen=True, kw_only=True):
    """Send one event once more."""

    name: ClassVar[str] = "RequestRedelivery"
    always_appends: ClassVar[bool] = True

    webhook_id: UUID
    event_position: int

    def streams(self) -> Iterable[UUID]:
        """Return the webhook."""
        return (self.webhook_id,)

    def decide(self, states: States) -> Decision:
        """Return the event."""
        require_enabled(states, self.webhook_id)
        return Decision([(self.webhook_id, RedeliveryRequested(self.event_position))], {"id": str(self.webhook_id)})


class DeleteWebhook(Conditional, frozen=True, kw_only=True):
    """Delete a webhook and its secrets."""

    name: ClassVar[str] = "DeleteWebhook"
    always_appends: ClassVar[bool] = True

    webhook_id: UUID

    def streams(self) -> Iterable[UUID]:
        """Return the webhook."""
        return (self.webhook_id,)

    def decide(self, states: States) -> Decision:
        """Return the deletion."""
        require_webhook(states, self.webhook_id)
        check_version(states, self.webhook_id, self.expected)
        events: list[StreamEvent] = [(self.webhook_id, WebhookDeleted())]
        return Decision(events, {"id": str(self.webhook_id)}, WebhookSecrets(self.webhook_id, ()))


def require_webhook(states: States, webhook_id: UUID) -> Webhook:
    """Return a webhook. Raises `Refused` if it is missing or deleted."""
    webhook = state_of(states, webhook_id, Webhook)
    if webhook is None or webhook.deleted:
        raise Refused(webhook_not_found(webhook_id))
    return webhook


def require_enabled(states: States, webhook_id: UUID) -> Webhook:
    """Return a webhook that sends events. Raises `Refused`."""
    webhook = require_webhook(states, webhook_id)
    if webhook.disabled is not None:
        raise Refused(webhook_disabled(webhook_id))
    return webhook


def describe_webhook(webhook_id: UUID, webhook: Webhook) -> dict[str, Any]:
    """Return a webhook as its owner sees it, without any secret."""
    settings = webhook.settings
    return {
        "id": str(webhook_id),
        "url": settings.url,
        "topics": list(settings.topics),
        "code_prefix": settings.code_prefix,
        "order": settings.order,
        "description": settings.description,
        "client_id": None if webhook.client_id is None else str(webhook.client_id),
        "status": "enabled" if webhook.disabled is None else "disabled",
        "status_reason": webhook.disabled,
        "secrets": describe_secrets(webhook.secrets),
    }


def describe_secrets(secrets: Iterable[WebhookSecret]) -> list[dict[str, str | None]]:
    """Return the ids of secrets, and when each expires."""
    return [
        {"id": str(one.id), "expires_at": None if one.expires_at is None else _format_second(one.expires_at)}
        for one in secrets
    ]


def _format_second(second: int) -> str:
    return rfc3339(datetime.fromtimestamp(second, UTC))
