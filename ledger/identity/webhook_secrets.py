"""The secrets that sign what webhooks send (Standard Webhooks), which are encrypted in a table outside the log."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from uuid import UUID

from ledger.commands.command import SealedSecret, WebhookSecrets
from ledger.identity.secret_box import SecretBox
from ledger.store.statements import Statement, blobs, columns, uuids
from ledger.values.ids import new_id

PREFIX = "whsec_"  # of Standard Webhooks, by which scanners recognize a secret that has leaked
SECRET_BYTES = 32  # Standard Webhooks: 24 to 64


def create_secret(box: SecretBox, webhook_id: UUID) -> tuple[str, SealedSecret]:
    """Return a new secret as it is shown, and what the table keeps of it."""
    secret, secret_id = secrets.token_bytes(SECRET_BYTES), new_id()
    return PREFIX + b64encode(secret).decode(), SealedSecret(secret_id, box.seal(secret, webhook_id, secret_id))


def store(changes: Sequence[WebhookSecrets]) -> list[Statement]:
    """Return statements that add the new secrets of webhooks, and delete those that a webhook no longer has."""
    last = {change.webhook_id: change.kept for change in changes}
    kept = [secret_id for ids in last.values() for secret_id in ids]
    added = [
        (change.webhook_id, change.added)
        for change in changes
        if change.added is not None and change.added.id in last[change.webhook_id]
    ]
    rows = (uuids(one for one, _ in added), uuids(one.id for _, one in added), blobs(one.sealed for _, one in added))
    return [
        *([Statement(_DELETE, (uuids(last), uuids(kept)))] if last else []),
        *([Statement(_INSERT, rows)] if added else []),
    ]


_INSERT = f"""INSERT INTO webhook_secrets (webhook_id, id, secret)
              SELECT * FROM {columns("uuid", "uuid", "bytea")}"""
_DELETE = "DELETE FROM webhook_secrets WHERE webhook_id = ANY($1::uuid[]) AND id <> ALL($2::uuid[])"
