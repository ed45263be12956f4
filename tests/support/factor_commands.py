"""Commands of second factors, drawn for the tests of decisions: each is the next step of a user, if there is one."""

from uuid import UUID

from ledger.commands.command import Command, FactorSecret
from ledger.commands.second_factors import Code, ConfirmSecondFactor, OfferSecondFactor, RemoveSecondFactor
from ledger.commands.tokens import StartSession
from ledger.events.second_factors import SecondFactor, second_factor_stream
from tests.support.ledgers import NOBODY, Ledger

CODES = ("recovery 1", "recovery 2")


def factor_of(ledger: Ledger, user_id: UUID) -> SecondFactor:
    state = ledger.states().get(second_factor_stream(user_id))
    return state if isinstance(state, SecondFactor) else SecondFactor(user_id)


def enrol(ledger: Ledger, user_id: UUID, offers_again: bool) -> Command:
    """Confirm what was offered, or offer a factor."""
    known, user = factor_of(ledger, user_id), ledger.users().get(user_id)
    if known.offered_id is not None and not offers_again:
        code = Code(known.offered_id, step=known.last_step + 1)
        return ConfirmSecondFactor(user_id=user_id, code=code, recovery_digests=CODES)
    secret = FactorSecret(ledger.fresh_id(), second_factor_stream(user_id), b"sealed")
    return OfferSecondFactor(user_id=user_id, credential_id=user.credential_id if user else NOBODY, secret=secret)


def code_of(ledger: Ledger, user_id: UUID, step: int | None) -> Code:
    """Return a code that is `step` steps after the last one, or without a number a recovery code."""
    known = factor_of(ledger, user_id)
    factor_id = known.factor_id or NOBODY
    return Code(factor_id, digest=CODES[0]) if step is None else Code(factor_id, step=known.last_step + step)


def log_in(ledger: Ledger, user_id: UUID, step: int | None, now: int) -> Command:
    user = ledger.users().get(user_id)
    return StartSession(
        session_id=ledger.fresh_id(),
        user_id=user_id,
        credential_id=user.credential_id if user else NOBODY,
        pair=ledger.fresh_pair(now),
        session_expires_at=now + 100,
        code=code_of(ledger, user_id, step),
    )


def remove(ledger: Ledger, user_id: UUID, step: int | None, by_admin: bool) -> Command:
    return RemoveSecondFactor(user_id=user_id, code=None if by_admin else code_of(ledger, user_id, step))


def live_through(ledger: Ledger, user_id: UUID) -> None:
    """Let a user enrol a factor, log in with both kinds of codes, and lose it: random sequences rarely get there."""
    ledger.execute(enrol(ledger, user_id, offers_again=False))
    ledger.execute(enrol(ledger, user_id, offers_again=False))
    ledger.execute(log_in(ledger, user_id, 1, now=0))
    ledger.execute(log_in(ledger, user_id, None, now=0))
    ledger.execute(remove(ledger, user_id, None, by_admin=True))
