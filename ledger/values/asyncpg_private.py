"""The private parts of asyncpg that the ledger uses. Only this module names them, and pyproject.toml caps its version.

The module is in the lowest layer because ids are: asyncpg's class of UUIDs is the fastest to create and to send.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from asyncpg.pgproto.pgproto import UUID as FastUUID  # noqa: N811 - it is the class, not a constant

__all__ = ["FastUUID", "add_array_codecs", "count_unsent_bytes", "remove_array_codecs"]


def add_array_codecs(connection: Any, encoders: Mapping[tuple[int, str], Callable[[Any], bytes]]) -> None:
    """Register encoders of array types, by oid and name of the type, because `set_type_codec` refuses arrays."""
    settings = connection._protocol.get_settings()  # noqa: SLF001 - see above (decision 7)
    for (oid, name), encoder in encoders.items():
        settings.add_python_codec(oid, name, "pg_catalog", [], "scalar", encoder, bytes, "binary")


def remove_array_codecs(connection: Any, kinds: Iterable[tuple[int, str]]) -> None:
    """Let asyncpg encode and decode these array types itself again, in statements that are prepared from now on."""
    settings = connection._protocol.get_settings()  # noqa: SLF001 - see above
    for oid, name in kinds:
        settings.remove_python_codec(oid, name, "pg_catalog")


def count_unsent_bytes(connection: Any) -> int:
    """Return the number of bytes that the operating system has not taken from an open connection yet."""
    return int(connection._transport.get_write_buffer_size())  # noqa: SLF001 - see above
