"""Frames between a check and its own processes: a length of four bytes, and a pickled value."""

import asyncio
import pickle
import struct
from typing import Any

_LENGTH = struct.Struct("!I")


def write_frame(stream: asyncio.StreamWriter, value: object) -> None:
    """Send a value."""
    content = pickle.dumps(value)
    stream.write(_LENGTH.pack(len(content)) + content)


async def read_frame(stream: asyncio.StreamReader) -> Any:
    """Return the next value. Raises `asyncio.IncompleteReadError` at the end of the stream."""
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    return pickle.loads(await stream.readexactly(length))  # noqa: S301 - from a process that this one has started
