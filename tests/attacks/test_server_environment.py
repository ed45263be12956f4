"""A program of the embedded servers' user finds no secret of the service in their environment."""

import sys
from pathlib import Path

import pytest

from ledger.embedded import embedded_services
from ledger.embedded.process import INHERITED
from tests.support.processes import processes

SECRETS = {
    "JWT_SECRET": "a secret of the service",
    "LEDGER_ADMIN_PASSWORD": "a password of the service",
    "CLOUD_ACCESS_KEY": "another secret of the shell",
    "PGPASSWORD": "a password of another server",
}
SET_BY_POSTGRES = {"PGDATA", "PG_GRANDPARENT_PID"}


def servers_of(data: Path) -> dict[str, dict[str, str]]:
    """Return the environment of both servers of a data folder, by their command."""
    rows = processes()
    (supervisor,) = (row.pid for row in rows if row.command.endswith(f"-m ledger.embedded.supervisor {data}"))
    return {row.command: environment_of(row.pid) for row in rows if row.parent == supervisor}


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_embedded_servers_inherit_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson 31."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    async with embedded_services(tmp_path / "data"):
        environments = servers_of(tmp_path / "data")

    assert 2 == len(environments)
    assert any("PATH" in environment for environment in environments.values())  # one may reuse the place for its title
    for environment in environments.values():
        assert environment.keys() <= {*INHERITED, *SET_BY_POSTGRES, "LC_ALL", "TZ"}
        assert set() == set(SECRETS.values()) & set(environment.values())
