"""A run of services under load, in which a test makes faults happen, and what was measured of it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, user_body
from tests.support.faults.books import Books, check_books, log_end
from tests.support.faults.extent import seconds
from tests.support.faults.followers import FeedFollower, Follower, PageFollower
from tests.support.faults.load import Accounts, Attempt, Kind, Load
from tests.support.processes import Ledger
from tests.support.serving import log_in, serving

QUIET_SECONDS = seconds(2, short=1)
COLD, HOT = 24, 2
STOP_SECONDS = 10  # for a service in which no request waits
BALANCE_CENTS = 1_000_000_000
Record = Callable[[str, object], None]
Chosen = Callable[[Kind], bool]


class Trial:
    """Services, their clients, and the windows in which there is a fault."""

    def __init__(
        self, fault: str, folder: Path, variables: Mapping[str, str], workers: int, front: str | None = None
    ) -> None:
        self.fault = fault
        self.windows: list[tuple[float, float]] = []
        self.services: list[Ledger] = []
        self.urls: list[str] = []
        self.token = ""
        self.times = 0
        self.began = self.ended = 0.0
        self.allowance = 0.0  # the longest silence without a fault: what the machine itself does to the clients
        self.load: Load
        self.followers: list[Follower] = []
        self._folder, self._variables, self._workers = folder, variables, workers
        self._front = front  # the URL of the load balancer, if clients ask that
        self._stack = ExitStack()
        self._after = self._started = 0

    async def serve(self, settings: Settings) -> Ledger:
        """Start another instance, and wait until it serves."""
        self._started += 1
        service = self._stack.enter_context(
            serving(
                self._folder / f"service-{self._started}", settings, workers=self._workers, variables=self._variables
            )
        )
        self.services.append(service)
        url = await service.url()
        self.urls.append(self._front or url)
        return service

    async def restart(self, settings: Settings, *, instance: int = 0) -> Ledger:
        """Start an instance again, whose processes have ended; clients and followers find it at its new port."""
        service = await self.serve(settings)
        self.urls[instance], self.services[instance] = self.urls.pop(), self.services.pop()
        return service

    async def begin(self, settings: Settings, clients: int) -> None:
        """Open accounts, start clients and followers, and measure an undisturbed time."""
        self.token = await log_in(self.urls[0], "admin", ADMIN_PASSWORD)
        accounts = await _open_accounts(self.urls[0], self.token)
        self._after = await log_end(settings)
        self.load = Load(self.urls, self.token, accounts, clients=clients)
        self.followers = [
            FeedFollower(self.urls, 0, self.token, self._after),
            PageFollower(self.urls, len(self.urls) - 1, self.token, self._after),
        ]
        self.load.start()
        for follower in self.followers:
            follower.start()
        self.began = time.monotonic() + await self.load.until_acknowledged()
        await self.quiet()
        self.allowance = self.silence(until=time.monotonic())

    @staticmethod
    def now() -> float:
        """Return the time of the clock that attempts are measured with."""
        return time.monotonic()

    async def quiet(self) -> None:
        """Let the clients go on without a fault."""
        await asyncio.sleep(QUIET_SECONDS)

    @asynccontextmanager
    async def during(self, times: int = 1) -> AsyncIterator[None]:
        """Measure a window with faults, and wait afterwards until a command is acknowledged."""
        began = time.monotonic()
        yield
        self.times += times
        self.windows.append((began, time.monotonic()))
        await self.load.until_acknowledged()
        await self.quiet()

    async def finish(self, settings: Settings) -> Books:
        """Stop the clients, and compare what they and the followers know with the surviving log."""
        self.ended = time.monotonic()
        await self.load.stop()
        end = await log_end(settings)
        for follower in self.followers:
            await follower.stop(end)
        books = await check_books(settings, self.load.attempts, self.followers, after=self._after)
        books.problems.extend([problem for service in self.services if (problem := await _stop(service))])
        return books

    def silence(self, chosen: Chosen | None = None, *, since: float | None = None, until: float | None = None) -> float:
        """Return the longest time without an acknowledgement, in seconds."""
        since, until = since or self.began, until or self.ended or time.monotonic()
        times = [moment for moment in self.load.acknowledgements(since, chosen) if moment < until]
        return max(later - earlier for earlier, later in zip([since, *times], [*times, until], strict=True))

    def recovery(self, chosen: Chosen | None = None) -> float:
        """Return the longest time from the end of a fault until a command was acknowledged, in seconds."""
        return max(self.load.acknowledgements(ended, chosen)[0] - ended for _, ended in self.windows)

    def in_faults(self, chosen: Chosen | None = None) -> list[Attempt]:
        """List the requests that were sent during a fault."""
        return [
            attempt
            for attempt in self.load.attempts
            if any(began < attempt.began < ended for began, ended in self.windows)
            and (chosen is None or chosen(attempt.kind))
        ]

    def slowest(self, chosen: Chosen | None = None) -> float:
        """Return how long the slowest answer took to a request that was sent during a fault, in seconds."""
        return max((attempt.seconds for attempt in self.in_faults(chosen)), default=0.0)

    def row(self, books: Books | None) -> dict[str, Any]:
        """Return what the table says of this run."""
        attempts = self.load.attempts
        other = Counter(attempt.outcome for attempt in attempts if not attempt.is_acknowledged)
        return {
            "fault": self.fault,
            "times": self.times,
            "acknowledged": len({attempt.command for attempt in attempts if attempt.is_acknowledged}),
            "lost": books and books.lost,
            "doubled": books and books.doubled,
            "silence": round(self.silence(), 1),
            "others": dict(other),
        }

    def abandon(self) -> None:
        """End everything at once."""
        self.load.cancel()
        for follower in self.followers:
            follower.cancel()

    def close(self) -> None:
        self._stack.close()


@asynccontextmanager
async def run_trial(
    fault: str,
    folder: Path,
    record: Record,
    instances: Sequence[Settings],
    *,
    workers: int = 1,
    clients: int = 1,
    variables: Mapping[str, str] | None = None,
    survivor: Settings | None = None,
    front: str | None = None,
) -> AsyncIterator[Trial]:
    """Run instances under load, and check the books in the end, in the database of `survivor` if it is another one.

    Clients talk to the load balancer at the URL `front`, if there is one.
    """
    trial = Trial(fault, folder, variables or {}, workers, front)
    books = None
    try:
        for settings in instances:
            await trial.serve(settings)
        await trial.begin(instances[0], clients)
        yield trial
        books = await trial.finish(survivor or instances[-1])
    finally:
        if trial.began:
            trial.abandon()
            record("fault", trial.row(books))
        trial.close()
    assert [] == books.problems, books.problems


async def _stop(service: Ledger) -> str | None:
    """Send SIGTERM, and say what is wrong if the service does not end in time with status 0."""
    began = time.monotonic()
    status, took = await service.stop(), time.monotonic() - began
    return None if status == 0 and took <= STOP_SECONDS else f"SIGTERM: status {status} after {took:.1f} s"


async def readiness(url: str) -> dict[str, str]:
    """Return the results of the checks of `/v1/readyz`."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/readyz") as response:
        body = await response.json()
        checks: dict[str, str] = body["checks"] if response.status == 200 else body["errors"][0]["detail"]
        return checks


async def readiness_status(url: str) -> int:
    """Return the status of `/v1/readyz`."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/readyz") as response:
        return response.status


async def _open_accounts(url: str, token: str) -> Accounts:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as session:

        async def post(path: str, body: dict[str, Any]) -> str:
            async with session.post(f"{url}/v1/{path}", json=body) as response:
                return str((await response.json())["id"])

        owner = await post("users", user_body())
        body = {"user_id": owner, "balance_cents": BALANCE_CENTS}
        ids = [await post("accounts", body) for _ in range(COLD + HOT)]
    return Accounts(ids[HOT:], ids[:HOT])
