"""The events of a transaction, which moves money or holds it first, and the state they fold into.

A transfer has two entries, a journal entry up to a hundred; entries are events of the accounts. A hold has none until
it is captured. A reference has a stream of its own: the first transaction that appends to it owns the reference, even
when requests race. References belong to the owner of the paying account, so no user can take, or learn of, another's.
A hold that ends without moving money gives its reference back.
"""

from datetime import datetime
from operator import attrgetter
from typing import ClassVar, Literal, TypeVar, assert_never
from uuid import UUID

import msgspec

from ledger.events.amendments import TransactionAmended
from ledger.values.derived import derived_id
from ledger.values.text import canonical_reference, spellings

TransferKind = Literal["transfer", "opening", "adjustment", "reversal"]
JournalKind = Literal["journal", "reversal"]
Status = Literal["posted", "pending", "captured", "voided", "expired", "scheduled", "failed"]


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The optional details of a transaction.

    `effective_at` is when it counts, if not when it was recorded. That of a hold is information: its captures count.
    """

    reference: str | None
    description: str | None = None
    metadata: dict[str, str] | None = None
    effective_at: datetime | None = None


DetailsT = TypeVar("DetailsT", bound=Details)
OPTIONAL_DETAILS = tuple(field.name for field in msgspec.structs.fields(Details) if not field.required)
_get_optional = attrgetter(*OPTIONAL_DETAILS)
_ABSENT = (None,) * len(OPTIONAL_DETAILS)


def optional_details(source: object) -> dict[str, object]:
    """Return the optional details that a request, command or event has. An empty one counts as absent."""
    if _get_optional(source) == _ABSENT:  # as in most transfers
        return {}
    return {name: value for name in OPTIONAL_DETAILS if (value := getattr(source, name))}


def copy_details(source: object, target: DetailsT) -> DetailsT:
    """Return a command with the optional details of a request, or an event with those of a command."""
    if _get_optional(source) == _ABSENT:  # checked here too, because this is on the hot path
        return target
    return msgspec.structs.replace(target, **optional_details(source))


class ReversibleDetails(Details, frozen=True, kw_only=True, omit_defaults=True):
    """The details of a transaction that moves money immediately, and may reverse another one."""

    reverses: UUID | None = None


class MoneyTransferred(ReversibleDetails, frozen=True, omit_defaults=True):
    """`amount_cents` moved from the source to the destination; both accounts are in `currency`."""

    TOPIC: ClassVar[str] = "MoneyTransferred"

    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    currency: str
    kind: TransferKind


class Posting(msgspec.Struct, frozen=True):
    """The amount credited to an account in this currency; a debit is negative."""

    account_id: UUID
    amount_cents: int
    currency: str


class JournalEntryPosted(ReversibleDetails, frozen=True, omit_defaults=True):
    """Money moved between several accounts at once. The postings sum to zero in each currency."""

    TOPIC: ClassVar[str] = "JournalEntryPosted"

    postings: tuple[Posting, ...]
    kind: JournalKind


class HoldPlaced(Details, frozen=True, omit_defaults=True):
    """`amount_cents` of the source was set aside for the destination until `expires_at`; no money has moved yet.

    `is_announced` says that the destination has an `IncomingHeld`. The holds of earlier versions have none.
    """

    TOPIC: ClassVar[str] = "HoldPlaced"

    source_account_id: UUID
    destination_account_id: UUID
    amount_cents: int
    currency: str
    expires_at: datetime
    is_announced: bool = False


class CaptureDetails(Details, frozen=True, kw_only=True, omit_defaults=True):
    """The optional details of a capture."""

    reference: str | None = None


class HoldCaptured(CaptureDetails, frozen=True, omit_defaults=True):
    """`amount_cents` of the hold moved to the destination, after `earlier_cents` in earlier captures.

    If it was the `final` capture, the rest was released; otherwise the rest stays held.
    """

    TOPIC: ClassVar[str] = "HoldCaptured"

    amount_cents: int
    earlier_cents: int = 0
    final: bool = True

    @property
    def captured_cents(self) -> int:
        """Return what all captures so far have moved."""
        return self.earlier_cents + self.amount_cents


class HoldVoided(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rest of the hold was released, after captures of `captured_cents`."""

    TOPIC: ClassVar[str] = "HoldVoided"

    captured_cents: int = 0


class HoldExpired(msgspec.Struct, frozen=True, omit_defaults=True):
    """The hold expired: its rest was released, after captures of `captured_cents`."""

    TOPIC: ClassVar[str] = "HoldExpired"

    captured_cents: int = 0


class TransactionReversed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another transaction moved money back: now all of it, or with `is_partial` a part.

    `reversed_cents` is what all reversals so far have moved back. It is None if a single one moved back all of it.
    """

    TOPIC: ClassVar[str] = "TransactionReversed"

    reversal_id: UUID
    reversed_cents: int | None = None
    is_partial: bool = False


class TransactionScheduled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A transfer or a journal entry is to be made at `execute_at`; nothing is held for it.

    `planned` is the event that will then follow. `actor_id` is the user or client that scheduled it, and must still be
    allowed to make it. `only_owner_id` and `by_client` are those of the command.
    """

    TOPIC: ClassVar[str] = "TransactionScheduled"

    transfer: MoneyTransferred | None = None
    journal_entry: JournalEntryPosted | None = None
    execute_at: datetime
    actor_id: UUID
    only_owner_id: UUID | None = None
    by_client: bool = False

    @property
    def planned(self) -> MoneyTransferred | JournalEntryPosted:
        """Return the event that moves the money."""
        planned = self.transfer or self.journal_entry
        assert planned is not None  # noqa: S101 - the command sets one of them
        return planned

    @property
    def account_ids(self) -> tuple[UUID, ...]:
        """Return the accounts between which money is to move."""
        if self.transfer is not None:
            return self.transfer.source_account_id, self.transfer.destination_account_id
        return tuple(posting.account_id for posting in self.journal_entry.postings) if self.journal_entry else ()


class ScheduleExecuted(msgspec.Struct, frozen=True):
    """The time of a scheduled transaction had come. The event after this one moves its money."""

    TOPIC: ClassVar[str] = "ScheduleExecuted"


class ScheduleFailed(msgspec.Struct, frozen=True):
    """The scheduled transaction was refused when its time had come, for these reasons. No money moved."""

    TOPIC: ClassVar[str] = "ScheduleFailed"

    failure_codes: tuple[str, ...]


class ScheduleCancelled(msgspec.Struct, frozen=True):
    """The scheduled transaction was cancelled before it was executed."""

    TOPIC: ClassVar[str] = "ScheduleCancelled"


TransactionEvent = (
    MoneyTransferred
    | JournalEntryPosted
    | HoldPlaced
    | HoldCaptured
    | HoldVoided
    | HoldExpired
    | TransactionReversed
    | TransactionAmended
    | TransactionScheduled
    | ScheduleExecuted
    | ScheduleFailed
    | ScheduleCancelled
)


class ReferenceUsed(msgspec.Struct, frozen=True):
    """The reference belongs to this transaction."""

    TOPIC: ClassVar[str] = "ReferenceUsed"

    transaction_id: UUID = msgspec.field(name="transfer_id")


class ReferenceReleased(msgspec.Struct, frozen=True):
    """The reference is free again: its transaction, a hold, ended without moving money."""

    TOPIC: ClassVar[str] = "ReferenceReleased"

    transaction_id: UUID = msgspec.field(name="transfer_id")


ReferenceEvent = ReferenceUsed | ReferenceReleased


class Transaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one transaction. The event that began it is in one of the first three members, or in `scheduled`.

    A hold has the status `captured` if it is over and money moved. `reversed_by` is set once everything is reversed. A
    scheduled transaction that was executed is like any other. `amended` has the texts after the last amendment.
    """

    TOPIC: ClassVar[str] = "Transfer"

    transfer: MoneyTransferred | None = None
    journal_entry: JournalEntryPosted | None = None
    hold: HoldPlaced | None = None
    status: Status = "posted"
    captured_cents: int | None = None
    reversed_by: UUID | None = None
    reversed_cents: int | None = None
    scheduled: TransactionScheduled | None = None
    amended: TransactionAmended | None = None

    @property
    def texts(self) -> TransactionAmended:
        """Return the description and the metadata that the transaction has now."""
        first = self.transfer or self.journal_entry or self.hold or (self.scheduled and self.scheduled.planned)
        return self.amended or TransactionAmended(getattr(first, "description", None), getattr(first, "metadata", None))

    @property
    def postings(self) -> tuple[Posting, ...]:
        """Return the postings made so far; a hold has none until it is captured."""
        if self.journal_entry is not None:
            return self.journal_entry.postings
        first = self.transfer or self.hold
        cents = self.transfer.amount_cents if self.transfer else self.captured_cents
        if first is None or cents is None:
            return ()
        return (
            Posting(first.source_account_id, -cents, first.currency),
            Posting(first.destination_account_id, cents, first.currency),
        )

    @property
    def account_ids(self) -> tuple[UUID, ...]:
        """Return the accounts between which it moves money, or may move it."""
        if self.scheduled is not None:
            return self.scheduled.account_ids
        if self.journal_entry is not None:
            return tuple(posting.account_id for posting in self.journal_entry.postings)
        first = self.transfer or self.hold
        return () if first is None else (first.source_account_id, first.destination_account_id)

    @property
    def held_cents(self) -> int:
        """Return what a pending hold still holds; 0 for any other transaction."""
        if self.hold is None or self.status != "pending":
            return 0
        return self.hold.amount_cents - (self.captured_cents or 0)

    @property
    def reversible_cents(self) -> int | None:
        """Return what is left to reverse; None for a journal entry of more than two postings, which has no parts."""
        if len(self.postings) != 2:  # noqa: PLR2004 - a payer and a payee
            return None
        return abs(self.postings[0].amount_cents) - (self.reversed_cents or 0)

    def is_overdue(self, now: datetime) -> bool:
        """Return whether this is a hold that has expired at `now`, although its expiry is not recorded."""
        return self.hold is not None and self.status == "pending" and self.hold.expires_at <= now

    def status_at(self, now: datetime) -> Status:
        """Return the status at `now`: a hold is over when it expires, and not when its expiry is recorded."""
        if not self.is_overdue(now):
            return self.status
        return "captured" if self.captured_cents else "expired"

    @property
    def reverses(self) -> UUID | None:
        """Return the id of the transaction that this one reverses, or None."""
        first = self.transfer or self.journal_entry
        return None if first is None else first.reverses


class Reference(msgspec.Struct, frozen=True):
    """The transaction that owns a reference; None if the reference is free again."""

    TOPIC: ClassVar[str] = "Reference"

    transaction_id: UUID | None = msgspec.field(name="transfer_id")


def reference_stream(reference: str, owner_id: UUID | None = None) -> UUID:
    """Return the stream of a reference, which all spellings that look the same share.

    Each owner of paying accounts has references of their own, and so has each client that is limited to some accounts.
    None stands for the ledger's: those of admins, and of all transactions from before references had owners.
    """
    name = canonical_reference(reference)
    return derived_id("reference", name) if owner_id is None else derived_id("reference-of", f"{owner_id}:{name}")


def reference_streams(reference: str, *owner_ids: UUID) -> tuple[UUID, ...]:
    """Return the streams that can show that a reference is taken: those of the owners, then those of the ledger.

    A reference stored before references were brought to canonical form has the stream of its own spelling.
    """
    own = [reference_stream(reference, owner_id) for owner_id in dict.fromkeys(owner_ids)]
    if reference.isascii():
        return (*own, reference_stream(reference))
    return (*own, *(derived_id("reference", spelling) for spelling in dict.fromkeys(spellings(reference))))


def evolve(state: Transaction | None, event: TransactionEvent) -> Transaction:  # noqa: C901, PLR0911, PLR0912 - one arm per event
    """Fold one event into the state; the first event of a stream begins the transaction."""
    match event:
        case MoneyTransferred():
            return Transaction(event) if state is None else Transaction(event, amended=state.amended)
        case JournalEntryPosted():
            return Transaction(journal_entry=event, amended=None if state is None else state.amended)
        case HoldPlaced():
            return Transaction(hold=event, status="pending")
        case HoldCaptured(final=final):
            return _replace(state, status="captured" if final else "pending", captured_cents=event.captured_cents)
        case HoldVoided(captured_cents=captured):
            return _replace(state, status="captured" if captured else "voided")
        case HoldExpired(captured_cents=captured):
            return _replace(state, status="captured" if captured else "expired")
        case TransactionReversed(reversal_id=reversal_id, reversed_cents=cents, is_partial=is_partial):
            return _replace(state, reversed_by=None if is_partial else reversal_id, reversed_cents=cents)
        case TransactionAmended():
            return _replace(state, amended=event)
        case TransactionScheduled():
            return Transaction(scheduled=event, status="scheduled")
        case ScheduleExecuted():
            return _replace(state, status="posted")
        case ScheduleFailed():
            return _replace(state, status="failed")
        case ScheduleCancelled():
            return _replace(state, status="voided")
        case _:
            assert_never(event)


def evolve_reference(state: Reference | None, event: ReferenceEvent) -> Reference:  # noqa: ARG001 - the shape all folds share
    """Fold one event into the state of a reference."""
    return Reference(event.transaction_id if isinstance(event, ReferenceUsed) else None)


def _replace(state: Transaction | None, **changes: object) -> Transaction:
    if state is None:
        raise ValueError("the history of a transaction starts with a transfer, a journal entry, a hold or a schedule")
    return msgspec.structs.replace(state, **changes)
