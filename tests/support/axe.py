"""axe-core, which finds what keeps people with disabilities from using a page."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.browser import Page

# Rules that need a painted page; `test_docs_colours.py` computes the contrast without a browser.
PAINTED = ("color-contrast", "scrollable-region-focusable", "target-size")


def _axe() -> str:
    """Return the script of axe-core."""
    wheel = find_spec("axe_playwright_python")
    assert wheel is not None
    assert wheel.origin is not None
    return (Path(wheel.origin).parent / "axe.min.js").read_text().rstrip().removesuffix(";")


async def findings(page: Page) -> list[Any]:
    """Return the violations that axe-core finds on the page, of any impact."""
    rules = {rule: {"enabled": page.has_layout} for rule in PAINTED}
    options = json.dumps({"rules": rules, "resultTypes": ["violations"]})
    if "undefined" == await page.run("typeof window.axe"):
        await page.run(f"({_axe()}, true)")
    await page.run(
        f"(window.found = null, axe.run(document, {options}).then((all) => {{ window.found = all; }}), true)"
    )
    summary = "(each) => [each.impact, each.id, each.nodes.length, each.nodes[0].html]"
    return list(json.loads(await page.run(f"window.found && JSON.stringify(window.found.violations.map({summary}))")))
