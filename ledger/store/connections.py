"""Types of connections and pools. asyncpg's classes take a type parameter in its stubs but not at run time."""

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
