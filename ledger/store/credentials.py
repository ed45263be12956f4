"""Stored password hashes, each with the digest that the events name: a swapped hash is found, and refused."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.events import TOPICS, decode_event
from ledger.events.users import CREDENTIAL_EVENTS
from ledger.store.connections import Reader
from ledger.values.derived import text_digest

UNREADABLE = "an event that cannot be read"  # is no digest, so no hash is accepted for it


class StoredCredential(NamedTuple):
    """A stored credential. `named_digest` is from the last event that set one; events of earlier versions have none."""

    user_id: UUID
    id: UUID
    hash: str
    named_digest: str | None

    @property
    def digest(self) -> str:
        """The digest of the stored hash."""
        return text_digest(self.hash)

    @property
    def is_genuine(self) -> bool:
        """Whether the hash is the one that the events name, as far as they name one."""
        return self.named_digest in {None, self.digest}


async def read_credentials(reader: Reader, user_ids: Collection[UUID]) -> dict[UUID, StoredCredential]:
    """Return the credentials of users by their ids."""
    rows = await reader.fetch(f"{_CREDENTIALS} WHERE user_id = ANY($1)", user_ids)
    return {row["user_id"]: _to_credential(row) for row in rows}


async def find_credential(reader: Reader, name_id: UUID) -> StoredCredential | None:
    """Return the credential of the user whose name has this stream, or None."""
    row = await reader.fetchrow(f"{_CREDENTIALS} JOIN users ON users.id = user_id WHERE name_id = $1", name_id)
    return _to_credential(row) if row else None


def _to_credential(row: Record) -> StoredCredential:
    return StoredCredential(row["user_id"], row["id"], row["hash"], _read_digest(row["topic"], row["state"]))


def _read_digest(topic: str | None, state: bytes) -> str | None:
    if topic is None:
        return None
    try:
        event = decode_event(topic, state)
    except (ValueError, msgspec.MsgspecError):
        return UNREADABLE
    return event.credential_digest if isinstance(event, CREDENTIAL_EVENTS) else UNREADABLE


_TOPICS = ", ".join(f"'{TOPICS[event]}'" for event in CREDENTIAL_EVENTS)
_CREDENTIALS = f"""
SELECT user_id, credentials.id, hash, topic, state FROM credentials
LEFT JOIN LATERAL (SELECT topic, state FROM stored_events
                   WHERE originator_id = user_id AND topic IN ({_TOPICS})
                   ORDER BY originator_version DESC LIMIT 1) AS named ON true"""
