"""The events of webhooks, which send events of the log to an address of a client, and the state they fold into.

The log never has the secret that signs what is sent: it is encrypted, in a table beside the log. An event has the ids
of the secrets, and until when each of them signs.
"""

from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

Order = Literal["webhook", "account"]
Reason = Literal["requested", "gone", "failing", "client_revoked"]


class WebhookSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a webhook sends which events. Without topics, it sends all that may leave the ledger.

    With a `code_prefix`, it sends only events about accounts with a code at or below it. In the order `webhook`, each
    event waits for the one before it; in the order `account`, only for earlier events about the same account.
    """

    url: str
    topics: tuple[str, ...] = ()
    code_prefix: str | None = None
    order: Order = "webhook"
    description: str | None = None


class WebhookSecret(msgspec.Struct, frozen=True):
    """The id of a secret. It signs before `expires_at`, in whole seconds since the epoch, if that is set."""

    id: UUID
    expires_at: int | None = None

    def is_valid(self, now: float) -> bool:
        """Return whether the secret has not expired."""
        return self.expires_at is None or now < self.expires_at


class WebhookCreated(msgspec.Struct, frozen=True):
    """A webhook was created, by an admin or by the client `client_id`, for what that client may read.

    It sends the events from `from_position` on; without one, those after this event.
    """

    TOPIC: ClassVar[str] = "WebhookCreated"

    settings: WebhookSettings
    secrets: tuple[WebhookSecret, ...]
    client_id: UUID | None
    from_position: int | None


class WebhookChanged(msgspec.Struct, frozen=True):
    """The webhook has other settings from now on."""

    TOPIC: ClassVar[str] = "WebhookChanged"

    settings: WebhookSettings


class WebhookSecretRotated(msgspec.Struct, frozen=True):
    """The webhook has a new secret. `secrets` are all that sign from now on, the newest first."""

    TOPIC: ClassVar[str] = "WebhookSecretRotated"

    secrets: tuple[WebhookSecret, ...]


class WebhookDisabled(msgspec.Struct, frozen=True):
    """The webhook sends nothing until it is enabled.

    A caller `requested` that, the endpoint answered that it is `gone` (410), deliveries were `failing` for three days,
    or its client was revoked. `failed_position` is that of the event whose delivery failed.
    """

    TOPIC: ClassVar[str] = "WebhookDisabled"

    reason: Reason
    failed_position: int | None = None


class WebhookEnabled(msgspec.Struct, frozen=True):
    """The webhook sends events again: from `from_position` on, or else from where it was disabled."""

    TOPIC: ClassVar[str] = "WebhookEnabled"

    from_position: int | None = None


class WebhookRewound(msgspec.Struct, frozen=True):
    """All events from a position on are sent again, in order."""

    TOPIC: ClassVar[str] = "WebhookRewound"

    from_position: int


class RedeliveryRequested(msgspec.Struct, frozen=True):
    """One event is sent once more, beside the others."""

    TOPIC: ClassVar[str] = "RedeliveryRequested"

    event_position: int


class WebhookDeleted(msgspec.Struct, frozen=True):
    """The webhook was deleted, with its secrets; the id is never used again."""

    TOPIC: ClassVar[str] = "WebhookDeleted"


WebhookChange = (
    WebhookCreated
    | WebhookChanged
    | WebhookSecretRotated
    | WebhookDisabled
    | WebhookEnabled
    | WebhookRewound
    | WebhookDeleted
)
WebhookEvent = WebhookChange | RedeliveryRequested


class Webhook(msgspec.Struct, frozen=True):
    """The state of one webhook. `disabled` is the reason if it sends nothing."""

    TOPIC: ClassVar[str] = "Webhook"

    settings: WebhookSettings
    secrets: tuple[WebhookSecret, ...]
    client_id: UUID | None
    disabled: Reason | None = None
    deleted: bool = False


def evolve(state: Webhook | None, event: WebhookEvent) -> Webhook:
    """Fold one event into the state; the first event of a stream is the creation."""
    match event:
        case WebhookCreated():
            return Webhook(event.settings, event.secrets, event.client_id)
        case WebhookChanged():
            return _replace(state, settings=event.settings)
        case WebhookSecretRotated():
            return _replace(state, secrets=event.secrets)
        case WebhookDisabled() | WebhookEnabled():
            return _replace(state, disabled=event.reason if isinstance(event, WebhookDisabled) else None)
        case WebhookRewound() | RedeliveryRequested():
            return _replace(state)
        case WebhookDeleted():
            return _replace(state, deleted=True, secrets=())
        case _:
            assert_never(event)


def _replace(state: Webhook | None, **changes: object) -> Webhook:
    if state is None:
        raise ValueError("the history of a webhook starts with its creation")
    return msgspec.structs.replace(state, **changes)
