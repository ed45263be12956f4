"""Codes, decimal places and texts of currencies and registered assets, and the journals that name them."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import hypothesis
import pytest
from beancount import loader
from beancount.core.amount import Amount
from beancount.core.data import Transaction as Booked
from hypothesis import strategies as st

from ledger.audit.export_journals import BEANCOUNT, HLEDGER
from ledger.audit.export_text import Account, Currency, Transaction
from ledger.commands.accounts import OpenAccount
from ledger.commands.assets import RegisterAsset
from ledger.events.accounts import AccountOpened, world_account_id
from ledger.events.assets import Asset, AssetRegistered, asset_stream
from ledger.money import CODE_PATTERN, CURRENCIES, MAX_CENTS, MAX_DIGITS, Assets, check_code, decimal_text
from tests.support.ledgers import ALICE, ALICE_EXISTS, PURSE, TRANSFER, Given

CODES = st.from_regex(CODE_PATTERN, fullmatch=True).filter(lambda code: code not in {"TRUE", "FALSE", "NULL"})
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def register(code: str, digits: int = 2) -> RegisterAsset:
    return RegisterAsset(code=code, asset_name="an asset", digits=digits)


def opening(code: str) -> OpenAccount:
    return OpenAccount(
        account_id=PURSE, owner_id=ALICE, currency=code, balance_cents=0, transaction_id=TRANSFER, max_balance_cents=0
    )


def test_a_registration_is_an_event_of_the_stream_of_the_code() -> None:
    event = AssetRegistered("HOURS", "an asset", 2)
    assert [(asset_stream("HOURS"), event)] == Given().when(register("HOURS"))
    assert ["asset_already_exists"] == Given([(asset_stream("HOURS"), event)]).refuses(register("HOURS", 3))


@pytest.mark.parametrize(
    ("code", "refusal"),
    [("EUR", "asset_already_exists"), ("BGN", "asset_already_exists"), ("NULL", "validation_error")],
)
def test_a_code_with_another_meaning_is_refused(code: str, refusal: str) -> None:
    assert [refusal] == Given().refuses(register(code))


def test_an_account_is_opened_in_a_registered_asset_alone() -> None:
    registered = (asset_stream("HOURS"), AssetRegistered("HOURS", "an asset", 2))
    assert ["validation_error"] == Given(ALICE_EXISTS).refuses(opening("HOURS"))
    assert (PURSE, AccountOpened(ALICE, "HOURS")) in Given([*ALICE_EXISTS, registered]).when(opening("HOURS"))


def test_only_an_opening_in_an_asset_reads_its_stream() -> None:
    """So an opening in a currency costs what it did before."""
    assert [PURSE, ALICE, world_account_id("EUR")] == list(opening("EUR").streams())
    assert asset_stream("HOURS") in opening("HOURS").streams()


@pytest.mark.parametrize("code", ["A", "A1", "XAU", "A.B-C_D", "A" * 16, "USD"])
def test_a_code_has_up_to_16_characters(code: str) -> None:
    assert code == check_code(code)


@pytest.mark.parametrize("code", ["", "a", "1A", "A.", "A-", "_A", "A" * 17, "A B", "Ä", "A\n", "A\u0661"])
def test_any_other_code_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="registered asset"):
        check_code(code)


def test_an_unknown_code_has_no_digits() -> None:
    """A default would turn a forgotten look-up into wrong amounts."""
    with pytest.raises(ValueError, match="registered asset"):
        Assets({}).digits("HOURS")
    assert 4 == Assets({"HOURS": 4}).digits("HOURS")


def test_a_registered_asset_keeps_its_digits_if_iso_4217_takes_its_code() -> None:
    assert 7 == Assets({"JPY": 7}).digits("JPY")


@hypothesis.given(cents=st.integers(-MAX_CENTS, MAX_CENTS), digits=st.integers(0, MAX_DIGITS))
def test_amounts_of_any_digits_are_exact(cents: int, digits: int) -> None:
    text = decimal_text(cents, digits)
    assert Decimal(cents) == Decimal(text).scaleb(digits)
    assert digits == len(text.partition(".")[2])


def journal_of(code: str, digits: int, *, is_beancount: bool) -> str:
    """Return a journal with one transfer from `world` to an account in an asset."""
    assets, account_id = Assets({code: digits}), PURSE
    form = BEANCOUNT if is_beancount else HLEDGER
    names = form.create_names()
    transfer = Transaction(UUID(int=1), 1, NOON, "opening", None, code, MAX_CENTS, world_account_id(code), account_id)
    parts = (
        form.currency(Currency(code, NOON), assets),
        form.account(Account(account_id, ALICE, "alice", code, NOON), names),
        form.transaction(transfer, names, assets),
    )
    return form.header + "".join(parts)


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(code=CODES, digits=st.integers(0, MAX_DIGITS))
def test_beancount_reads_any_asset(code: str, digits: int) -> None:
    entries, errors, _ = loader.load_string(journal_of(code, digits, is_beancount=True))
    assert [] == errors
    (transfer,) = (entry for entry in entries if isinstance(entry, Booked))
    (amount,) = (posting.units for posting in transfer.postings if posting.account.startswith("Assets"))
    assert Amount(Decimal(MAX_CENTS).scaleb(-digits), code) == amount


@hypothesis.given(first=CODES, second=CODES)
def test_the_worlds_of_two_assets_have_names_of_their_own(first: str, second: str) -> None:
    hypothesis.assume(first != second)
    names = [journal_of(code, 0, is_beancount=True).split(" open ")[1].split()[0] for code in (first, second)]
    assert names[0] != names[1]


@pytest.mark.parametrize(("code", "shown"), [("HOURS", "HOURS"), ("CO2", '"CO2"'), ("A.B", '"A.B"')])
def test_hledger_gets_a_code_with_other_characters_in_quotation_marks(code: str, shown: str) -> None:
    journal = journal_of(code, 2, is_beancount=False)
    assert f"commodity 1000.00 {shown}\n" in journal
    assert f"  90071992547409.91 {shown}\n" in journal


def test_every_currency_of_iso_4217_has_a_code_of_the_form() -> None:
    assert CURRENCIES == {check_code(code) for code in CURRENCIES}


def test_the_state_of_an_asset_is_what_was_registered() -> None:
    decision = Given().decide(register("HOURS", 18))
    assert {"code": "HOURS", "name": "an asset", "digits": 18, "source": "registered"} == decision.result
    ((stream, event),) = decision.events
    assert isinstance(event, AssetRegistered)
    assert Asset(event.code, event.name, event.digits) == Asset("HOURS", "an asset", 18)
    assert stream == register("HOURS").resource_id
