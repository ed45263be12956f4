"""The event of an amendment: what a transaction says from then on."""

from typing import ClassVar

import msgspec

AMENDABLE = ("description", "metadata")


class TransactionAmended(msgspec.Struct, frozen=True, omit_defaults=True):
    """From now on the transaction has this description and metadata, or none."""

    TOPIC: ClassVar[str] = "TransactionAmended"

    description: str | None = None
    metadata: dict[str, str] | None = None
