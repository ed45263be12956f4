"""Second factors over HTTP: a user enrols one, and an application makes its codes."""

import base64
from dataclasses import dataclass, replace
from typing import Any

from ledger.identity.second_factors import STEP_SECONDS, code_at
from tests.support.controls import PASSWORD, Api, Clock, Response
from tests.support.token_api import LOGIN

ENROL, CONFIRM, REMOVE = (f"/v1/users/me/totp/{action}" for action in ("enrol", "confirm", "remove"))


@dataclass(frozen=True)
class Device:
    """A user's application: it has the secret, and a clock."""

    secret: str
    clock: Clock
    recovery_codes: tuple[str, ...] = ()

    def code(self, steps: int = 0) -> str:
        """Return the code that the application shows, or showed, or will show."""
        return code_at(base64.b32decode(self.secret), self.clock.now // STEP_SECONDS + steps)

    def next_code(self) -> str:
        """Wait for the next code, and return it."""
        self.clock.now += STEP_SECONDS
        return self.code()


async def enrol(api: Api, clock: Clock, password: str = PASSWORD) -> Device:
    """Enrol a second factor for the caller, and confirm it."""
    offered = await api.post(ENROL, {"current_password": password})
    assert 200 == offered.status, offered
    device = Device(offered.body["secret"], clock)
    confirmed = await api.post(CONFIRM, {"otp": device.next_code()})
    assert 200 == confirmed.status, confirmed
    return replace(device, recovery_codes=tuple(confirmed.body["recovery_codes"]))


async def log_in_with(api: Api, username: str, otp: str | None = None, password: str = PASSWORD) -> Response:
    body: dict[str, Any] = {"username": username, "password": password}
    return await api.nobody.post(LOGIN, body if otp is None else {**body, "otp": otp})
