"""The reports of accountants, as they are built from sums of balances and printed."""

import csv
from datetime import UTC, datetime
from typing import Any, get_args

import hypothesis
import pytest
from hypothesis import strategies as st

from ledger.audit.report_periods import NEEDS_BOUNDS, OUTSIDE_CALENDAR, Comparison, Period, find_other
from ledger.audit.reports import (
    SECTIONS,
    Books,
    Line,
    Report,
    build_balance_sheet,
    build_income_statement,
    build_tree,
    build_trial_balance,
    report_body,
)
from ledger.audit.sums import Group, GroupKind, Sums
from ledger.cli.report_text import format_csv, format_text
from ledger.events.account_labels import AccountType
from ledger.money import MAX_CENTS, Assets
from ledger.values.timestamps import parse_end, parse_start

ASSETS = Assets({"HOURS": 4})


def group(code: str | None, type_: AccountType | None, *balances: int, **others: Any) -> Group:
    """Return a group of one account with a balance for each amount."""
    sums = tuple(Sums(max(balance, 0), max(-balance, 0)) for balance in balances)
    values = {"kind": "uncoded" if code is None else "coded", "currency": "USD", "name": None, "accounts": 1}
    return Group(**{**values, "code": code, "type": type_, "below": 0, "sums": sums, **others})


WORLD = group(None, "equity", -1000, kind="world")
SHOP = [
    group("assets:bank:main", "asset", 1200, name="Main account"),
    group("assets:bank:savings", "asset", 300),
    group("assets:cash", "asset", 50),
    group("liabilities:card", "liability", -70),
    group("equity:owner", "equity", -200),
    group("income:sales", "income", -500),
    group("expenses:rent", "expense", 180),
    group("old:one", None, 30),
    group(None, None, 10, accounts=3),
    WORLD,
]


def only(report: Report) -> Books:
    (books,) = report.currencies
    return books


def lines(report: Report, section: str) -> list[tuple[Any, ...]]:
    """Return the lines of a section: level, code or group, and amounts."""
    (chosen,) = (one for one in only(report).sections if one.name == section)
    return [(line.level, line.code or line.group, *line.amounts) for line in chosen.lines]


# Trees.


def leaf(code: str, cents: int) -> Line:
    return Line("coded", code, None, 0, is_subtotal=False, accounts=1, amounts=(cents,))


def tree(*leaves: tuple[str, int]) -> list[tuple[Any, ...]]:
    return [
        (line.level, line.code, "sum" if line.is_subtotal else "", line.amounts[0])
        for line in build_tree(leaf(*one) for one in leaves)
    ]


def test_each_level_is_below_its_subtotal() -> None:
    assert [
        (0, "a", "sum", 15),
        (1, "a:b", "sum", 11),
        (2, "a:b:c", "", 1),
        (2, "a:b:d", "", 10),
        (1, "a:z", "", 4),
        (0, "b", "", 20),
    ] == tree(("b", 20), ("a:z", 4), ("a:b:d", 10), ("a:b:c", 1))


def test_a_code_that_has_one_line_below_it_has_no_subtotal() -> None:
    assert [(0, "a:b:c", "", 1)] == tree(("a:b:c", 1))
    assert [(0, "a:b", "sum", 3), (1, "a:b:c:d", "", 1), (1, "a:b:e", "", 2)] == tree(("a:b:e", 2), ("a:b:c:d", 1))


def test_an_account_with_accounts_below_it_is_the_first_line_of_its_subtotal() -> None:
    assert [(0, "a", "sum", 3), (1, "a", "", 1), (1, "a:b", "", 2)] == tree(("a:b", 2), ("a", 1))


def test_the_order_is_that_of_segments_and_case_makes_no_difference() -> None:
    assert [(0, "a", "sum", 3), (1, "A:b", "", 1), (1, "a:C", "", 2), (0, "a-b", "", 4)] == [
        (level, code if kind == "" else code.lower(), kind, cents)
        for level, code, kind, cents in tree(("a-b", 4), ("a:C", 2), ("A:b", 1))
    ]


segments = st.sampled_from(["a", "b", "c-d", "c"])
codes = st.lists(segments, min_size=1, max_size=4).map(":".join)
balances = st.integers(-(10**6), 10**6)


@hypothesis.given(st.dictionaries(codes, balances, max_size=12))
def test_each_subtotal_is_the_naive_sum_of_the_codes_below_it(accounts: dict[str, int]) -> None:
    built = build_tree(leaf(code, cents) for code, cents in accounts.items())

    assert accounts == {line.code: line.amounts[0] for line in built if not line.is_subtotal}
    for line in built:
        below = [code for code in accounts if f"{code}:".startswith(f"{line.code}:")]
        if line.is_subtotal:
            assert (sum(accounts[code] for code in below), len(below)) == (line.amounts[0], line.accounts)
    roots = [line.amounts[0] for line in built if line.level == 0]
    assert sum(accounts.values()) == sum(roots)


# Reports.


def test_a_positive_balance_is_a_debit_of_the_trial_balance() -> None:
    report = build_trial_balance(SHOP, ASSETS, {})

    assert (True, {"debit": (1770,), "credit": (1770,)}) == (report.is_balanced, only(report).totals)
    assert [
        (0, "assets", 1550, 0),
        (1, "assets:bank", 1500, 0),
        (2, "assets:bank:main", 1200, 0),
        (2, "assets:bank:savings", 300, 0),
        (1, "assets:cash", 50, 0),
    ] == lines(report, "assets")
    assert [(0, "equity:owner", 0, 200), (0, "world", 0, 1000)] == lines(report, "equity")
    assert [(0, "old:one", 30, 0), (0, "uncoded", 10, 0)] == lines(report, "untyped")


def test_both_sides_of_a_group_are_shown_so_that_the_totals_are_those_of_any_depth() -> None:
    groups = [group("assets", "asset", 0, accounts=2, sums=(Sums(7, 5),)), group("income", "income", -2)]
    report = build_trial_balance(groups, ASSETS, {})

    assert [(0, "assets", 7, 5)] == lines(report, "assets")
    assert {"debit": (7,), "credit": (7,)} == only(report).totals


def test_the_balance_sheet_has_the_result_in_equity_and_credits_are_positive() -> None:
    report = build_balance_sheet(SHOP, ASSETS, {})

    assert [(0, "liabilities:card", 70)] == lines(report, "liabilities")
    assert [(0, "equity:owner", 200), (0, "world", 1000), (0, "result", 320)] == lines(report, "equity")
    totals = {name: amounts[0] for name, amounts in only(report).totals.items()}
    assert totals == {
        "assets": 1550,
        "untyped": 40,
        "liabilities": 70,
        "equity": 1520,
        "result": 320,
        "difference": 0,
    }
    assert report.is_balanced


def test_books_that_do_not_balance_show_the_difference() -> None:
    sheet = build_balance_sheet([*SHOP, group("assets:lost", "asset", -3)], ASSETS, {})
    assert (False, (-3,)) == (sheet.is_balanced, only(sheet).totals["difference"])
    assert ["Difference", "-0.03"] == format_text(sheet, "", [""]).splitlines()[-1].split()
    trial = build_trial_balance([*SHOP, group("assets:lost", "asset", -3)], ASSETS, {})
    assert not trial.is_balanced


def test_the_income_statement_has_the_changes_of_two_periods() -> None:
    groups = [
        group("income:sales", "income", -500, -400),
        group("expenses:rent", "expense", 180, 200),
        group("other", None, 5, 0),
    ]
    report = build_income_statement(groups, ASSETS, {}, compares=True)

    assert [(0, "income:sales", 500, 400)] == lines(report, "income")
    assert [(0, "other", 5, 0)] == lines(report, "untyped")
    body = report_body(report)["currencies"][0]
    assert (320, 200) == (body["result_cents"], body["previous_result_cents"])
    assert (5, "0") == (body["untyped_cents"], body["previous_untyped_cents_text"])
    assert "balanced" not in report_body(report)


def test_groups_without_money_have_no_line_and_count_as_accounts() -> None:
    report = build_trial_balance([*SHOP, group("assets:empty", "asset", 0, accounts=4)], ASSETS, {})

    assert 5 == len(lines(report, "assets"))
    assert sum(one.accounts for one in SHOP) + 4 == only(report).accounts


def test_each_currency_is_a_report_with_its_own_digits() -> None:
    report = build_trial_balance(
        [group("assets:time", "asset", 15_000, currency="HOURS"), group("b", "asset", 3, currency="JPY"), *SHOP],
        ASSETS,
        {"position": 7},
    )

    body = report_body(report)
    assert [("HOURS", 4, False), ("JPY", 0, False), ("USD", 2, True)] == [
        (one["currency"], one["digits"], one["balanced"]) for one in body["currencies"]
    ]
    assert (7, False) == (body["position"], body["balanced"])
    assert "1.5000" in format_text(report, "", ["debit", "credit"])


def test_sums_beyond_what_json_keeps_are_null_and_exact_as_text() -> None:
    groups = [group(f"assets:{number}", "asset", MAX_CENTS) for number in range(2)]
    section = report_body(build_trial_balance(groups, ASSETS, {}))["currencies"][0]["sections"][0]

    assert (None, str(2 * MAX_CENTS)) == (section["debit_cents"], section["debit_cents_text"])


types = st.sampled_from([*get_args(AccountType), None])
kinds: st.SearchStrategy[GroupKind] = st.sampled_from(["coded", "uncoded", "world"])


@st.composite
def groups_of_books(draw: st.DrawFn) -> list[Group]:
    """Draw groups whose balances sum to zero."""
    accounts = draw(st.dictionaries(st.tuples(codes, types), balances, max_size=10))
    groups = [group(code, kind, cents) for (code, kind), cents in accounts.items()]
    groups += [group(None, kind, cents) for kind, cents in draw(st.dictionaries(types, balances, max_size=3)).items()]
    return [*groups, group(None, "equity", -sum(one.sums[0].net for one in groups), kind="world")]


@hypothesis.given(groups_of_books())
def test_books_balance_whatever_the_types(groups: list[Group]) -> None:
    trial, sheet = build_trial_balance(groups, ASSETS, {}), build_balance_sheet(groups, ASSETS, {})

    assert trial.is_balanced
    assert sheet.is_balanced
    assert sum(one.sums[0].positive for one in groups) == only(trial).totals["debit"][0]
    totals = only(sheet).totals
    result = only(build_income_statement(groups, ASSETS, {})).totals["result"]
    assert totals["result"] == result
    for report in (trial, sheet):
        for section in only(report).sections:
            leaves = [line.amounts for line in section.lines if not line.is_subtotal]
            assert section.total == tuple(map(sum, zip(*leaves, strict=True))) or not leaves


def test_there_is_a_section_for_each_type_and_for_none() -> None:
    assert {*get_args(AccountType), None} == {*SECTIONS}


# Text and CSV.


SHEET = """\
Balance sheet

USD
Assets
  assets                                  15.50
    bank                                  15.00
      main  Main account                  12.00
      savings                              3.00
    cash                                   0.50
                                          -----
Total assets                              15.50

Accounts without a type
  old:one                                  0.30
  accounts without a code (3 accounts)     0.10
                                          -----
Total accounts without a type              0.40

Liabilities
  liabilities:card                         0.70
                                          -----
Total liabilities                          0.70

Equity
  equity:owner                             2.00
  world: opening balances                 10.00
  income less expenses so far              3.20
                                          -----
Total equity                              15.20

Total assets and accounts without a type  15.90
Total liabilities and equity              15.90
Difference                                 0.00
"""


def test_text_is_a_table_of_each_currency_with_subtotals_and_totals() -> None:
    assert SHEET == format_text(build_balance_sheet(SHOP, ASSETS, {}), "Balance sheet", [""])


def test_columns_are_aligned_in_any_script() -> None:
    groups = [group("a:b", "asset", 5, name="株式会社"), group("a", "asset", 100_000), group("c", "asset", -100_005)]
    text = format_text(build_trial_balance(groups, ASSETS, {}), "Trial balance", ["debit", "credit"])

    rows = text.splitlines()
    assert "    a itself     1000.00" in rows
    assert "    b  株式会社     0.05" in rows
    assert "  c                       1000.05" in rows
    assert "Total            1000.05  1000.05" in rows


def test_a_long_name_is_shortened_and_a_group_has_the_number_of_its_accounts() -> None:
    groups = [group("a", "asset", 5, name="n" * 200), group("b", "asset", 3, accounts=3)]
    text = format_text(build_trial_balance(groups, ASSETS, {}), "", ["debit", "credit"])

    assert f"a  {'n' * 39}… " in text
    assert "b (3 accounts)" in text


def test_a_report_without_accounts_says_so() -> None:
    assert "Trial balance\n\nno accounts\n" == format_text(build_trial_balance([], ASSETS, {}), "Trial balance", [])


def test_csv_has_each_account_once_and_subtotals_marked_as_such() -> None:
    groups = [*SHOP, group("expenses:trick", "expense", 1, name="=HYPERLINK()")]
    rows = [*csv.DictReader(format_csv(build_balance_sheet(groups, ASSETS, {})).splitlines())]

    assert [("subtotal", "assets", "15.50"), ("subtotal", "assets:bank", "15.00")] == [
        (row["row"], row["code"], row["amount"]) for row in rows if row["row"] == "subtotal"
    ]
    main = next(row for row in rows if row["code"] == "assets:bank:main")
    assert ("USD", "assets", "accounts", "Main account", "12.00") == tuple(
        main[name] for name in ("currency", "section", "row", "name", "amount")
    )
    equity = [row for row in rows if row["section"] == "equity"]
    assert [("world", "10.00"), ("result", "3.19"), ("", "15.19")] == [
        (row["group"], row["amount"]) for row in equity[1:]
    ]
    expenses = format_csv(build_income_statement(groups, ASSETS, {}))
    assert "'=HYPERLINK()" in expenses


# Periods to compare.


@pytest.mark.parametrize(
    ("period", "comparison", "other"),
    [
        (("2026-02-01", "2026-02-28"), Comparison.PREVIOUS, ("2026-01-01", "2026-01-31")),
        (("2026-01-01", "2026-03-31"), Comparison.PREVIOUS, ("2025-10-01", "2025-12-31")),
        (("2026-01-01", "2026-12-31"), Comparison.PREVIOUS, ("2025-01-01", "2025-12-31")),
        (("2026-03-10", "2026-03-12"), Comparison.PREVIOUS, ("2026-03-07", "2026-03-09")),
        (("2026-03-01", "2026-03-30"), Comparison.PREVIOUS, ("2026-01-30", "2026-02-28")),
        (("2026-02-01", "2026-02-28"), Comparison.YEAR, ("2025-02-01", "2025-02-28")),
        (("2025-02-01", "2025-02-28"), Comparison.YEAR, ("2024-02-01", "2024-02-29")),
        (("2024-02-29", "2024-02-29"), Comparison.YEAR, ("2023-02-28", "2023-02-28")),
        (("2026-05-01T12:00:00+02:00", "2026-05-01T13:00:00Z"), Comparison.YEAR, None),
    ],
)
def test_the_period_to_compare(period: tuple[str, str], comparison: Comparison, other: tuple[str, str] | None) -> None:
    expected = other or ("2025-05-01T10:00:00Z", "2025-05-01T13:00:00Z")
    given, found = (Period(parse_start(first), parse_end(last)) for first, last in (period, expected))
    assert found == find_other(given, comparison)


@pytest.mark.parametrize(
    ("period", "message"),
    [
        (Period(None, datetime(2026, 1, 1, tzinfo=UTC)), NEEDS_BOUNDS),
        (Period(datetime(2026, 1, 1, tzinfo=UTC), None), NEEDS_BOUNDS),
        (Period(parse_start("0001-01-01"), parse_end("0001-01-31")), OUTSIDE_CALENDAR),
        (Period(parse_start("2026-01-01"), parse_end("9999-12-31")), OUTSIDE_CALENDAR),
    ],
)
@pytest.mark.parametrize("comparison", Comparison)
def test_a_period_that_has_none_to_compare_is_refused(period: Period, message: str, comparison: Comparison) -> None:
    with pytest.raises(ValueError, match=message):
        find_other(period, comparison)
