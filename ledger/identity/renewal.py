"""Encrypts stored secrets again, with the key that is the first one now."""

from typing import NamedTuple
from uuid import UUID

import structlog

from ledger.identity.secret_box import SecretBox, UnreadableSecretError
from ledger.store.connections import Pool

_PAGE = 500

log = structlog.get_logger(__name__)


class SecretTable(NamedTuple):
    """A table of encrypted secrets, and the column with their streams."""

    name: str
    stream: str


SECOND_FACTORS = SecretTable("second_factors", "stream_id")
WEBHOOK_SECRETS = SecretTable("webhook_secrets", "webhook_id")


async def renew_secrets(pool: Pool, box: SecretBox, table: SecretTable) -> int:
    """Encrypt each secret with the first key that has another one; return the number of those that were renewed."""
    renewed, after = 0, (UUID(int=0), UUID(int=0))
    stale = f"""SELECT {table.stream}, id, secret FROM {table.name}
                WHERE ({table.stream}, id) > ($1, $2) AND substr(secret, 1, 8) <> $3
                ORDER BY {table.stream}, id LIMIT $4"""
    while rows := await pool.fetch(stale, *after, box.key_id, _PAGE):
        for stream_id, secret_id, sealed in rows:
            renewed += await _renew(pool, box, table, stream_id, secret_id, sealed)
            after = (stream_id, secret_id)
    return renewed


async def _renew(
    pool: Pool, box: SecretBox, table: SecretTable, stream_id: UUID, secret_id: UUID, sealed: bytes
) -> int:
    try:
        secret = box.open(sealed, stream_id, secret_id)
    except UnreadableSecretError as error:
        log.error("a secret cannot be renewed", of=table.name, reason=str(error), stream_id=str(stream_id))  # noqa: TRY400
        return 0
    sql = f"UPDATE {table.name} SET secret = $4 WHERE {table.stream} = $1 AND id = $2 AND secret = $3"
    async with pool.acquire() as lent:
        await lent.connection.execute(sql, stream_id, secret_id, sealed, box.seal(secret, stream_id, secret_id))
    return 1
