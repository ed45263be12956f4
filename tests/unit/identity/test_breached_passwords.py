"""Breached passwords are found in a file that is never loaded, and a file of another format stops the start."""

import hashlib
import os
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from ledger.environment.variables import SettingsError
from ledger.identity.breached_passwords import PROBES, BreachedPasswords
from ledger.identity.password_rules import load_password_rules
from ledger.settings import Settings


def digest_of(password: str) -> bytes:
    return hashlib.sha1(password.encode(), usedforsecurity=False).digest()


def lines_of(count: int) -> list[bytes]:
    digests = sorted(digest_of(f"password {number}").hex().upper() for number in range(count))
    return [f"{digest}:{1 + 7**number % 99_999_999}".encode() for number, digest in enumerate(digests)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("closing", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_each_password_of_the_file_is_found_and_no_other(
    tmp_path: Path, count: int, end: bytes, *, closing: bool
) -> None:
    path = tmp_path / "breached.txt"
    path.write_bytes(end.join(lines_of(count)) + (end if closing else b""))
    breached = BreachedPasswords(path)

    found = [breached.has(digest_of(f"password {number}")) for number in range(2 * count)]
    breached.close()

    assert [True] * count + [False] * count == found


def test_neighbours_of_a_digest_are_not_found(tmp_path: Path) -> None:
    path = tmp_path / "breached.txt"
    path.write_bytes(b"\n".join(lines_of(100)))
    breached = BreachedPasswords(path)
    numbers = [int.from_bytes(digest_of(f"password {number}")) for number in range(100)]
    near = [(number + step).to_bytes(20) for number in numbers for step in (-1, 1)]

    assert not any(breached.has(digest) for digest in [*near, bytes(20), b"\xff" * 20])
    breached.close()


def test_a_search_reads_a_few_lines_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "breached.txt"
    path.write_bytes(b"\n".join(lines_of(20_000)))
    breached = BreachedPasswords(path)
    sizes: list[int] = []
    pread = os.pread

    def count(file: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return pread(file, size, offset)

    monkeypatch.setattr(os, "pread", count)

    assert breached.has(digest_of("password 4711"))
    breached.close()

    assert len(sizes) <= 20
    assert sum(sizes) < 4096


LINES = lines_of(3 * PROBES)
BY_COUNT = sorted(LINES, key=lambda line: -int(line.partition(b":")[2]))
assert any(one > other for one, other in pairwise(BY_COUNT))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"password\n12345678\n",
        b"\n".join(BY_COUNT),
        b"\n".join(reversed(LINES)),
        b"\n".join(line.lower() for line in LINES),
        b"\n".join(line[8:] for line in LINES),  # NTLM digests have 32 digits
        b"\n".join(line.partition(b":")[0] for line in LINES),
        b"\n".join([*LINES[:-1], LINES[-1][:30]]),  # a download that was cut off
        b"\x00" * 10_000,
    ],
)
def test_a_file_of_another_format_stops_the_start_with_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "breached.txt"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"^LEDGER_BREACHED_PASSWORDS_FILE: must have lines such as [^\n]+$"):
        load_password_rules(Settings(ledger_breached_passwords_file=path))


def test_a_missing_file_stops_the_start_with_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(SettingsError, match=r"^LEDGER_BREACHED_PASSWORDS_FILE: must be the name of a file"):
            load_password_rules(Settings(ledger_breached_passwords_file=path))


def test_a_file_that_is_damaged_later_is_logged_and_refuses_nobody(tmp_path: Path) -> None:
    path = tmp_path / "breached.txt"
    path.write_bytes(b"\n".join(LINES))
    breached = BreachedPasswords(path)
    path.write_bytes(b"x" * path.stat().st_size)

    with structlog.testing.capture_logs() as logs:
        assert not breached.has(digest_of("password 1"))
    breached.close()

    assert ["error"] == [entry["log_level"] for entry in logs]
