"""The writer process: it executes the commands of all web workers, until SIGTERM or until its parent process is gone.

The parent stops it after the workers. If the parent is gone, the writer waits for them.
"""

import socket
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog
import uvloop

from ledger.concurrency.signal import Signal
from ledger.concurrency.tasks import running
from ledger.publish.webhooks.sender import open_sender
from ledger.publish.webhooks.service import send_webhooks
from ledger.runtime import open_writer_runtime
from ledger.service.child import SERVING, configure, report, watch_parent
from ledger.service.metrics import FAMILIES, CommitGroups, Layout, Meter, WebhookDeliveries
from ledger.service.sampling import keep_sampling, sample, sample_lookups
from ledger.service.tracer import choose_committer, open_tracing
from ledger.settings import Settings
from ledger.write.crossings import watch_balances
from ledger.write.hold_expiry import Expirer
from ledger.write.operations import OperationRecorder
from ledger.write.scheduler import Scheduler
from ledger.write.server import Server

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = structlog.get_logger("web.writer")  # `__name__` is `__main__` here


def main() -> None:
    """Run the writer; the arguments are its number, and the descriptors of lifeline, metrics and accepting socket."""
    settings = configure()
    number, lifeline, file, accepting = map(int, sys.argv[1:])
    meter = Meter(Layout(FAMILIES), file, number)
    with open_tracing(settings) as tracer:
        uvloop.run(_serve(settings, socket.socket(fileno=accepting), lifeline, meter, tracer))


async def _serve(
    settings: Settings, accepting: socket.socket, lifeline: int, meter: Meter, tracer: "Tracer | None"
) -> None:
    stop = watch_parent(lifeline, settings.stop_seconds())
    async with AsyncExitStack() as stack:
        signal = Signal()
        watch, create = CommitGroups(meter).signalling(signal), choose_committer(tracer)
        opening = open_writer_runtime(settings, watch=watch, create_committer=create)
        runtime = await stack.enter_async_context(opening)
        sender = await stack.enter_async_context(open_sender(settings.webhook_allow_list()))

        def take_sample() -> None:
            sample(meter, runtime)
            sample_lookups(meter, sender.lookups)

        await stack.enter_async_context(running(keep_sampling(meter, take_sample)))
        expiring = Expirer(runtime.pool, runtime.committer).follow(settings.ledger_expiry_seconds)
        await stack.enter_async_context(running(expiring))
        executing = Scheduler(runtime.pool, runtime.committer, settings.roles_with_second_factor())
        await stack.enter_async_context(running(executing.follow(settings.ledger_schedule_seconds)))
        await stack.enter_async_context(running(watch_balances(settings, runtime.committer)))
        recording = OperationRecorder(runtime.pool, runtime.committer).follow()
        await stack.enter_async_context(running(recording))
        sending = send_webhooks(runtime, signal, WebhookDeliveries(meter), sender)
        await stack.enter_async_context(running(sending))
        server = Server(runtime.committer, accepting, frame_bytes=settings.frame_bytes())
        await server.start()
        report(SERVING)
        await stop.requested.wait()
        if stop.gone.is_set():
            await server.wait_until_unused()
        log.info("the writer finishes its queue")
        await runtime.committer.close()
        await server.close()


if __name__ == "__main__":
    main()
