"""The events of a user's second factor, one-time codes (TOTP, RFC 6238), and the state they fold into.

They have a stream of their own. The log never has the secret that codes are made from: that is encrypted, in a table
beside the log. An event has the digests of recovery codes, each of which has 140 random bits, so a digest is useless
without the code.
"""

from typing import ClassVar, assert_never
from uuid import UUID

import msgspec

from ledger.values.derived import derived_id


class SecondFactorOffered(msgspec.Struct, frozen=True):
    """The user got the secret of this factor, and has yet to confirm it with a code."""

    TOPIC: ClassVar[str] = "SecondFactorOffered"

    user_id: UUID
    factor_id: UUID


class SecondFactorConfirmed(msgspec.Struct, frozen=True):
    """The user has sent the code of the time step `step`: logins need a code from now on, or a recovery code."""

    TOPIC: ClassVar[str] = "SecondFactorConfirmed"

    factor_id: UUID
    step: int
    recovery_digests: tuple[str, ...]


class OneTimeCodeUsed(msgspec.Struct, frozen=True):
    """The code of a time step was accepted: neither it nor an earlier one is accepted again."""

    TOPIC: ClassVar[str] = "OneTimeCodeUsed"

    factor_id: UUID
    step: int


class RecoveryCodeUsed(msgspec.Struct, frozen=True):
    """The recovery code with this digest was accepted, and is not accepted again."""

    TOPIC: ClassVar[str] = "RecoveryCodeUsed"

    factor_id: UUID
    digest: str


class SecondFactorRemoved(msgspec.Struct, frozen=True):
    """The user logs in with the password alone again."""

    TOPIC: ClassVar[str] = "SecondFactorRemoved"

    factor_id: UUID


SecondFactorEvent = (
    SecondFactorOffered | SecondFactorConfirmed | OneTimeCodeUsed | RecoveryCodeUsed | SecondFactorRemoved
)


class SecondFactor(msgspec.Struct, frozen=True):
    """The state of a user's second factor: one that is in force, one that was offered, or neither.

    `recovery_digests` are of the codes that are left.
    """

    TOPIC: ClassVar[str] = "SecondFactor"

    user_id: UUID
    offered_id: UUID | None = None
    factor_id: UUID | None = None
    last_step: int = 0
    recovery_digests: tuple[str, ...] = ()

    @property
    def secret_id(self) -> UUID | None:
        """Return the factor whose secret is kept."""
        return self.factor_id or self.offered_id


def second_factor_stream(user_id: UUID) -> UUID:
    """Return the stream of a user's second factor."""
    return derived_id("second-factor", str(user_id))


def evolve(state: SecondFactor | None, event: SecondFactorEvent) -> SecondFactor:
    """Fold one event into the state; the first event of a stream is an offer."""
    match event:
        case SecondFactorOffered():
            return SecondFactor(event.user_id, offered_id=event.factor_id)
        case SecondFactorConfirmed():
            state = _require_offer(state)
            return SecondFactor(state.user_id, None, event.factor_id, event.step, event.recovery_digests)
        case OneTimeCodeUsed():
            return msgspec.structs.replace(_require_offer(state), last_step=event.step)
        case RecoveryCodeUsed():
            state = _require_offer(state)
            left = tuple(digest for digest in state.recovery_digests if digest != event.digest)
            return msgspec.structs.replace(state, recovery_digests=left)
        case SecondFactorRemoved():
            return SecondFactor(_require_offer(state).user_id)
        case _:
            assert_never(event)


def _require_offer(state: SecondFactor | None) -> SecondFactor:
    if state is None:
        raise ValueError("the history of a second factor starts with an offer")
    return state
