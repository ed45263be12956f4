"""Running a command of the command line: settings, servers, and one line for whatever goes wrong."""

import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import structlog
import uvloop
from rich.console import Console

from ledger.embedded import EmbeddedError
from ledger.environment.variables import SettingsError
from ledger.errors import LedgerError, Refused
from ledger.identity import valkey as redis
from ledger.identity.keyring import check_keys
from ledger.identity.valkey import RedisUnusableError
from ledger.service import logging as logs
from ledger.service.bootstrap import completed
from ledger.service.gc import collect_rarely
from ledger.settings import Settings
from ledger.store import pool as database
from web.workers import ListenError, WorkersFailedError

T = TypeVar("T")


FAILURES = (EmbeddedError, LedgerError, Refused, RedisUnusableError, SettingsError, WorkersFailedError, ListenError)

log = structlog.get_logger(__name__)
console = Console(stderr=True, highlight=False)


def run(work: Callable[[Settings], Awaitable[T]], *, needs_redis: bool = False, needs_key: bool = False) -> T:
    """Do the work with complete settings and servers that answer; any failure ends the program with one line.

    Work that needs Redis or the key that signs tokens says so; other work runs without them.
    """
    try:
        settings = Settings.load()
        check_keys(settings)
        if needs_key:
            settings.check_can_sign()
    except SettingsError as error:
        fail(str(error), 2)
    logs.configure(settings)
    collect_rarely()
    try:
        return uvloop.run(_completed(settings, work, needs_redis=needs_redis))
    except FAILURES as error:
        fail(_text(error), 1)
    except BaseExceptionGroup as group:
        known, unknown = group.split(FAILURES)
        if unknown is not None or known is None:
            raise
        fail(_text(_first(known)), 1)


async def _completed(settings: Settings, work: Callable[[Settings], Awaitable[T]], *, needs_redis: bool) -> T:
    async with completed(settings, needs_redis=needs_redis) as full:
        await database.check_version(full)
        if needs_redis:
            await redis.check_version(full)
        return await work(full)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _text(error: BaseException) -> str:
    if isinstance(error, Refused):
        return ", ".join(f"{refusal.code}: {refusal.message}" for refusal in error.refusals)
    return str(error)


def fail(message: str, status: int) -> NoReturn:
    """End the program with one line on standard error."""
    sys.stderr.write(f"ledger: {message}\n")
    sys.exit(status)
