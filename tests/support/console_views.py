"""The console's views, as its router lists them, so that tests and pictures of all views take in a new one."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.console import Console
from web.handlers.console import FOLDER

ROW = re.compile(r'^  \{ path: "(?P<path>[^"]+)", load: [^"]+"\./views/(?P<module>\w+)\.js"\)(?P<rest>.*) \},$', re.MULTILINE)
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
    name = re.search(r'name: "([^"]+)"', row["rest"])
    roles = re.search(r"roles: \[([^\]]*)\]", row["rest"])
    return View(
        row["path"],
        row["module"],
        name and name[1],
        tuple(re.findall(r'"(\w+)"', roles[1])) if roles else (),
    )


VIEWS = list_views()


def path_of(view: View, ids: Mapping[str, str]) -> str:
    """Return an address of a view; `ids` has an id for the first part of each path that needs one."""
    path = ID.sub(lambda _: ids[view.path.split("/")[1]], view.path)
    return "" if path == "/" else path


async def settled(console: Console) -> None:
    """Wait until the view shows no part that is still loading."""
    await console.until(
        "document.querySelector('main :is(.view:not(.unready), .sign-in)') && !document.querySelector('main :is(.loading, .waiting)')"
    )


# Texts that nobody can read: out of the window, or cut by a part that neither scrolls nor ends them with dots; and pairs
# of texts of which one is painted over the other.
UNREADABLE = """(() => {
  const texts = [];
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const clips = (style) => ["hidden", "clip"].includes(style.overflowX) || /strict|content|paint/.test(style.contain);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.data.trim() || node.parentElement.closest(".unseen, .skip, [aria-hidden], option, svg")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const { left, right, top, bottom } of range.getClientRects()) {
      const box = { node, left, right, top, bottom };
      if (right - left < 1 || !node.parentElement.checkVisibility({ visibilityProperty: true })) continue;
      let fits = true;
      let scrolls = false;
      for (let each = node.parentElement; each && each !== document.body; each = each.parentElement) {
        const style = getComputedStyle(each);
        const edge = each.getBoundingClientRect();
        if (["auto", "scroll"].includes(style.overflowX)) scrolls = true;
        if (scrolls || style.textOverflow === "ellipsis" || style.position === "fixed") {
          Object.assign(box, { left: Math.max(box.left, edge.left), right: Math.min(box.right, edge.right) });
          if (scrolls) Object.assign(box, { top: Math.max(box.top, edge.top), bottom: Math.min(box.bottom, edge.bottom) });
          if (style.textOverflow === "ellipsis") break;
        } else if (clips(style) && (right > edge.right + 1 || left < edge.left - 1 || (bottom > edge.bottom + 3 && top < edge.bottom))) fits = false;
      }
      if (!scrolls && (box.right > innerWidth + 1 || box.left < -1)) fits = false;
      if (!fits) bad.push(`cut: ${node.data.trim().slice(0, 60)}`);
      if (box.right > box.left && box.bottom > box.top) texts.push(box);
    }
  }
  texts.sort((one, other) => one.top - other.top);
  for (const [index, one] of texts.entries()) {
    for (let next = index + 1; next < texts.length && texts[next].top < one.bottom - 4; next += 1) {
      const other = texts[next];
      const common = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      if (common > 2 && one.node !== other.node) bad.push(`overlap: ${one.node.data.trim().slice(0, 40)} | ${other.node.data.trim().slice(0, 40)}`);
    }
  }
  return bad.slice(0, 8);
})()"""

# Elements that a keyboard must reach, and those that Tab reached and that have shown it.
WATCH_FOCUS = """(() => {
  window.reached = new Set();
  window.unseen = [];
  document.addEventListener("focusin", ({ target }) => {
    reached.add(target);
    const { outlineStyle, outlineWidth } = getComputedStyle(target);
    if (target.id !== "main" && (outlineStyle === "none" || parseFloat(outlineWidth) < 1)) unseen.push(target.outerHTML.slice(0, 90));
  });
  return true;
})()"""
INTERACTIVE = """(() => {
  const all = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])";
  return [...document.querySelectorAll(all)].filter((each) => !each.disabled && each.checkVisibility({ visibilityProperty: true }));
})()"""
