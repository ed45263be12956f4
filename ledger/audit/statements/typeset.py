"""The process that makes the PDF of a statement: JSON on standard input, PDF on standard output.

All rows are measured and dealt out to pages before the first one is drawn, so each page knows how many there are. No
row is split between pages: the longest texts take less than one page.
"""

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from ledger.audit.statements.canvas import Canvas, Colour, Style
from ledger.audit.statements.naming import name_others
from ledger.money import decimal_text

WIDTH, HEIGHT = 595.28, 841.89
LEFT, TOP, BOTTOM = 46.0, 44.0, 46.0
INNER = WIDTH - 2 * LEFT
INK: Colour = (26, 32, 44)
GREY: Colour = (104, 113, 128)
LINE: Colour = (221, 225, 231)
STRONG_LINE: Colour = (120, 130, 145)
ACCENT: Colour = (28, 78, 128)
SHADE: Colour = (244, 246, 249)

TITLE = Style(19, INK, bold=True)
PERIOD = Style(10, GREY)
LABEL = Style(7.5, GREY)
VALUE = Style(9, INK)
STRONG = Style(9, INK, bold=True)
HEAD = Style(7.5, ACCENT, bold=True)
CELL = Style(8.5, INK)
NOTE = Style(7.5, GREY)
SUM = Style(8.5, INK, bold=True)
FOOT = Style(7, GREY)

MINUS = "\u2212"
GAP = 10.0  # between two columns
PAD = 3.5  # above and below the text of a row
DATE_WIDTH = 52.0
MIN_AMOUNT_WIDTH = 62.0
BALANCE_ROW = 19.0  # the row that opens or closes a page
HEAD_ROW = 17.0
FOOT_ROOM = 22.0
MAX_NAME_LINES = 8  # of the other accounts in one row, so that the tallest row takes less than a page


class Row(NamedTuple):
    """A line of a statement, broken into lines of text."""

    date: str
    texts: tuple[tuple[str, Style], ...]
    debit: str
    credit: str
    balance: str

    @property
    def height(self) -> float:
        """Return the height, with the space around the text."""
        return sum(style.leading for _, style in self.texts) + 2 * PAD


class Columns(NamedTuple):
    """The left edges and the widths of the columns. Amounts are as wide as the widest, and texts have the rest."""

    text: float
    text_width: float
    debit: float
    credit: float
    balance: float
    amount_width: float


class Layout:
    """Lays out one statement."""

    def __init__(self, statement: dict[str, Any]) -> None:
        self._statement = statement
        self._lines: list[dict[str, Any]] = statement["lines"]
        self._canvas = Canvas(
            _find_texts(statement), title=_title(statement), created_at=datetime.fromisoformat(statement["created_at"])
        )
        self._columns = self._arrange()
        self._opening = self._amount(statement["opening_balance_cents"])
        self._closing = self._amount(statement["closing_balance_cents"])

    def draw(self) -> bytes:
        """Return the document."""
        top = self._measure_opening()
        pages = self._deal([self._make_row(line) for line in self._lines], top)
        forward = self._opening
        for number, rows in enumerate(pages, 1):
            if number > 1:
                self._canvas.pdf.add_page()
            y = self._draw_opening() if number == 1 else self._draw_running_head()
            y = self._draw_table_head(y)
            y = self._draw_balance(y, "Opening balance" if number == 1 else "Brought forward", forward)
            for row in rows:
                y = self._draw_row(y, row)
            forward = rows[-1].balance if rows else forward
            if number == len(pages):
                self._draw_closing(y)
            else:
                self._draw_balance(y, "Carried forward", forward)
            self._draw_foot(number, len(pages))
        return bytes(self._canvas.pdf.output())

    def _amount(self, cents: int) -> str:
        """Return an amount in units, with commas between thousands and a true minus sign."""
        whole, point, fraction = decimal_text(abs(cents), self._statement["digits"]).partition(".")
        return f"{MINUS if cents < 0 else ''}{int(whole):,}{point}{fraction}"

    def _sum(self, name: str) -> str:
        return self._amount(int(self._statement[f"{name}_cents_text"]))

    def _arrange(self) -> Columns:
        cents = {line[name] for line in self._lines for name in ("amount_cents", "balance_cents")}
        cents |= {self._statement[f"{name}_balance_cents"] for name in ("opening", "closing")}
        texts = [*map(self._amount, (max(cents), min(cents))), self._sum("credit"), self._sum("debit")]
        amount = max(MIN_AMOUNT_WIDTH, *(self._canvas.measure(text, SUM) for text in texts)) + 2
        balance = LEFT + INNER - amount
        credit, debit = balance - GAP - amount, balance - 2 * (GAP + amount)
        text = LEFT + DATE_WIDTH + GAP
        return Columns(text, debit - GAP - text, debit, credit, balance, amount)

    def _make_row(self, line: dict[str, Any]) -> Row:
        by_effective_time = self._statement["by"] == "effective"
        counted = line["effective_at"] if by_effective_time else line["created_at"]
        cents, width = line["amount_cents"], self._columns.text_width
        texts = [
            (text, style)
            for raw, style in _describe(self._statement, line)
            for text in self._canvas.wrap(raw, style, width, most=MAX_NAME_LINES if style is CELL else None)
        ]
        return Row(
            counted[:10],
            tuple(texts),
            self._amount(-cents) if cents < 0 else "",
            self._amount(cents) if cents > 0 else "",
            self._amount(line["balance_cents"]),
        )

    def _deal(self, rows: list[Row], top: float) -> list[list[Row]]:
        """Deal the rows out to pages; each page has a row more at its begin and at its end."""
        end = HEIGHT - BOTTOM - FOOT_ROOM - BALANCE_ROW
        begin = TOP + HEAD.leading + 14 + HEAD_ROW + BALANCE_ROW
        pages: list[list[Row]] = [[]]
        y = top + HEAD_ROW + BALANCE_ROW
        for row in rows:
            if y + row.height > end:
                pages.append([])
                y = begin
            pages[-1].append(row)
            y += row.height
        return pages

    def _facts(self) -> Iterator[tuple[str, str]]:
        """Yield what identifies the account: labels and values."""
        known = self._statement
        names = [known[name] for name in ("name", "code") if name in known]
        if names:
            yield "Account", " · ".join(names)
        yield "Account id", known["account_id"]
        if "username" in known:
            yield "Holder", known["username"]
        yield "Currency", known["currency"]
        yield "Dates", "Effective dates (UTC)" if known["by"] == "effective" else "Dates of recording (UTC)"

    def _sums(self) -> Iterator[tuple[str, str]]:
        known = self._statement
        yield "Opening balance", self._opening
        yield f"Credits ({known['credits']:,})", self._sum("credit")
        yield f"Debits ({known['debits']:,})", self._sum("debit")
        yield "Closing balance", self._closing

    def _fact_lines(self) -> list[tuple[str, list[str]]]:
        width = self._left_width - 62
        return [(label, self._canvas.wrap(value, VALUE, width)) for label, value in self._facts()]

    @property
    def _left_width(self) -> float:
        return INNER * 0.56

    def _measure_opening(self) -> float:
        """Return where the table begins on the first page."""
        lines = sum(max(1, len(texts)) for _, texts in self._fact_lines())
        facts = lines * VALUE.leading + (len(list(self._facts())) - 1) * 3
        sums = 4 * (VALUE.leading + 5)
        return self._panel_top + max(facts, sums) + 2 * 12 + 16

    @property
    def _panel_top(self) -> float:
        return TOP + TITLE.leading + PERIOD.leading + 14

    def _draw_opening(self) -> float:
        """Draw the head of the statement, and return where the table begins."""
        canvas, y = self._canvas, TOP
        canvas.put(LEFT, y, INNER, "Account statement", TITLE)
        canvas.put(LEFT, y + TITLE.leading, INNER, _period(self._statement), PERIOD)
        end = self._measure_opening()
        canvas.fill(LEFT, self._panel_top, INNER, end - 16 - self._panel_top, SHADE)
        canvas.fill(LEFT, self._panel_top, 2.5, end - 16 - self._panel_top, ACCENT)
        y = self._panel_top + 12
        for label, texts in self._fact_lines():
            canvas.put(LEFT + 14, y + 1.5, 60, label, LABEL)
            for text in texts:
                canvas.put(LEFT + 70, y, self._left_width - 62, text, VALUE)
                y += VALUE.leading
            y += 3
        self._draw_sums(self._panel_top + 12)
        return end

    def _draw_sums(self, y: float) -> None:
        left = LEFT + self._left_width + 18
        width = INNER - self._left_width - 18 - 14
        for label, value in self._sums():
            is_last = label == "Closing balance"
            if is_last:
                self._canvas.rule(left, y - 2, width, STRONG_LINE, 0.7)
            self._canvas.put(left, y + 1, width, label, STRONG if is_last else VALUE)
            self._canvas.put(left, y + 1, width, value, STRONG if is_last else VALUE, "R")
            y += VALUE.leading + 5

    def _draw_running_head(self) -> float:
        """Draw the head of a following page, and return where the table begins."""
        title = self._canvas.fit(_title(self._statement), LABEL, INNER * 0.6)
        self._canvas.put(LEFT, TOP, INNER * 0.6, title, LABEL)
        self._canvas.put(LEFT + INNER * 0.6, TOP, INNER * 0.4, _period(self._statement), LABEL, "R")
        return TOP + HEAD.leading + 14

    def _draw_table_head(self, y: float) -> float:
        canvas, columns = self._canvas, self._columns
        canvas.put(LEFT, y, DATE_WIDTH, "Date", HEAD)
        canvas.put(columns.text, y, columns.text_width, "Details", HEAD)
        for x, name in ((columns.debit, "Debit"), (columns.credit, "Credit"), (columns.balance, "Balance")):
            canvas.put(x, y, columns.amount_width, name, HEAD, "R")
        canvas.rule(LEFT, y + HEAD_ROW - 3, INNER, ACCENT, 0.9)
        return y + HEAD_ROW

    def _draw_balance(self, y: float, label: str, balance: str) -> float:
        columns = self._columns
        self._canvas.put(columns.text, y + PAD, columns.text_width, label, SUM)
        self._canvas.put(columns.balance, y + PAD, columns.amount_width, balance, SUM, "R")
        self._canvas.rule(LEFT, y + BALANCE_ROW, INNER, LINE)
        return y + BALANCE_ROW

    def _draw_row(self, y: float, row: Row) -> float:
        canvas, columns = self._canvas, self._columns
        canvas.put(LEFT, y + PAD, DATE_WIDTH, row.date, CELL)
        for x, text in ((columns.debit, row.debit), (columns.credit, row.credit), (columns.balance, row.balance)):
            canvas.put(x, y + PAD, columns.amount_width, text, CELL, "R")
        line_y = y + PAD
        for text, style in row.texts:
            canvas.put(columns.text, line_y, columns.text_width, text, style)
            line_y += style.leading
        canvas.rule(LEFT, y + row.height, INNER, LINE)
        return y + row.height

    def _draw_closing(self, y: float) -> None:
        canvas, columns = self._canvas, self._columns
        canvas.rule(LEFT, y, INNER, STRONG_LINE, 0.9)
        canvas.fill(LEFT, y + 0.5, INNER, BALANCE_ROW - 0.5, SHADE)
        canvas.put(columns.text, y + PAD, columns.text_width, "Closing balance", SUM)
        values = ((columns.debit, self._sum("debit")), (columns.credit, self._sum("credit")))
        for x, text in (*values, (columns.balance, self._closing)):
            canvas.put(x, y + PAD, columns.amount_width, text, SUM, "R")
        canvas.rule(LEFT, y + BALANCE_ROW, INNER, STRONG_LINE, 0.9)

    def _draw_foot(self, number: int, count: int) -> None:
        y = HEIGHT - BOTTOM - FOOT.leading
        made = f"{self._statement['created_at'][:16].replace('T', ' ')} UTC"
        text = f"Made {made} at position {self._statement['position']} of the ledger"
        self._canvas.rule(LEFT, y - 5, INNER, LINE)
        self._canvas.put(LEFT, y, INNER, text, FOOT)
        self._canvas.put(LEFT, y, INNER, f"Page {number:,} of {count:,}", FOOT, "R")


def _title(statement: dict[str, Any]) -> str:
    name = next((statement[name] for name in ("name", "code", "account_id") if name in statement), "")
    return f"Account statement · {name}"


def _period(statement: dict[str, Any]) -> str:
    last = _bound(statement["to_time"], "T23:59:59.999999Z")
    if statement["from_time"] is None:
        return f"Until {last}"
    return f"{_bound(statement['from_time'], 'T00:00:00.000000Z')} to {last}"


def _bound(time: str, whole: str) -> str:
    """Return a bound of the period: a date where it is that of a whole day, and otherwise with its time."""
    return time[:10] if time.endswith(whole) else f"{time[:10]} {time[11:19]} UTC"


def _describe(statement: dict[str, Any], line: dict[str, Any]) -> Iterator[tuple[str, Style]]:
    """Yield the texts of a line: the other side, then what the transaction says of itself."""
    kind = "" if line["kind"] == "transfer" else line["kind"].capitalize()
    others = name_others(line, statement["currency"])
    yield others or kind or "Transfer", CELL
    said = " · ".join(text for text in (kind if others else "", line.get("description", "")) if text)
    if said:
        yield said, NOTE
    if line["reference"]:
        yield f"Ref. {line['reference']}", NOTE
    if statement["by"] == "effective" and line["created_at"][:10] != line["effective_at"][:10]:
        yield f"Recorded {line['created_at'][:10]}", NOTE
    elif statement["by"] == "recorded" and "effective_at" in line:
        yield f"Effective {line['effective_at'][:10]}", NOTE


def _find_texts(statement: dict[str, Any]) -> Iterator[str]:
    """Yield the texts of clients in a statement, whose scripts decide which fonts are loaded."""
    yield from (statement.get(name, "") for name in ("name", "code", "username", "currency"))
    for line in statement["lines"]:
        yield from (text for text, _ in _describe(statement, line))


def main() -> None:
    """Read a statement from standard input, and write its PDF to standard output."""
    sys.stdout.buffer.write(Layout(msgspec.json.decode(sys.stdin.buffer.read())).draw())


if __name__ == "__main__":
    main()
