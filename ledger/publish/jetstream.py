"""Publishes to one stream of NATS JetStream, whose last message is the cursor.

Messages are sent in atomic batches (https://github.com/nats-io/nats-architecture-and-design, ADR-50): a batch is stored
whole or not at all, and only if the last message has the sequence that the batch expects. A publisher whose batch is
refused, because another one was faster or an answer was lost, asks for the last message and continues after it.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog

from ledger.events.notices import encode_start
from ledger.publish.destination import Cursor, DestinationError, ForeignMessageError, Outgoing
from ledger.publish.nats_connection import Access, ApiError, Connection, NatsError
from ledger.publish.streams import Wanted, ensure_stream
from ledger.publish.subjects import escape, subject_of
from ledger.values.ids import new_id

BATCH_EVENTS, BATCH_BYTES = 1000, 1_000_000  # JetStream takes no more messages in one batch
NO_MESSAGE = 10037  # the code of JetStream for a sequence without a message
MESSAGE_ID, CONTENT_TYPE = "Nats-Msg-Id", "Content-Type: application/cloudevents+json"
START_TOPIC = "_start"  # of the message that begins a replay: no event has such a topic

log = structlog.get_logger(__name__)


class JetStream:
    """A stream of a ledger's events."""

    name = "nats"

    def __init__(self, access: Access, ledger_id: UUID, *, stream: str, prefix: str, replicas: int) -> None:
        self._access = access
        self._ledger_id = ledger_id
        self._root = f"{prefix}.{escape(str(ledger_id))}"
        self._wanted = Wanted(stream, f"{self._root}.>", replicas)
        self._connection: Connection | None = None
        self._sequence = 0  # of the last message

    async def open(self, reported: int) -> Cursor:
        """Connect, create or check the stream, and return the position of its last message."""
        await self.close()
        self._connection = await Connection.open(self._access, f"ledger {self._ledger_id}")
        state = await ensure_stream(self._connection, self._wanted)
        self._sequence = state["last_seq"]
        if self._sequence == 0:
            return Cursor(0)
        message = await self._read_message(self._sequence)
        if message is None:
            return Cursor(reported)  # it was purged, or is too old for the stream
        position = self._parse_id(_read_headers(message).get(MESSAGE_ID, ""))
        if message["subject"] != f"{self._root}.{START_TOPIC}":
            return Cursor(position, base64.b64decode(message.get("data", "")))
        if state["first_seq"] < self._sequence:  # the replay was killed before it purged
            await self._purge()
            purged = self._sequence - state["first_seq"]
            log.warning("a replay that was killed is complete", destination=self.name, after=position, purged=purged)
        return Cursor(position)

    async def publish(self, events: Sequence[Outgoing]) -> None:
        """Append events in batches."""
        at = 0
        while at < len(events):
            batch = _cut_batch(events, at)
            await self._send(batch)
            at += len(batch)

    async def is_current(self) -> bool:
        """Return whether the last sequence is still the one that this publisher knows."""
        info = await self._connected().call(f"STREAM.INFO.{self._wanted.name}")
        return bool(info["state"]["last_seq"] == self._sequence)

    async def start_again(self, after: int) -> None:
        """Append a message that says where the events begin, and purge all messages before it.

        It changes the last sequence, so no publisher of before can store anything after it.
        """
        message_id = f"{self._ledger_id}:{after}:{new_id()}"
        body = encode_start(self._ledger_id, message_id, after)
        await self._send([Outgoing(after, message_id, START_TOPIC, self._ledger_id, None, None, body)])
        await self._purge()

    async def _purge(self) -> None:
        """Delete all messages before the last one."""
        await self._connected().call(f"STREAM.PURGE.{self._wanted.name}", {"seq": self._sequence})

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _connected(self) -> Connection:
        if self._connection is None:
            raise NatsError("NATS: not connected")
        return self._connection

    async def _send(self, batch: Sequence[Outgoing]) -> None:
        """Append a batch of events. Raises `DestinationError` unless all are stored at the sequences expected."""
        stored = _read_answer(await self._connected().send(lambda reply: b"".join(self._build(batch, reply))))
        expected = self._sequence + len(batch)
        if stored != expected:
            raise DestinationError(f"JetStream: position {batch[-1].position}: the stream stored it elsewhere")
        self._sequence = expected

    def _build(self, batch: Sequence[Outgoing], reply: bytes) -> Iterator[bytes]:
        """Yield the commands that publish a batch; the answer to the last one is asked for."""
        batch_id = new_id().hex
        for number, event in enumerate(batch, 1):
            headers = f"Nats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: {number}\r\n"
            if number == 1:
                headers += f"Nats-Expected-Last-Sequence: {self._sequence}\r\n"
            if number == len(batch):
                yield _build_message(self._root, event, f"{headers}Nats-Batch-Commit: 1\r\n", reply)
            else:
                yield _build_message(self._root, event, headers, b"")

    async def _read_message(self, sequence: int) -> dict[str, Any] | None:
        try:
            answer = await self._connected().call(f"STREAM.MSG.GET.{self._wanted.name}", {"seq": sequence})
        except ApiError as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        found: dict[str, Any] = answer["message"]
        return found

    def _parse_id(self, message_id: str) -> int:
        """Return the position in the id of the last message."""
        ledger_id, _, rest = message_id.partition(":")
        position = rest.partition(":")[0]
        if ledger_id != str(self._ledger_id) or not position.isdecimal():
            raise ForeignMessageError(
                f"JetStream: the last message of the stream {self._wanted.name} is not of this ledger; "
                "`ledger publish replay nats` discards it"
            )
        return int(position)


def _cut_batch(events: Sequence[Outgoing], at: int) -> Sequence[Outgoing]:
    size, end = 0, at
    while end < len(events) and end - at < BATCH_EVENTS and (size := size + len(events[end].body)) <= BATCH_BYTES:
        end += 1
    return events[at : max(end, at + 1)]


def _build_message(root: str, event: Outgoing, about_batch: str, reply: bytes) -> bytes:
    """Return the command that publishes an event with these headers about its batch."""
    headers = f"NATS/1.0\r\n{MESSAGE_ID}: {event.id}\r\n{about_batch}{CONTENT_TYPE}\r\n\r\n".encode()
    sizes = len(headers), len(headers) + len(event.body)
    line = b"HPUB %b %b %d %d\r\n" % (subject_of(root, event).encode(), reply, *sizes)
    return b"%b%b%b\r\n" % (line, headers, event.body)


def _read_answer(answer: bytes) -> int:
    """Return the sequence of the last message of a batch, from the answer to it. Raises `ApiError`."""
    decoded = msgspec.json.decode(answer)
    if "error" in decoded:
        raise ApiError(decoded["error"].get("err_code", 0), decoded["error"].get("description", "refused"))
    return int(decoded["seq"])


def _read_headers(message: Mapping[str, Any]) -> dict[str, str]:
    lines = base64.b64decode(message.get("hdrs", "")).decode(errors="replace").split("\r\n")[1:]
    return {name: value.strip() for name, found, value in (line.partition(":") for line in lines) if found}
