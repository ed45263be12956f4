"""The files of the guide to high availability, which its test runs as they are in the page."""

import re
from collections.abc import Mapping

from tests.support.processes import ROOT

GUIDE = ROOT / "docs" / "how-to" / "high-availability.md"


def block(name: str) -> str:
    """Return the content of the file with this name in the guide."""
    (found,) = re.findall(rf"<!-- {name} -->\n```\w*\n(.*?)```\n<!-- /{name} -->", GUIDE.read_text(), re.DOTALL)
    return str(found)


def variables(name: str, changes: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment file of the guide, with parts of their values replaced."""
    text = block(name)
    for old, new in changes.items():
        text = text.replace(old, new)
    return dict(line.split("=", 1) for line in text.splitlines())
