"""Text on pages: in any script, shaped and in both directions, measured and broken into lines."""

import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import regex
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fpdf import FPDF
from fpdf.bidi import BidiParagraph
from fpdf.enums import TextDirection

FONTS = Path(__file__).parent / "fonts"
MAIN, BOLD = "NotoSans-Regular.ttf", "NotoSans-Bold.ttf"
UNKNOWN = "\ufffd"  # stands for a character that no font has
ELLIPSIS = "…"

Colour = tuple[int, int, int]
Align = Literal["L", "R", "C"]

# Letters that change with their neighbours, or are written from right to left, and marks that have a place.
_needs_shaping = re.compile(
    "[\u0300-\u036f\u0590-\u109f\u1200-\u1cff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefc\U00010900-\U00011fff]"
).search
_find_graphemes = regex.compile(r"\X").findall
# Chinese and Japanese have no spaces: a line may end after any of their characters.
_find_parts = regex.compile(
    r"\s+|[\p{Han}\p{Hiragana}\p{Katakana}\u3000-\u303f\uff00-\uffef]|[^\s\p{Han}\p{Hiragana}\p{Katakana}\u3000-\u303f\uff00-\uffef]+"
).findall


class Style(NamedTuple):
    """How a text looks. `leading` is the distance between two lines."""

    size: float
    colour: Colour
    bold: bool = False

    @property
    def leading(self) -> float:
        """Return the distance between two lines."""
        return round(self.size * 1.36, 1)


class Canvas:
    """A document of A4 pages, in points from the top left corner."""

    def __init__(self, texts: Iterable[str], *, title: str, created_at: datetime) -> None:
        """Open a document for these texts: only the fonts that they need are loaded."""
        self.pdf = FPDF(unit="pt", format="A4")
        self.pdf.set_auto_page_break(auto=False)
        self.pdf.set_margin(0)
        self.pdf.c_margin = 0
        self.pdf.set_title(title)
        self.pdf.set_creator("Ledger")
        self.pdf.set_lang("en")
        self.pdf.set_creation_date(created_at)
        self.pdf.add_font("main", "", FONTS / MAIN)
        self.pdf.add_font("main", "B", FONTS / BOLD)
        self._known = _read_characters(MAIN)
        self._widths: dict[tuple[str, Style], float] = {}
        self._load_others({character for text in texts for character in text})
        self.pdf.add_page()  # on which texts are measured before they are drawn

    def _load_others(self, characters: set[str]) -> None:
        missing = {ord(character) for character in characters} - self._known
        names = []
        for path in sorted(FONTS.glob("*.?tf")) if missing else ():
            if path.name not in {MAIN, BOLD} and not missing.isdisjoint(found := _read_characters(path.name)):
                self.pdf.add_font(path.stem, "", path)
                names.append(path.stem)
                self._known = self._known | found
                missing -= found
        self.pdf.set_fallback_fonts(["main", *names], exact_match=False)

    def clean(self, text: str) -> str:
        """Return a text on one line, with a sign for each character that no font has."""
        return "".join(
            character if ord(character) in self._known else " " if character.isspace() else UNKNOWN
            for character in text
        )

    def measure(self, text: str, style: Style) -> float:
        """Return the width of a text on one line."""
        self._choose(text, style)
        return self.pdf.get_string_width(text)

    def fit(self, text: str, style: Style, width: float) -> str:
        """Return as much of a text as is not wider, with an ellipsis in place of the rest."""
        text = self.clean(text)
        if self.measure(text, style) <= width:
            return text
        while text and self.measure(text + ELLIPSIS, style) > width:
            text = text[:-1]
        return text.rstrip() + ELLIPSIS

    def wrap(self, text: str, style: Style, width: float, *, most: int | None = None) -> list[str]:
        """Return a text as lines that are not wider; a word that is longer than a line is broken.

        With `most`, an ellipsis takes the place of further lines.
        """
        lines = self._wrap(text, style, width)
        if most is None or len(lines) <= most:
            return lines
        return [*lines[: most - 1], self.fit(f"{lines[most - 1]}{ELLIPSIS}", style, width)]

    def _wrap(self, text: str, style: Style, width: float) -> list[str]:
        text = self.clean(text)
        if self.measure(text, style) <= width:
            return [text] if text else []
        lines, line, used = list[str](), "", 0.0
        for part in self._split(text, style, width):
            needed = self._measure_part(part, style)
            if used + needed > width and line and not part.isspace():
                lines.append(line.rstrip())
                line, used = "", 0.0
            if line or not part.isspace():
                line, used = line + part, used + needed
        return [*lines, line.rstrip()] if line.strip() else lines

    def _split(self, text: str, style: Style, width: float) -> Iterator[str]:
        """Yield the parts of a text between which a line may end."""
        for part in _find_parts(text):
            if self._measure_part(part, style) <= width:
                yield part
            else:
                yield from _find_graphemes(part)

    def _measure_part(self, part: str, style: Style) -> float:
        width = self._widths.get((part, style))
        if width is None:
            width = self._widths[part, style] = self.measure(part, style)
        return width

    def put(self, x: float, y: float, width: float, text: str, style: Style, align: Align = "L") -> None:
        """Write one line of text, whose top is at `y`."""
        self._choose(text, style)
        if not _needs_shaping(text):
            self.pdf.set_xy(x, y)
            self.pdf.cell(width, style.leading, text, align=align)
            return
        runs = [(run, direction, self._measure_run(run, direction)) for run, direction in order_runs(text)]
        if align == "R":
            x += width - sum(used for *_, used in runs)
        for run, direction, used in runs:
            self.pdf.set_text_shaping(use_shaping_engine=True, direction=direction)
            self.pdf.set_xy(x, y)
            self.pdf.cell(used, style.leading, run)
            x += used

    def _measure_run(self, run: str, direction: TextDirection) -> float:
        self.pdf.set_text_shaping(use_shaping_engine=True, direction=direction)
        return self.pdf.get_string_width(run)

    def rule(self, x: float, y: float, width: float, colour: Colour, weight: float = 0.5) -> None:
        """Draw a horizontal line."""
        self.pdf.set_draw_color(*colour)
        self.pdf.set_line_width(weight)
        self.pdf.line(x, y, x + width, y)

    def fill(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self.pdf.set_fill_color(*colour)
        self.pdf.rect(x, y, width, height, style="F")

    def _choose(self, text: str, style: Style) -> None:
        self.pdf.set_font("main", "B" if style.bold else "", style.size)
        self.pdf.set_text_color(*style.colour)
        self.pdf.set_text_shaping(use_shaping_engine=_needs_shaping(text) is not None)


@lru_cache
def _read_characters(name: str) -> frozenset[int]:
    """Return the code points that a font has."""
    with TTFont(FONTS / name, lazy=True) as font:
        return frozenset(font.getBestCmap())


def order_runs(text: str) -> list[tuple[str, TextDirection]]:
    """Return the runs of a text in one direction each, from left to right (UAX 9, rule L2)."""
    characters = BidiParagraph(text=text, preserve_bn_chars=True).get_characters_with_embedding_level()
    runs: list[tuple[int, str]] = []
    for level, group in itertools.groupby(characters, key=lambda each: each.embedding_level):
        runs.append((level, "".join(each.character for each in group)))
    for lowest in range(max(level for level, _ in runs), 0, -1):
        runs = _reverse_from(runs, lowest)
    return [(run, TextDirection.RTL if level % 2 else TextDirection.LTR) for level, run in runs]


def _reverse_from(runs: list[tuple[int, str]], lowest: int) -> list[tuple[int, str]]:
    """Return the runs with each sequence of those of at least a level reversed."""
    ordered: list[tuple[int, str]] = []
    for is_reversed, group in itertools.groupby(runs, key=lambda run: run[0] >= lowest):
        some = list(group)
        ordered += some[::-1] if is_reversed else some
    return ordered
