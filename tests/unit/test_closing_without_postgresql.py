"""A committer without commands stops although PostgreSQL is away."""

import asyncio

from ledger.write.committer import Committer
from tests.support.bank import announce_nothing
from tests.support.processes import until


async def test_an_idle_committer_closes_while_its_heartbeat_waits_for_postgresql() -> None:
    attempts = 0

    async def connect() -> None:
        nonlocal attempts
        attempts += 1
        raise ConnectionRefusedError

    committer = Committer(
        connect,  # type: ignore[arg-type]  # it never returns
        queue_limit=10,
        group_limit=10,
        patience_seconds=600,
        announce=announce_nothing,
    )
    committer.start()
    await until(lambda: attempts >= 2)  # of the heartbeat, which goes on until there is a connection

    async with asyncio.timeout(10):
        await committer.close()
