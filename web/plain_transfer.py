"""Transfers with the three required members, and at most an id and a reference, as most are.

They need no model with seventeen members.
"""

from typing import Annotated, ClassVar
from uuid import UUID

import msgspec

from ledger.money import MAX_CENTS
from ledger.values.derived import is_derived
from ledger.values.ids import parse_id
from ledger.values.text import MAX_REFERENCE_LENGTH, reference

QUOTES = 10  # around three names and two ids
QUOTES_OF_A_TEXT = 4  # around the name and the value of another member


class PlainTransfer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A plain transfer. It has the same attributes as `web.requests.ConditionalTransfer`."""

    description: ClassVar[None] = None
    metadata: ClassVar[None] = None
    effective_at: ClassVar[None] = None
    source_version: ClassVar[None] = None
    conditions: ClassVar[None] = None
    execute_at: ClassVar[None] = None

    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    id: UUID | None = None
    reference: str | None = None

    def canonical(self) -> bytes:
        """Return the canonical form, as the full model does."""
        return msgspec.json.encode(self, enc_hook=str, order="sorted")


class _Members(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source_account_id: str
    destination_account_id: str
    amount_cents: Annotated[int, msgspec.Meta(ge=1, le=MAX_CENTS)]
    id: str | None = None
    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REFERENCE_LENGTH)] | None = None


_decode = msgspec.json.Decoder(_Members).decode


def parse_plain_transfer(raw: bytes) -> PlainTransfer | None:
    """Return a body that is a plain transfer. Return None for any other body, which the full model parses or refuses.

    A text with more quotation marks than these members need has a member twice, or an escape.
    """
    try:
        members = _decode(raw)
        source_id, destination_id = parse_id(members.source_account_id), parse_id(members.destination_account_id)
        if members.id is None and members.reference is None:
            plain, quotes = PlainTransfer(source_id, destination_id, members.amount_cents), QUOTES
        else:
            plain, quotes = _complete(members, source_id, destination_id)
    except (msgspec.MsgspecError, ValueError):
        return None
    return plain if raw.count(b'"') == quotes else None


def _complete(members: _Members, source_id: UUID, destination_id: UUID) -> tuple[PlainTransfer, int]:
    """Return a plain transfer with an id or a reference, and its quotation marks. Raises `ValueError`."""
    quotes, chosen, text = QUOTES, None, None
    if members.id is not None:
        chosen = parse_id(members.id)
        if is_derived(chosen):
            raise ValueError("an id of the ledger's own")
        quotes += QUOTES_OF_A_TEXT
    if members.reference is not None:
        text = reference(members.reference)
        quotes += QUOTES_OF_A_TEXT
    return PlainTransfer(source_id, destination_id, members.amount_cents, chosen, text), quotes
