"""Change the labels of accounts. A code is free if its stream says so, so no two accounts can have it."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import States, StreamEvent, state_of
from ledger.errors import Refused, StaleCommandError
from ledger.events.account_labels import AccountCode, AccountCodeFreed, AccountCodeTaken, AccountDescribed, Labels
from ledger.events.accounts import Account
from ledger.values.account_codes import code_stream


class LabelChange(msgspec.Struct, frozen=True, array_like=True):
    """The labels that an account is to have, and those that it had when `known_changes` was read."""

    labels: Labels
    known: Labels = Labels()
    known_changes: int = 0

    def streams(self) -> Iterable[UUID]:
        """Return the streams of the codes before and after, if they differ."""
        return () if _is_same_code(self.known.code, self.labels.code) else (*self._streams_of_codes(),)

    def decide(self, states: States, account_id: UUID, account: Account) -> list[StreamEvent]:
        """Return the events that change the labels; none if these are the labels.

        Raises `StaleCommandError` if they have changed since they were read, and `Refused` if another account has the
        code.
        """
        if self.known_changes != account.label_changes:
            raise StaleCommandError
        if self.labels == self.known:
            return []
        described = AccountDescribed.build(self.labels, account.label_changes + 1)
        return [(account_id, described), *self._move_code(states, account_id)]

    def _move_code(self, states: States, account_id: UUID) -> Iterable[StreamEvent]:
        before, after = self.known.code, self.labels.code
        if _is_same_code(before, after):
            return
        if before is not None:
            yield code_stream(before), AccountCodeFreed(account_id)
        if after is not None:
            code = state_of(states, code_stream(after), AccountCode)
            if code is not None and code.holder_id is not None:
                raise Refused(errors.account_code_taken())
            yield code_stream(after), AccountCodeTaken(account_id)

    def _streams_of_codes(self) -> Iterable[UUID]:
        return (code_stream(code) for code in (self.known.code, self.labels.code) if code is not None)


def _is_same_code(before: str | None, after: str | None) -> bool:
    """Return whether two codes are the same, although their spelling may differ."""
    return (before and before.lower()) == (after and after.lower())
