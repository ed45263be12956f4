"""The console's views, as its router lists them, so that tests and pictures of all views take in a new one."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tests.support.console import Console
from web.handlers.console import FOLDER

T = TypeVar("T")

FULL = os.environ.get("CONSOLE") == "full"  # as `make console` says: each view, as each role, on each kind of screen
CHECKS = (Path(__file__).parent / "page_checks.js").read_text()
ROW = re.compile(r'^  \{ path: "([^"]+)", load: [^"]+"\./views/(\w+)\.js"\)(.*) \},$', re.MULTILINE)
LIST = re.compile(r"export const VIEWS = \[\n(.*?)\n\];", re.DOTALL)
ID = re.compile(r":\w+")


class View(NamedTuple):
    """A view: its path, the name of its module, and its name and roles if it is in the navigation."""

    path: str
    title: str
    name: str | None
    roles: tuple[str, ...]


def list_views() -> list[View]:
    """Return the rows of the router's list, each of which must be understood."""
    listed = LIST.search((FOLDER / "router.js").read_text())
    assert listed is not None
    found = [_read(row) for row in ROW.finditer(listed[1] + "\n")]
    assert len(listed[1].splitlines()) == len(found), listed[1]
    return found


def _read(row: re.Match[str]) -> View:
    name = re.search(r'name: "([^"]+)"', row[3])
    roles = re.search(r"roles: \[([^\]]*)\]", row[3])
    return View(
        row[1],
        row[2],
        name and name[1],
        tuple(re.findall(r'"(\w+)"', roles[1])) if roles else (),
    )


VIEWS = list_views()


def path_of(view: View, ids: Mapping[str, str]) -> str:
    """Return an address of a view; `ids` has an id for the first part of each path that needs one."""
    path = ID.sub(lambda _: ids[view.path.split("/")[1]], view.path)
    return "" if path == "/" else path


def variants(*full: T) -> Sequence[T]:
    """Return variants of a test: all of them for the full matrix, else the first."""
    return full if FULL else full[:1]


async def settled(console: Console) -> None:
    """Wait until the view shows no part that is still loading."""
    is_shown = "document.querySelector('main :is(.view:not(.unready), .sign-in)')"
    is_loading = "document.querySelector('main :is(.loading, .waiting, .grid > .rows:empty)')"
    await console.until(f"{is_shown} && !{is_loading}")
