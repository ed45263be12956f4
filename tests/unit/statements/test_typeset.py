"""Statements as PDF, looked at as pictures: pages, columns, carried balances, and letters of any script."""

import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from fpdf.enums import TextDirection

from ledger.audit.statements import canvas
from ledger.audit.statements.canvas import UNKNOWN, Canvas, Style
from ledger.audit.statements.typeset import BOTTOM, CELL, HEIGHT, INK, LEFT, MINUS, NOTE, TOP, WIDTH, Layout
from ledger.money import MAX_CENTS, decimal_text
from tests.support.statements import Picture, ink

SAMPLES = {
    "Latin": "Žluťoučký kůň, Müller & Søn, ŁÓDŹ",
    "Greek": "Ελληνική Τράπεζα ὀφείλει",
    "Cyrillic": "Оплата по счёту № 17, Ђорђе",
    "Arabic": "فاتورة رقم ٤٥ لشهر مارس",
    "Hebrew": "תשלום עבור חשבונית",
    "Devanagari": "मार्च का किराया और क्षत्रिय",
    "Thai": "ค่าเช่าเดือนมีนาคม ผู้ใหญ่น้ำใจ",
    "Chinese": "三月份办公室租金 銀行",
    "Japanese": "三月分の家賃、東京事務所カード",
    "Korean": "삼월 임대료 사무실",
    "Bengali": "মার্চ মাসের ভাড়া ক্ষেত্র",
    "Tamil": "மார்ச் வாடகை",
    "Telugu": "మార్చి అద్దె",
    "Georgian": "მარტის ქირა",
    "Armenian": "Մարտի վարձ",
    "Ethiopic": "የመጋቢት ኪራይ",
    "Khmer": "ថ្លៃឈ្នួលខែមីនា",
}
LONG = "Rent for the office in the old town, with heating, cleaning and the two places in the yard behind the house. "


def line(version: int, cents: int, balance: int, **members: Any) -> dict[str, Any]:
    return {
        "version": version,
        "amount_cents": cents,
        "balance_cents": balance,
        "kind": "transfer",
        "reference": None,
        "created_at": "2026-03-05T12:00:00.000000Z",
        "other_accounts": [{"id": f"01890a5d-ac96-774b-bcce-{version:012}", "name": f"Other {version}"}],
        "other_account_count": 1,
        **members,
    }


def statement(amounts: list[int], **members: Any) -> dict[str, Any]:
    lines, balance = [], 10_000
    for version, cents in enumerate(amounts, 1):
        balance += cents
        lines.append(line(version, cents, balance))
    return {
        "account_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "username": "alice",
        "name": "Main account",
        "currency": "EUR",
        "digits": 2,
        "by": "recorded",
        "from_time": "2026-03-01T00:00:00.000000Z",
        "to_time": "2026-03-31T23:59:59.999999Z",
        "created_at": "2026-04-01T08:30:00.000000Z",
        "position": 99,
        "opening_balance_cents": 10_000,
        "closing_balance_cents": balance,
        "credit_cents_text": str(sum(cents for cents in amounts if cents > 0)),
        "debit_cents_text": str(-sum(cents for cents in amounts if cents < 0)),
        "credits": sum(cents > 0 for cents in amounts),
        "debits": sum(cents < 0 for cents in amounts),
        "lines": lines,
        **members,
    }


def draw(document: dict[str, Any]) -> Picture:
    return Picture(Layout(document).draw())


def format_cents(cents: int) -> str:
    return f"{MINUS if cents < 0 else ''}{float(decimal_text(abs(cents), 2)):,.2f}"


@pytest.fixture(scope="module")
def long() -> tuple[dict[str, Any], Picture]:
    """Return a statement of several pages, with its picture."""
    document = statement([(-1) ** number * 137 * number for number in range(1, 81)])
    return document, draw(document)


def test_pages_repeat_the_head_and_carry_the_balance(long: tuple[dict[str, Any], Picture]) -> None:
    document, picture = long
    count = len(picture)
    assert count >= 3
    drawn = 0
    for number, text in enumerate(picture.texts, 1):
        assert f"Page {number} of {count}" in text
        assert all(name in text for name in ("Date", "Details", "Debit", "Credit", "Balance"))
        assert ("Opening balance" in text, "Brought forward" in text) == (number == 1, number > 1)
        assert ("Closing balance" in text.replace("Closing balance", "", number == 1)) == (number == count)
        before = ([10_000] + [one["balance_cents"] for one in document["lines"]])[drawn]
        if number > 1:
            assert f"Brought forward {format_cents(before)}" in " ".join(text.split())
        drawn += text.count("Other ")
        if number < count:
            after = document["lines"][drawn - 1]["balance_cents"]
            assert f"Carried forward {format_cents(after)}" in " ".join(text.split())
    assert 80 == drawn


def test_nothing_is_drawn_in_the_margins(long: tuple[dict[str, Any], Picture]) -> None:
    _, picture = long
    for number in range(len(picture)):
        page = picture.draw(number)
        for region in (
            (0, 0, LEFT - 1, HEIGHT),
            (WIDTH - LEFT + 1, 0, WIDTH, HEIGHT),
            (0, 0, WIDTH, TOP - 1),
            (0, HEIGHT - BOTTOM + 1, WIDTH, HEIGHT),
        ):
            assert 0 == ink(page, *region)
        assert ink(page, LEFT, TOP, WIDTH - LEFT, HEIGHT - BOTTOM) > 1000


def test_amounts_are_right_aligned(long: tuple[dict[str, Any], Picture]) -> None:
    _, picture = long
    heads = {name: picture.find(1, name)[2] for name in ("Debit", "Credit", "Balance")}
    lines = long[0]["lines"]
    first = int(picture.texts[1].partition("Other ")[2].split()[0])
    for one in lines[first - 1 : first + 6]:
        side = "Debit" if one["amount_cents"] < 0 else "Credit"
        assert heads[side] == pytest.approx(picture.find(1, format_cents(abs(one["amount_cents"])))[2], abs=2)
        assert heads["Balance"] == pytest.approx(picture.find(1, format_cents(one["balance_cents"]))[2], abs=2)


def test_the_largest_amounts_and_longest_texts_stay_in_their_columns() -> None:
    document = statement([MAX_CENTS - 20_000, -(2 * MAX_CENTS - 20_000)], opening_balance_cents=10_000, digits=0)
    for one in document["lines"]:
        one["description"], one["reference"] = (LONG * 5)[:500], "R" * 200
        one["other_accounts"] = [{"id": "x", "name": "W" * 200, "code": "c" * 200}] * 3
    picture = draw(document)
    assert len(picture) >= 2
    for number in range(len(picture)):
        page = picture.draw(number)
        assert 0 == ink(page, WIDTH - LEFT + 1, 0, WIDTH, HEIGHT)
        assert 0 == ink(page, 0, HEIGHT - BOTTOM + 1, WIDTH, HEIGHT)
        debit = picture.find(number, "Debit")[2] - 95
        assert all(
            box[2] < debit
            for text in ("WWWWWW", "RRRRRR")
            if text in picture.texts[number]
            for box in [picture.find(number, text)]
        )


def test_an_empty_statement_has_both_balances() -> None:
    (text,) = draw(statement([])).texts
    assert 2 == text.count("Opening balance") == text.count("Closing balance")
    assert 4 == text.count("100.00")


@pytest.mark.parametrize("script", SAMPLES)
def test_letters_of_every_script_show(script: str) -> None:
    sample = SAMPLES[script]
    sheet = Canvas([sample], title="Test", created_at=datetime(2026, 4, 1, tzinfo=UTC))
    assert sample == sheet.clean(sample)
    for y, text in ((100, sample), (300, UNKNOWN * len(sample))):
        sheet.put(60, y, 400, text, CELL)
    picture = Picture(bytes(sheet.pdf.output()))
    shown, unknown = (picture.draw(0).crop((120, top, 1000, top + 60)) for top in (200, 600))
    assert shown.tobytes() != unknown.tobytes()
    assert sum(shown.histogram()[:160]) > 20 * len(sample.replace(" ", "")) // 2
    letters = [each for each in unicodedata.normalize("NFC", sample) if each.isalpha()]
    assert len(set(letters) & set(picture.texts[0])) > len(set(letters)) // 2


def test_a_character_that_no_font_has_shows_a_sign_for_it() -> None:
    sheet = Canvas(["a\U0001f600\tb"], title="Test", created_at=datetime(2026, 4, 1, tzinfo=UTC))
    assert f"a{UNKNOWN} b" == sheet.clean("a\U0001f600\tb")


def test_text_in_both_directions_is_in_visual_order() -> None:
    runs = canvas.order_runs("Paid תשלום 123 (מרץ) twice")
    assert [
        ("Paid ", TextDirection.LTR),
        (" (מרץ)", TextDirection.RTL),
        ("123", TextDirection.LTR),
        ("תשלום ", TextDirection.RTL),
        (" twice", TextDirection.LTR),
    ] == runs


@pytest.mark.parametrize("script", SAMPLES)
def test_lines_are_not_wider_than_their_column(script: str) -> None:
    sheet = Canvas([*SAMPLES.values()], title="Test", created_at=datetime(2026, 4, 1, tzinfo=UTC))
    for text in (f"{SAMPLES[script]} {LONG} " * 3, SAMPLES[script].replace(" ", "") * 9):
        lines = sheet.wrap(text, NOTE, 120)
        assert len(lines) > 2
        assert all(sheet.measure(each, NOTE) <= 121 for each in lines)
        assert "".join(text.split()) == "".join("".join(lines).split())


def test_a_text_that_does_not_fit_has_an_ellipsis() -> None:
    style = Style(9, INK)
    sheet = Canvas([], title="Test", created_at=datetime(2026, 4, 1, tzinfo=UTC))
    fitted = sheet.fit("A name that is longer than its place", style, 60)
    assert fitted.endswith("…")
    assert sheet.measure(fitted, style) <= 60
    assert "Short" == sheet.fit("Short", style, 60)
