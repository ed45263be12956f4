"""Lesson 31: secrets are sent in every place of a request, and appear in none where they must not."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis

from ledger.identity.keys import new_private_pem
from ledger.settings import Settings
from ledger.values.ids import new_id
from tests.support.canaries import (
    Secrets,
    expired_and_unknown,
    find_leaks,
    new_canary,
    places_with,
    require_password,
    variables,
)
from tests.support.controls import NOBODY, transfer_body, user_body
from tests.support.processes import DEADLINE_SECONDS, Ledger, processes, until
from tests.support.proxy import Proxy
from tests.support.serving import serving
from tests.support.valkey import Valkey
from web.routes import ROUTES, UNVERSIONED

JSON = {"Content-Type": "application/json"}


LOGIN, REFRESH, LOGOUT = "/v1/auth/login", "/v1/auth/refresh", "/v1/auth/logout"


Body = dict[str, Any]


@dataclass
class Client:
    """Call the service and keep its responses, with issued tokens in a list of their own."""

    session: aiohttp.ClientSession
    url: str
    given: Secrets
    responses: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    called: set[tuple[str, str]] = field(default_factory=set)
    statuses: set[int] = field(default_factory=set)

    async def call(self, method: str, path: str, token: str | None = None, **options: Any) -> tuple[int, Any]:
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers = {**bearer, **options.pop("headers", {})}
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            text = (await response.read()).decode()
            body: Any = json.loads(text) if text and "json" in response.content_type else None
            heading = [f"{name}: {value}" for name, value in response.headers.items()]
        if response.status == 200 and path in {LOGIN, REFRESH}:
            for issued in (body["access_token"], body["refresh_token"]):
                self.tokens.append(issued)
                text = text.replace(issued, "", 1)  # the only place where it may appear
        self.responses += [str(response.reason), *heading, text]
        self.statuses.add(response.status)
        self.called.add((method, path))
        return response.status, body

    async def expect(self, status: int, method: str, path: str, token: str | None = None, **options: Any) -> Any:
        """Return the body of a response, which must have this status."""
        answered, body = await self.call(method, path, token, **options)
        assert status == answered, (method, path, body)
        return body

    async def log_in(self, username: str = "admin", password: str | None = None) -> tuple[str, str]:
        """Return a pair of tokens."""
        body = {"username": username, "password": password or self.given.admin}
        pair = await self.expect(200, "POST", LOGIN, json=body)
        return pair["access_token"], pair["refresh_token"]

    async def refresh(self, token: str) -> tuple[str, str]:
        pair = await self.expect(200, "POST", REFRESH, token, headers={"Idempotency-Key": self.given.key})
        return pair["access_token"], pair["refresh_token"]

    async def new_user(self, admin: str, **members: Any) -> Body:
        body = user_body(password=self.given.password, **members)
        created: Body = await self.expect(201, "POST", "/v1/users", admin, json=body)
        return created

    async def send_raw(self, raw: bytes) -> None:
        """Send bytes that need not be HTTP."""
        parts = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(raw)
        writer.write_eof()
        async with asyncio.timeout(DEADLINE_SECONDS):
            self.responses.append((await reader.read()).decode())
        writer.close()
        await writer.wait_closed()


async def people(client: Client) -> None:
    """Create, change and delete users, and transfer money between their accounts."""
    given, (admin, _) = client.given, await client.log_in()
    key = {"Idempotency-Key": given.key}
    body = user_body(password=given.password, password_salt=given.salt)
    user = await client.expect(201, "POST", "/v1/users", admin, json=body, headers=key)
    await client.expect(201, "POST", "/v1/users", admin, json=body, headers=key)
    await client.expect(422, "POST", "/v1/users", admin, json=body | {"email": "another@example.com"}, headers=key)
    await client.expect(409, "POST", "/v1/users", admin, json=body)
    digested = user_body(password_hash=given.digest)
    del digested["password"]
    await client.expect(201, "POST", "/v1/users", admin, json=digested)
    await client.expect(200, "POST", LOGIN, json={"username": digested["username"], "password_hash": given.digest})
    access, _ = await client.log_in(user["username"], given.password)
    owned = {"user_id": user["id"], "balance_cents": 100}
    accounts = [await client.expect(201, "POST", "/v1/accounts", admin, json=owned) for _ in range(2)]
    for amount, status in ((60, 200), (60, 422)):
        await client.expect(
            status,
            "POST",
            "/v1/transactions/transfer",
            access,
            json=transfer_body(accounts[0], accounts[1], amount),
            headers=key,
        )
        key = {}
    path = f"/v1/users/{user['id']}"
    await client.expect(200, "PUT", path, admin, json=user | {"password": given.following})
    await client.log_in(user["username"], given.following)
    await client.expect(401, "GET", path, access)  # a new password revokes all tokens
    await client.expect(409, "DELETE", path, admin)
    gone = await client.new_user(admin)
    await client.expect(200, "DELETE", f"/v1/users/{gone['id']}", admin)


async def sessions(client: Client) -> None:
    """Refresh, retry, reuse, revoke and inspect tokens."""
    (admin, _), given = await client.log_in(), client.given
    user = await client.new_user(admin, roles="admin")
    name = user["username"]
    first = await client.log_in(name, given.password)
    second = await client.refresh(first[1])
    assert second == await client.refresh(first[1])  # a retry
    third = await client.refresh(second[1])
    for token in (first[1], third[1]):  # reuse has ended the session
        await client.expect(401, "POST", REFRESH, token)
    await client.expect(401, "GET", "/", third[0])
    ended = await client.log_in(name, given.password)
    await client.expect(200, "POST", LOGOUT, ended[1])
    for method, path in (("POST", LOGOUT), ("POST", REFRESH)):
        await client.expect(401, method, path, ended[1])
    listed = await client.log_in(name, given.password)
    found_sessions = await client.expect(200, "GET", "/v1/auth/sessions", listed[0])
    for some in (user["id"], found_sessions[0]["id"]):
        await client.expect(200, "GET", f"/v1/audit/actors/{some}", listed[0])
    await client.expect(200, "DELETE", f"/v1/auth/sessions/{found_sessions[0]['id']}", listed[0])
    await client.expect(200, "POST", "/v1/auth/revoke-user", admin, json={"user_id": user["id"]})
    await client.expect(200, "POST", "/v1/auth/cleanup", admin)
    await client.expect(200, "POST", "/v1/auth/revoke-all", admin)
    await client.expect(401, "GET", "/v1/users", admin)


async def guesses(client: Client) -> None:
    """Fail to log in in every way until the throttle refuses.

    While Valkey is too slow, each process counts attempts itself, so more of them may pass.
    """
    given, (admin, _) = client.given, await client.log_in()
    names = ["nobody-at-all", (await client.new_user(admin))["username"]]
    names.append((await client.new_user(admin, active=False))["username"])
    for name in names:
        body = {"username": name, "password": given.wrong}
        while (status := (await client.call("POST", LOGIN, json=body))[0]) != 429:
            assert 401 == status
    typed = {"username": given.misplaced, "password": given.wrong}  # into the wrong field
    await client.expect(401, "POST", LOGIN, json=typed)
    await client.expect(400, "POST", LOGIN, json={"username": given.misplaced})
    await client.expect(422, "POST", LOGIN, json={**typed, "password_hash": given.digest})
    await client.expect(422, "POST", "/v1/users", admin, json=user_body(password=given.wrong, id=given.misplaced))
    await client.expect(422, "POST", "/v1/users", admin, json=user_body(password="short", roles=given.misplaced))


async def malformed_requests(client: Client) -> None:
    given, (admin, _) = client.given, await client.log_in()
    text = json.dumps({"username": "admin", "password": given.malformed})
    bodies = [text[:-1], text + text, text.replace('"password":', '"password":NaN,"x":'), f'"{given.malformed}"']
    bodies += [f"[{text}]", given.malformed, text[:-1] + ', "unknown": 1}', text.replace("admin", "\\ud800")]
    for path, body in [(path, body) for path in (LOGIN, "/v1/users", "/v1/accounts") for body in bodies]:
        status, _ = await client.call("POST", path, admin, data=body, headers=JSON)
        assert status in {400, 422}, body
    padded = json.dumps({"password": given.malformed, "padding": " " * 70_000})
    await client.expect(413, "POST", LOGIN, data=padded, headers=JSON)
    await client.expect(415, "POST", LOGIN, data=text, headers={"Content-Type": "text/plain"})
    await client.expect(405, "PATCH", "/v1/users", admin, json={"password": given.malformed})
    for path in ("/v9/auth/login", "/v1/nowhere"):
        await client.call("POST", f"{path}?password={given.query}", admin, json={"password": given.malformed})
    secret = given.malformed.encode()
    for raw in (
        secret + b"\r\n\r\n",
        b"GET /v1/users HTTP/1.1\r\n" + secret + b"\r\n\r\n",
        b"GET /v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + secret + b"\x00\r\n\r\n",
        b"GET /v1/users HTTP/1.1\r\nHost: x\r\nExpect: " + secret + b"\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + secret * 900 + b"\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n" + secret,
    ):
        await client.send_raw(raw)


def misused(given: Secrets) -> dict[str, Any]:
    """Return invalid requests, with a secret in every part that a request has."""
    members = ("id", "user_id", "balance_cents", "amount_cents", "source_account_id", "roles", "currency", "active")
    wrong = dict.fromkeys(members, given.misplaced)
    nested = {"username": [given.misplaced], "email": {"of": given.misplaced}, "password": [given.wrong]}
    return {
        "json": {
            **wrong,
            **nested,
            "password_salt": given.salt,
            "reference": [given.wrong],
            "unknown": given.misplaced,
        },
        "params": {"password": given.query, "access_token": given.query, "limit": given.query},
        "headers": {
            "Cookie": f"session={given.header}",
            "X-Api-Key": given.header,
            "X-Forwarded-For": given.header,
            "X-Request-Id": f"{given.header} is no plain word",
            "Proxy-Authorization": f"Basic {base64.b64encode(f'x:{given.header}'.encode()).decode()}",
            "Referer": f"https://x.example/?token={given.header}",
            "User-Agent": given.header,
        },
    }


async def every_route(client: Client, forged: Iterable[str]) -> None:
    """Call every route without a token, with an invalid one, with a revoked one, and with valid ones."""
    given, (admin, _) = client.given, await client.log_in()
    user = await client.new_user(admin, roles="guest")
    revoked = await client.log_in(user["username"], given.password)
    await client.expect(200, "POST", LOGOUT, revoked[1])
    dead = [None, given.bearer, *forged, *revoked]
    await client.expect(200, "GET", "/metrics", given.scraping)
    await client.expect(401, "GET", "/metrics", given.scraping[:-1])
    for method, path in paths():
        await asyncio.gather(*(client.call(method, path, token, **misused(given)) for token in dead))
        guest, boss = await client.log_in(user["username"], given.password), await client.log_in()
        for token in (f"{guest[0]}x", *guest, *boss):
            await client.call(method, path, token, **misused(given))
        basic = {"Authorization": f"Basic {base64.b64encode(f'admin:{given.header}'.encode()).decode()}"}
        await client.call(method, path, headers=basic)


def paths() -> list[tuple[str, str]]:
    """Return the method and path of all routes, with an unknown id where they have one."""
    known = [(route.method, route.path) for route in UNVERSIONED]
    known += [(route.method, f"/v1{route.path}") for route in ROUTES]
    return [(method, re.sub(r"\{\w+\}", NOBODY, path)) for method, path in known]


async def trouble(client: Client, proxy: Proxy, valkey: Valkey, connection: "asyncpg.Connection[Any]") -> None:
    """Take tables, the database and Valkey away, and bring them back."""
    given, access = client.given, await client.log_in()
    for table in ("credentials", "accounts", "stored_events", "tokens", "sessions"):
        await connection.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        await send_mixed_traffic(client, *access)
        await connection.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    proxy.refuse()
    await send_mixed_traffic(client, *access)
    proxy.heal()
    await until(lambda: logs_in(client))
    valkey.kill()
    await send_mixed_traffic(client, *await client.log_in())
    await valkey.start()
    await require_password(valkey, given.redis)
    await send_mixed_traffic(client, *await client.log_in())


async def send_mixed_traffic(client: Client, access: str, refresh: str) -> None:
    """Send a request of each kind, and ignore the responses."""
    given = client.given
    await client.call("POST", LOGIN, json={"username": "admin", "password": given.admin})
    await client.call("POST", LOGIN, json={"username": f"nobody-{new_id()}", "password": given.wrong})
    await client.call("POST", "/v1/users", access, json=user_body(password=given.password, password_salt=given.salt))
    await client.call("POST", "/v1/transactions/transfer", access, json=transfer_body(NOBODY, NOBODY, 1))
    for path in ("/v1/users", "/v1/accounts", "/v1/auth/sessions"):
        await client.call("GET", path, access)
    await client.call("POST", REFRESH, refresh)


async def logs_in(client: Client) -> bool:
    body = {"username": "admin", "password": client.given.admin}
    return (await client.call("POST", LOGIN, json=body))[0] == 200


@dataclass
class Scene:
    """A service after its traffic, and all places where it may have left a secret."""

    client: Client
    running: Ledger
    valkey: Valkey
    connection: "asyncpg.Connection[Any]"
    given: Secrets
    others: dict[str, str]  # secrets that no client sent

    async def places(self) -> dict[str, str]:
        """Return all texts to search, in lower case, by place."""
        texts = {
            "log": self.running.log.read_text() + self.running.output.read_text(),
            "answers": "\n".join(self.client.responses),
            "valkey": await self._valkey(),
            "log of postgresql": await self._log_of_postgresql(),
            "arguments": "\n".join(process.command for process in processes()),
        }
        return {place: text.lower() for place, text in (texts | await self._tables()).items()}

    async def known(self) -> dict[str, str]:
        """Return all secrets by name."""
        hashes = [row["hash"] for row in await self.connection.fetch("SELECT hash FROM credentials")]
        parts = {f"part of a hash {number}": hash_.rsplit("$", 1)[1] for number, hash_ in enumerate(hashes)}
        tokens = {f"token {number}": token for number, token in enumerate(self.client.tokens)}
        signatures = {f"signature of {name}": token.rsplit(".", 1)[1] for name, token in tokens.items()}
        return {**vars(self.given), **self.others, "argon2": "$argon2id$", **parts, **tokens, **signatures}

    async def _tables(self) -> dict[str, str]:
        names = await self.connection.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'ledger'"
        )
        return {f"table {name}": await self._table(name) for (name,) in names}

    async def _table(self, name: str) -> str:
        members = "user_id, id" if name == "credentials" else "*"  # the only place for hashes
        rows = await self.connection.fetch(f"SELECT {members} FROM {name}")
        return "\n".join(_text(value) for row in rows for value in row.values())

    async def _valkey(self) -> str:
        async with Redis(
            unix_socket_path=str(self.valkey.socket), password=self.given.redis, protocol=2, decode_responses=False
        ) as client:
            keys = [key async for key in client.scan_iter()]
            return "\n".join([f"{_text(key)} {await _value(client, key)}" for key in keys])

    async def _log_of_postgresql(self) -> str:
        cluster = Path(await self.connection.fetchval("SHOW data_directory"))
        return "\n".join(path.read_text(errors="replace") for path in cluster.parent.glob("*.log"))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


async def _value(client: "Redis", key: bytes) -> str:
    match await client.type(key):
        case b"string":
            return _text(await client.get(key))
        case b"hash":
            return " ".join(f"{_text(name)} {_text(value)}" for name, value in (await client.hgetall(key)).items())
        case b"zset":
            return " ".join(_text(member) for member in await client.zrange(key, 0, -1))
        case kind:
            assert b"none" == kind, f"a kind of key that is not searched: {kind!r}"
            return ""


@pytest.fixture
async def scene(
    settings: Settings,
    connection: "asyncpg.Connection[Any]",
    proxy: Proxy,
    valkey: Valkey,
    given: Secrets,
    tmp_path: Path,
) -> AsyncIterator[Scene]:
    """Run a service, and send it all the traffic above."""
    seal = tmp_path / "seal-key"
    seal.write_text(new_private_pem())
    timeout = aiohttp.ClientTimeout(DEADLINE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with serving(tmp_path / "run", settings, variables=variables(settings, given, proxy, valkey, seal)) as running:
            client = Client(session, await running.url(), given)
            forged = expired_and_unknown(given.signing)
            for part in (people, sessions, guesses, malformed_requests):
                await part(client)
            await every_route(client, forged)
            await trouble(client, proxy, valkey, connection)
            client.tokens += forged
            others = {f"seal key {number}": line for number, line in enumerate(seal.read_text().split("\n")[1:-2])}
            yield Scene(client, running, valkey, connection, given, others)
            assert 0 == await running.stop()


async def test_no_secret_leaks(scene: Scene) -> None:
    """Lesson 31. The same search finds words that are not secret in all places that have them."""
    client, words = scene.client, {name: new_canary("word") for name in ("request", "user", "valkey", "postgresql")}
    await plant(scene, words)

    places, known = await scene.places(), await scene.known()

    assert [] == find_leaks(places, known)
    assert_of_every_kind(scene)
    in_tables = {"table stored_events", "table events", "table stream_heads", "table command_log", "table users"}
    assert {"log"} == places_with(places, words["request"])
    assert {"answers", *in_tables} == places_with(places, words["user"])
    assert ({"valkey"}, {"log of postgresql"}) == (
        places_with(places, words["valkey"]),
        places_with(places, words["postgresql"]),
    )
    assert {"table credentials", "table tokens", "table sessions"} <= places.keys()
    assert "web.worker" in places["arguments"]
    assert len(set(client.tokens)) > 100


async def plant(scene: Scene, words: Mapping[str, str]) -> None:
    """Put words into every kind of place."""
    client, (admin, _) = scene.client, await scene.client.log_in()
    request_id = {"X-Request-Id": words["request"]}
    await client.expect(409, "POST", "/v1/users", admin, json=user_body(username="admin"), headers=request_id)
    await client.new_user(admin, username=words["user"])
    await scene.connection.execute(f"DO $$ BEGIN RAISE LOG '{words['postgresql']}'; END $$")
    async with Redis(unix_socket_path=str(scene.valkey.socket), password=scene.given.redis, protocol=2) as other:
        await other.zadd("planted", {words["valkey"]: 1})


def assert_of_every_kind(scene: Scene) -> None:
    """Assert that the traffic had every status, route and failure; otherwise the search would prove little."""
    client, records = scene.client, scene.running.records
    assert {200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503} <= client.statuses
    assert set(paths()) <= client.called
    assert client.statuses <= {record["status"] for record in records if record["event"] == "request"}
    assert {"request failed", "writes fail"} <= {record["event"] for record in records}
    assert [record for record in records if record["level"] == "warning" and "redis" in record["event"]]


@pytest.mark.parametrize("spelt", ["{}", "x {} y", "{}".upper()])
def test_the_search_finds_a_secret_in_any_spelling(spelt: str) -> None:
    secret = new_canary("planted")
    texts = {
        "plain": secret,
        "capitals": secret.upper(),
        "hexadecimal": secret.encode().hex(),
        **{f"base64 {size}": base64.b64encode(b"u" * size + secret.encode() + b"!").decode() for size in range(4)},
        "url": base64.urlsafe_b64encode(b":" + secret.encode()).decode(),
        "bytes": str(secret.encode()),
    }
    places = {place: spelt.format(text).lower() for place, text in texts.items()}

    assert texts.keys() == places_with({**places, "elsewhere": new_canary("planted")}, secret)
    assert [("it", place) for place in sorted(texts)] == find_leaks(
        places, {"it": secret, "not it": new_canary("planted")}
    )
