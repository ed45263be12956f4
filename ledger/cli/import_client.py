"""Send the requests of an import to a running service, in order, and report the result of each line.

Transfers between two accounts go as a stream of JSON Lines. Journal entries and holds go one by one, so the order of
the file is kept. A request whose id or reference is taken is compared with the transaction that has it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain, groupby, islice
from typing import Any

import aiohttp
import msgspec

from ledger.importing.compare import find_differences
from ledger.importing.faults import MAX_FAULTS, Fault, FaultyFileError, Place
from ledger.importing.prepare import Prepared, Request
from ledger.importing.results import Result, Tally
from ledger.money import CURRENCIES, is_code

LINES_PER_CHUNK = 1000
MAX_PENDING = 5000  # lines that are sent and have no result yet
WINDOW = 500  # results that wait for a comparison
AT_ONCE = 8  # requests that read
CONNECT_SECONDS, SILENCE_SECONDS = 10, 60
MAX_WAITS, MAX_WAIT_SECONDS = 5, 30  # for a service that is busy

_PATHS = {"hold": "/v1/transactions/hold", "journal": "/v1/transactions"}
_TAKEN = frozenset(("transaction_id_reused", "transaction_already_exists", "reference_already_exists"))
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
OnResult = Callable[[Result], None]


class ImportFailedError(Exception):
    """The import stopped early. `can_resume` says whether running it again can help."""

    def __init__(self, message: str, *, can_resume: bool = True) -> None:
        super().__init__(message)
        self.can_resume = can_resume


@dataclass(frozen=True)
class Service:
    """The URL of the service, and the user to log in as."""

    url: str
    username: str
    password: str = field(repr=False)


class _Answer(msgspec.Struct):
    """A line of the stream: the result of a line that was sent; without a number, why the stream ended early."""

    status: int
    line: int | None = None
    replayed: bool = False
    errors: list[dict[str, Any]] = []


_decode = msgspec.json.Decoder(_Answer).decode


class Client:
    """A session with the service. It logs in again when its token expires."""

    def __init__(self, session: aiohttp.ClientSession, service: Service) -> None:
        self._session, self._service = session, service
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def log_in(self) -> None:
        """Log in. Raises `ImportFailedError`."""
        login = {"username": self._service.username, "password": self._service.password}
        async with self._session.post(f"{self._service.url}/v1/auth/login", json=login) as response:
            body = await _read(response)
        if response.status != HTTPStatus.OK:
            raise ImportFailedError(_describe(response.status, body), can_resume=response.status in _LATER)
        self._session.headers["Authorization"] = f"Bearer {body['access_token']}"

    def stream(self, lines: AsyncIterator[bytes]) -> Any:
        """Open a stream of transfers."""
        headers = {"Content-Type": "application/jsonl"}
        return self._session.post(f"{self._service.url}/v1/transactions/batch", data=lines, headers=headers)

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return the status and the body of a response; log in again, or wait, if the service asks for it."""
        status, body = 0, None
        for _ in range(MAX_WAITS):
            async with self._session.request(method, self._service.url + path, **options) as response:
                status, body = response.status, await _read(response)
            if status == HTTPStatus.UNAUTHORIZED:
                await self.log_in()
            elif (status in _LATER and method == "GET") or status == HTTPStatus.TOO_MANY_REQUESTS:
                await asyncio.sleep(min(float(response.headers.get("Retry-After", 1)), MAX_WAIT_SECONDS))
            else:
                break
        return status, body

    async def find(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the transaction with the id or the reference of a request, if the caller may read it."""
        async with self._gate:
            status, body = await self.call("GET", f"/v1/transactions/{request['id']}")
            if status == HTTPStatus.NOT_FOUND and (reference := request.get("reference")) is not None:
                status, body = await self.call("GET", "/v1/transactions", params={"reference": reference, "limit": "1"})
                body = body[0] if status == HTTPStatus.OK and body else None
            if status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                raise ImportFailedError(_describe(status, body))
            return body if status == HTTPStatus.OK else None

    async def find_account(self, account_id: str) -> Mapping[str, Any] | None:
        """Return an account, if the caller may read it."""
        async with self._gate:
            status, body = await self.call("GET", f"/v1/accounts/{account_id}")
            return body if status == HTTPStatus.OK else None


class ServiceAssets(Mapping[str, int]):
    """The decimal places of the service's registered assets. Each code is asked for once, when a file first names it.

    ISO 4217 decides about its own codes, so most files are checked without the service.
    """

    def __init__(self, find_service: Callable[[], Service]) -> None:
        self._find_service = find_service
        self._found: dict[str, int | None] = {}

    def __getitem__(self, code: str) -> int:
        if code in CURRENCIES or not is_code(code):
            raise KeyError(code)
        if code not in self._found:
            self._found[code] = asyncio.run(_find_digits(self._find_service(), code))
        digits = self._found[code]
        if digits is None:
            raise KeyError(code)
        return digits

    def __iter__(self) -> Iterator[str]:
        return (code for code, digits in self._found.items() if digits is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def _find_digits(service: Service, code: str) -> int | None:
    """Return the decimal places of an asset, or None if the service has no such asset. Raises `ImportFailedError`."""
    async with connect(service) as client:
        status, body = await client.call("GET", f"/v1/assets/{code}")
    if status == HTTPStatus.OK:
        return int(body["digits"])
    if status == HTTPStatus.NOT_FOUND:
        return None
    raise ImportFailedError(_describe(status, body))


@asynccontextmanager
async def connect(service: Service) -> AsyncIterator[Client]:
    """Open a session, and log in. Raises `ImportFailedError`."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout, json_serialize=_dump) as session:
            client = Client(session, service)
            await client.log_in()
            yield client
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
        raise ImportFailedError(f"{service.url}: {str(error) or 'no response in time'}") from error


async def send(service: Service, prepared: Prepared, tally: Tally, on_result: OnResult) -> None:
    """Send all requests in order, and count the result of each. Raises `ImportFailedError` and `FaultyFileError`."""

    def add(result: Result) -> None:
        tally.add(result)
        on_result(result)

    async with connect(service) as client:
        await check_currencies(client, prepared)
        for is_transfer, requests in groupby(prepared.requests(), lambda request: request.kind == "transfer"):
            if is_transfer:
                await _Sender(client, requests, tally, add).run()
            else:
                for request in requests:
                    tally.unconfirmed = 1
                    add(await _post(client, request))
                    tally.unconfirmed = 0


async def try_out(service: Service, prepared: Prepared, tally: Tally, on_result: OnResult) -> None:
    """Find out what would become of the requests, and send none. Raises `ImportFailedError` and `FaultyFileError`."""
    async with connect(service) as client:
        await check_currencies(client, prepared)
        requests = prepared.requests()
        while window := list(islice(requests, WINDOW)):
            for result in await asyncio.gather(*(_foresee(client, request) for request in window)):
                tally.add(result)
                on_result(result)


async def check_currencies(client: Client, prepared: Prepared) -> None:
    """Raise `FaultyFileError` if the file names another currency than an account that pays has."""
    named = list(prepared.currencies.items())
    accounts = await _gather(client.find_account(account_id) for (account_id, _), _ in named)
    faults = [
        Fault(Place(line, 1), f"currency: account {account_id} is in {account['currency']}, not in {currency}")
        for ((account_id, currency), line), account in zip(named, accounts, strict=True)
        if account is not None and account["currency"] != currency
    ]
    if faults:
        raise FaultyFileError(faults[:MAX_FAULTS], complete=len(faults) <= MAX_FAULTS)


class _Sender:
    """Sends transfers as a stream, and takes the results as they arrive, in order."""

    def __init__(self, client: Client, requests: Iterator[Request], tally: Tally, add: OnResult) -> None:
        self._client, self._requests, self._tally, self._add = client, requests, tally, add
        self._pending: deque[Request] = deque()  # sent, without a result
        self._has_room = asyncio.Event()
        self._window: list[tuple[Request, _Answer]] = []  # results from the first that has to be compared

    async def run(self) -> None:
        """Send everything; go on with a new token where the stream ended because the old one has expired."""
        while True:
            before = self._tally_done()
            try:
                problem = await self._stream()
            finally:
                self._report_rest()
            if problem is None:
                return
            if problem.status != HTTPStatus.UNAUTHORIZED or self._tally_done() == before:
                raise ImportFailedError(_describe(problem.status, {"errors": problem.errors}))
            await self._client.log_in()
            self._requests = chain(tuple(self._pending), self._requests)
            self._pending.clear()

    def _tally_done(self) -> int:
        return sum(self._tally.counts.values())

    async def _stream(self) -> _Answer | None:
        """Send what is left. Return why the service ended the stream early, or None."""
        async with self._client.stream(self._chunks()) as response:
            if response.status != HTTPStatus.OK:
                body = await _read(response)
                return _Answer(response.status, errors=body["errors"])
            async for answer in _read_answers(response):
                if answer.line is None:
                    await self._settle()
                    return answer
                await self._take(answer)
        await self._settle()
        if self._pending:
            raise ImportFailedError("the service closed the stream before the last result")
        return None

    async def _chunks(self) -> AsyncIterator[bytes]:
        while chunk := list(islice(self._requests, LINES_PER_CHUNK)):
            self._pending.extend(chunk)
            self._tally.unconfirmed = len(self._pending) + len(self._window)
            yield b"".join([request.body for request in chunk])
            while len(self._pending) >= MAX_PENDING:
                self._has_room.clear()
                await self._has_room.wait()

    async def _take(self, answer: _Answer) -> None:
        request = self._pending.popleft()
        self._has_room.set()
        if not self._window and not _is_taken(answer.errors):
            self._add(_conclude(request, answer))
        else:
            self._window.append((request, answer))
            if len(self._window) >= WINDOW:
                await self._settle()
        self._tally.unconfirmed = len(self._pending) + len(self._window)

    async def _settle(self) -> None:
        """Report the results in the window, and compare those that have to be."""
        results = await _gather(_judge(self._client, request, answer) for request, answer in self._window)
        self._window.clear()
        for result in results:
            self._add(result)
        self._tally.unconfirmed = len(self._pending)

    def _report_rest(self) -> None:
        """Report the results in the window that need no comparison."""
        rest = [each for each in self._window if _is_taken(each[1].errors)]
        for request, answer in self._window:
            if not _is_taken(answer.errors):
                self._add(_conclude(request, answer))
        self._window = rest
        self._tally.unconfirmed = len(self._pending) + len(rest)


def _conclude(request: Request, answer: _Answer) -> Result:
    if answer.errors:
        return Result(request.line, "refused", answer.status, tuple(answer.errors))
    return Result(request.line, "replayed" if answer.replayed else "made", answer.status)


async def _judge(client: Client, request: Request, answer: _Answer) -> Result:
    """Return the result of a line; if its id or reference is taken, compare it with the transaction that has it."""
    result = _conclude(request, answer)
    if not _is_taken(answer.errors):
        return result
    sent = msgspec.json.decode(request.body)
    found = await client.find(sent)
    return result if found is None else _compare(request, sent, found, result)


def _compare(request: Request, sent: Mapping[str, Any], found: Mapping[str, Any], refused: Result) -> Result:
    differences = find_differences(sent, request.kind, request.source, found)
    if not differences:
        return Result(request.line, "replayed")
    (first, *rest) = refused.errors
    message = f"{first['message']}: {'; '.join(differences)}"
    return refused._replace(errors=({**first, "message": message}, *rest))


async def _post(client: Client, request: Request) -> Result:
    """Make a journal entry or place a hold. Raises `ImportFailedError` if the service fails."""
    headers = {"Content-Type": "application/json"}
    status, body = await client.call("POST", _PATHS[request.kind], data=request.body, headers=headers)
    if status == HTTPStatus.OK:
        return Result(request.line, "made")
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.UNAUTHORIZED:
        raise ImportFailedError(_describe(status, body))
    return await _judge(client, request, _Answer(status, errors=body["errors"]))


async def _foresee(client: Client, request: Request) -> Result:
    """Return what would become of a line, as far as the service tells: `made` if nothing is known against it."""
    sent = msgspec.json.decode(request.body)
    if (found := await client.find(sent)) is not None:
        taken = {"code": "transaction_already_exists", "message": f"transaction already exists: {found['id']}"}
        return _compare(request, sent, found, Result(request.line, "refused", HTTPStatus.CONFLICT, (taken,)))
    return Result(request.line, "made")


def _is_taken(errors: Sequence[Mapping[str, Any]]) -> bool:
    return bool(errors) and all(error["code"] in _TAKEN for error in errors)


async def _gather(calls: Iterable[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*calls))


async def _read_answers(response: aiohttp.ClientResponse) -> AsyncIterator[_Answer]:
    rest = b""
    async for data in response.content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield _decode(line)
    if rest:
        raise ImportFailedError("the service closed the stream before the last result")


async def _read(response: aiohttp.ClientResponse) -> Any:
    """Return the body of a response. Raises `ImportFailedError` if it is not JSON: then it is no ledger."""
    try:
        return await response.json(content_type=None)
    except ValueError:
        raise ImportFailedError(f"{response.url.origin()} is no ledger: {response.status}", can_resume=False) from None


def _describe(status: int, body: Any) -> str:
    first = body["errors"][0] if isinstance(body, dict) and body.get("errors") else {"code": "", "message": ""}
    return f"the service responds with {status} {first['code']}: {first['message']}"


def _dump(value: object) -> str:
    return msgspec.json.encode(value).decode()
