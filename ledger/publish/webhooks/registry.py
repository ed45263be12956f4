"""The webhooks that send events now: what each sends, and with which secrets."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from ledger.identity.secret_box import SecretBox, UnreadableSecretError
from ledger.projections import clients, webhooks
from ledger.projections.clients import Standing
from ledger.projections.webhooks import ActiveWebhook
from ledger.publish.webhooks.choice import make_choice
from ledger.publish.webhooks.outgoing import Outgoing
from ledger.store.connections import Reader
from ledger.store.webhook_secrets import read_stored_secrets

SCOPE = "webhooks:write"  # without which a client has no webhooks

log = structlog.get_logger(__name__)


class Registered(NamedTuple):
    """The webhooks that send events, and those that must not: their client was revoked, or may have none."""

    outgoing: Mapping[UUID, Outgoing]
    orphans: Sequence[UUID]


async def load(reader: Reader, box: SecretBox) -> Registered:
    """Return all webhooks that are enabled."""
    active = await webhooks.list_active(reader)
    if not active:
        return Registered({}, ())
    standings = await clients.read_standings(reader, {one.client_id for one in active if one.client_id is not None})
    sealed = await read_stored_secrets(reader, [one.id for one in active])
    outgoing, orphans = {}, []
    for one in active:
        standing = None if one.client_id is None else standings.get(one.client_id)
        if one.client_id is not None and not may_have_webhooks(standing):
            orphans.append(one.id)
        else:
            outgoing[one.id] = make_outgoing(one, standing, open_secrets(box, one, sealed.get(one.id, {})))
    return Registered(outgoing, orphans)


def make_outgoing(
    webhook: ActiveWebhook, standing: Standing | None, secrets: Sequence[tuple[bytes, int | None]]
) -> Outgoing:
    """Return what a webhook sends. The client's limits are those of now, so narrowing them narrows the webhook."""
    limits = None if standing is None else standing.limits
    settings = webhook.settings
    return Outgoing(webhook, make_choice(settings.topics, settings.code_prefix, limits), tuple(secrets))


def open_secrets(
    box: SecretBox, webhook: ActiveWebhook, sealed: Mapping[UUID, bytes]
) -> list[tuple[bytes, int | None]]:
    """Decrypt the secrets of a webhook. One that cannot be read is reported, and does not sign."""
    found = []
    for secret in webhook.secrets:
        try:
            if secret.id not in sealed:
                raise UnreadableSecretError("it is missing")  # noqa: TRY301 - as the other reasons
            found.append((box.open(sealed[secret.id], webhook.id, secret.id), secret.expires_at))
        except UnreadableSecretError as error:
            log.error("the secret of a webhook cannot be used", reason=str(error), webhook_id=str(webhook.id))  # noqa: TRY400
    return found


def may_have_webhooks(standing: Standing | None) -> bool:
    """Return whether a client exists, and has the scope that webhooks need."""
    return standing is not None and SCOPE in standing.scopes
