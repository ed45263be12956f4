"""The console's files: small enough to read in an hour, and nothing in them is markup, inline or from elsewhere."""

import re
from pathlib import Path

import pytest

from web.handlers.console import FOLDER

SCRIPTS = sorted(FOLDER.rglob("*.js"))
STYLES = sorted(FOLDER.glob("*.css"))
PAGE = (FOLDER / "index.html").read_text()
MOST_LINES = 400
FIRST_VIEW_BYTES = 150_000  # before compression
DARK = r'(?:data-theme="dark"\]|not\(\[data-theme="light"\]\)) \{(.*?)\}'


def imports_of(script: Path) -> set[Path]:
    found = re.findall(r'(?:from|import\() ?"(\.[^"]+)"', script.read_text())
    return {(script.parent / name).resolve() for name in found}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_sets_no_markup_and_imports_files_that_exist(script: Path) -> None:
    text = script.read_text()
    words = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "http://www")
    assert [] == [word for word in words if word in text.replace("http://www.w3.org/2000/svg", "")]
    assert [] == [path for path in imports_of(script) if not path.exists()]
    assert text.startswith("// ")
    assert len(text.splitlines()) <= MOST_LINES


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    assert re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)|//", PAGE) is None
    assert {f"/console/{path.name}" for path in STYLES} <= set(re.findall(r'href="([^"]+)"', PAGE))


def test_modules_of_every_view_are_loaded_at_once() -> None:
    first = reached_from(FOLDER / "main.js")
    loaded = set(re.findall(r'modulepreload" href="/console/([^"]+)"', PAGE))
    assert {path.name for path in first if path.parent == FOLDER and path.name != "main.js"} == loaded


def test_the_first_view_is_small() -> None:
    scripts = reached_from(FOLDER / "main.js") | reached_from(FOLDER / "views/overview.js")
    assert sum(path.stat().st_size for path in {*scripts, *STYLES, FOLDER / "index.html"}) < FIRST_VIEW_BYTES


def reached_from(script: Path) -> set[Path]:
    """Return the modules that a script imports at once, with itself."""
    found, waiting = set(), [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            static = re.findall(r'from "(\.[^"]+)"', path.read_text())
            waiting += [(path.parent / name).resolve() for name in static]
    return found


def test_both_ways_to_dark_have_the_same_colours() -> None:
    by_system, by_choice = re.findall(DARK, STYLES[-1].read_text(), re.DOTALL)
    light = re.search(r":root \{(.*?)\}", STYLES[-1].read_text(), re.DOTALL)
    assert by_system.split() == by_choice.split()
    assert light is not None
    assert set(re.findall(r"--[\w-]+(?=: #)", light[1])) == set(re.findall(r"--[\w-]+(?=: #)", by_choice))


def test_a_class_is_drawn_by_one_stylesheet() -> None:
    """Views are made apart: two that draw the same class would each change the other."""
    rules = re.compile(r"^(\.[\w-]+) \{", re.MULTILINE)
    drawn = [(name, path.name) for path in STYLES for name in {*rules.findall(path.read_text())}]
    assert [] == [each for each in drawn if sum(name == each[0] for name, _ in drawn) > 1]


def test_an_animation_has_a_name_of_its_own() -> None:
    """The last stylesheet with a name would change the animations of the others."""
    named = [name for path in STYLES for name in re.findall(r"@keyframes ([\w-]+)", path.read_text())]
    assert sorted({*named}) == sorted(named)


def test_parts_have_no_colours_of_their_own() -> None:
    parts = "".join(path.read_text() for path in STYLES[:-1])
    assert [] == re.findall(r"#[0-9a-f]{3,8}\b", parts)
