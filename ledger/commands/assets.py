"""Register an asset, so that accounts can be opened in it, and check that a currency or an asset is known."""

from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

from ledger import errors
from ledger.commands.command import Command, Decision, States, state_of
from ledger.errors import Refused
from ledger.events.assets import Asset, AssetRegistered, asset_stream
from ledger.money import CURRENCIES, RESERVED_CODES, UNKNOWN_ASSET, WITHDRAWN


class RegisterAsset(Command, frozen=True, kw_only=True):
    """Register an asset under a code that neither ISO 4217 nor another asset has."""

    name: ClassVar[str] = "RegisterAsset"
    always_appends: ClassVar[bool] = True

    code: str
    asset_name: str
    digits: int

    @property
    def resource_id(self) -> UUID:
        """Return the stream of the asset."""
        return asset_stream(self.code)

    def streams(self) -> Iterable[UUID]:
        """Return the asset, which must be new."""
        return (asset_stream(self.code),)

    def decide(self, states: States) -> Decision:
        """Return the registration."""
        stream = asset_stream(self.code)
        if self.code in RESERVED_CODES:
            raise Refused(errors.invalid("/code", "must not be TRUE, FALSE or NULL"))
        if self.code in CURRENCIES or states[stream] is not None:
            raise Refused(errors.asset_already_exists(self.code))
        registered = AssetRegistered(self.code, self.asset_name, self.digits)
        result = {"code": self.code, "name": self.asset_name, "digits": self.digits, "source": "registered"}
        return Decision([(stream, registered)], result)


def streams_of_asset(code: str) -> tuple[UUID, ...]:
    """Return the stream that tells whether an asset is registered; none for a currency of ISO 4217."""
    return () if code in CURRENCIES else (asset_stream(code),)


def check_asset(states: States, code: str) -> None:
    """Raise `Refused` unless new accounts may be in this currency or asset."""
    if code in WITHDRAWN:
        raise Refused(errors.invalid("/currency", f"must be in use: {code} was withdrawn on {WITHDRAWN[code]}"))
    if code not in CURRENCIES and state_of(states, asset_stream(code), Asset) is None:
        raise Refused(errors.invalid("/currency", UNKNOWN_ASSET))
