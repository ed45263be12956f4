"""Journal entries: money that moves between several accounts at once, or not at all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple
from uuid import UUID

from ledger import errors
from ledger.commands.command import Decision, States, StreamEvent, state_of
from ledger.commands.transaction import TransactionCommand, add_details, check_unreserved
from ledger.commands.transfers import credit, credit_refusal, debit, debit_refusal, hide_others_account
from ledger.errors import Refusal, Refused
from ledger.events.accounts import Account
from ledger.events.transactions import JournalEntryPosted, Posting, copy_details

MAX_POSTINGS = 100  # of one entry


class Leg(NamedTuple):
    """What an account is to get, or what is to leave it, which is negative; never 0."""

    account_id: UUID
    amount_cents: int


class PostJournalEntry(TransactionCommand, frozen=True, kw_only=True):
    """Move what the legs say, each of another account. With `only_owner_id`, only out of accounts of that user."""

    name: ClassVar[str] = "PostJournalEntry"
    always_appends: ClassVar[bool] = True

    legs: tuple[Leg, ...]

    def streams(self) -> Iterable[UUID]:
        """Return all accounts, and the streams of what the client chose."""
        yield from (leg.account_id for leg in self.legs)
        yield from self.reserves()

    def decide(self, states: States) -> Decision:
        """Return an entry for each leg. Raises `Refused` with every refusal, in the order of the legs."""
        check_unreserved(states, self.transaction_id, self.reference)
        accounts = check_legs(states, self.legs, self.only_owner_id)
        postings = tuple(Posting(*leg, accounts[leg.account_id].currency) for leg in self.legs)
        sums: Counter[str] = Counter()
        for posting in postings:
            sums[posting.currency] += posting.amount_cents
        if any(sums.values()):
            raise Refused(errors.invalid("/postings", "must sum to zero in each currency"))
        entry = copy_details(self, JournalEntryPosted(postings=postings, kind="journal", reference=self.reference))
        events = [*post(self.transaction_id, entry, accounts), *self.use_reference()]
        return Decision(events, entry_result(self.transaction_id, entry))


def check_legs(
    states: States, legs: Sequence[Leg], only_owner_id: UUID | None = None, *, force: bool = False
) -> Mapping[UUID, Account]:
    """Return the accounts of these legs. Raises `Refused` with every refusal."""
    accounts = {leg.account_id: state_of(states, leg.account_id, Account) for leg in legs}
    against = [_against(leg, accounts[leg.account_id], only_owner_id, force) for leg in legs]
    if refusals := [refusal for refusal in against if refusal is not None]:
        raise Refused(*refusals)
    return {account_id: account for account_id, account in accounts.items() if account is not None}


def _against(leg: Leg, account: Account | None, only_owner_id: UUID | None, force: bool) -> Refusal | None:
    account_id, cents = leg
    if cents > 0:
        return credit_refusal(account_id, account)
    return debit_refusal(account_id, hide_others_account(account, only_owner_id), -cents, force=force)


def post(transaction_id: UUID, entry: JournalEntryPosted, accounts: Mapping[UUID, Account]) -> list[StreamEvent]:
    """Return the journal entry and its accounts' entries. Raises `Refused` on a balance beyond `MAX_CENTS`."""
    events: list[StreamEvent] = [(transaction_id, entry)]
    for number, posting in enumerate(entry.postings):
        account, cents, pointer = accounts[posting.account_id], posting.amount_cents, f"/postings/{number}/amount_cents"
        if cents > 0:
            events.append((posting.account_id, credit(transaction_id, account, cents, pointer)))
        else:
            events.append((posting.account_id, debit(transaction_id, account, -cents, pointer)))
    return events


def entry_result(transaction_id: UUID, entry: JournalEntryPosted) -> dict[str, object]:
    """Return a journal entry as its client sees it."""
    result: dict[str, object] = {
        "id": str(transaction_id),
        "postings": [
            {"account_id": str(leg.account_id), "amount_cents": leg.amount_cents, "currency": leg.currency}
            for leg in entry.postings
        ],
        "kind": entry.kind,
        "reference": entry.reference,
        "status": "posted",
    }
    if entry.reverses is not None:
        result["reverses"] = str(entry.reverses)
    return add_details(result, entry)
