"""Clients that transfer money while a fault lasts, and record every answer with its times.

Each kind of client is there at each instance: with and without `Idempotency-Key`, over random accounts and over two hot
ones, on a kept-alive connection and on a new one for each request. A client with a key repeats a request until it has a
final answer; one without asks once.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp

from tests.support.faults.extent import seconds
from tests.support.processes import DEADLINE_SECONDS, until

PAUSE_SECONDS = seconds(0.02, short=0.05)  # between two requests of a client: the faults are tested, not the throughput
RETRY_SECONDS = 0.1
GIVE_UP_SECONDS = 60
DONE = frozenset({200, 201})
AGAIN = frozenset({429, 500, 502, 503, 504})  # and 409 `idempotency_key_in_use`
IN_USE = "idempotency_key_in_use"


class Kind(NamedTuple):
    """What a client does, and which instance it talks to."""

    instance: int
    is_keyed: bool
    is_hot: bool
    is_newcomer: bool  # opens a connection for each request


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request and its answer. `outcome` is a status with a code of its errors, or the name of a broken connection."""

    kind: Kind
    command: str  # the description of the transfer, which no other command has
    began: float
    ended: float
    status: int | None
    outcome: str
    transaction_id: str | None = None

    @property
    def is_acknowledged(self) -> bool:
        return self.status in DONE

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts that clients move money between: many cold ones and two hot ones."""

    cold: Sequence[str]
    hot: Sequence[str]

    def choose(self, kind: Kind) -> list[str]:
        return random.sample(self.hot if kind.is_hot else self.cold, 2)


class Load:
    """The clients. `urls` may change while they run: an instance that starts again has another port."""

    def __init__(self, urls: list[str], token: str, accounts: Accounts, *, clients: int = 1) -> None:
        self.urls = urls
        self.attempts: list[Attempt] = []
        self.accounts = accounts
        self._token = token
        choices = itertools.product((False, True), repeat=3)
        self._kinds = [Kind(instance, *choice) for choice in choices for instance in range(len(urls))] * clients
        self._numbers = itertools.count(1)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run(kind)) for kind in self._kinds]

    async def stop(self) -> None:
        """Let each client have its last answer."""
        self._stopping.set()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        """End the clients where they are."""
        for task in self._tasks:
            task.cancel()

    async def until_acknowledged(
        self, since: float | None = None, chosen: Callable[[Kind], bool] | None = None
    ) -> float:
        """Wait for an answer to a command that is sent after a point in time, and return the seconds until then."""
        start = time.monotonic() if since is None else since
        times: list[float] = await until(lambda: self.acknowledgements(start, chosen))
        return times[0] - start

    def acknowledgements(self, since: float = 0, chosen: Callable[[Kind], bool] | None = None) -> list[float]:
        """List when commands were acknowledged, in order."""
        return sorted(
            attempt.ended
            for attempt in self.attempts
            if attempt.is_acknowledged and attempt.ended > since and (chosen is None or chosen(attempt.kind))
        )

    async def _run(self, kind: Kind) -> None:
        connector = aiohttp.TCPConnector(force_close=kind.is_newcomer)
        headers = {"Authorization": f"Bearer {self._token}"}
        timeout = aiohttp.ClientTimeout(GIVE_UP_SECONDS)
        async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
            while not self._stopping.is_set():
                await self._carry_out(session, kind)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _carry_out(self, session: aiohttp.ClientSession, kind: Kind) -> None:
        command = f"fault-{next(self._numbers)}"
        source, destination = self.accounts.choose(kind)
        body = {"source_account_id": source, "destination_account_id": destination, "amount_cents": 1}
        headers = {"Idempotency-Key": command} if kind.is_keyed else {}
        while True:
            attempt = await self._ask(session, kind, command, body | {"description": command}, headers)
            self.attempts.append(attempt)
            is_final = attempt.status is not None and attempt.status not in AGAIN and IN_USE not in attempt.outcome
            if is_final or not kind.is_keyed or self._stopping.is_set():
                if attempt.status is None:
                    await asyncio.sleep(RETRY_SECONDS)
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _ask(
        self, session: aiohttp.ClientSession, kind: Kind, command: str, body: dict[str, Any], headers: dict[str, str]
    ) -> Attempt:
        began, url = time.monotonic(), f"{self.urls[kind.instance]}/v1/transactions/transfer"
        try:
            async with session.post(url, json=body, headers=headers) as response:
                answer = await response.json()
                status, outcome = response.status, _outcome(response.status, answer)
        except (aiohttp.ClientError, OSError) as error:  # OSError: a timeout, too
            return Attempt(kind, command, began, time.monotonic(), None, _broken(error))
        return Attempt(kind, command, began, time.monotonic(), status, outcome, answer.get("id"))


def _outcome(status: int, answer: Any) -> str:
    codes = sorted({error["code"] for error in answer.get("errors", ())})
    return " ".join([str(status), *codes])


def _broken(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            return "refused"
        case TimeoutError():
            return "timeout"
        case _:
            return "reset"
