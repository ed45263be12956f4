"""Workers send their commands to a writer over sockets: each has one outcome, whatever happens to either end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ledger.errors import DatabaseError, OutcomeUnknownError, OverloadedError, Refused
from ledger.settings import Settings
from ledger.values.ids import new_id
from ledger.write import link, remote, server
from ledger.write.committer import Committer
from ledger.write.group import Origin, Outcome
from ledger.write.link import accept, create_exchange, dial
from ledger.write.remote import RemoteWriter
from ledger.write.server import Server
from tests.support.bank import Bank, announce_nothing, competing_commit, run_committer, transfer_command
from tests.support.processes import until

FRAME_BYTES = 1 << 20


class Host:
    """The sockets of a host, and its present writer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dialing, self.accepting = create_exchange()

    @asynccontextmanager
    async def writer(self, **options: Any) -> AsyncIterator[Committer]:
        async with run_committer(self.settings, **options) as committer:
            serving = Server(committer, self.accepting, frame_bytes=FRAME_BYTES)
            await serving.start()
            yield committer
            await committer.close()
            await serving.close()

    @asynccontextmanager
    async def worker(self, **options: Any) -> AsyncIterator[RemoteWriter]:
        bounds = {"queue_limit": 100, "patience_seconds": 10, "frame_bytes": FRAME_BYTES, **options}
        worker = RemoteWriter(self.dialing, **{"announce": announce_nothing, **bounds})
        await worker.start()
        try:
            yield worker
        finally:
            await worker.close()


@pytest.fixture
async def host(settings: Settings) -> AsyncIterator[Host]:
    opened = Host(settings)
    yield opened
    opened.dialing.close()
    opened.accepting.close()


async def test_workers_get_outcomes_and_refusals(host: Host, bank: Bank) -> None:
    """Lesson 52."""
    source, destination = await bank.accounts(2, 0)
    async with host.writer(), host.worker() as one, host.worker() as other:
        outcomes = await asyncio.gather(
            *(worker.submit(transfer_command(source, destination), Origin(new_id())) for worker in (one, other)),
            one.submit(transfer_command(source, destination), Origin(new_id())),
            return_exceptions=True,
        )
        assert 2 == sum(isinstance(outcome, Outcome) for outcome in outcomes), outcomes
        (refused,) = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        assert ["transfer_insufficient_funds"] == [refusal.code for refusal in refused.refusals]
    assert [0, 2] == await bank.balances([source, destination])


async def test_a_key_in_use_at_another_worker_is_refused_and_a_repeated_one_replayed(host: Host, bank: Bank) -> None:
    source, destination = await bank.accounts(10, 0)
    origin = Origin(new_id(), request_id="first", request_hash=b"hash")
    async with host.writer(), host.worker() as one, host.worker() as other:
        command = transfer_command(source, destination)
        async with competing_commit(host.settings, transfer_command(source, destination)):
            first = asyncio.create_task(one.submit(command, origin))
            await until(bank.blocked)
            with pytest.raises(Refused) as refused:
                await other.submit(command, Origin(origin.command_id, request_id="second", request_hash=b"hash"))
            assert "idempotency_key_in_use" == refused.value.refusals[0].code
        assert not (await first).replayed
        assert (await other.submit(command, origin)).replayed


async def test_a_worker_waits_for_a_writer_that_starts_later(host: Host, bank: Bank) -> None:
    source, destination = await bank.accounts(1, 0)
    async with host.worker() as worker:
        submitted = asyncio.create_task(worker.submit(transfer_command(source, destination), Origin(new_id())))
        await asyncio.sleep(0.2)
        assert not submitted.done()
        async with host.writer():
            assert isinstance(await submitted, Outcome)


async def test_without_a_writer_commands_end_at_their_deadline(host: Host, bank: Bank) -> None:
    """Whether a command was sent decides what is certain about it."""
    source, destination = await bank.accounts(1, 0)
    async with host.worker(patience_seconds=0.5) as worker:
        await until(lambda: worker.link is not None)
        with pytest.raises(OutcomeUnknownError):
            await worker.submit(transfer_command(source, destination), Origin(new_id()))
        worker.link = None
        with pytest.raises(DatabaseError):
            await worker.submit(transfer_command(source, destination), Origin(new_id()))


async def test_a_command_whose_deadline_has_passed_is_not_executed(host: Host, bank: Bank) -> None:
    """A worker was paused, or the writer: the client has its answer already."""
    source, destination = await bank.accounts(1, 0)
    async with host.writer(), host.worker() as worker:
        past = asyncio.get_running_loop().time() - 0.1
        with pytest.raises(DatabaseError):
            await worker.submit(transfer_command(source, destination), Origin(new_id()), deadline=past)
    assert [1, 0] == await bank.balances([source, destination])


async def test_a_lost_connection_doubles_nothing_while_the_writer_lives(host: Host, bank: Bank) -> None:
    """The commands come again over the next connection, and get the outcome of their first execution."""
    source, destination = await bank.accounts(100, 0)
    async with host.writer(), host.worker() as worker:
        async with competing_commit(host.settings, transfer_command(source, destination)):
            submitted = [
                asyncio.create_task(worker.submit(transfer_command(source, destination), Origin(new_id())))
                for _ in range(20)
            ]
            await until(bank.blocked)
            lost = worker.link
            assert lost is not None
            lost.drop()
            await until(lambda: worker.link not in (None, lost))
        outcomes = await asyncio.gather(*submitted)
        assert [False] * 20 == [outcome.replayed for outcome in outcomes]
    assert [79, 21] == await bank.balances([source, destination])


async def test_a_worker_that_does_not_read_is_dropped(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BUFFER_BYTES", 1000)
    async with host.writer() as committer:
        silent = dial(host.dialing)
        serving = server.Server(committer, host.accepting, frame_bytes=FRAME_BYTES)
        await serving.start()
        await until(lambda: serving.links)
        (connection,) = serving.links
        for _ in range(10):
            connection.send(b"x" * 100_000)
            await asyncio.sleep(0.01)
        await serving.wait_until_unused()
        await serving.close()
        silent.close()


async def test_a_frame_over_the_bound_ends_the_connection_and_nothing_else(host: Host, bank: Bank) -> None:
    source, destination = await bank.accounts(1, 0)
    async with host.writer(), host.worker() as worker:
        hostile = dial(host.dialing)
        await asyncio.sleep(0.05)
        hostile.setblocking(True)
        hostile.settimeout(5)
        hostile.sendall(b"\xff" * 100)
        await asyncio.to_thread(_read_to_the_end, hostile)
        assert isinstance(await worker.submit(transfer_command(source, destination), Origin(new_id())), Outcome)


def _read_to_the_end(end: socket.socket) -> None:
    try:
        while end.recv(65536):
            pass
    except ConnectionResetError:
        pass
    end.close()


async def test_another_version_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(link, "GREETING", b"ledger of yesterday")
        old = dial(host.dialing)
    assert accept(host.accepting) is None
    with old:
        assert b"" == old.recv(1)


async def test_too_many_commands_are_refused(host: Host, bank: Bank) -> None:
    source, destination = await bank.accounts(1, 0)
    async with host.worker(queue_limit=1, patience_seconds=0.3) as worker:
        first = asyncio.create_task(worker.submit(transfer_command(source, destination), Origin(new_id())))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await worker.submit(transfer_command(source, destination), Origin(new_id()))
        with pytest.raises((DatabaseError, OutcomeUnknownError)):
            await first


async def test_a_worker_knows_how_the_writer_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STATUS_SECONDS", 0.05)
    monkeypatch.setattr(remote, "STATUS_SECONDS", 0.5)
    async with host.worker() as worker:
        async with host.writer() as committer:
            await until(lambda: worker.health.reason is None and worker.health.seconds_since_success() < 0.5)
            committer.health.reason = "disk full"
            await until(lambda: worker.health.reason == "disk full")
        await until(lambda: worker.health.reason == "no writer")
