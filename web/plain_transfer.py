"""Transfers with the three required members and no others, as most are: they need no model with seventeen members."""

from typing import Annotated, ClassVar
from uuid import UUID

import msgspec

from ledger.money import MAX_CENTS
from ledger.values.ids import parse_id

QUOTES = 10  # around three names and two ids


class PlainTransfer(msgspec.Struct, frozen=True):
    """A transfer without optional members. It has the same attributes as `web.requests.ConditionalTransfer`."""

    id: ClassVar[None] = None
    reference: ClassVar[None] = None
    description: ClassVar[None] = None
    metadata: ClassVar[None] = None
    effective_at: ClassVar[None] = None
    source_version: ClassVar[None] = None
    conditions: ClassVar[None] = None

    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int

    def canonical(self) -> bytes:
        """Return the canonical form, as the full model does."""
        return msgspec.json.encode(self, enc_hook=str, order="sorted")


class _Members(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source_account_id: str
    destination_account_id: str
    amount_cents: Annotated[int, msgspec.Meta(ge=1, le=MAX_CENTS)]


_decode = msgspec.json.Decoder(_Members).decode


def parse_plain_transfer(raw: bytes) -> PlainTransfer | None:
    """Return a body that is a plain transfer. Return None for any other body, which the full model parses or refuses.

    No id has a quotation mark, so a text with more of them than these members need has a member twice.
    """
    try:
        members = _decode(raw)
        source_id, destination_id = parse_id(members.source_account_id), parse_id(members.destination_account_id)
    except (msgspec.MsgspecError, ValueError):
        return None
    return PlainTransfer(source_id, destination_id, members.amount_cents) if raw.count(b'"') == QUOTES else None
