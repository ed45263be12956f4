"""Running a command of the command line: settings, servers, and one line for whatever goes wrong."""

import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import structlog
import uvloop
from rich.console import Console

from ledger import database, logs, redis
from ledger.embedded import EmbeddedError
from ledger.errors import LedgerError, Refused
from ledger.garbage import collect_rarely
from ledger.profile import completed
from ledger.redis import RedisUnusableError
from ledger.settings import Settings, SettingsError, unknown_variables
from ledger.workers import WorkersFailedError

T = TypeVar("T")


class ListenError(Exception):
    """The service's address cannot be used."""


FAILURES = (EmbeddedError, LedgerError, Refused, RedisUnusableError, SettingsError, WorkersFailedError, ListenError)

log = structlog.get_logger()
console = Console(stderr=True, highlight=False)


def run(work: Callable[[Settings], Awaitable[T]]) -> T:
    """Do the work with complete settings and servers that answer; any failure ends the program with one line."""
    try:
        settings = Settings.load()
    except SettingsError as error:
        fail(str(error), 2)
    logs.configure(settings)
    for name in unknown_variables():
        log.warning("unknown setting ignored", name=name)
    collect_rarely()
    try:
        return uvloop.run(_completed(settings, work))
    except FAILURES as error:
        fail(str(error), 1)
    except BaseExceptionGroup as group:
        known, unknown = group.split(FAILURES)
        if unknown is not None or known is None:
            raise
        fail(str(_first(known)), 1)


async def _completed(settings: Settings, work: Callable[[Settings], Awaitable[T]]) -> T:
    async with completed(settings) as full:
        await database.check_version(full)
        await redis.check_version(full)
        return await work(full)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def fail(message: str, status: int) -> NoReturn:
    """End the program with one line on standard error."""
    sys.stderr.write(f"ledger: {message}\n")
    sys.exit(status)
