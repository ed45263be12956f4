"""The models of requests and responses about amendments of transactions."""

from msgspec import UNSET, UnsetType

from ledger.commands.amendments import Amendment
from web.body import Body, describe
from web.fields import Description
from web.labels import MetadataPatch
from web.response_fields import Answer, Metadata, Text, Time, Version


class TransactionPatch(Body):
    """`PATCH /transactions/{id}` (RFC 7396). Null removes the description or the metadata, whose members are merged."""

    model_config = describe({"description": "rent, June", "metadata": {"cost-centre": "42"}})

    description: Description | None = None
    metadata: MetadataPatch | None = None

    def amendment(self) -> Amendment:
        """Return what the patch changes."""
        given = self.model_fields_set
        return Amendment("description" in given, self.description, "metadata" in given, self.metadata)


class AmendedTexts(Answer, frozen=True, kw_only=True):
    """What a transaction said from a version on: first as it was made, then after each amendment."""

    version: Version
    description: Text | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    created_at: Time
