"""Connections to Redis or Valkey."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ledger.errors import RedisAwayError, RedisUnusableError
from ledger.settings import Settings

MIN_VERSION = 7
CONNECTIONS = 32  # a caller waits for a free one rather than taking Redis for dead


def open_client(settings: Settings) -> "Redis":
    """Open a client that never retries and waits only briefly, because each caller can fall back to PostgreSQL."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_dsn(),
        max_connections=CONNECTIONS,
        timeout=1,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=1,
        socket_timeout=1,
    )
    return Redis.from_pool(pool)


async def check_version(settings: Settings) -> None:
    """Raise `RedisUnusableError` unless Redis is recent enough, and `RedisAwayError` if it does not answer."""
    # Protocol 2, because servers before Redis 6 have no HELLO, and would not tell their version.
    client = Redis.from_url(settings.redis_dsn(), protocol=2, socket_connect_timeout=5, socket_timeout=5)
    try:
        version = (await client.info("server"))["redis_version"]
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        raise RedisAwayError(f"Redis cannot be reached: {' '.join(str(error).split())}") from error
    finally:
        await client.aclose()
    if int(str(version).split(".")[0]) < MIN_VERSION:  # redis-py parses "2.8" as a number
        raise RedisUnusableError(f"Redis {version} is too old: version {MIN_VERSION} or later is needed")
