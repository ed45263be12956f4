"""The live feed of the log: no event is skipped or repeated, and only authorized readers keep a feed open."""

import asyncio
import json
import socket
from typing import Any
from uuid import UUID

import pytest

from ledger.events import encode
from ledger.events.users import UserDeleted
from ledger.runtime import Runtime
from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.values.ids import new_id
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, Clock
from tests.support.feeds import EVENT_STREAM, Message, open_feed
from tests.support.outages import terminate_connections
from tests.support.processes import DEADLINE_SECONDS, until
from web.http import response as reply
from web.http import sse

INSERT = "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ($1, 1, 'UserDeleted', $2)"


async def head(api: Api) -> int:
    position: int = (await api.get("/v1/ledger/trial-balance")).body["position"]
    return position


async def stored_positions(runtime: Runtime, after: int) -> list[int]:
    rows = await runtime.pool.fetch(
        "SELECT notification_id FROM stored_events WHERE notification_id > $1 ORDER BY 1", after
    )
    return [row[0] for row in rows]


async def test_a_feed_sends_the_log_and_then_new_events(api: Api) -> None:
    """HTML standard, section 9.2.6: `id` is the position, `event` the topic, `data` the event as in lists."""
    await api.new_account(balance_cents=5)
    pages = (await api.get("/v1/events")).body
    async with open_feed(api) as events:
        assert "text/event-stream" == events.response.headers["Content-Type"]
        assert "no-store" == events.response.headers["Cache-Control"]
        assert events.response.headers["X-Request-Id"]
        messages = await events.take(len(pages))
        assert pages == [message.data for message in messages]
        assert [(str(page["position"]), page["topic"]) for page in pages] == [(m.id, m.event) for m in messages]
        await api.new_user()
        live = await events.take(3)
        assert (await api.get(f"/v1/events?after={pages[-1]['position']}")).body == [message.data for message in live]


async def test_a_reader_that_reconnects_resumes_after_the_last_id(api: Api) -> None:
    await api.new_account(balance_cents=5)
    async with open_feed(api) as events:
        first = await events.take(3)
    pages = (await api.get("/v1/events")).body
    async with open_feed(api, "?after=0", **{"Last-Event-ID": str(first[-1].id)}) as events:
        assert pages[3:] == [message.data for message in await events.take(len(pages) - 3)]
    async with open_feed(api, f"?after={pages[1]['position']}") as events:
        assert pages[2:] == [message.data for message in await events.take(len(pages) - 2)]


@pytest.mark.parametrize("last", ["x", "-1", "1.0", "9" * 30])
async def test_an_invalid_last_id_is_refused_by_name(api: Api, last: str) -> None:
    answer = await api.get("/v1/events", headers={**EVENT_STREAM, "Last-Event-ID": last})
    assert 422 == answer.status
    assert ["header Last-Event-ID"] == answer.parameters


async def test_a_feed_leaves_out_filtered_events(api: Api) -> None:
    """Lesson 11."""
    account, other = await api.new_account(balance_cents=5), await api.new_account()
    async with open_feed(api, f"?topic=AccountDebited&stream={account['id']}&after={await head(api)}") as events:
        await api.new_user()
        await api.transfer(other, account, 1)  # refused: insufficient funds
        await api.transfer(account, other, 2)
        (message,) = await events.take(1)
        assert ("AccountDebited", account["id"]) == (message.event, message.data["stream_id"])


async def test_no_event_is_skipped_while_a_slow_writer_holds_a_lower_position(
    api: Api, settings: Settings, runtime: Runtime
) -> None:
    """Lesson 9."""
    start = await head(api)
    slow = await connect(settings, application_name="slow")
    async with open_feed(api, f"?after={start}") as events:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(INSERT, new_id(), encode(UserDeleted()))
        others = [asyncio.create_task(api.new_user()) for _ in range(3)]
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        await until(lambda: runtime.pool.fetchval(blocked))
        await transaction.commit()
        await asyncio.gather(*others)
        positions = await stored_positions(runtime, start)
        assert [str(position) for position in positions] == [
            message.id for message in await events.take(len(positions))
        ]
    await slow.close()


async def test_no_event_is_skipped_with_many_mixed_writers(api: Api, settings: Settings, runtime: Runtime) -> None:
    """Lesson 9."""
    start, (source, destination) = await head(api), [await api.new_account(balance_cents=100) for _ in range(2)]

    async def stranger() -> None:
        connection = await connect(settings, application_name="stranger")
        for _ in range(10):
            async with connection.transaction():
                await connection.execute(INSERT, new_id(), encode(UserDeleted()))
                await connection.fetchval("SELECT pg_sleep(0.002)")
        await connection.close()

    async with open_feed(api, f"?after={start}") as events:
        await asyncio.gather(
            *(stranger() for _ in range(4)), *(api.transfer(source, destination, 1) for _ in range(20))
        )
        positions = await stored_positions(runtime, start)
        assert [str(position) for position in positions] == [
            message.id for message in await events.take(len(positions))
        ]


async def test_lost_connections_to_the_database_lose_no_event(api: Api, runtime: Runtime) -> None:
    """Lesson 10: the feed depends on no notification, and the reader knows its position."""
    start = await head(api)
    seen: list[Message] = []
    async with open_feed(api, f"?after={start}") as events:
        await api.new_user()
        seen += await events.take(3)
        await terminate_connections(runtime.pool)
    await until(lambda: is_authenticated(api))
    await api.new_user()
    async with open_feed(api, f"?after={start}", **{"Last-Event-ID": str(seen[-1].id)}) as events:
        seen += await events.take(3)
        await api.new_user()
        seen += await events.take(3)
    assert [str(position) for position in await stored_positions(runtime, start)] == [message.id for message in seen]


async def is_authenticated(api: Api) -> bool:
    return (await api.get("/v1/accounts")).status == 200


@pytest.mark.parametrize("how", ["revoke-user", "revoke-all", "deactivate"])
async def test_a_feed_ends_when_its_token_is_revoked_and_sends_no_later_event(api: Api, how: str) -> None:
    auditor = await api.as_new_user("auditor")
    async with open_feed(auditor, f"?after={await head(api)}") as events:
        match how:
            case "revoke-user":
                await api.post("/v1/auth/revoke-user", {"user_id": auditor.user_id})
            case "revoke-all":
                await api.post("/v1/auth/revoke-all")
                api = await api.logged_in("admin", ADMIN_PASSWORD)
            case _:
                body = (await api.get(f"/v1/users/{auditor.user_id}")).body
                await api.put(f"/v1/users/{auditor.user_id}", {**body, "active": False})
        await api.new_user()
        assert await events.next() is None
    assert 401 == (await auditor.get("/v1/events", headers=EVENT_STREAM)).status


async def test_a_feed_ends_when_its_token_expires(api: Api, settings: Settings, clock: Clock) -> None:
    async with open_feed(api, f"?after={2**62}") as events:
        clock.now += settings.jwt_expire_access_token_seconds + settings.jwt_validation_leeway_seconds + 1
        assert await events.next() is None


async def test_an_idle_feed_sends_heartbeats(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.01)
    async with open_feed(api, f"?after={await head(api)}&stream={NOBODY}") as events:
        waiting = asyncio.create_task(events.next())
        await until(lambda: events.comments >= 3)
        waiting.cancel()


@pytest.fixture
def one_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow one feed at a time, with frequent checks and a short timeout."""
    monkeypatch.setattr(sse, "MAX_FEEDS", 1)
    monkeypatch.setattr(sse, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(reply, "PATIENCE_SECONDS", 0.2)


@pytest.mark.usefixtures("one_feed")
async def test_the_number_of_feeds_is_bounded_and_a_closed_one_frees_its_place(api: Api) -> None:
    """Lesson 36."""
    async with open_feed(api) as events:
        await events.take(1)
        refused = await api.get("/v1/events", headers=EVENT_STREAM)
        assert 503 == refused.status
        assert ["overloaded"] == refused.codes
        assert refused.headers["Retry-After"]
        assert 200 == (await api.get("/v1/events")).status
        events.response.close()
    await until(lambda: has_place(api))


async def test_clients_that_have_just_left_keep_nobody_out(api: Api) -> None:
    """A console that is reloaded often has a live feed each time."""
    for _ in range(3 * sse.MAX_FEEDS_EACH):
        async with open_feed(api) as events:
            await events.take(1)
            events.response.close()


@pytest.mark.usefixtures("one_feed")
async def test_a_reader_that_does_not_read_is_disconnected(api: Api, settings: Settings) -> None:
    """Lesson 36: unread messages are not buffered."""
    connection = await connect(settings, application_name="test")
    large = json.dumps({"text": "x" * 20_000}).encode()
    await connection.executemany(INSERT, [(new_id(), large) for _ in range(1500)])
    await connection.close()
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(idle, (api.client.host, api.client.port))
        head_lines = (
            f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {api.token}"
        )
        await loop.sock_sendall(idle, f"{head_lines}\r\n\r\n".encode())
        assert (await loop.sock_recv(idle, 12)).endswith(b"200")  # the only place is taken
        await until(lambda: has_place(api))


async def has_place(api: Api) -> bool:
    headers = {"Authorization": f"Bearer {api.token}", **EVENT_STREAM}
    async with api.client.get(f"/v1/events?after={2**62}", headers=headers) as response:
        return response.status == 200


async def test_a_shutdown_ends_feeds_at_once(serve: Any, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_shutdown_seconds": 300}))  # the deadline of other requests
    async with open_feed(api, f"?after={await head(api)}&stream={UUID(int=7)}") as events:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await api.client.server.close()
        assert await events.next() is None
