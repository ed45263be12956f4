"""The types of connections and pools, in one place: asyncpg's classes take a type parameter in its stubs only."""

from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any]
    Pool: TypeAlias = asyncpg.Pool[Any]
    Reader: TypeAlias = Pool | Connection | PoolConnectionProxy[Any]
else:
    Connection, Pool = asyncpg.Connection, asyncpg.Pool
    Reader = Pool | Connection | PoolConnectionProxy
