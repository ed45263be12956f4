"""Check the licence of every pinned dependency against licences.toml: `python requirements/licences.py`.

The licence is what the installed distribution says of itself: an SPDX expression, or the older fields. A pin that this
system does not install is covered by what licences.toml states. The exit status is 1 on any finding.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parent
GROUPS = ("run", "dev")


class Dependency(NamedTuple):
    """A pinned distribution, the lock file that pins it first, and its licence; None if it says none."""

    name: str
    group: str
    licence: str | None


def main() -> int:
    """Print each dependency with its licence, then what is wrong. Return the exit status."""
    policy = tomllib.loads((FOLDER / "licences.toml").read_text())
    found = list(dependencies(policy))
    for dependency in found:
        sys.stdout.write(f"{dependency.group}  {dependency.name:42} {dependency.licence}\n")
    problems = findings(found, policy)
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def dependencies(policy: Mapping[str, Any]) -> Iterator[Dependency]:
    """Yield every dependency of the lock files once, with its licence."""
    seen: set[str] = set()
    for group in GROUPS:
        for requirement in pins((FOLDER / f"{group}.txt").read_text()):
            name = canonicalize_name(requirement.name)
            if name not in seen:
                seen.add(name)
                yield Dependency(name, group, licence(requirement, policy))


def pins(lock: str) -> Iterator[Requirement]:
    """Yield the requirements of a lock file, without their hashes."""
    for line in re.findall(r"^[A-Za-z0-9].*", lock, re.MULTILINE):
        yield Requirement(line.rstrip(" \\"))


def licence(requirement: Requirement, policy: Mapping[str, Any]) -> str | None:
    """Return the licence of a distribution, in SPDX's names where the policy knows them."""
    name = canonicalize_name(requirement.name)
    if name in policy["stated"]:
        return str(policy["stated"][name])
    if requirement.marker and not requirement.marker.evaluate():
        return None
    return said(metadata.metadata(requirement.name), policy["spelling"])


def said(described: Any, spelling: Mapping[str, str]) -> str | None:
    """Return what a distribution's metadata says of its licence: the newest of three ways to say it (PEP 639)."""
    classifiers = described.get_all("Classifier", [])
    older = [row.rpartition(" :: ")[2] for row in classifiers if row.startswith("License ::")]
    short = (described.get("License") or "").strip()
    text = (
        described.get("License-Expression")
        or (short if "\n" not in short else "")
        or " AND ".join(spelling.get(name, name) for name in older)
    )
    return spelling.get(text, text) or None


def findings(found: list[Dependency], policy: Mapping[str, Any]) -> list[str]:
    """Return a line for each dependency that is not allowed, and for each exception that nothing needs."""
    problems = []
    needed = set()
    for name, group, licence in found:
        exception = policy["exceptions"][group].get(name)
        if licence is None:
            problems.append(f"{name}: says no licence; read it, and state it in licences.toml")
        elif is_allowed(licence, policy["allowed"]):
            continue
        elif exception is None or exception["licence"] != licence:
            problems.append(f"{name}: {licence} is not allowed")
        else:
            needed.add((group, name))
    listed = {(group, name) for group in GROUPS for name in policy["exceptions"][group]}
    return problems + [f"{name}: the exception in {group} is not needed" for group, name in sorted(listed - needed)]


def is_allowed(expression: str, allowed: list[str]) -> bool:
    """Return whether an SPDX expression can be met with allowed licences alone; nested ones are read strictly."""
    parts = expression.replace("(", "").replace(")", "").split(" AND ")
    return all(any(choice.strip() in allowed for choice in part.split(" OR ")) for part in parts)


if __name__ == "__main__":
    sys.exit(main())
