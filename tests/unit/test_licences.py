"""Every dependency has an allowed licence, or is an exception with a reason."""

import copy
import importlib.util
import re
import subprocess
import sys
import tomllib
from email.message import Message
from types import ModuleType
from typing import Any

import pytest

from tests.support.processes import ROOT

POLICY = tomllib.loads((ROOT / "requirements" / "licences.toml").read_text())


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "requirements" / "licences.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


licences = _module()
GROUPS = ("run", "dev")


def policy(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(POLICY) | changes


def test_every_pinned_dependency_has_an_allowed_licence() -> None:
    command = [sys.executable, str(ROOT / "requirements" / "licences.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stderr, done.returncode)
    pinned = [
        re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / f"{group}.txt").read_text(), re.MULTILINE)
        for group in GROUPS
    ]
    assert {name for names in pinned for name in names} == {line.split()[1] for line in done.stdout.splitlines()}


def test_an_exception_has_a_reason_and_is_for_one_licence() -> None:
    exceptions = [exception for group in GROUPS for exception in POLICY["exceptions"][group].values()]
    assert {("licence", "reason")} == {tuple(exception) for exception in exceptions}
    assert all(exception["reason"] for exception in exceptions)
    assert {"fpdf2", "pathspec", "psycopg", "psycopg-binary", "psycopg-pool"} == POLICY["exceptions"]["run"].keys()


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (("left-pad", "run", "WTFPL"), "left-pad: WTFPL is not allowed"),
        (("left-pad", "run", None), "left-pad: says no licence; read it, and state it in licences.toml"),
        (("left-pad", "run", "MIT AND GPL-3.0-only"), "left-pad: MIT AND GPL-3.0-only is not allowed"),
        (("psycopg", "run", "AGPL-3.0-only"), "psycopg: AGPL-3.0-only is not allowed"),
        (("beancount", "run", "GPL-2.0-only"), "beancount: GPL-2.0-only is not allowed"),
    ],
)
def test_a_disallowed_licence_is_named(found: tuple[str, str, str | None], problem: str) -> None:
    """An exception covers one group of dependencies and one licence."""
    assert problem in licences.findings([licences.Dependency(*found)], POLICY)


def test_an_unused_exception_is_named() -> None:
    exceptions = {"run": {"psycopg": {"licence": "LGPL-3.0-only", "reason": "x"}}, "dev": {}}
    found = [licences.Dependency("psycopg", "run", "MIT")]
    assert ["psycopg: the exception in run is not needed"] == licences.findings(found, policy(exceptions=exceptions))


@pytest.mark.parametrize(
    ("expression", "is_allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("GPL-3.0-only", False),
        ("MIT AND PSF-2.0", True),
        ("MIT AND (GPL-2.0-only OR ISC)", True),
        ("MIT AND GPL-2.0-only", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
    ],
)
def test_an_expression_is_allowed_if_allowed_licences_can_meet_it(expression: str, is_allowed: bool) -> None:
    assert is_allowed == licences.is_allowed(expression, POLICY["allowed"])


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "BSD")], "MIT"),
        ([("License", "Apache 2.0"), ("Classifier", "License :: OSI Approved :: MIT License")], "Apache-2.0"),
        (
            [("License", "The MIT License\n\nPermission …"), ("Classifier", "License :: OSI Approved :: MIT License")],
            "MIT",
        ),
        ([("Classifier", "License :: OSI Approved :: MIT License"), ("Classifier", "Topic :: Software")], "MIT"),
        ([("Classifier", "Topic :: Software")], None),
    ],
)
def test_the_newest_metadata_field_wins(fields: list[tuple[str, str]], licence: str | None) -> None:
    described = Message()
    for name, value in fields:
        described[name] = value
    assert licence == licences.said(described, POLICY["spelling"])
