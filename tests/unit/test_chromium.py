"""Chromium for tests: where none is installed and none can be had, they say how to get one."""

import json
from pathlib import Path

import pytest

from tests.support.chromium import ADVICE, NAMES, PACKAGE, NoChromiumError, get_chromium


def test_without_chromium_and_npm_the_advice_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NoChromiumError, match=ADVICE):
        get_chromium(tmp_path)

    assert "apt-get install chromium-headless-shell" in ADVICE
    assert [] == list(tmp_path.iterdir())


def test_an_installed_one_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / NAMES[0]
    installed.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert str(installed) == get_chromium(tmp_path).path


def test_each_part_of_the_package_is_pinned_by_its_content() -> None:
    packages = json.loads((PACKAGE / "package-lock.json").read_text())["packages"]

    assert [] == [name for name, package in packages.items() if name and "integrity" not in package]
