"""The frames between web workers and the writer process: each is a length of four bytes and a MessagePack array.

Both ends run the same version of this program: `GREETING`, with which a worker opens a connection, says which.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache, reduce
from operator import or_
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from ledger import __version__, errors
from ledger.commands import COMMANDS
from ledger.commands.caller import Caller
from ledger.commands.command import Command
from ledger.errors import LedgerError, OutcomeUnknownError, Refusal, Refused
from ledger.write.group import Origin, Outcome, OutcomeOrError

LENGTH_BYTES = 4
MAX_CALLERS = 4096  # whose encoded form each end keeps

AnyCommand: TypeAlias = Command  # at run time, the union of all commands


class TooLargeError(Exception):
    """A frame is larger than the receiver accepts."""


class WriterFaultError(Exception):
    """The writer failed to decide a command. The text is for operators."""


class Source(msgspec.Struct, frozen=True, array_like=True):
    """The part of an origin that all commands of a caller share."""

    actor_id: UUID | None
    session_id: UUID | None
    jti: UUID | None
    caller: Caller | None


class Submitted(msgspec.Struct, array_like=True):
    """A command for the writer. Its response has the same number; `source` is an encoded `Source`.

    `resent` is set if the command was sent on an earlier connection, so the writer may have executed it.
    """

    number: int
    weight: int
    deadline: float
    resent: bool
    command_id: UUID
    request_id: str | None
    request_hash: bytes | None
    source: bytes
    command: AnyCommand


class Response(msgspec.Struct, array_like=True):
    """A response to a command. With `revoked`, the command may have revoked tokens."""

    number: int
    revoked: bool

    def to_outcome(self) -> OutcomeOrError:
        """Return what the committer returned or raised."""
        raise NotImplementedError


class Executed(Response, array_like=True, tag=0):
    """The outcome of an accepted command."""

    result: Mapping[str, Any]
    recorded_at: datetime
    position: int | None
    replayed: bool

    def to_outcome(self) -> Outcome:
        """Return the outcome."""
        return Outcome(self.result, self.recorded_at, self.position, self.replayed)


class RefusedResponse(Response, array_like=True, tag=1):
    """The refusals of a command."""

    refusals: tuple[Refusal, ...]
    replayed: bool

    def to_outcome(self) -> Refused:
        """Return the refusals as they are raised."""
        return Refused(*self.refusals, replayed=self.replayed)


class Failed(Response, array_like=True, tag=2):
    """The error of a command: the name of its class, and its text."""

    kind: str
    text: str
    resource_id: UUID | None

    def to_outcome(self) -> Exception:
        """Return the error as it is raised."""
        if self.kind == OutcomeUnknownError.__name__:
            return OutcomeUnknownError(self.resource_id)
        kind = _LEDGER_ERRORS.get(self.kind)
        return WriterFaultError(f"{self.kind}: {self.text}") if kind is None else kind(self.text)


class Status(msgspec.Struct, array_like=True, tag=3):
    """The state of the writer, which it sends every second."""

    waiting: int
    reason: str | None
    success_age_seconds: float


_LEDGER_ERRORS: dict[str, type[LedgerError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, LedgerError)
}
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_response_encoder = msgspec.msgpack.Encoder()  # a result is JSON, in which ids are text
_source_decoder = msgspec.msgpack.Decoder(Source)


def _describe_fields() -> bytes:
    kinds: tuple[type[msgspec.Struct], ...] = (
        *COMMANDS,
        Submitted,
        Source,
        Caller,
        Executed,
        RefusedResponse,
        Failed,
        Status,
    )
    return repr([(kind.__name__, msgspec.structs.fields(kind)) for kind in kinds]).encode()


def _create_decoder() -> "msgspec.msgpack.Decoder[Submitted]":
    union = reduce(or_, COMMANDS)
    fields = [
        (field.name, union if field.name == "command" else field.type) for field in msgspec.structs.fields(Submitted)
    ]
    return msgspec.msgpack.Decoder(msgspec.defstruct("Submitted", fields, array_like=True))


GREETING = f"ledger {__version__} ".encode() + hashlib.sha256(_describe_fields()).digest()

decode_command = _create_decoder().decode
decode_response = msgspec.msgpack.Decoder(Executed | RefusedResponse | Failed | Status).decode
decode_source = lru_cache(MAX_CALLERS)(_source_decoder.decode)
encode_status = _response_encoder.encode


def encode_command(
    number: int, command: Command, origin: Origin, *, weight: int, deadline: float, resent: bool
) -> bytes:
    """Return the payload of a frame with a command."""
    return _encoder.encode(
        Submitted(
            number,
            weight,
            deadline,
            resent,
            origin.command_id,
            origin.request_id,
            origin.request_hash,
            _encode_source(origin),
            command,
        )
    )


def decode_origin(submitted: Submitted) -> Origin:
    """Return the origin of a command."""
    source = decode_source(submitted.source)
    return Origin(
        submitted.command_id,
        source.actor_id,
        source.session_id,
        source.jti,
        submitted.request_id,
        submitted.request_hash,
        source.caller,
    )


def encode_response(number: int, outcome: OutcomeOrError, *, revoked: bool) -> bytes:
    """Return the payload of a frame with a response."""
    match outcome:
        case Outcome():
            response: Response = Executed(
                number,
                revoked,
                outcome.result,
                outcome.recorded_at,
                outcome.position,
                outcome.replayed,
            )
        case Refused():
            response = RefusedResponse(number, revoked, outcome.refusals, outcome.replayed)
        case OutcomeUnknownError():
            response = Failed(number, revoked, type(outcome).__name__, "", outcome.resource_id)
        case _:
            response = Failed(number, revoked, type(outcome).__name__, str(outcome), None)
    return _response_encoder.encode(response)


def _encode_source(origin: Origin) -> bytes:
    caller = origin.caller
    if caller is None or (origin.actor_id, origin.session_id, origin.jti) != (
        caller.user_id,
        caller.session_id,
        caller.jti,
    ):
        return _encoder.encode(Source(origin.actor_id, origin.session_id, origin.jti, caller))
    return _encode_caller(caller)


@lru_cache(MAX_CALLERS)
def _encode_caller(caller: Caller) -> bytes:
    return _encoder.encode(Source(caller.user_id, caller.session_id, caller.jti, caller))


class FrameSplitter:
    """Splits a stream of bytes into the payloads of frames of up to `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._partial = bytearray()
        self._needed = 0

    def split(self, data: bytes) -> Iterator[memoryview]:
        """Yield the payload of each complete frame. Raises `TooLargeError`."""
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return
            data = bytes(self._partial)
            self._partial.clear()
        view, at, end = memoryview(data), 0, len(data)
        while end - at >= LENGTH_BYTES:
            start = at + LENGTH_BYTES
            length = int.from_bytes(view[at:start])
            if length > self._limit:
                raise TooLargeError(f"a frame of {length} bytes")
            if end - start < length:
                self._needed = LENGTH_BYTES + length
                break
            at = start + length
            yield view[start:at]
        else:
            self._needed = LENGTH_BYTES
        if at < end:
            self._partial += view[at:]
