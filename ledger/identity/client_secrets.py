"""The secrets of machine clients. Each has 256 random bits, so a fast digest protects it as well as a slow one."""

import hashlib
import hmac
import secrets
from uuid import UUID

from ledger.events.clients import Client, ClientSecret
from ledger.store.connections import Reader
from ledger.store.heads import read_heads
from ledger.values.ids import new_id

PREFIX = "ledger-secret-"  # by which scanners recognize a secret that has leaked into a repository or a log


def create_secret() -> tuple[str, ClientSecret]:
    """Return a new secret, and what the log may know of it."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, ClientSecret(new_id(), _compute_digest(secret))


async def find_secret(reader: Reader, client_id: UUID, presented: str, now: int) -> ClientSecret | None:
    """Return the valid secret of a client that was presented, or None."""
    heads = await read_heads(reader, [client_id])
    state = heads[client_id].state if client_id in heads else None
    known = state.secrets if isinstance(state, Client) else ()
    digest = _compute_digest(presented)
    matching = [one for one in known if hmac.compare_digest(one.digest, digest)]
    return next((one for one in matching if one.is_valid(now)), None)


def _compute_digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
