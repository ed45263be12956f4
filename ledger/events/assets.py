"""The event of a registered asset, and the state it folds into.

An asset is what accounts hold beside the currencies of ISO 4217, such as hours or points. Its stream follows from its
code, so that each code is registered once. The number of its decimal places never changes, because stored amounts
depend on it.
"""

from typing import ClassVar
from uuid import UUID

import msgspec

from ledger.values.derived import derived_id

MAX_NAME_LENGTH = 200


class AssetRegistered(msgspec.Struct, frozen=True):
    """An admin registered an asset. One unit of it is `10 ** digits` of its minor unit."""

    TOPIC: ClassVar[str] = "AssetRegistered"

    code: str
    name: str
    digits: int


class Asset(msgspec.Struct, frozen=True):
    """The state of a registered asset."""

    TOPIC: ClassVar[str] = "Asset"

    code: str
    name: str
    digits: int


def asset_stream(code: str) -> UUID:
    """Return the stream of an asset."""
    return derived_id("asset", code)


def evolve(_: Asset | None, event: AssetRegistered) -> Asset:
    """Fold the event into the state."""
    return Asset(event.code, event.name, event.digits)
