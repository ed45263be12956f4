"""Second factors: enrol, confirm, use and remove them; and the roles that a session has without one."""

from collections.abc import Collection, Iterable
from typing import ClassVar
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.accounts import require_user
from ledger.commands.command import Command, Decision, FactorSecret, States, StreamEvent, state_of
from ledger.errors import Refusal, Refused
from ledger.events.second_factors import (
    OneTimeCodeUsed,
    RecoveryCodeUsed,
    SecondFactor,
    SecondFactorConfirmed,
    SecondFactorOffered,
    SecondFactorRemoved,
    second_factor_stream,
)
from ledger.events.users import Role, User, UserTokensRevoked

OTP_REQUIRED = Refusal("authentication_otp_required", "a one-time code is required")
WRONG_OTP = Refusal("authentication_wrong_otp", "the one-time code is wrong, or was used before")
LEAST_ROLE: Role = "guest"  # what every user may do, whatever the roles


def wrong_code() -> Refusal:
    """Refuse a code of somebody who has logged in already."""
    return errors.invalid("/otp", "must be a code of the second factor that was not used before")


def already_enrolled() -> Refusal:
    """Refuse another second factor."""
    return Refusal("second_factor_already_exists", "the user has a second factor already")


def not_enrolled(user_id: UUID) -> Refusal:
    """Refuse what needs a second factor."""
    return Refusal("resource_not_found", f"the user has no second factor: {user_id}")


class Code(msgspec.Struct, frozen=True, array_like=True):
    """A code that somebody presented: that of a time step of this factor, or a recovery code with this digest."""

    factor_id: UUID
    step: int | None = None
    digest: str | None = None


class OfferSecondFactor(Command, frozen=True, kw_only=True):
    """Offer a second factor to a user who has presented the password of the credential `credential_id`.

    An earlier offer ends. A factor that is in force has to be removed first.
    """

    name: ClassVar[str] = "OfferSecondFactor"
    always_appends: ClassVar[bool] = True

    user_id: UUID
    credential_id: UUID
    secret: FactorSecret

    def streams(self) -> Iterable[UUID]:
        """Return the user, and the stream of the factor."""
        return (self.user_id, second_factor_stream(self.user_id))

    def decide(self, states: States) -> Decision:
        """Return the offer."""
        if require_user(states, self.user_id).credential_id != self.credential_id:
            raise Refused(errors.wrong_credentials())
        stream = second_factor_stream(self.user_id)
        known = state_of(states, stream, SecondFactor)
        if known is not None and known.factor_id is not None:
            raise Refused(already_enrolled())
        offered = SecondFactorOffered(self.user_id, self.secret.id)
        return Decision([(stream, offered)], {"id": str(self.secret.id)}, self.secret)


class ConfirmSecondFactor(Command, frozen=True, kw_only=True):
    """Put the offered factor in force: the user has presented a code of it."""

    name: ClassVar[str] = "ConfirmSecondFactor"
    always_appends: ClassVar[bool] = True

    user_id: UUID
    code: Code
    recovery_digests: tuple[str, ...]

    def streams(self) -> Iterable[UUID]:
        """Return the user, and the stream of the factor."""
        return (self.user_id, second_factor_stream(self.user_id))

    def decide(self, states: States) -> Decision:
        """Return the confirmation."""
        require_user(states, self.user_id)
        stream = second_factor_stream(self.user_id)
        known = state_of(states, stream, SecondFactor)
        if known is None or known.offered_id != self.code.factor_id or self.code.step is None:
            raise Refused(wrong_code())
        confirmed = SecondFactorConfirmed(self.code.factor_id, self.code.step, self.recovery_digests)
        return Decision([(stream, confirmed)], {"id": str(self.code.factor_id)})


class RemoveSecondFactor(Command, frozen=True, kw_only=True):
    """Remove a user's second factor, which ends all sessions of the user.

    The user presents a code; without one, an admin removes it.
    """

    name: ClassVar[str] = "RemoveSecondFactor"
    always_appends: ClassVar[bool] = True

    user_id: UUID
    code: Code | None = None

    def streams(self) -> Iterable[UUID]:
        """Return the user, and the stream of the factor."""
        return (self.user_id, second_factor_stream(self.user_id))

    def decide(self, states: States) -> Decision:
        """Return the use of the code, the removal, and a cut-off."""
        require_user(states, self.user_id)
        stream = second_factor_stream(self.user_id)
        known = state_of(states, stream, SecondFactor)
        if known is None or known.factor_id is None:
            raise Refused(not_enrolled(self.user_id))
        used = [] if self.code is None else use_code(known, self.code, wrong_code())
        removed, secret = remove_factor(known)
        events = [*used, *removed, (self.user_id, UserTokensRevoked())]
        return Decision(events, {"id": str(self.user_id)}, secret)


def find_factor(states: States, user_id: UUID) -> SecondFactor | None:
    """Return the second factor that logins of a user need, or None."""
    known = state_of(states, second_factor_stream(user_id), SecondFactor)
    return known if known is not None and known.factor_id is not None else None


def check_login_code(states: States, user_id: UUID, code: Code | None) -> list[StreamEvent]:
    """Return the use of the code that a login needs, or nothing if it needs none. Raises `Refused`."""
    known = find_factor(states, user_id)
    if known is None:
        return []
    if code is None:
        raise Refused(OTP_REQUIRED)
    return use_code(known, code, WRONG_OTP)


def use_code(known: SecondFactor, code: Code, refusal: Refusal) -> list[StreamEvent]:
    """Return the use of a code. Raises `Refused`, for this reason, if it was used before or is of another factor."""
    stream = second_factor_stream(known.user_id)
    if code.factor_id == known.factor_id:
        if code.step is not None and code.step > known.last_step:
            return [(stream, OneTimeCodeUsed(code.factor_id, code.step))]
        if code.digest in known.recovery_digests:
            return [(stream, RecoveryCodeUsed(code.factor_id, code.digest))]
    raise Refused(refusal)


def remove_factor(known: SecondFactor | None) -> tuple[list[StreamEvent], FactorSecret | None]:
    """Return the removal of a factor or of an offer, and of its secret; nothing if there is neither."""
    if known is None or known.secret_id is None:
        return [], None
    stream = second_factor_stream(known.user_id)
    return [(stream, SecondFactorRemoved(known.secret_id))], FactorSecret(known.secret_id, stream, None)


def limit_roles(user: User, needing: Collection[Role], *, has_second_factor: bool) -> str:
    """Return the roles of a session: without a second factor, those that need none, or else the least of all."""
    if has_second_factor or not needing:
        return ",".join(user.roles)
    return ",".join(role for role in user.roles if role not in needing) or LEAST_ROLE
