"""The documentation: every link has a target, and the reference of settings matches `Settings`."""

import re
from pathlib import Path

import pytest
import yaml

from ledger.environment import variables
from ledger.settings import VARIABLES, Settings
from tests.support.processes import ROOT

PAGES = sorted(
    (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")),
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
CODE = re.compile(r"^(```+).*?^\1$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| `([A-Z_]+)` \| .+ \| ([^|]+) \|$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for title in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def is_broken(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return True
    return bool(anchor) and anchor not in anchors(target)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    links = LINK.findall(CODE.sub("", page.read_text()))
    relative = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [] == [link for link in relative if is_broken(page, link)]


def test_every_page_is_in_the_index() -> None:
    """Decision records have their own index."""
    docs = ROOT / "docs"
    linked = {(docs / link).resolve() for link in LINK.findall((docs / "README.md").read_text())}
    pages = {page for page in docs.rglob("*.md") if "decisions" not in page.parts} - {docs / "README.md"}
    assert set() == pages - linked


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_hooks_run_the_tools_of_make_lint() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = [re.split(r" [-.]", line.replace("$(BIN)", ".venv/bin").strip())[0] for line in recipe.splitlines()[1:]]
    assert tools == [hook["entry"].partition(" -")[0] for hook in hooks]


# Settings


def rows() -> dict[str, str]:
    """Return the default that the reference gives for each variable."""
    return dict(ROW.findall((ROOT / "docs/reference/settings.md").read_text()))


def test_the_reference_has_every_setting_and_no_other() -> None:
    assert VARIABLES | variables.SOURCES == rows().keys()


def test_the_reference_has_the_default_of_every_setting() -> None:
    written = {name: text for name, text in rows().items() if name in VARIABLES}
    assert {name: default_of(name) for name in written} == {name: default_in(text) for name, text in written.items()}


def default_of(name: str) -> str:
    default = Settings.model_fields[name.lower()].default
    return "none" if default in (None, "") else str(default).lower() if isinstance(default, bool) else str(default)


def default_in(text: str) -> str:
    """Return the value in backticks, or the word `none` that may have an explanation."""
    return text.strip("`") if text.startswith("`") else text.partition(";")[0].partition(",")[0]
