"""What the publisher needs of a broker. A new one is an adapter that keeps these promises."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from ledger.errors import LedgerError


class DestinationError(LedgerError):
    """A broker cannot be reached, refuses a message, or is not set up as it must be. The publisher tries again."""


class ForeignMessageError(DestinationError):
    """The last message that a broker has is not of this ledger. `start_again` discards it."""


class Outgoing(NamedTuple):
    """An event as it leaves: `body` is its CloudEvent, whose id is `id`.

    `account_id` is the account whose stream has the event, and `code` the code that it had at this position.
    """

    position: int
    id: str
    topic: str
    stream_id: UUID
    account_id: UUID | None
    code: str | None
    body: bytes


class Cursor(NamedTuple):
    """The position up to which a broker has the events, and the CloudEvent that it has there, if it is kept."""

    position: int
    body: bytes | None = None


class Destination(Protocol):
    """A broker that keeps events in order, each once, and says itself which one was the last.

    Two publishers may work at once. What one of them stores, the other must notice before it stores anything: its next
    call raises `DestinationError`, and it opens the destination again.
    """

    @property
    def name(self) -> str:
        """The name of its follower."""

    async def open(self, reported: int) -> Cursor:
        """Connect, check the set-up, and return the cursor.

        `reported` is the position that the last publisher has reported. It counts only where the broker has no event
        left that could tell. Raises `DestinationError`; after `ForeignMessageError`, it is open for `start_again`.
        """

    async def publish(self, events: Sequence[Outgoing]) -> None:
        """Append events, the first of which is the next one after the cursor. Returns once the broker keeps them all.

        Raises `DestinationError`. The broker may then have the first of them, in order.
        """

    async def is_current(self) -> bool:
        """Return whether what this publisher has stored last is still the last. Raises `DestinationError`."""

    async def start_again(self, after: int) -> None:
        """Discard all events, and let any publisher continue after this position. Raises `DestinationError`."""

    async def close(self) -> None:
        """Disconnect, without an error if that fails."""
