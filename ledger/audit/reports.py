"""The reports of accountants, built from sums of balances. Pure.

Accountants count assets and expenses as debits, and liabilities, equity and income as credits. A positive balance is a
debit, as in the journals that `ledger audit export` writes. Each section of a report shows what is usual there as
positive: liabilities, equity and income have the opposite sign of their balances.

No account is left out. Accounts without a type are a section of their own, and those without a code a line of each
section. The ledger's own `world` accounts, from which opening balances come, are equity.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from ledger.audit.sums import Group, GroupKind, Sums
from ledger.events.account_labels import AccountType
from ledger.money import Assets, format_sums

SectionName = Literal["assets", "liabilities", "equity", "income", "expenses", "untyped"]
LineKind = Literal[GroupKind, "result"]
Amounts: TypeAlias = tuple[int, ...]

SECTIONS: Mapping[AccountType | None, SectionName] = {
    "asset": "assets",
    "liability": "liabilities",
    "equity": "equity",
    "income": "income",
    "expense": "expenses",
    None: "untyped",
}
RESULT_TYPES: tuple[AccountType, ...] = ("income", "expense")
_CREDITS: frozenset[SectionName] = frozenset(("liabilities", "equity", "income"))
_KINDS: tuple[GroupKind, ...] = ("coded", "uncoded", "world")


class Line(NamedTuple):
    """A line of a section: a group of accounts, or the subtotal of all lines below it that begin with its code."""

    group: LineKind
    code: str | None
    name: str | None
    level: int  # how many subtotals it is part of
    is_subtotal: bool
    accounts: int
    amounts: Amounts  # of each column


class Section(NamedTuple):
    """A section of a report, with the total of its lines."""

    name: SectionName
    lines: Sequence[Line]
    total: Amounts


class Books(NamedTuple):
    """A report in one currency. `is_balanced` is None if the report does not tell."""

    currency: str
    digits: int
    accounts: int
    sections: Sequence[Section]
    totals: Mapping[str, Amounts]
    is_balanced: bool | None = None


class Report(NamedTuple):
    """A report with the names of its columns, and with `members` that say of when it is."""

    columns: tuple[str, ...]
    currencies: Sequence[Books]
    members: Mapping[str, Any]
    tells_balance: bool = True

    @property
    def is_balanced(self) -> bool:
        """Return whether the report shows no books that are out of balance."""
        return all(books.is_balanced is not False for books in self.currencies)


def build_trial_balance(groups: Iterable[Group], assets: Assets, members: Mapping[str, Any]) -> Report:
    """Return the debits and the credits of each group; both have the same total in balanced books."""
    return _build(("debit", "credit"), groups, assets, members, _fill_trial_balance)


def build_balance_sheet(groups: Iterable[Group], assets: Assets, members: Mapping[str, Any]) -> Report:
    """Return assets, liabilities and equity. Equity has the result so far, which no closing entry has moved there yet.

    Assets, with the accounts without a type, are liabilities and equity in balanced books.
    """
    return _build(("amount",), groups, assets, members, _fill_balance_sheet)


def build_income_statement(
    groups: Iterable[Group], assets: Assets, members: Mapping[str, Any], *, compares: bool = False
) -> Report:
    """Return income, expenses and the result of a period, from the changes in it, and of another one to compare.

    Accounts without a type are shown, and are no part of the result.
    """
    columns = ("amount", "previous") if compares else ("amount",)
    return _build(columns, groups, assets, members, _fill_income_statement)._replace(tells_balance=False)


_Fill: TypeAlias = Callable[[Books, Sequence[Group]], Books]


def _build(
    columns: tuple[str, ...], groups: Iterable[Group], assets: Assets, members: Mapping[str, Any], fill: _Fill
) -> Report:
    by_currency: dict[str, list[Group]] = {}
    for group in groups:
        by_currency.setdefault(group.currency, []).append(group)
    currencies = [
        fill(Books(currency, assets.digits(currency), sum(group.accounts for group in chosen), (), {}), chosen)
        for currency, chosen in sorted(by_currency.items())
    ]
    return Report(columns, currencies, members)


def _fill_trial_balance(books: Books, groups: Sequence[Group]) -> Books:
    sections = [_section(name, groups, _show_sides) for name in SECTIONS.values()]
    debit, credit = _add_up((section.total for section in sections), 2)
    return books._replace(
        sections=sections, totals={"debit": (debit,), "credit": (credit,)}, is_balanced=debit == credit
    )


def _fill_balance_sheet(books: Books, groups: Sequence[Group]) -> Books:
    named = {name: _section(name, groups, _show_net(name)) for name in SECTIONS.values()}
    result = named["income"].total[0] - named["expenses"].total[0]
    accounts = sum(group.accounts for group in groups if group.type in RESULT_TYPES)
    equity = named["equity"]
    line = Line("result", None, None, 0, is_subtotal=False, accounts=accounts, amounts=(result,))
    named["equity"] = Section("equity", [*equity.lines, line], (equity.total[0] + result,))
    sections = [named["assets"], named["untyped"], named["liabilities"], named["equity"]]
    totals: dict[str, Amounts] = {section.name: section.total for section in sections}
    difference = totals["assets"][0] + totals["untyped"][0] - totals["liabilities"][0] - totals["equity"][0]
    return books._replace(
        sections=sections,
        totals={**totals, "result": (result,), "difference": (difference,)},
        is_balanced=difference == 0,
    )


def _fill_income_statement(books: Books, groups: Sequence[Group]) -> Books:
    names: tuple[SectionName, ...] = ("income", "expenses", "untyped")
    sections = [_section(name, groups, _show_net(name)) for name in names]
    totals: dict[str, Amounts] = {section.name: section.total for section in sections}
    result = tuple(one - other for one, other in zip(totals["income"], totals["expenses"], strict=True))
    return books._replace(sections=sections, totals={**totals, "result": result})


_Show: TypeAlias = Callable[[Sequence[Sums]], Amounts]


def _show_sides(sums: Sequence[Sums]) -> Amounts:
    return sums[0].positive, sums[0].negative


def _show_net(section: SectionName) -> _Show:
    sign = -1 if section in _CREDITS else 1
    return lambda sums: tuple(sign * each.net for each in sums)


def _section(name: SectionName, groups: Sequence[Group], show: _Show) -> Section:
    """Return the section with the groups of its type, without those in which every balance is zero."""
    chosen = [group for group in groups if SECTIONS[group.type] == name]
    columns = len(show(groups[0].sums))
    leaves = [_leaf(group, show) for group in chosen if any(map(any, group.sums))]
    others = [line for kind in _KINDS[1:] for line in leaves if line.group == kind]
    tree = build_tree([line for line in leaves if line.group == "coded"])
    return Section(name, [*tree, *others], _add_up((line.amounts for line in leaves), columns))


def _leaf(group: Group, show: _Show) -> Line:
    return Line(group.kind, group.code, group.name, 0, False, group.accounts, show(group.sums))


def build_tree(leaves: Iterable[Line]) -> list[Line]:
    """Return lines in the order of their codes, each level below its subtotal.

    A code has a subtotal if more than one line follows it. The line of the code itself is the first of these.
    """
    own = {_split(line.code): line for line in leaves}
    totals: dict[_Path, Line] = {}
    children: dict[_Path, set[_Path]] = {}
    for path, line in sorted(own.items()):
        for depth in range(1, len(path) + 1):
            node = path[:depth]
            children.setdefault(path[: depth - 1], set()).add(node)
            totals[node] = _add_line(totals.get(node), line, depth)
    lines: list[Line] = []
    above: list[_Path] = []  # the subtotals around the current path
    for path in sorted(totals):
        while above and path[: len(above[-1])] != above[-1]:
            above.pop()
        if len(children.get(path, ())) + (path in own) > 1:
            lines.append(totals[path]._replace(level=len(above)))
            above.append(path)
        if path in own:
            lines.append(own[path]._replace(level=len(above)))
    return lines


_Path: TypeAlias = tuple[str, ...]


def _split(code: str | None) -> _Path:
    return tuple((code or "").lower().split(":"))


def _add_line(total: Line | None, line: Line, depth: int) -> Line:
    """Return the subtotal of a code with so many segments after a line is added."""
    if total is None:
        code = ":".join((line.code or "").split(":")[:depth])
        return Line("coded", code, None, 0, is_subtotal=True, accounts=line.accounts, amounts=line.amounts)
    amounts = tuple(one + other for one, other in zip(total.amounts, line.amounts, strict=True))
    return total._replace(accounts=total.accounts + line.accounts, amounts=amounts)


def _add_up(amounts: Iterable[Amounts], columns: int) -> Amounts:
    total = [0] * columns
    for each in amounts:
        for column, amount in enumerate(each):
            total[column] += amount
    return tuple(total)


def report_body(report: Report) -> dict[str, Any]:
    """Return a report as clients see it, with amounts in minor units."""
    return {
        **report.members,
        **({"balanced": report.is_balanced} if report.tells_balance else {}),
        "currencies": [_books_body(books, report.columns) for books in report.currencies],
    }


def _books_body(books: Books, columns: Sequence[str]) -> dict[str, Any]:
    totals = {
        f"previous_{name}_cents" if column == "previous" else f"{name}_cents": amount
        for name, amounts in books.totals.items()
        for column, amount in zip(columns, amounts, strict=False)
    }
    return {
        "currency": books.currency,
        "digits": books.digits,
        "accounts": books.accounts,
        **({} if books.is_balanced is None else {"balanced": books.is_balanced}),
        "sections": [_section_body(section, columns) for section in books.sections],
        **format_sums(**totals),
    }


def _section_body(section: Section, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "section": section.name,
        "lines": [_line_body(line, columns) for line in section.lines],
        **_name_amounts(columns, section.total),
    }


def _line_body(line: Line, columns: Sequence[str]) -> dict[str, Any]:
    named = {name: value for name, value in (("code", line.code), ("name", line.name)) if value is not None}
    return {
        "group": line.group,
        **named,
        "level": line.level,
        "is_subtotal": line.is_subtotal,
        "accounts": line.accounts,
        **_name_amounts(columns, line.amounts),
    }


def _name_amounts(columns: Sequence[str], amounts: Amounts) -> dict[str, Any]:
    return format_sums(**{f"{column}_cents": amount for column, amount in zip(columns, amounts, strict=True)})
