"""Commands of webhooks, drawn for the tests of decisions, and those that verification is tested on."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from ledger.commands.command import Command, SealedSecret
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
)
from ledger.events.webhooks import Reason, WebhookSettings
from tests.support.ledgers import ALICE, Ledger, named_id

SETTINGS = [
    WebhookSettings("https://example.com/hooks"),
    WebhookSettings("https://example.com/all", ("MoneyTransferred",), "users:", "account", "of the shop"),
]


def new_secret(ledger: Ledger) -> SealedSecret:
    return SealedSecret(ledger.fresh_id(), b"sealed")


def create(ledger: Ledger, webhook_id: UUID, settings: WebhookSettings, from_position: int | None) -> Command:
    return CreateWebhook(
        webhook_id=webhook_id,
        settings=settings,
        secret=new_secret(ledger),
        client_id=None if from_position is None else ALICE,
        from_position=from_position,
    )


def change(_: Ledger, webhook_id: UUID, given: set[SettingName], settings: WebhookSettings) -> Command:
    members: dict[str, Any] = {name: getattr(settings, name) for name in WebhookSettings.__struct_fields__}
    return ChangeWebhook(webhook_id=webhook_id, given=frozenset(given), **members)


def rotate(ledger: Ledger, webhook_id: UUID, ends_at: int | None) -> Command:
    return RotateWebhookSecret(webhook_id=webhook_id, secret=new_secret(ledger), overlap_ends_at=ends_at)


def disable(_: Ledger, webhook_id: UUID, reason: Reason) -> Command:
    return DisableWebhook(webhook_id=webhook_id, reason=reason, failed_position=1 if reason == "gone" else None)


def enable(_: Ledger, webhook_id: UUID, from_position: int | None) -> Command:
    return EnableWebhook(webhook_id=webhook_id, from_position=from_position)


def rewind(_: Ledger, webhook_id: UUID, from_position: int) -> Command:
    return RewindWebhook(webhook_id=webhook_id, from_position=from_position)


def redeliver(_: Ledger, webhook_id: UUID, position: int) -> Command:
    return RequestRedelivery(webhook_id=webhook_id, event_position=position)


def delete(_: Ledger, webhook_id: UUID) -> Command:
    return DeleteWebhook(webhook_id=webhook_id)


_webhooks = st.sampled_from([named_id(f"webhook {number}") for number in range(3)])
_settings = st.sampled_from(SETTINGS)
_positions = st.integers(1, 50)
_names: st.SearchStrategy[set[SettingName]] = st.sets(
    st.sampled_from(["url", "topics", "code_prefix", "order", "description"])
)
_reasons: st.SearchStrategy[Reason] = st.sampled_from(["requested", "gone", "failing"])


def _draw(
    make: Callable[..., Command], *drawn: st.SearchStrategy[Any]
) -> st.SearchStrategy[Callable[[Ledger], Command]]:
    return st.tuples(*drawn).map(lambda given: lambda ledger: make(ledger, *given))


makers: st.SearchStrategy[Callable[[Ledger], Command]] = st.one_of(
    _draw(create, _webhooks, _settings, st.none() | _positions),
    _draw(change, _webhooks, _names, _settings),
    _draw(rotate, _webhooks, st.none() | st.integers(1, 100)),
    _draw(disable, _webhooks, _reasons),
    _draw(enable, _webhooks, st.none() | _positions),
    _draw(rewind, _webhooks, _positions),
    _draw(redeliver, _webhooks, _positions),
    _draw(delete, _webhooks),
)


def live_through(ledger: Ledger) -> None:
    """Let a webhook live through all that can happen to it. Random sequences rarely get there."""
    webhook_id = named_id("webhook 0")
    for command in (
        create(ledger, webhook_id, SETTINGS[0], None),
        change(ledger, webhook_id, {"topics"}, SETTINGS[1]),
        rotate(ledger, webhook_id, 100),
        redeliver(ledger, webhook_id, 3),
        rewind(ledger, webhook_id, 2),
        disable(ledger, webhook_id, "gone"),
        enable(ledger, webhook_id, None),
        delete(ledger, webhook_id),
    ):
        ledger.execute(command)
