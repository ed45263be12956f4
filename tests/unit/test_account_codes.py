"""What a code of an account is, and what exports make of it."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.audit.account_names import (
    AccountNames,
    name_by_id_for_beancount,
    name_by_id_for_hledger,
    name_for_beancount,
    name_for_hledger,
)
from ledger.audit.export_text import Account
from ledger.events.account_labels import AccountType
from ledger.values.account_codes import (
    CODE_PATTERN,
    MAX_CODE_LENGTH,
    Code,
    check_code,
    code_stream,
    key_range,
    parse_account,
    unknown_account_id,
)
from ledger.values.ids import new_id, parse_id

segments = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)
codes = st.lists(segments, min_size=1, max_size=5).map(":".join)
texts = st.text(st.sampled_from("aZ0.:_- /\u00e9\n"), max_size=40)
OPENED = datetime(2026, 5, 1, tzinfo=UTC)
SOME_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@given(codes | texts)
@example("0" * 32)
@example("a" * 64 + ":" + "b" * 64)
def test_a_text_is_a_code_if_it_has_the_documented_pattern_and_is_no_id(text: str) -> None:
    has_pattern = re.search(CODE_PATTERN.replace("$", r"\Z"), text) is not None and len(text) <= MAX_CODE_LENGTH
    try:
        parse_id(text)
    except ValueError:
        expected = has_pattern
    else:
        expected = False
    try:
        assert (text, expected) == (check_code(text), True)
    except ValueError:
        assert not expected


@given(st.uuids(), st.sampled_from(["{}", "{}".upper(), "urn:uuid:{}"]))
def test_an_id_in_any_form_stays_an_id(account_id: UUID, form: str) -> None:
    for text in (form.format(account_id), account_id.hex, str(account_id).upper()):
        assert account_id == parse_account(text)
        with pytest.raises(ValueError, match=r"must not be a UUID|must be 1 to 16"):
            check_code(text)


@given(codes, codes)
def test_codes_are_the_same_whatever_their_case_and_each_has_ids_of_its_own(first: str, second: str) -> None:
    assert code_stream(first) == code_stream(first.upper())
    assert (first.lower() == second.lower()) == (code_stream(first) == code_stream(second))
    assert code_stream(first) != unknown_account_id(first)
    assert 8 == unknown_account_id(first).version


@given(codes, codes)
def test_the_keys_of_a_code_are_those_of_the_tree_below_it(prefix: str, code: str) -> None:
    exact, begin, end = key_range(prefix)
    for text in (code, f"{prefix}:{code}", f"{prefix}{code}"):
        key = Code(text).key
        is_below = key.split(":")[: prefix.count(":") + 1] == prefix.lower().split(":")
        assert is_below == (key == exact or begin <= key < end)


def account(code: str | None, kind: AccountType | None = None) -> Account:
    return Account(new_id(), new_id(), "alice", "EUR", OPENED, code, None, kind)


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        ("assets:bank:main", "asset", "Assets:Bank:Main"),
        ("ASSETS:bank", "asset", "Assets:Bank"),
        ("bank:main", "asset", "Assets:Bank:Main"),
        ("bank:main", "liability", "Liabilities:Bank:Main"),
        ("assets:card", "liability", "Liabilities:Assets:Card"),
        ("expenses:rent_2026.05", None, "Expenses:Rent-2026-05"),
        ("till", None, "Assets:Till"),
        ("income", "income", "Income:Income"),
        ("4711:x", "expense", "Expenses:4711:X"),
    ],
)
def test_a_code_has_a_name_below_a_root_of_beancount(code: str, kind: AccountType | None, name: str) -> None:
    assert name == name_for_beancount(account(code, kind))


@given(st.lists(codes, min_size=1, max_size=8, unique_by=str.lower))
@example(["a.b", "a_b", "a-b", "assets:a-b"])
def test_no_two_accounts_have_the_same_name(given_codes: Sequence[str]) -> None:
    for names in (
        AccountNames(name_for_beancount, name_by_id_for_beancount),
        AccountNames(name_for_hledger, name_by_id_for_hledger),
    ):
        accounts = [account(code) for code in given_codes]
        added = [names.add(one) for one in accounts]
        assert len(accounts) == len({name.lower() for name in added})
        assert added == [names.find(one.id, one.currency) for one in accounts]


@pytest.mark.parametrize("code", ["equity:world:EUR", "Equity:World:usd", f"assets:Accounts:{SOME_ID}"])
def test_a_code_that_looks_like_a_name_by_id_is_no_name(code: str) -> None:
    one = account(code, "asset")
    names = AccountNames(name_for_hledger, name_by_id_for_hledger)
    assert f"assets:accounts:{one.id}" == names.add(one) == names.find(one.id, "EUR")


@pytest.mark.parametrize("code", [f"accounts:a-{SOME_ID}", f"liabilities:accounts:A-{SOME_ID}"])
def test_a_code_whose_name_of_beancount_has_an_id_is_no_name(code: str) -> None:
    one = account(code, "liability")
    names = AccountNames(name_for_beancount, name_by_id_for_beancount)
    assert f"Liabilities:Accounts:A-{one.id}" == names.add(one) == names.find(one.id, "EUR")


@pytest.mark.parametrize(("kind", "root"), [(None, "Assets"), ("liability", "Liabilities"), ("income", "Income")])
def test_an_account_without_a_code_is_below_the_root_of_its_type(kind: AccountType | None, root: str) -> None:
    one = account(None, kind)
    for names, name in (
        (AccountNames(name_for_beancount, name_by_id_for_beancount), f"{root}:Accounts:A-{one.id}"),
        (AccountNames(name_for_hledger, name_by_id_for_hledger), f"{root.lower()}:accounts:{one.id}"),
    ):
        assert name == names.add(one) == names.find(one.id, "EUR")


@pytest.mark.parametrize("code", ["world:EUR", "equity:world:EUR"])
def test_a_code_whose_name_looks_like_that_of_world_is_no_name(code: str) -> None:
    one = account(code, "equity")
    names = AccountNames(name_for_beancount, name_by_id_for_beancount)
    assert f"Equity:Accounts:A-{one.id}" == names.add(one) == names.find(one.id, "EUR")
