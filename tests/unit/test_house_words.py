"""The language of the house: no phrase that reads as translated, and no sentence in the documentation that is too long.

The phrases are those that once occurred here. CONTRIBUTING.md has the rules behind them.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

MAX_WORDS = 30
PHRASES = (
    r"\b(?<!with the )whoever\b",
    r"(?:^|[.;:(]\s+)who (?:has|asks|wants|does|reads|sends|minds|may|can|loses)\b",
    r"\bwhat (?:came|comes|became|becomes) of\b",
    r"\bof late\b",
    r"\banew\b",
    r"\b(?:is|are|was|were) told\b(?! apart)",
    r"\b(?:so much|so many) of\b",
    r"\bso (?:much|many) (?:leaves|leaving|items|seconds)\b",
    r"\bstops? to be\b",
    r"\bbelongs? into\b",
    r"\bthat (?:there )?(?:is|are) not there\b",
    r"\bthat there are (?:not|none)\b",
    r"\bthere (?:is|are) none of\b",
    r"\bmeanwhile[.;)]",
    r"\bas good as none\b",
    r"\bmakes? nothing twice\b",
    r"\bgoes on where it was\b",
    r"\bby itself alone\b",
    r"\bis none of (?:them|these|those)\b",
    r"\bthose of these\b",
    r"\bnobody (?:knows|accepts|has waited|chose)\b",
    r"\bwhatever (?:leaves|is not|goes wrong|interrupts|comes)\b",
    r"\bgives? up what\b",
    r"\bhow far (?:it|each) is\b",
    r"\bas of a moment\b",
    r"\bwho(?:se)? an account is\b",
)
BANNED = re.compile("|".join(PHRASES), re.IGNORECASE | re.MULTILINE)
PROSE = tuple(sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md"))))
LONG = tuple(page for page in PROSE if page.name != "CHANGELOG.md")
CODE_ROOTS = ("benchmarks", "examples", "ledger", "migrations", "requirements", "tests", "web")
CODE = tuple(file for root in CODE_ROOTS for file in sorted((ROOT / root).rglob("*.py")))

FENCED = re.compile(r"^(```+).*?^\1$|<!--.*?-->", re.DOTALL | re.MULTILINE)
ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_no_page_has_a_phrase_that_reads_as_translated(page: Path) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"`[^`\n]*`", "`code`", FENCED.sub("", page.read_text())))
    assert [] == [found[0] for found in BANNED.finditer(text)]


def test_no_docstring_or_comment_has_a_phrase_that_reads_as_translated() -> None:
    found = {name_of(file): phrases for file in CODE if (phrases := phrases_of(file))}
    assert {} == found


@pytest.mark.parametrize("page", LONG, ids=name_of)
def test_no_sentence_of_the_documentation_is_too_long(page: Path) -> None:
    long = [sentence for sentence in sentences(page.read_text()) if len(sentence.split()) > MAX_WORDS]
    assert [] == long


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One `code here` two.\nThree [four](five six).", ["One x two.", "Three four."]),
        ("# Title\n\n- An item.\n- Another,\n  longer.\n\n| a | table |\n", ["An item.", "Another, longer."]),
        ("```sh\nnot this\n```\nThis <!-- nor this --> is. `Code` begins.", ["This is.", "x begins."]),
    ],
)
def test_sentences_are_those_of_the_prose(text: str, expected: list[str]) -> None:
    assert expected == list(sentences(text))


@pytest.mark.parametrize(
    "text", ["Whoever reads it", "It is made anew.", "what came of it", "a worker stops to be ready"]
)
def test_the_phrases_are_found(text: str) -> None:
    assert BANNED.search(text)


def phrases_of(file: Path) -> list[str]:
    source = file.read_text()
    texts = (re.sub(r"\s+", " ", text) for text in (*docstrings(source), *comments(source)))
    return [found[0] for text in texts for found in BANNED.finditer(text)]


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of Markdown without its code, tables, headings and addresses."""
    for block in blocks(FENCED.sub("", text)):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "x", block)).replace("*", "")
        plain = re.sub(r"https?://\S+", "x", plain)
        yield from re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", plain).strip())


def blocks(text: str) -> Iterator[str]:
    """Yield the paragraphs and the items of lists."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        ends = not line.strip() or line.startswith(("#", "|", "    "))
        if lines and (ends or ITEM.match(line)):
            yield "\n".join(lines)
            lines = []
        if not ends:
            lines.append(ITEM.sub("", line))


def docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""


def comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
