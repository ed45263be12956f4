"""Journal entries: money moves between several accounts in one transaction."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple
from uuid import UUID

import msgspec

from ledger import errors
from ledger.commands.command import Decision, States, StreamEvent, state_of
from ledger.commands.periods import check_open, period_streams
from ledger.commands.transaction import TransactionCommand, add_details
from ledger.commands.transfers import credit, credit_refusal, debit, debit_refusal, find_payable
from ledger.errors import Refusal, Refused
from ledger.events.accounts import Account, AccountCredited, AccountDebited, evolve
from ledger.events.transactions import JournalEntryPosted, Posting, copy_details

MAX_POSTINGS = 100  # of one journal entry


class NewPosting(NamedTuple):
    """A posting to make, whose account decides the currency. The amount is a credit, a debit if negative; never 0."""

    account_id: UUID
    amount_cents: int


class PostJournalEntry(TransactionCommand, frozen=True, kw_only=True):
    """Make these postings in order, on at least two accounts. They sum to zero in each currency."""

    name: ClassVar[str] = "PostJournalEntry"
    always_appends: ClassVar[bool] = True

    postings: tuple[NewPosting, ...]

    def streams(self) -> Iterable[UUID]:
        """Return all accounts, the client that pays and the periods, if needed, and the streams to reserve."""
        yield from self.payer_streams()
        yield from (posting.account_id for posting in self.postings)
        yield from period_streams(self.effective_at)
        yield from self.reserves()

    def decide(self, states: States) -> Decision:
        """Return an entry for each posting. Raises `Refused` with every refusal, in the order of the postings."""
        entry, accounts = self.plan(states)
        events = [*post(self.transaction_id, entry, accounts), *self.use_reference(states)]
        return Decision(events, entry_result(self.transaction_id, entry))

    def plan(self, states: States, *, force: bool = False) -> tuple[JournalEntryPosted, dict[UUID, Account]]:
        """Return the event to append, and its accounts. With `force`, ignore insufficient funds. Raises `Refused`."""
        if self._may_debit(states):
            self.check_unreserved(states)
            check_open(states, self.effective_at)
        if len({posting.account_id for posting in self.postings}) == 1:
            raise Refused(errors.accounts_are_same())
        accounts = check_postings(states, self.postings, self.only_owner_id, force=force, given_in="/postings")
        postings = tuple(Posting(*posting, accounts[posting.account_id].currency) for posting in self.postings)
        sums: Counter[str] = Counter()
        for posting in postings:
            sums[posting.currency] += posting.amount_cents
        if any(sums.values()):
            raise Refused(errors.invalid("/postings", "must sum to zero in each currency"))
        entry = JournalEntryPosted(postings=postings, kind="journal", reference=self.reference)
        return copy_details(self, entry), accounts

    def _may_debit(self, states: States) -> bool:
        """Return whether all accounts to debit exist, and the caller may debit them."""
        debited = (posting.account_id for posting in self.postings if posting.amount_cents < 0)
        return all(find_payable(states, account_id, self.only_owner_id) is not None for account_id in debited)


def check_postings(
    states: States,
    postings: Sequence[NewPosting],
    only_owner_id: UUID | None = None,
    *,
    force: bool = False,
    given_in: str | None = None,
) -> dict[UUID, Account]:
    """Return the accounts of these postings. Raises `Refused` with every refusal.

    Each posting is checked after the ones before it. If the request has the postings, in the member with the JSON
    pointer `given_in`, each refusal names its posting and account.
    """
    accounts = {posting.account_id: state_of(states, posting.account_id, Account) for posting in postings}
    now, refusals = dict(accounts), list[Refusal]()
    for number, posting in enumerate(postings):
        account = now[posting.account_id]
        is_hidden = posting.amount_cents < 0 and find_payable(states, posting.account_id, only_owner_id) is None
        refusal = _posting_refusal(posting, None if is_hidden else account, force)
        if refusal is not None:
            named = refusal if given_in is None else refusal.about(posting.account_id).within(f"{given_in}/{number}")
            refusals.append(named)
        elif account is not None:
            balance = account.balance_cents + posting.amount_cents
            now[posting.account_id] = msgspec.structs.replace(account, balance_cents=balance)
    if refusals:
        raise Refused(*refusals)
    return {account_id: account for account_id, account in accounts.items() if account is not None}


def _posting_refusal(posting: NewPosting, account: Account | None, force: bool) -> Refusal | None:
    account_id, cents = posting
    if cents > 0:
        return credit_refusal(account_id, account, cents)
    return debit_refusal(account_id, account, -cents, force=force)


def post(transaction_id: UUID, entry: JournalEntryPosted, accounts: Mapping[UUID, Account]) -> list[StreamEvent]:
    """Return the journal entry and the entries of its accounts. Raises `Refused` on a balance beyond `MAX_CENTS`."""
    events: list[StreamEvent] = [(transaction_id, entry)]
    now = dict(accounts)
    for number, posting in enumerate(entry.postings):
        account, cents, pointer = now[posting.account_id], posting.amount_cents, f"/postings/{number}/amount_cents"
        if cents > 0:
            event: AccountCredited | AccountDebited = credit(transaction_id, account, cents, pointer)
        else:
            event = debit(transaction_id, account, -cents, pointer)
        now[posting.account_id] = evolve(account, event)
        events.append((posting.account_id, event))
    return events


def entry_result(transaction_id: UUID, entry: JournalEntryPosted) -> dict[str, object]:
    """Return a journal entry as clients see it."""
    result: dict[str, object] = {
        "id": str(transaction_id),
        "postings": [
            {"account_id": str(row.account_id), "amount_cents": row.amount_cents, "currency": row.currency}
            for row in entry.postings
        ],
        "kind": entry.kind,
        "reference": entry.reference,
        "status": "posted",
    }
    if entry.reverses is not None:
        result["reverses"] = str(entry.reverses)
    return add_details(result, entry)
