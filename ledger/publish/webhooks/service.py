"""Runs the webhooks of a service."""

from typing import Protocol
from uuid import UUID

from ledger.concurrency.signal import Signal
from ledger.followers.follower import follow
from ledger.identity.secret_box import SecretBox
from ledger.publish.webhooks.clock import Clock
from ledger.publish.webhooks.courier import Observer
from ledger.publish.webhooks.engine import Engine
from ledger.publish.webhooks.sender import Sender
from ledger.settings import Settings
from ledger.store.connections import Pool
from ledger.store.durable import DurableEnd
from ledger.store.pool import connect
from ledger.write.writer import Writer


class Parts(Protocol):
    """The parts of a process that webhooks need."""

    @property
    def settings(self) -> Settings:
        """Its settings."""

    @property
    def pool(self) -> Pool:
        """Its connections for queries."""

    @property
    def durable_end(self) -> DurableEnd:
        """The end of what no failover can take back."""

    @property
    def committer(self) -> Writer:
        """What executes its commands."""

    @property
    def webhook_box(self) -> SecretBox:
        """What decrypts the secrets of webhooks."""

    @property
    def ledger_id(self) -> UUID:
        """The id of the ledger."""


async def send_webhooks(
    parts: Parts, signal: Signal, observer: Observer, sender: Sender, *, clock: Clock | None = None
) -> None:
    """Send the events of all webhooks until cancelled, if no other process does. `signal` is set after each commit."""
    engine = Engine(
        pool=parts.pool,
        durable_end=parts.durable_end,
        committer=parts.committer,
        box=parts.webhook_box,
        ledger_id=parts.ledger_id,
        sender=sender,
        signal=signal,
        observer=observer,
        clock=clock or Clock(),
    )
    try:
        await follow(engine.follower(), lambda: connect(parts.settings))
    finally:
        await engine.close()
