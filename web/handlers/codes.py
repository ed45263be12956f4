"""Presented secrets: the code that a login needs, and attempts that count as failed logins if they are wrong."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import SecretStr

from ledger import errors
from ledger.commands.command import Credential
from ledger.commands.second_factors import OTP_REQUIRED, WRONG_OTP, Code
from ledger.errors import Refused
from ledger.identity import passwords
from ledger.identity.login_throttle import Attempt
from ledger.identity.second_factors import match_code, read_factor
from ledger.runtime import Runtime
from web.http.dry_run import find_dry_run
from web.http.ratelimit import LIMITS
from web.http.request import REQUEST_ID, RUNTIME

log = structlog.get_logger(__name__)

NOT_PRESENT = "must be the present password"


async def read_login_code(runtime: Runtime, user_id: UUID, presented: SecretStr | None) -> Code | None:
    """Return the code of a login, or None if the user needs none. Raises `Refused`."""
    factor = await read_factor(runtime.pool, user_id)
    if factor is None or factor.factor_id is None:
        return None
    text = presented.get_secret_value() if presented is not None else ""
    if not text:
        raise Refused(OTP_REQUIRED)
    code = await match_code(runtime.pool, runtime.secret_box, factor, text, int(time.time()))
    if code is None:
        raise Refused(WRONG_OTP)
    return code


@contextmanager
def warn_of_wrong_code(request: web.Request, user_id: UUID, address: str) -> Iterator[None]:
    """Log that a code was wrong in the context, where the password was right: somebody may have got hold of it."""
    try:
        yield
    except Refused as error:
        if WRONG_OTP in error.refusals:
            log.warning(
                "login refused: the password was right, and the one-time code was wrong",
                user_id=str(user_id),
                address=address,
                request_id=request[REQUEST_ID],
            )
        raise


def is_failed_guess(error: Exception) -> bool:
    """Return whether an attempt has failed because a secret was wrong, and not because the code was missing."""
    return isinstance(error, Refused) and OTP_REQUIRED not in error.refusals


async def admit(request: web.Request, username: str, address: str) -> Attempt:
    """Count an attempt to guess a secret of this user. Raises `TooManyAttemptsError`."""
    attempt = await request.app[RUNTIME].throttle.admit(username, address)
    request[LIMITS] = attempt.quotas
    return attempt


@asynccontextmanager
async def counted(request: web.Request, username: str, address: str) -> AsyncIterator[None]:
    """Count what runs within as a login: a refusal is a failed one. Raises `TooManyAttemptsError`.

    A failure counts in a dry run as well, and a success changes nothing.
    """
    throttle = request.app[RUNTIME].throttle
    attempt = await admit(request, username, address)
    try:
        yield
    except Exception as error:
        if not is_failed_guess(error):
            await throttle.refund(attempt)
        raise
    await (throttle.record_success(attempt) if find_dry_run(request) is None else throttle.refund(attempt))


async def check_present(runtime: Runtime, user_id: UUID, password: str) -> Credential:
    """Return the user's credential if it has this password. Raises `Refused`."""
    known = await passwords.read_credential(runtime.pool, user_id)
    matches = await runtime.passwords.verify(known, password)
    if known is None or not matches:
        raise Refused(errors.invalid("/current_password", NOT_PRESENT))
    return known
