"""Limits of size and structure that keep the code easy to navigate (decision 29)."""

import ast
from functools import cache
from itertools import chain
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.support.processes import ROOT

CODE = sorted(chain(ROOT.glob("ledger/**/*.py"), ROOT.glob("web/**/*.py")))
TESTS = sorted(ROOT.glob("tests/**/*.py"))
MAX_LOOSE_MODULES = 6
MAX_LINES_OF_CODE = 400
MAX_LINES_OF_TESTS = 600
MAX_FUNCTION_LINES = 45
MAX_FUNCTION_MEDIAN = 6
MAX_FUNCTION_P90 = 16

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def line_count(path: Path) -> int:
    return len(path.read_text().splitlines())


def body_lines(function: Function) -> int:
    """Return the lines of a function's body; its signature and docstring do not count."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0


def function_lengths() -> dict[str, int]:
    return {
        f"{relative(path)}:{node.lineno} {node.name}": body_lines(node)
        for path in CODE
        for node in ast.walk(parse(path))
        if isinstance(node, Function)
    }


def imported_modules(path: Path) -> set[str]:
    tree = parse(path)
    return {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }


def test_few_modules_lie_loose_in_the_package() -> None:
    assert len(list(ROOT.glob("ledger/*.py"))) <= MAX_LOOSE_MODULES


@pytest.mark.parametrize(
    ("paths", "limit"), [(CODE, MAX_LINES_OF_CODE), (TESTS, MAX_LINES_OF_TESTS)], ids=["code", "tests"]
)
def test_no_file_is_too_long(paths: list[Path], limit: int) -> None:
    assert {} == {relative(path): lines for path in paths if (lines := line_count(path)) > limit}


def test_no_function_is_too_long() -> None:
    assert {} == {name: lines for name, lines in function_lengths().items() if lines > MAX_FUNCTION_LINES}


def test_most_functions_are_short() -> None:
    lengths = list(function_lengths().values())
    assert (True, True) == (median(lengths) <= MAX_FUNCTION_MEDIAN, quantiles(lengths, n=10)[-1] <= MAX_FUNCTION_P90)


def test_no_test_imports_a_test() -> None:
    """Shared code lives in `tests/support`, so that each file can be read, moved and run alone."""
    assert {} == {
        relative(path): wrong
        for path in TESTS
        if (wrong := {name for name in imported_modules(path) if name.startswith("tests.") and "test_" in name})
    }


def test_every_package_has_a_docstring() -> None:
    packages = [path for path in CODE if path.name == "__init__.py"]
    assert [] == [relative(path) for path in packages if not ast.get_docstring(parse(path))]
