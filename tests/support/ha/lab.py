"""The cluster of the guide: three members of etcd, three PostgreSQL servers under Patroni, HAProxy."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from ledger.settings import Settings
from ledger.store.hosts import connect_to
from tests.support.ha import document, network
from tests.support.ha.machines import PATRONICTL, Database, Etcd, Proxy
from tests.support.processes import until

LEADER, SYNCHRONOUS = "leader", "sync_standby"
DIRECT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}  # no proxy
UP = frozenset({"running", "streaming"})


class Lab:
    """All machines, in a folder that the users of the servers may enter."""

    def __init__(self, folder: Path) -> None:
        self.etcd = [Etcd(f"etcd{number}", f"198.51.100.2{number}", folder) for number in (1, 2, 3)]
        self.databases = [Database(f"db{number}", f"198.51.100.1{number}", folder) for number in (1, 2, 3)]
        self.proxy = Proxy(folder)
        self._machines = [server.machine for server in (*self.etcd, *self.databases)]
        self._ledgers = 0
        self.instances: list[Settings] = []

    async def start(self) -> Self:
        """Set everything up as the guide says."""
        network.connect(self._machines)
        for server in (*self.etcd, *self.databases):
            server.prepare()
            server.start()
        self.proxy.start()
        await self.until_whole()
        await self.execute(*document.block("database").split(";\n")[:1])
        return self

    def stop(self) -> None:
        """Kill everything, and remove the network."""
        network.disconnect(self._machines)
        for server in (*self.etcd, *self.databases):
            server.wait()
        self.proxy.stop()

    async def create_ledger(self, settings: Settings) -> None:
        """Create a database, and let `instances` be the settings of two instances of the service with it."""
        self._ledgers += 1
        name = f"ledger_{self._ledgers}"
        create = document.block("database").split(";\n")[1]
        await self.execute(create.replace("DATABASE ledger", f"DATABASE {name}"))
        given = document.variables("service", {f"/ledger{end}": f"/{name}{end}" for end in "?,\n"})
        urls = {key.lower(): SecretStr(given.pop(key)) for key in ("DATABASE_URL", "DATABASE_READ_URL")}
        rest: dict[str, Any] = {key.lower(): int(value) for key, value in given.items()}
        hosts = ("198.51.100.31", "198.51.100.32")
        self.instances = [
            settings.model_copy(update={**urls, **rest, "service_host": host, "service_port": 8080}) for host in hosts
        ]

    async def execute(self, statement: str) -> None:
        """Execute a statement on the leader as the superuser."""
        password = document.variables("patroni environment", {})["PATRONI_SUPERUSER_PASSWORD"]
        hosts = ",".join(server.address for server in self.databases)
        connection = await connect_to(
            f"postgresql://postgres:{password}@{hosts}/postgres?target_session_attrs=read-write"
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def roles(self) -> dict[str, str]:
        """Return the role of each server in the cluster, by its name, of those that run."""
        for server in self.databases:
            if found := await asyncio.to_thread(server.ask, "cluster"):
                return {member["name"]: member["role"] for member in found["members"] if member["state"] in UP}
        return {}

    async def find(self, role: str) -> Database:
        """Wait until a server has this role, and return it."""

        async def look() -> Database | None:
            names = [name for name, its in (await self.roles()).items() if its == role]
            return next((server for server in self.databases if server.name in names), None)

        found: Database = await until(look)
        return found

    async def until_replaced(self, old: Database) -> None:
        """Wait until another server is the leader."""
        others = [server for server in self.databases if server is not old]

        async def is_replaced() -> bool:
            found = [await asyncio.to_thread(server.ask) for server in others]
            return any(state is not None and state["role"] == "master" for state in found)

        await until(is_replaced)

    async def switch_over(self) -> None:
        """Let the leader and one of the synchronous replicas change places.

        A candidate is not named, because the other replica would wait before it follows the new leader.
        """
        leader = await self.find(LEADER)
        await self.control("switchover", "--master", leader.name, "--force")

    async def until_whole(self) -> None:
        """Wait until there are a leader and two synchronous replicas."""
        await until(self._is_whole)

    async def control(self, *arguments: str) -> str:
        """Run `patronictl`, and return its output."""
        assert PATRONICTL is not None
        command = [PATRONICTL, "-c", str(self.databases[0].configuration), *arguments]
        ran = await asyncio.to_thread(subprocess.run, command, env=DIRECT, capture_output=True, text=True, check=False)
        assert 0 == ran.returncode, ran.stdout + ran.stderr
        return ran.stdout

    async def _is_whole(self) -> bool:
        states = [await asyncio.to_thread(server.ask, "cluster") for server in self.databases]
        return all(state is not None and _is_whole(state) for state in states)


def _is_whole(state: dict[str, Any]) -> bool:
    members = state["members"]
    roles = sorted(member["role"] for member in members)
    timelines = {member.get("timeline") for member in members}
    return roles == [LEADER, SYNCHRONOUS, SYNCHRONOUS] and {m["state"] for m in members} <= UP and len(timelines) == 1
