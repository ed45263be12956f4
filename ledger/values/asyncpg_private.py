"""The private parts of asyncpg that the ledger uses, here alone; pyproject.toml caps its version for their sake.

They are on the ground floor, because ids are, and asyncpg's own class of ids is the fastest to make and to send.
"""

from collections.abc import Callable, Mapping
from typing import Any

from asyncpg.pgproto.pgproto import UUID as FastUUID  # noqa: N811 - it is the class, not a constant

__all__ = ["FastUUID", "add_array_codecs"]


def add_array_codecs(connection: Any, encoders: Mapping[tuple[int, str], Callable[[Any], bytes]]) -> None:
    """Encode arrays with these functions, by the oid and name of their type. `set_type_codec` refuses arrays."""
    settings = connection._protocol.get_settings()  # noqa: SLF001 - see above (decision 7)
    for (oid, name), encoder in encoders.items():
        settings.add_python_codec(oid, name, "pg_catalog", [], "scalar", encoder, bytes, "binary")
