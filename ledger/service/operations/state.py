"""What is known of the last operations, as it is kept in Valkey.

All of it is signed with a key from the database. So access to Valkey alone starts nothing, and makes no verification
look as if it had succeeded.
"""

import hmac
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ledger.store.identity import Identity

Kind: TypeAlias = Literal["rebuild", "verification"]
State: TypeAlias = Literal["running", "compared", "succeeded", "failed", "cancelled", "interrupted"]

KEPT_SECONDS = 7 * 86_400
LEASE_SECONDS = 15  # after which another process may run, if this one does not renew its lease
OWNER_SECONDS = 10
REQUEST_SECONDS = 60  # after which a request that nobody took is dropped
_MAC_BYTES = 32
NO_VALKEY = (RedisError, OSError, TimeoutError)


class Operation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An operation, what it was asked to do, and how far it has got.

    `done` out of `total` events are processed. A rebuild has `differing` rows, of which `differences` are some; it is
    `compared` if its tables may be swapped. A verification began at a `position` of the log, and has `findings`, of
    which the `omitted` ones are counted by their rules.
    """

    id: UUID
    kind: Kind
    subject: str = ""
    state: State = "running"
    started_by: UUID
    started_at: datetime
    updated_at: datetime
    swap: bool = False
    fast: bool = False
    discard: bool = False
    stage: str = "starting"
    done: int = 0
    total: int = 0
    position: int | None = None
    seconds: float = 0.0
    swapped: bool = False
    differing: int | None = None
    differences: list[dict[str, Any]] = []
    found: int | None = None
    findings: list[dict[str, Any]] = []
    omitted: dict[str, int] = {}
    notes: list[str] = []
    error: str | None = None


# A lease that has run out is taken again, unless another operation has taken it. One that ends gives its lease back at
# once: a caller who sees the outcome can start the next one.
_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
if ARGV[5] == 'ends' then redis.call('DEL', KEYS[1]) end
return 1
"""


class Board:
    """The operations of one ledger. Its methods raise one of `NO_VALKEY`."""

    def __init__(self, redis: "Redis", identity: Identity) -> None:
        self._redis = redis
        self._prefix = f"ledger-operations:{identity.ledger_id}"
        self._key = identity.cache_key

    async def read(self, kind: Kind, subject: str = "") -> Operation | None:
        """Return the last operation, or None. One that ended without a word is `interrupted`."""
        # Both at once: an operation that ended between two reads would look as if it had ended without a word.
        raw, holder = await self._redis.mget(self._state_key(kind, subject), self._lease_key(kind))
        operation = self._open(b"state", raw)
        if operation is None or (operation.kind, operation.subject) != (kind, subject):
            return None
        if operation.state == "running" and _parse_id(holder) != operation.id:
            operation.state = "interrupted"
        return operation

    async def find_running(self, kind: Kind) -> UUID | None:
        """Return the id of the operation that holds the lease."""
        return _parse_id(await self._redis.get(self._lease_key(kind)))

    async def begin(self, operation: Operation) -> bool:
        """Take the lease and write the operation; return False if another one holds the lease."""
        key = self._lease_key(operation.kind)
        if not await self._redis.set(key, str(operation.id), nx=True, ex=LEASE_SECONDS):
            return False
        return await self.write(operation)

    async def write(self, operation: Operation) -> bool:
        """Renew the lease and write the operation; return False if the lease is lost."""
        return await self._write(operation, "goes on")

    async def end(self, operation: Operation) -> None:
        """Write the outcome and give the lease back."""
        await self._write(operation, "ends")

    async def _write(self, operation: Operation, then: str) -> bool:
        keys = (self._lease_key(operation.kind), self._state_key(operation.kind, operation.subject))
        values = (str(operation.id), LEASE_SECONDS, self._seal(b"state", operation), KEPT_SECONDS, then)
        return bool(await self._redis.eval(_RENEW, len(keys), *keys, *values))

    async def request_cancellation(self, operation_id: UUID) -> None:
        """Ask the process of an operation to cancel it."""
        await self._redis.set(self._cancel_key(operation_id), b"1", ex=KEPT_SECONDS)

    async def is_cancelled(self, operation_id: UUID) -> bool:
        """Return whether an operation is to be cancelled."""
        return bool(await self._redis.exists(self._cancel_key(operation_id)))

    async def announce_owner(self) -> None:
        """Say that a process takes requests and may replace tables."""
        await self._redis.set(f"{self._prefix}:owner", b"1", ex=OWNER_SECONDS)

    async def has_owner(self) -> bool:
        """Return whether such a process is there."""
        return bool(await self._redis.exists(f"{self._prefix}:owner"))

    async def request(self, operation: Operation) -> None:
        """Ask that process to start an operation."""
        await self._redis.rpush(f"{self._prefix}:requests", self._seal(b"request", operation))

    async def take_request(self) -> Operation | None:
        """Return the next requested operation, or None. What is not signed, or is old, is dropped."""
        operation = self._open(b"request", await self._redis.lpop(f"{self._prefix}:requests"))
        if operation is None:
            return None
        age = (datetime.now(UTC) - operation.started_at).total_seconds()
        return operation if age < REQUEST_SECONDS else None

    def _seal(self, purpose: bytes, operation: Operation) -> bytes:
        raw = msgspec.json.encode(operation)
        return self._sign(purpose, raw) + raw

    def _open(self, purpose: bytes, sealed: object) -> Operation | None:
        """Return the operation, or None if it is absent, or was not sealed for this purpose."""
        if not isinstance(sealed, bytes):
            return None
        mac, raw = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        return msgspec.json.decode(raw, type=Operation) if hmac.compare_digest(mac, self._sign(purpose, raw)) else None

    def _sign(self, purpose: bytes, raw: bytes) -> bytes:
        return hmac.digest(self._key, b"ledger: an operation as a %b\n" % purpose + raw, "sha256")

    def _state_key(self, kind: Kind, subject: str) -> str:
        return f"{self._prefix}:{kind}:state:{subject}"

    def _lease_key(self, kind: Kind) -> str:
        return f"{self._prefix}:{kind}:lease"

    def _cancel_key(self, operation_id: UUID) -> str:
        return f"{self._prefix}:cancel:{operation_id}"


def _parse_id(raw: bytes | str | None) -> UUID | None:
    return None if raw is None else UUID(raw.decode() if isinstance(raw, bytes) else raw)
