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

from ledger.importing.compare import codes_in, find_differences, replace_codes
from ledger.importing.faults import MAX_FAULTS, Fault, FaultyFileError, Place
from ledger.importing.prepare import Prepared, Request
from ledger.importing.results import Result, Tally

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


@dataclass
class Service:
    """The URL of the service, and the user to log in as; `otp` is a code of the user's second factor, if any.

    `refresh_token` is that of the user's session, once there is one: a later connection goes on with it.
    """

    url: str
    username: str
    password: str = field(repr=False)
    otp: str | None = field(default=None, repr=False)
    refresh_token: str = field(default="", repr=False)


class _Answer(msgspec.Struct):
    """A line of the stream: the result of a line that was sent; without a number, why the stream ended early."""

    status: int
    line: int | None = None
    replayed: bool = False
    errors: list[dict[str, Any]] = []


_decode = msgspec.json.Decoder(_Answer).decode


class Client:
    """A session with the service. It is refreshed when its token expires, because a one-time code works only once."""

    def __init__(self, session: aiohttp.ClientSession, service: Service, *, dry_run: bool) -> None:
        self._session, self._service = session, service
        self.dry_run = dry_run
        self._params = {"dry_run": "true"} if dry_run else {}
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._renewing = asyncio.Lock()
        self._account_ids: dict[str, str] = {}  # by codes

    @property
    def authorization(self) -> str:
        """The header with the token in use."""
        return self._session.headers["Authorization"]

    async def begin(self) -> None:
        """Go on with the session of an earlier connection, or log in. Raises `ImportFailedError`."""
        if not self._service.refresh_token or not await self._refresh():
            await self._log_in()

    async def _log_in(self) -> None:
        login = {"username": self._service.username, "password": self._service.password}
        otp = {} if self._service.otp is None else {"otp": self._service.otp}
        status, body = await self._get_tokens("login", json=login | otp)
        if status != HTTPStatus.OK:
            raise ImportFailedError(describe(status, body), can_resume=status in _LATER)

    async def renew(self, refused: str) -> None:
        """Refresh the session, or log in again if it has ended, unless `refused` was replaced in between."""
        async with self._renewing:
            if self.authorization != refused:
                return
            if not await self._refresh():
                await self._log_in()

    async def _refresh(self) -> bool:
        headers = {"Authorization": f"Bearer {self._service.refresh_token}"}
        status, _ = await self._get_tokens("refresh", headers=headers)
        return status == HTTPStatus.OK

    async def _get_tokens(self, action: str, **options: Any) -> tuple[int, Any]:
        async with self._session.post(f"{self._service.url}/v1/auth/{action}", **options) as response:
            body = await _read(response)
        if response.status == HTTPStatus.OK:
            self._session.headers["Authorization"] = f"Bearer {body['access_token']}"
            self._service.refresh_token = body.get("refresh_token", "")
        return response.status, body

    def stream(self, lines: AsyncIterator[bytes]) -> Any:
        """Open a stream of transfers."""
        headers = {"Content-Type": "application/jsonl"}
        url = f"{self._service.url}/v1/transactions/batch"
        return self._session.post(url, data=lines, headers=headers, params=self._params)

    async def post(self, path: str, body: bytes) -> tuple[int, Any]:
        """Return the status and the body of the response to a JSON body."""
        headers = {"Content-Type": "application/json"}
        return await self.call("POST", path, data=body, headers=headers, params=self._params)

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return the status and the body of a response; renew the token, or wait, if the service asks for it."""
        status, body = 0, None
        for _ in range(MAX_WAITS):
            used = self.authorization
            async with self._session.request(method, self._service.url + path, **options) as response:
                status, body = response.status, await _read(response)
            if status == HTTPStatus.UNAUTHORIZED:
                await self.renew(used)
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
                raise ImportFailedError(describe(status, body))
            return body if status == HTTPStatus.OK else None

    async def find_account(self, account_id: str) -> Mapping[str, Any] | None:
        """Return an account, if the caller may read it."""
        async with self._gate:
            status, body = await self.call("GET", f"/v1/accounts/{account_id}")
            return body if status == HTTPStatus.OK else None

    async def with_account_ids(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a request with ids in place of the codes of accounts that the caller may read."""
        for code in codes_in(request) - self._account_ids.keys():
            account = await self.find_account(code)
            self._account_ids[code] = code if account is None else account["id"]
        return replace_codes(request, self._account_ids)


@asynccontextmanager
async def connect(service: Service, *, dry_run: bool = False) -> AsyncIterator[Client]:
    """Open a connection, and log in unless an earlier one has. With `dry_run`, what is sent changes nothing.

    Raises `ImportFailedError`.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout, json_serialize=_dump) as session:
            client = Client(session, service, dry_run=dry_run)
            await client.begin()
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
    """Find out what would become of the requests, and change nothing. Raises as `send` does.

    Transfers see the effects of those before them, up to as many as the service keeps in mind. Journal entries and
    holds are each tried alone.
    """

    def add(result: Result) -> None:
        tally.add(result)
        on_result(result)

    async with connect(service, dry_run=True) as client:
        await check_currencies(client, prepared)
        transfers = (request for request in prepared.requests() if request.kind == "transfer")
        await _Sender(client, transfers, tally, add).run()
        for request in prepared.requests():
            if request.kind != "transfer":
                add(await _post(client, request))


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
        """Send everything; go on where the stream ended because the token has expired, or a dry run is full."""
        while True:
            before, used = self._tally_done(), self._client.authorization
            try:
                problem = await self._stream()
            finally:
                self._report_rest()
            if problem is None:
                return
            is_full = self._client.dry_run and _is_full(problem)
            if not (is_full or problem.status == HTTPStatus.UNAUTHORIZED) or self._tally_done() == before:
                raise ImportFailedError(describe(problem.status, {"errors": problem.errors}))
            self._tally.parts += is_full
            if not is_full:
                await self._client.renew(used)
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
    return result if found is None else _compare(request, await client.with_account_ids(sent), found, result)


def _compare(request: Request, sent: Mapping[str, Any], found: Mapping[str, Any], refused: Result) -> Result:
    differences = find_differences(sent, request.kind, request.source, found)
    if not differences:
        return Result(request.line, "replayed")
    (first, *rest) = refused.errors
    message = f"{first['message']}: {'; '.join(differences)}"
    return refused._replace(errors=({**first, "message": message}, *rest))


async def _post(client: Client, request: Request) -> Result:
    """Make a journal entry or place a hold. Raises `ImportFailedError` if the service fails."""
    status, body = await client.post(_PATHS[request.kind], request.body)
    if status == HTTPStatus.OK:
        return Result(request.line, "made")
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.UNAUTHORIZED:
        raise ImportFailedError(describe(status, body))
    return await _judge(client, request, _Answer(status, errors=body["errors"]))


def _is_full(problem: _Answer) -> bool:
    """Return whether the service keeps no more lines of a dry run in mind."""
    return any(error.get("detail", {}).get("parameter") == "dry_run" for error in problem.errors)


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


def describe(status: int, body: Any) -> str:
    """Return a response of the service that ends the import, as a sentence."""
    first = body["errors"][0] if isinstance(body, dict) and body.get("errors") else {"code": "", "message": ""}
    return f"the service responds with {status} {first['code']}: {first['message']}"


def _dump(value: object) -> str:
    return msgspec.json.encode(value).decode()
