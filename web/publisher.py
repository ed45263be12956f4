"""The publisher process: it publishes events to brokers, until SIGTERM or until its parent process is gone.

It is a process of its own, so that publishing takes no time from the one that executes commands.
"""

import sys
from contextlib import AsyncExitStack

import uvloop

from ledger.concurrency.tasks import running
from ledger.publish.publisher import publish
from ledger.service.child import SERVING, configure, report, watch_parent
from ledger.settings import Settings

CLOSING_SECONDS = 5.0


def main() -> None:
    """Run the publisher; the argument is the descriptor of its lifeline."""
    settings = configure()
    uvloop.run(_serve(settings, int(sys.argv[2])))


async def _serve(settings: Settings, lifeline: int) -> None:
    stop = watch_parent(lifeline, CLOSING_SECONDS)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(publish(settings)))
        report(SERVING)
        await stop.requested.wait()


if __name__ == "__main__":
    main()
