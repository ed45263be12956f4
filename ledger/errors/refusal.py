"""What a refusal is: its code, and what it is about."""

from uuid import UUID

import msgspec


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reason for a refusal. `code` is stable; `detail` names the offending part of the request.

    `description` is set only if it says more than the description that all refusals with this code share.
    """

    code: str
    message: str
    reason: str | None = None
    detail: dict[str, str] | None = None
    description: str | None = None

    def within(self, place: str) -> "Refusal":
        """Return the refusal for one part of the request: `place` is its JSON pointer (RFC 6901)."""
        detail = self.detail or {}
        return msgspec.structs.replace(self, detail={**detail, "pointer": place + detail.get("pointer", "")})

    def about(self, account_id: UUID) -> "Refusal":
        """Return the refusal with the id of the account that it is about, unless it names that already."""
        detail = self.detail or {}
        named = detail if str(account_id) in detail.values() else {**detail, "account_id": str(account_id)}
        return msgspec.structs.replace(self, detail=named)


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A command was refused, for one or more reasons, and nothing has changed."""

    def __init__(self, *refusals: Refusal, replayed: bool = False) -> None:
        super().__init__(", ".join(refusal.code for refusal in refusals))
        self.refusals = refusals
        self.replayed = replayed
