"""The filters of lists of transactions."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger.projections.transaction_terms import metadata_terms, reversal_term, word_terms
from ledger.store.sql import Party


class Filters(NamedTuple):
    """The filters of a list of transactions, which all apply. None filters nothing.

    With `party_id`, only transactions of accounts that belonged to this party at that time, and of a journal entry only
    their postings.
    """

    party_id: Party | None = None
    user_id: UUID | None = None
    account_id: UUID | None = None
    currency: str | None = None
    status: str | None = None
    kind: str | None = None
    references: tuple[str, str, str] | None = None  # spellings of one reference
    min_amount_cents: int | None = None
    max_amount_cents: int | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None
    authorized_from: datetime | None = None
    authorized_to: datetime | None = None
    phrases: tuple[str, ...] | None = None  # of the description
    metadata: Mapping[str, str] | None = None
    reverses: UUID | None = None
    effective_from: datetime | None = None
    effective_to: datetime | None = None
    code_keys: tuple[str, str, str] | None = None  # of an account: the first, or one from the second up to the third
    has_many_codes: bool = False  # too many accounts have such a code to look at each

    @property
    def is_by_authorization(self) -> bool:
        """Return whether the list is of holds, by the time at which they were placed."""
        return (self.authorized_from, self.authorized_to) != (None, None)

    @property
    def is_of_accounts(self) -> bool:
        """Return whether the filters choose accounts, of which there are not too many."""
        chosen = any(one is not None for one in (self.party_id, self.user_id, self.account_id))
        return chosen or (self.code_keys is not None and not self.has_many_codes)

    @property
    def is_by_effective_time(self) -> bool:
        """Return whether the list is of what counts in a period."""
        return (self.effective_from, self.effective_to) != (None, None)

    @property
    def is_by_effective_time_alone(self) -> bool:
        """Return whether all that counts in the period matches."""
        return self._replace(from_time=None, to_time=None, effective_from=None, effective_to=None) == Filters()

    @property
    def terms(self) -> list[int]:
        """Return the terms that a transaction must have to match, those of long words first."""
        words = {word for phrase in self.phrases or () for word in phrase.split()}
        return [
            *(() if self.reverses is None else (reversal_term(self.reverses),)),
            *metadata_terms(self.metadata or {}),
            *word_terms(sorted(words, key=lambda word: (-len(word), word))),
        ]

    @property
    def may_be_uncaptured(self) -> bool:
        """Return whether holds without a capture can match."""
        return self.kind in {None, "hold"} and self.status not in {"posted", "captured"}

    @property
    def may_be_captured(self) -> bool:
        """Return whether holds with a capture can match."""
        return self.kind in {None, "hold"} and self.status in {None, "pending", "captured"}

    @property
    def may_be_scheduled(self) -> bool:
        """Return whether transactions can match that were scheduled and have moved no money."""
        return self.kind in {None, "transfer", "journal"} and self.status in {None, "scheduled", "failed", "voided"}

    @property
    def may_be_posted(self) -> bool:
        """Return whether transfers and journal entries can match."""
        return self.kind != "hold" and self.status in {None, "posted"}
