"""A primary with a synchronous standby, which a test lets fail over."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.faults.cluster import Cluster
from tests.support.proxy import Proxy

SYNCHRONOUS = {"synchronous_standby_names": "standby"}
IN_STEP = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


@dataclass(frozen=True)
class Pair:
    """A primary and its synchronous standby, and the link between them."""

    primary: Cluster
    standby: Cluster
    link: Proxy
    url: str  # of whichever of them accepts writes

    async def fail_over(self) -> None:
        await self.primary.kill()
        await self.standby.promote()


@asynccontextmanager
async def launch_pair(folder: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(Cluster.launch(folder / "primary"))
        link = await stack.enter_async_context(primary.proxy())
        standby = await stack.enter_async_context(Cluster.launch_standby(primary, folder / "standby", link))
        await primary.configure(**SYNCHRONOUS)
        await primary.until_value(IN_STEP)
        servers = [await stack.enter_async_context(cluster.proxy()) for cluster in (primary, standby)]
        hosts = ",".join("{}:{}".format(*server.address) for server in servers)
        yield Pair(
            primary,
            standby,
            link,
            f"postgresql://ledger@{hosts}/ledger?target_session_attrs=read-write&sslmode=disable",
        )
