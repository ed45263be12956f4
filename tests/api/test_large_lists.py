"""Large lists are complete, consistent, bounded in memory and compressed on request.

Most tests reduce the page size instead of creating large lists.
"""

import asyncio
import gzip
import itertools
import json
import re
import socket
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import ClientSession, DummyCookieJar
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from ledger.errors import OverloadedError
from ledger.projections import accounts, transaction_search
from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.paging import all_items, next_path
from tests.support.processes import until
from web.http import pagination
from web.http import response as reply
from web.http.concurrency import ConcurrencyLimit
from web.http.negotiation import choose_coding
from web.http.pagination import LARGE_LISTS, LargeLists

ONE, OTHER = UUID(int=1), UUID(int=2)
OPENED = """INSERT INTO accounts (id, user_id, currency, balance_cents, status, version, position, created_at,
                                  updated_at)
            SELECT gen_random_uuid(), $1, 'USD', 0, 'open', 1, 1000000 + number, now(), now()
            FROM generate_series(1, $2::int) AS number"""


def limits_of(api: Api) -> LargeLists:
    limits: LargeLists = api.client.app[LARGE_LISTS]
    return limits


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce pages to 2 items, chunks to 3 and lists to 7."""
    for name, value in (("SMALL", 2), ("CHUNK", 3), ("MAX_ITEMS", 7), ("SLICE", 2)):
        monkeypatch.setattr(pagination, name, value)


async def fetch_raw(api: Api, path: str, accepted: str | None = None) -> tuple[bytes, Any]:
    """Return the body as sent, without decompression, and the headers."""
    headers = {"Authorization": f"Bearer {api.token}"}
    if accepted is not None:
        headers["Accept-Encoding"] = accepted
    options: dict[str, Any] = {
        "auto_decompress": False,
        "skip_auto_headers": ["Accept-Encoding"],
        "cookie_jar": DummyCookieJar(),
    }
    async with ClientSession(**options) as session, session.get(api.client.make_url(path), headers=headers) as response:
        assert 200 == response.status
        return await response.read(), response.headers


# Sizes


async def test_a_list_without_limit_has_10_000_items_and_a_link_to_the_rest(
    api: Api, connection: "asyncpg.Connection[Any]"
) -> None:
    """Clients of the reference ignore `Link` and expect everything."""
    owner_id = UUID((await api.new_user())["id"])
    await connection.execute(OPENED, owner_id, 10_000)

    exactly = await api.get("/v1/accounts")
    assert (10_000, None) == (len(exactly.body), next_path(exactly))

    await connection.execute(OPENED.replace("1000000", "2000000"), owner_id, 1500)
    whole = await api.get("/v1/accounts")
    rest = await api.get(str(next_path(whole)))
    last = await api.get(str(next_path(rest)))
    assert [10_000, 1000, 500] == [len(answer.body) for answer in (whole, rest, last)]
    assert next_path(last) is None
    every = await connection.fetch("SELECT id::text FROM accounts ORDER BY position DESC")
    assert [row[0] for row in every] == [row["id"] for row in (*whole.body, *rest.body, *last.body)]


async def test_limit_and_cursor_request_a_page(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    await connection.execute(OPENED, UUID((await api.new_user())["id"]), 2100)

    page = await api.get("/v1/accounts?limit=1000")
    assert (1000, "limit=1000" in str(next_path(page))) == (len(page.body), True)
    cursor = str(next_path(page)).partition("cursor=")[2]
    assert [1000, 5] == [len((await api.get(f"/v1/accounts?{q}cursor={cursor}")).body) for q in ("", "limit=5&")]


@pytest.fixture
async def every_list(api: Api) -> list[str]:
    """Return the path of every list, each with more than 7 items."""
    customer = await api.as_new_user("customer")
    source, sink = await api.new_account(customer.user_id, 100), await api.new_account()
    for cents in range(1, 9):
        await api.new_account(balance_cents=1)
        assert 200 == (await api.transfer(source, sink, cents)).status
    user = await api.new_user()
    for _ in range(8):
        await api.logged_in(user["username"])
    head = (await api.get("/v1/events")).body[-1]["position"]
    return [
        "/v1/users",
        "/v1/accounts",
        f"/v1/accounts?at_position={head}",
        f"/v1/auth/sessions?user_id={user['id']}",
        f"/v1/audit/actors/{user['id']}",
        f"/v1/accounts/{source['id']}/entries",
        f"/v1/accounts/{source['id']}/entries?order=asc",
        f"/v1/accounts/{source['id']}/events",
        "/v1/events",
        "/v1/events?topic=AccountDebited",
        "/v1/transactions",
        "/v1/transactions?min_amount_cents=2",
        f"/v1/transactions?account_id={source['id']}",
    ]


async def test_every_list_is_complete_for_any_chunk_size(
    api: Api, every_list: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {path: (await api.get(path)).body for path in every_list}
    for name, value in (("SMALL", 2), ("CHUNK", 3), ("SLICE", 2)):
        monkeypatch.setattr(pagination, name, value)
    for path, items in whole.items():
        answer = await api.get(path)
        assert (items, None) == (answer.body, next_path(answer)), path
        assert str(len(json.dumps(items))) != answer.headers["Content-Length"]
    monkeypatch.setattr(pagination, "MAX_ITEMS", 7)
    for path, items in whole.items():
        assert len(items) > 7, path
        assert items[:7] == (await api.get(path)).body, path
        assert items == await all_items(api, path), path


@pytest.mark.usefixtures("small")
async def test_a_list_shows_one_consistent_state(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """All balances sum to zero, even if money moves while a list is read."""
    source, *_, sink = [await api.new_account(balance_cents=10) for _ in range(6)]
    read = accounts.page
    moved = []

    async def moving(*arguments: Any) -> Any:
        found = await read(*arguments)
        moved.append((await api.transfer(source, sink, 1)).status)
        return found

    monkeypatch.setattr(accounts, "page", moving)
    listed = (await api.get("/v1/accounts?world=true")).body

    assert {200} == set(moved)
    assert (7, 0) == (len(listed), sum(account["balance_cents"] for account in listed))
    assert len(moved) > 2


# Bounds


@pytest.mark.usefixtures("small")
async def test_a_list_of_large_items_ends_early_with_a_link(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson 36."""
    for _ in range(6):
        await api.new_user()
    whole = await api.get("/v1/users")
    monkeypatch.setattr(pagination, "MAX_BYTES", 3 * len(json.dumps(whole.body[0])))
    monkeypatch.setattr(pagination, "CHUNK_BYTES", 1)  # one item at a time

    short = await api.get("/v1/users")

    assert 2 < len(short.body) < 5
    assert whole.body == await all_items(api, "/v1/users")


@pytest.mark.usefixtures("small")
async def test_filters_without_matches_read_a_bounded_number_of_chunks(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson 36: the rest is on the next page."""
    source, sink = await api.new_account(balance_cents=100), await api.new_account()
    for _ in range(8):
        await api.transfer(source, sink, 4)
    monkeypatch.setattr(transaction_search, "SCAN", 2)
    monkeypatch.setattr(pagination, "MAX_CHUNKS", 2)

    answer = await api.get("/v1/transactions?reference=none&kind=transfer&min_amount_cents=1")
    assert ([], None) == (answer.body, next_path(answer)), "the index shows that nothing matches"

    path = "/v1/transactions?max_amount_cents=3&min_amount_cents=3"
    answer = await api.get(path)
    assert [] == answer.body
    assert next_path(answer) is not None
    assert [] == await all_items(api, path)


@pytest.mark.usefixtures("small")
async def test_chunks_after_the_first_need_a_place(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson 36: a filter that matches nothing must not read an unbounded number of chunks."""
    source, sink = await api.new_account(balance_cents=100), await api.new_account()
    for _ in range(8):
        await api.transfer(source, sink, 4)
    monkeypatch.setattr(transaction_search, "SCAN", 2)
    read = transaction_search.page
    turns = []

    async def watched(*arguments: Any, **options: Any) -> Any:
        turns.append(limits_of(api).read.admitted)
        return await read(*arguments, **options)

    monkeypatch.setattr(transaction_search, "page", watched)
    path = "/v1/transactions?max_amount_cents=3&min_amount_cents=3"

    assert [] == (await api.get(path)).body
    assert [0, 1, 1] == turns[:3]
    assert {1} == {*turns[1:]}
    turns.clear()
    page = await api.get(f"{path}&limit=5")
    assert ([], [0]) == (page.body, turns), "a page ends with a chunk that filters left short"
    assert next_path(page) is not None


@pytest.fixture
async def one_place(serve: Callable[[Settings], Awaitable[Api]], settings: Settings, small: None) -> Api:
    """Return a service with one place for large lists and no queue."""
    del small
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("MAX_LARGE", 1), ("MAX_LARGE_EACH", 1), ("MAX_WAITING", 0)):
            patched.setattr(pagination, name, value)
        return await serve(settings)


def occupy_place(api: Api) -> AbstractAsyncContextManager[None]:
    """Occupy that place as another caller."""
    return limits_of(api).kept.admit(OTHER)


async def test_without_a_place_a_large_list_is_refused_and_a_small_one_is_not(one_place: Api) -> None:
    """Lesson 36."""
    api = one_place
    for _ in range(3):
        await api.new_user()
    customer = await api.as_new_user("customer")

    async with occupy_place(api):
        refused = await api.get("/v1/users")
        assert (503, ["overloaded"]) == (refused.status, refused.codes)
        assert refused.headers["Retry-After"]
        assert 2 == len((await api.get("/v1/users?limit=2")).body)
        assert [] == (await customer.get("/v1/accounts")).body
    assert 5 == len((await api.get("/v1/users")).body)


async def test_a_caller_keeps_a_share_for_others() -> None:
    """Lesson 61."""
    limit = ConcurrencyLimit(total=3, each=2, queue=8, wait_seconds=0.01)
    async with limit.admit(ONE), limit.admit(ONE):
        with pytest.raises(OverloadedError):
            await limit.admit(ONE).__aenter__()
        async with limit.admit(OTHER):
            assert 3 == limit.admitted
            with pytest.raises(OverloadedError):
                await limit.admit(UUID(int=3)).__aenter__()
        async with limit.admit(OTHER):
            pass
    assert 0 == limit.admitted


async def test_places_are_granted_in_order_and_the_queue_is_bounded() -> None:
    """Lesson 36."""
    limit = ConcurrencyLimit(total=1, each=1, queue=1, wait_seconds=10)
    order: list[int] = []

    async def take(number: int) -> None:
        async with limit.admit(ONE):
            order.append(number)

    async with limit.admit(ONE):
        waiting = asyncio.create_task(take(1))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await take(2)
        assert [] == order
    await waiting
    assert [1] == order


@pytest.mark.parametrize(
    "bounds",
    [
        {(reply, "PATIENCE_SECONDS"): 0.2},
        {(pagination, "SEND_SECONDS"): 0.2, (pagination, "SEND_BYTES_PER_SECOND"): 1e12},
    ],
    ids=["between two pieces", "in all"],
)
async def test_a_client_that_does_not_read_loses_its_connection_and_place(
    api: Api, connection: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch, bounds: dict[Any, float]
) -> None:
    """Lesson 36: unread data is not buffered. The body must exceed the system's buffers."""
    for (module, name), value in bounds.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(pagination, "MAX_ITEMS", 40_000)
    await connection.execute(OPENED, UUID((await api.new_user())["id"]), 40_000)
    limit = limits_of(api).kept
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(idle, (api.client.host, api.client.port))
        request = f"GET /v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n\r\n"
        await loop.sock_sendall(idle, request.encode())

        start = await loop.sock_recv(idle, 1024)
        assert 1 == limit.admitted
        await until(lambda: limit.admitted == 0)
        received = len(start)
        while data := await loop.sock_recv(idle, 1 << 20):
            received += len(data)
    length = re.search(rb"Content-Length: (\d+)", start)
    assert length is not None
    assert received < int(length[1]), "it can detect that the body is incomplete"


@pytest.mark.usefixtures("small")
async def test_a_list_that_fails_halfway_is_an_error(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        await api.new_account()
    read, calls = accounts.page, []

    async def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise asyncpg.AdminShutdownError
        return await read(*arguments)

    monkeypatch.setattr(accounts, "page", failing)

    failed = await api.get("/v1/accounts")

    assert (503, ["database_error"]) == (failed.status, failed.codes)
    assert 5 == len((await api.get("/v1/accounts")).body)


async def test_a_small_page_of_large_items_needs_a_place_too(one_place: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "SMALL_BYTES", 10)
    async with occupy_place(one_place):
        refused = await one_place.get("/v1/users?limit=1")
    assert (503, ["overloaded"]) == (refused.status, refused.codes)
    assert 1 == len((await one_place.get("/v1/users?limit=1")).body)


# Compression

Decode = Callable[[bytes], bytes]
DECODED: dict[str | None, Decode] = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}


@pytest.mark.parametrize("accepted", [None, "gzip", "deflate", "gzip;q=0", "br"])
async def test_lists_are_compressed_with_an_accepted_coding(
    api: Api, accepted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        await api.new_user()
    coding = accepted if accepted in {"gzip", "deflate"} else None
    expected = (await api.get("/v1/users")).body
    for small in (200, 2):
        monkeypatch.setattr(pagination, "SMALL", small)

        body, headers = await fetch_raw(api, "/v1/users", accepted)

        assert (coding, "Accept-Encoding") == (headers.get("Content-Encoding"), headers["Vary"])
        assert str(len(body)) == headers["Content-Length"]
        assert expected == json.loads(DECODED[coding](body))
        assert coding is None or len(body) < len(json.dumps(expected)) / 2


async def test_a_small_body_is_not_compressed(api: Api) -> None:
    body, headers = await fetch_raw(api, "/v1/users?limit=1", "gzip")

    assert (None, "Accept-Encoding") == (headers.get("Content-Encoding"), headers["Vary"])
    assert 1 == len(json.loads(body))


@pytest.mark.parametrize(
    ("fields", "coding"),
    [
        ([], None),
        ([""], None),
        (["gzip"], "gzip"),
        (["GZip"], "gzip"),
        (["deflate"], "deflate"),
        (["deflate, gzip"], "gzip"),
        (["deflate", "gzip"], "gzip"),
        (["deflate, gzip;q=0.9"], "deflate"),
        (["gzip;q=0.5, deflate;q=0.5"], "gzip"),
        (["gzip ; Q=0.001"], "gzip"),
        (["gzip;q=0"], None),
        (["gzip;q=0.000, deflate;q=0"], None),
        (["*"], "gzip"),
        (["*;q=0"], None),
        (["gzip;q=0, *"], "deflate"),
        (["identity, gzip;q=0.5"], None),
        (["identity, gzip"], "gzip"),
        (["identity;q=0, gzip;q=0.1"], "gzip"),
        (["br, zstd"], None),
        (["br;q=1.0, gzip;q=0.8, *;q=0.1"], "gzip"),
        (["gzip;q=2"], None),
        (["gzip;q=0.0001"], None),
        (["gzip;level=9"], None),
        (["gzip;q=nan"], None),
        (["x-gzip-like"], None),
    ],
)
def test_the_preferred_coding_is_used(fields: list[str], coding: str | None) -> None:
    """RFC 9110, section 12.5.3; an element with an invalid weight is ignored."""
    request = make_mocked_request("GET", "/v1/users", CIMultiDict(("Accept-Encoding", field) for field in fields))

    assert coding == choose_coding(request)


# The ledger's own accounts


async def test_the_ledgers_own_accounts_are_listed_on_request(api: Api) -> None:
    """Lesson 41: clients of the reference expect every account to have an owner."""
    for currency in ("USD", "EUR"):
        await api.new_account(balance_cents=5, currency=currency)
    head = (await api.get("/v1/events")).body[-1]
    auditor = await api.as_new_user("auditor")
    moments = ("", f"&at_position={head['position']}", f"&at_time={head['recorded_at']}")
    for caller, moment in itertools.product((api, auditor), moments):
        plain = (await caller.get(f"/v1/accounts?limit=10{moment}")).body
        assert plain == (await caller.get(f"/v1/accounts?world=false{moment}")).body
        assert [5, 5] == [account["balance_cents"] for account in plain]
        every = (await caller.get(f"/v1/accounts?world=true{moment}")).body
        assert plain == [account for account in every if account["user_id"] is not None]
        assert [-5, -5] == [account["balance_cents"] for account in every if account["user_id"] is None]
        assert every == await all_items(caller, f"/v1/accounts?world=true&limit=1{moment}")
        assert plain == await all_items(caller, f"/v1/accounts?limit=1{moment}")
    euros = (await api.get("/v1/accounts?world=true&currency=EUR&status=open")).body
    assert [-5, 5] == sorted(account["balance_cents"] for account in euros)
    assert 4 == sum(row["accounts"] for row in (await api.get("/v1/ledger/trial-balance")).body["currencies"])
    for account in (await api.get("/v1/accounts?world=true")).body:
        assert 200 == (await api.get(f"/v1/accounts/{account['id']}")).status


async def test_a_customer_cannot_list_the_ledgers_own_accounts(api: Api) -> None:
    """Lesson 35."""
    customer = await api.as_new_user("customer")
    own = await api.new_account(customer.user_id, 5)
    head = (await api.get("/v1/events")).body[-1]["position"]

    for query in ("world=true", f"world=true&at_position={head}"):
        assert [own["id"]] == [account["id"] for account in (await customer.get(f"/v1/accounts?{query}")).body]


@pytest.mark.parametrize("value", ["", "1", "True", "yes", "true&world=true"])
async def test_the_filter_for_the_ledgers_own_accounts_is_true_or_false(api: Api, value: str) -> None:
    refused = await api.get(f"/v1/accounts?world={value}")

    assert (422, ["validation_error"], ["query world"]) == (refused.status, refused.codes, refused.parameters)
