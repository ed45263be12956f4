"""The publisher process: it publishes events to brokers, until SIGTERM or until its parent process is gone.

It is a process of its own, so that publishing takes no time from the one that executes commands.
"""

import sys
from contextlib import AsyncExitStack

import uvloop

from ledger.concurrency.tasks import running
from ledger.publish.publisher import Watch, publish
from ledger.service.child import SERVING, configure, report, watch_parent
from ledger.service.metrics import FAMILIES, PUBLISH_FAILURES, PUBLISHED_EVENTS, Layout, Meter
from ledger.settings import Settings

CLOSING_SECONDS = 5.0


def main() -> None:
    """Run the publisher; the arguments are its number, and the descriptors of lifeline and metrics."""
    settings = configure()
    number, lifeline, file = map(int, sys.argv[1:])
    uvloop.run(_serve(settings, lifeline, Meter(Layout(FAMILIES), file, number)))


async def _serve(settings: Settings, lifeline: int, meter: Meter) -> None:
    stop = watch_parent(lifeline, CLOSING_SECONDS)
    watch = Watch(
        lambda broker, count: meter.add(PUBLISHED_EVENTS, broker, count=count),
        lambda broker: meter.add(PUBLISH_FAILURES, broker),
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(publish(settings, watch)))
        report(SERVING)
        await stop.requested.wait()


if __name__ == "__main__":
    main()
