"""A month of a ledger with every kind of transaction, in currencies with 0, 2 and 3 decimal places, and odd texts."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.commands.accounts import OpenAccount, UpdateAccount
from ledger.commands.command import Command, Credential
from ledger.commands.holds import CaptureHold, ExpireHold, PlaceHold, VoidHold
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.reversals import ReverseTransaction
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser
from ledger.events.accounts import world_account_id
from ledger.runtime import Runtime
from ledger.values.ids import new_id
from ledger.write.group import Origin

VALID_TEXTS = (
    "INV|1;2",
    "INV;1|2",
    "INV 1 2",
    ";;;",
    "100% of it, [2001-99-99] date:2001-99-99",
    '"quoted" \\ and , separated',
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\uff1d1",
    "'=1",
    "'tis",
    "!",
    "*",
    "(7) x",
    "größer € 日本 🙂",
    "reference: x, id: y",
    "~!@#$^&()_+{}:<>?/.`",
)
OLD_TEXTS = (  # which requests refuse today
    "two\u2028lines\u2029or\x85three",
    "a\ttab\r\nand a break",
    " blanks at both ends\u00a0",
    "\tx",
    "\rx",
)
ODD_TEXTS = VALID_TEXTS + OLD_TEXTS
CURRENCIES = ("EUR", "JPY", "KWD")
OWNER = new_id()


class Month:
    """The accounts of the month, two per currency, and the commands before, in and after it."""

    def __init__(self, texts: Sequence[str] = ODD_TEXTS) -> None:
        self._texts = texts
        self._hold_ids = [new_id() for _ in range(8)]
        self.accounts = {currency: (new_id(), new_id()) for currency in CURRENCIES}
        self.now = datetime.now(UTC)
        self.entry_id = new_id()

    def before(self) -> Iterator[Command]:
        """Yield the commands that give each account a balance; one of them is overdrawn."""
        credential = Credential(new_id(), OWNER, "a hash")
        yield CreateUser(
            user_id=OWNER,
            username="månad, [ab]",
            email="month@example.com",
            active=True,
            roles=("customer",),
            credential=credential,
        )
        for currency, (first, second) in self.accounts.items():
            for account_id, cents in ((first, 1_000_005), (second, 0)):
                yield OpenAccount(
                    account_id=account_id,
                    owner_id=OWNER,
                    currency=currency,
                    balance_cents=cents,
                    transaction_id=new_id(),
                )
        euros, more_euros = self.accounts["EUR"]
        yield _change(more_euros, "EUR", overdraft_limit_cents=5_000)
        yield self._transfer("EUR", 4_999, back=True)
        yield self._transfer("JPY", 7)
        yield self._hold(self._hold_ids[1], 30, "EUR")
        yield PlaceHold(**self._between(more_euros, euros, 1), **self._times(), transaction_id=new_id())

    def within(self) -> Iterator[Command]:
        """Yield the commands of the month: what it has is what each test of exports sees."""
        yield from self._odd_transfers()
        yield from self._entries()
        yield from self._holds()
        yield from self._reversals()
        for currency, (first, _) in self.accounts.items():
            yield _change(first, currency, balance_cents=123_456)

    def afterwards(self) -> Iterator[Command]:
        """Yield what comes after the month."""
        for currency in CURRENCIES:
            yield self._transfer(currency, 11, reference=f"later {currency}")

    def _odd_transfers(self) -> Iterator[Command]:
        for number, text in enumerate(self._texts):
            yield self._transfer(
                CURRENCIES[number % 3],
                number + 1,
                reference=text,
                description=text,
                metadata={"key": text, text: ""},
                effective_at=self.now - timedelta(days=40 * number, microseconds=1),
            )
        yield self._transfer("EUR", 1, effective_at=datetime(1, 1, 1, tzinfo=UTC))
        yield self._transfer("EUR", 1, effective_at=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))

    def _entries(self) -> Iterator[Command]:
        legs = [
            NewPosting(account_id, sign * cents)
            for (first, second), cents in zip(self.accounts.values(), (101, 102, 103), strict=True)
            for account_id, sign in ((first, -1), (second, 1))
        ]
        yield PostJournalEntry(transaction_id=self.entry_id, postings=tuple(legs), reference="salaries; May")
        euros, _ = self.accounts["EUR"]
        yield PostJournalEntry(
            transaction_id=new_id(),
            postings=(NewPosting(euros, -10), NewPosting(world_account_id("EUR"), 10)),
            description="to the world",
        )

    def _holds(self) -> Iterator[Command]:
        yield CaptureHold(**self._on(1, "EUR"), amount_cents=20)
        for number, currency in enumerate(CURRENCIES, 2):
            named = {"reference": f"hold {currency}", "description": "=held"}
            yield self._hold(self._hold_ids[number], 30, currency, **named)
            known = self._on(number, currency, hold_reference=named["reference"])
            yield CaptureHold(**known, amount_cents=3, final=False, description="a part")
            yield CaptureHold(**known, amount_cents=5, final=False, reference=f"second part {currency}")
            yield CaptureHold(**known, amount_cents=15 - number)
        yield self._hold(self._hold_ids[0], 40, "EUR", reference="left in part")
        yield CaptureHold(**self._on(0, "EUR", hold_reference="left in part"), amount_cents=4, final=False)
        yield self._hold(self._hold_ids[5], 31, "EUR")
        yield self._hold(self._hold_ids[6], 32, "EUR")
        yield self._hold(self._hold_ids[7], 33, "EUR")  # stays pending
        yield VoidHold(**self._on(5, "EUR"))
        yield ExpireHold(**{**self._on(6, "EUR"), "now": self.now + timedelta(days=1)})

    def _reversals(self) -> Iterator[Command]:
        """Yield the reversals of a journal entry and of a captured hold, and partial reversals of a transfer."""
        entry_accounts = tuple(account_id for pair in self.accounts.values() for account_id in pair)
        yield ReverseTransaction(reversal_id=new_id(), transaction_id=self.entry_id, account_ids=entry_accounts)
        yield ReverseTransaction(
            reversal_id=new_id(),
            transaction_id=self._hold_ids[1],
            account_ids=self.accounts["EUR"],
            description="back; all of it",
        )
        paid = new_id()
        yield TransferMoney(transaction_id=paid, **self._between(*self.accounts["KWD"], 1_000))
        for cents in (250, 749):
            yield ReverseTransaction(
                reversal_id=new_id(),
                transaction_id=paid,
                account_ids=self.accounts["KWD"],
                amount_cents=cents,
                reference=f"refund of {cents}",
            )

    def _transfer(self, currency: str, cents: int, *, back: bool = False, **details: Any) -> Command:
        source, destination = self.accounts[currency][:: -1 if back else 1]
        return TransferMoney(transaction_id=new_id(), **self._between(source, destination, cents), **details)

    def _hold(self, hold_id: UUID, cents: int, currency: str, **details: Any) -> Command:
        return PlaceHold(
            transaction_id=hold_id, **self._between(*self.accounts[currency], cents), **self._times(), **details
        )

    def _between(self, source: UUID, destination: UUID, cents: int) -> dict[str, Any]:
        return {"source_account_id": source, "destination_account_id": destination, "amount_cents": cents}

    def _times(self) -> dict[str, Any]:
        return {"now": self.now, "expires_at": self.now + timedelta(hours=1), "limit_seconds": 86_400}

    def _on(self, number: int, currency: str, **known: str) -> dict[str, Any]:
        source, destination = self.accounts[currency]
        accounts = {"source_account_id": source, "destination_account_id": destination}
        return {"transaction_id": self._hold_ids[number], **accounts, "now": self.now, **known}


def _change(account_id: UUID, currency: str, **policy: Any) -> Command:
    unchanged = {"owner_id": None, "balance_cents": None}
    return UpdateAccount(account_id=account_id, currency=currency, transaction_id=new_id(), **{**unchanged, **policy})


async def submit(runtime: Runtime, commands: Iterable[Command]) -> None:
    for command in commands:
        await runtime.committer.submit(command, Origin(new_id()))
