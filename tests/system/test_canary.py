"""Lesson 31: secrets that nobody else has go in everywhere, and then everything that comes out is searched for them.

A real service, at the level that logs most, gets traffic of every kind while its servers come and go. What is searched:
its log, all its answers, its events and tables, its keys in Valkey, the log of PostgreSQL, the arguments of processes,
and how objects present themselves. That the search finds what is there is tested with words that are no secrets.
"""

import asyncio
import base64
import json
import re
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import asyncpg
import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from ledger.commands.caller import Caller
from ledger.commands.command import Credential, Decision
from ledger.commands.tokens import LogOut, RefreshTokens, StartSession
from ledger.commands.users import CreateUser
from ledger.environment.variables import SettingsError
from ledger.errors import Refused
from ledger.events.tokens import Pair
from ledger.identity.keyring import check_keys
from ledger.identity.keys import new_private_pem, secret_key
from ledger.identity.tokens import Claims, InvalidTokenError, Signer, TokenType
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.controls import NOBODY, a_transfer, a_user
from tests.support.outages import a_port
from tests.support.processes import DEADLINE_SECONDS, Ledger, ledger, processes, until
from tests.support.valkey import PATIENCE, Valkey, a_valkey
from web import requests
from web.http.json import parse
from web.routes import ROUTES, UNVERSIONED

JSON = {"Content-Type": "application/json"}
LOGIN, REFRESH, LOGOUT = "/v1/auth/login", "/v1/auth/refresh", "/v1/auth/logout"
ATTEMPTS = 4

Body = dict[str, Any]


def a_canary(name: str) -> str:
    """A word that is nowhere unless somebody puts it there."""
    return f"canary-{name}-{secrets.token_hex(12)}"


def forms(secret: str) -> list[str]:
    """How a secret may be spelt: as it is, in hexadecimal, and within base64, wherever in it that begins."""
    raw = secret.encode()
    spelt = [secret, raw.hex()]
    for padding, first in ((0, 0), (1, 2), (2, 3)):  # the first characters that depend on the secret alone
        padded = b"\0" * padding + raw
        whole = base64.b64encode(padded)[first : len(padded) // 3 * 4].decode()
        spelt += [whole, whole.translate(str.maketrans("+/", "-_"))]
    return [form.lower() for form in spelt]


def found(places: Mapping[str, str], secret: str) -> set[str]:
    """The places in which a secret is, in whatever spelling."""
    spelt = forms(secret)
    return {place for place, text in places.items() if any(form in text for form in spelt)}


def leaks(places: Mapping[str, str], known: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which secret is in which place, both by their names."""
    return sorted((name, place) for name, secret in known.items() for place in found(places, secret))


# What goes in


@dataclass(frozen=True)
class Given:
    """The secrets that the service or its clients are given."""

    signing: str = field(default_factory=lambda: a_canary("signing-key"))
    admin: str = field(default_factory=lambda: a_canary("admin"))
    database: str = field(default_factory=lambda: a_canary("database"))
    redis: str = field(default_factory=lambda: a_canary("redis"))
    password: str = field(default_factory=lambda: a_canary("password"))
    following: str = field(default_factory=lambda: a_canary("next-password"))
    digest: str = field(default_factory=lambda: a_canary("digest"))
    salt: str = field(default_factory=lambda: a_canary("salt"))
    wrong: str = field(default_factory=lambda: a_canary("wrong-password"))
    misplaced: str = field(default_factory=lambda: a_canary("misplaced"))
    query: str = field(default_factory=lambda: a_canary("query"))
    header: str = field(default_factory=lambda: a_canary("header"))
    key: str = field(default_factory=lambda: a_canary("idempotency-key"))
    bearer: str = field(default_factory=lambda: a_canary("bearer"))
    malformed: str = field(default_factory=lambda: a_canary("malformed"))
    scraping: str = field(default_factory=lambda: a_canary("metrics-token"))


@dataclass
class Client:
    """Calls the service, and keeps all that it is answered, tokens apart where they are issued."""

    session: aiohttp.ClientSession
    url: str
    given: Given
    heard: list[str] = field(default_factory=list)
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
                text = text.replace(issued, "", 1)  # once: it has no other business there
        self.heard += [str(response.reason), *heading, text]
        self.statuses.add(response.status)
        self.called.add((method, path))
        return response.status, body

    async def must(self, status: int, method: str, path: str, token: str | None = None, **options: Any) -> Any:
        """The body of an answer with this status."""
        answered, body = await self.call(method, path, token, **options)
        assert status == answered, (method, path, body)
        return body

    async def log_in(self, username: str = "admin", password: str | None = None) -> tuple[str, str]:
        """A pair of tokens."""
        body = {"username": username, "password": password or self.given.admin}
        pair = await self.must(200, "POST", LOGIN, json=body)
        return pair["access_token"], pair["refresh_token"]

    async def refresh(self, token: str) -> tuple[str, str]:
        pair = await self.must(200, "POST", REFRESH, token)
        return pair["access_token"], pair["refresh_token"]

    async def new_user(self, admin: str, **members: Any) -> Body:
        body = a_user(password=self.given.password, **members)
        created: Body = await self.must(201, "POST", "/v1/users", admin, json=body)
        return created

    async def say(self, raw: bytes) -> None:
        """Something that need not be HTTP."""
        parts = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(raw)
        writer.write_eof()
        async with asyncio.timeout(DEADLINE_SECONDS):
            self.heard.append((await reader.read()).decode())
        writer.close()
        await writer.wait_closed()


# The traffic


async def people(client: Client) -> None:
    """Users come, change, pay and go."""
    given, (admin, _) = client.given, await client.log_in()
    key = {"Idempotency-Key": given.key}
    body = a_user(password=given.password, password_salt=given.salt)
    user = await client.must(201, "POST", "/v1/users", admin, json=body, headers=key)
    await client.must(201, "POST", "/v1/users", admin, json=body, headers=key)
    await client.must(422, "POST", "/v1/users", admin, json=body | {"email": "another@example.com"}, headers=key)
    await client.must(409, "POST", "/v1/users", admin, json=body)
    digested = a_user(password_hash=given.digest)
    del digested["password"]
    await client.must(201, "POST", "/v1/users", admin, json=digested)
    await client.must(200, "POST", LOGIN, json={"username": digested["username"], "password_hash": given.digest})
    access, _ = await client.log_in(user["username"], given.password)
    owned = {"user_id": user["id"], "balance_cents": 100}
    accounts = [await client.must(201, "POST", "/v1/accounts", admin, json=owned) for _ in range(2)]
    for amount, status in ((60, 200), (60, 422)):
        await client.must(
            status,
            "POST",
            "/v1/transactions/transfer",
            access,
            json=a_transfer(accounts[0], accounts[1], amount),
            headers=key,
        )
        key = {}
    path = f"/v1/users/{user['id']}"
    await client.must(200, "PUT", path, admin, json=user | {"password": given.following})
    await client.log_in(user["username"], given.following)
    await client.must(401, "GET", path, access)  # a new password cuts off what there was
    await client.must(409, "DELETE", path, admin)
    gone = await client.new_user(admin)
    await client.must(200, "DELETE", f"/v1/users/{gone['id']}", admin)


async def sessions(client: Client) -> None:
    """Tokens are refreshed, again, come back, are used up, are revoked, and are asked about."""
    (admin, _), given = await client.log_in(), client.given
    user = await client.new_user(admin, roles="admin")
    name = user["username"]
    first = await client.log_in(name, given.password)
    second = await client.refresh(first[1])
    assert second == await client.refresh(first[1])  # a retry
    third = await client.refresh(second[1])
    for token in (first[1], third[1]):  # it comes back, and has ended the session
        await client.must(401, "POST", REFRESH, token)
    await client.must(401, "GET", "/", third[0])
    ended = await client.log_in(name, given.password)
    await client.must(200, "POST", LOGOUT, ended[1])
    for method, path in (("POST", LOGOUT), ("POST", REFRESH)):
        await client.must(401, method, path, ended[1])
    listed = await client.log_in(name, given.password)
    found_sessions = await client.must(200, "GET", "/v1/auth/sessions", listed[0])
    for some in (user["id"], found_sessions[0]["id"]):
        await client.must(200, "GET", f"/v1/audit/actors/{some}", listed[0])
    await client.must(200, "DELETE", f"/v1/auth/sessions/{found_sessions[0]['id']}", listed[0])
    await client.must(200, "POST", "/v1/auth/revoke-user", admin, json={"user_id": user["id"]})
    await client.must(200, "POST", "/v1/auth/cleanup", admin)
    await client.must(200, "POST", "/v1/auth/revoke-all", admin)
    await client.must(401, "GET", "/v1/users", admin)


async def guesses(client: Client) -> None:
    """Logins that fail, each in another way, up to being throttled.

    While Valkey is too slow to answer, attempts are counted elsewhere, so that more of them may pass.
    """
    given, (admin, _) = client.given, await client.log_in()
    names = ["nobody-at-all", (await client.new_user(admin))["username"]]
    names.append((await client.new_user(admin, active=False))["username"])
    for name in names:
        body = {"username": name, "password": given.wrong}
        while (status := (await client.call("POST", LOGIN, json=body))[0]) != 429:
            assert 401 == status
    typed = {"username": given.misplaced, "password": given.wrong}  # into the wrong field
    await client.must(401, "POST", LOGIN, json=typed)
    await client.must(400, "POST", LOGIN, json={"username": given.misplaced})
    await client.must(422, "POST", LOGIN, json={**typed, "password_hash": given.digest})
    await client.must(422, "POST", "/v1/users", admin, json=a_user(password=given.wrong, id=given.misplaced))
    await client.must(422, "POST", "/v1/users", admin, json=a_user(password="short", roles=given.misplaced))


async def what_cannot_be_parsed(client: Client) -> None:
    given, (admin, _) = client.given, await client.log_in()
    text = json.dumps({"username": "admin", "password": given.malformed})
    bodies = [text[:-1], text + text, text.replace('"password":', '"password":NaN,"x":'), f'"{given.malformed}"']
    bodies += [f"[{text}]", given.malformed, text[:-1] + ', "unknown": 1}', text.replace("admin", "\\ud800")]
    for path, body in [(path, body) for path in (LOGIN, "/v1/users", "/v1/accounts") for body in bodies]:
        status, _ = await client.call("POST", path, admin, data=body, headers=JSON)
        assert status in {400, 422}, body
    padded = json.dumps({"password": given.malformed, "padding": " " * 70_000})
    await client.must(413, "POST", LOGIN, data=padded, headers=JSON)
    await client.must(415, "POST", LOGIN, data=text, headers={"Content-Type": "text/plain"})
    await client.must(405, "PATCH", "/v1/users", admin, json={"password": given.malformed})
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
        await client.say(raw)


def misused(given: Given) -> dict[str, Any]:
    """What a request must not have, in every place there is for it."""
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
    """Every route, called by nobody, with what is no token, with one that is none any more, and by those who may."""
    given, (admin, _) = client.given, await client.log_in()
    user = await client.new_user(admin, roles="guest")
    revoked = await client.log_in(user["username"], given.password)
    await client.must(200, "POST", LOGOUT, revoked[1])
    dead = [None, given.bearer, *forged, *revoked]
    await client.must(200, "GET", "/metrics", given.scraping)
    await client.must(401, "GET", "/metrics", given.scraping[:-1])
    for method, path in paths():
        await asyncio.gather(*(client.call(method, path, token, **misused(given)) for token in dead))
        guest, boss = await client.log_in(user["username"], given.password), await client.log_in()
        for token in (f"{guest[0]}x", *guest, *boss):
            await client.call(method, path, token, **misused(given))
        basic = {"Authorization": f"Basic {base64.b64encode(f'admin:{given.header}'.encode()).decode()}"}
        await client.call(method, path, headers=basic)


def paths() -> list[tuple[str, str]]:
    """All routes, with an id of nobody where they want one."""
    known = [(route.method, route.path) for route in UNVERSIONED]
    known += [(route.method, f"/v1{route.path}") for route in ROUTES]
    return [(method, re.sub(r"\{\w+\}", NOBODY, path)) for method, path in known]


async def trouble(client: Client, proxy: "Proxy", valkey: Valkey, connection: "asyncpg.Connection[Any]") -> None:
    """Tables, the database and Valkey go away, and come back."""
    given, access = client.given, await client.log_in()
    for table in ("credentials", "accounts", "stored_events", "tokens", "sessions"):
        await connection.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        await a_bit_of_everything(client, *access)
        await connection.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    await proxy.close()
    await a_bit_of_everything(client, *access)
    await proxy.open()
    await until(lambda: logs_in(client))
    valkey.kill()
    await a_bit_of_everything(client, *await client.log_in())
    await valkey.start()
    await lock(valkey, given.redis)
    await a_bit_of_everything(client, *await client.log_in())


async def a_bit_of_everything(client: Client, access: str, refresh: str) -> None:
    """Whatever may come of it."""
    given = client.given
    await client.call("POST", LOGIN, json={"username": "admin", "password": given.admin})
    await client.call("POST", LOGIN, json={"username": f"nobody-{new_id()}", "password": given.wrong})
    await client.call("POST", "/v1/users", access, json=a_user(password=given.password, password_salt=given.salt))
    await client.call("POST", "/v1/transactions/transfer", access, json=a_transfer(NOBODY, NOBODY, 1))
    for path in ("/v1/users", "/v1/accounts", "/v1/auth/sessions"):
        await client.call("GET", path, access)
    await client.call("POST", REFRESH, refresh)


async def logs_in(client: Client) -> bool:
    body = {"username": "admin", "password": client.given.admin}
    return (await client.call("POST", LOGIN, json=body))[0] == 200


# What it runs on


class Proxy:
    """A socket behind which PostgreSQL is, unless it is closed; a port could be another's when it is opened again."""

    def __init__(self, socket: str, folder: Path) -> None:
        self._socket = socket
        self._path = folder / ".s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def query(self) -> str:
        """The part of a URL that says where this is."""
        return f"host={quote(str(self._path.parent), safe='')}&port=5432"

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._carry, self._path)

    async def close(self) -> None:
        """Let nobody in any more, and cut off who is in."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        inner, outer = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, outer}
        await asyncio.gather(_pipe(reader, outer), _pipe(inner, writer))
        self._writers -= {writer, outer}
        self._tasks.discard(task)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def lock(valkey: Valkey, password: str) -> None:
    """From here on, Valkey wants this password."""
    async with valkey.client() as client:
        await client.config_set("requirepass", password)


@dataclass
class Scene:
    """A service that has had its traffic, and where it may have left something."""

    client: Client
    running: Ledger
    valkey: Valkey
    connection: "asyncpg.Connection[Any]"
    given: Given
    others: dict[str, str]  # secrets that no client sent

    async def places(self) -> dict[str, str]:
        """All that is to be searched, by where it is, in lower case."""
        texts = {
            "log": self.running.log.read_text() + self.running.output.read_text(),
            "answers": "\n".join(self.client.heard),
            "valkey": await self._valkey(),
            "log of postgresql": await self._log_of_postgresql(),
            "arguments": "\n".join(process.command for process in processes()),
        }
        return {place: text.lower() for place, text in (texts | await self._tables()).items()}

    async def known(self) -> dict[str, str]:
        """Every secret there is, by name."""
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
        members = "user_id, id" if name == "credentials" else "*"  # the one place for hashes
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
def given() -> Given:
    return Given()


@pytest.fixture
async def valkey(tmp_path_factory: pytest.TempPathFactory, given: Given) -> AsyncIterator[Valkey]:
    with a_valkey(tmp_path_factory.mktemp("v")) as started:
        await started.start()
        await lock(started, given.redis)
        yield started


@pytest.fixture
async def proxy(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    (folder,) = parse_qs(urlsplit(settings.database_dsn()).query)["host"]
    proxy = Proxy(f"{folder}/.s.PGSQL.5432", tmp_path_factory.mktemp("p"))
    await proxy.open()
    yield proxy
    await proxy.close()


def variables(settings: Settings, given: Given, proxy: Proxy, valkey: Valkey, seal: Path) -> dict[str, str]:
    """The environment of the service, in which every secret is one that can be told from all others."""
    database = urlsplit(settings.database_dsn()).path
    return settings.environment() | {
        "DATABASE_URL": f"postgresql://ledger:{given.database}@{database}?{proxy.query}",
        "REDIS_URL": f"unix://:{given.redis}@{valkey.socket}?db=0&{PATIENCE}",
        "JWT_SECRET": given.signing,
        "LEDGER_METRICS_TOKEN": given.scraping,
        "LEDGER_ADMIN_PASSWORD": given.admin,
        "LEDGER_SEAL_KEY_FILE": str(seal),
        "LEDGER_LOGIN_ATTEMPTS_PER_ACCOUNT": str(ATTEMPTS),
        "LEDGER_LOGIN_WINDOW_SECONDS": "86400",  # nothing that is counted may be gone before it is searched
        "LEDGER_DATABASE_PATIENCE_SECONDS": "0.2",
        "LEDGER_REFRESH_GRACE_SECONDS": "300",
        "LEDGER_LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
        "SERVICE_PORT": "0",
    }


def expired_and_unknown(signing: str) -> list[str]:
    """Tokens with the right signature that are not accepted."""
    signer, now = Signer(signing, leeway_seconds=0), int(time.time())
    common = {"sub": NOBODY, "jti": str(new_id()), "typ": TokenType.ACCESS, "roles": "admin", "sid": str(new_id())}
    return [
        signer.sign(Claims(**common, iat=now - 9000, exp=now + offset, pos=1))  # type: ignore[arg-type]
        for offset in (-5000, 5000)
    ]


@pytest.fixture
async def scene(
    settings: Settings,
    connection: "asyncpg.Connection[Any]",
    proxy: Proxy,
    valkey: Valkey,
    given: Given,
    tmp_path: Path,
) -> AsyncIterator[Scene]:
    """The service, after all that."""
    seal = tmp_path / "seal-key"
    seal.write_text(new_private_pem())
    timeout = aiohttp.ClientTimeout(DEADLINE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with ledger(tmp_path / "run", "serve", **variables(settings, given, proxy, valkey, seal)) as running:
            client = Client(session, await running.url(), given)
            forged = expired_and_unknown(given.signing)
            for part in (people, sessions, guesses, what_cannot_be_parsed):
                await part(client)
            await every_route(client, forged)
            await trouble(client, proxy, valkey, connection)
            client.tokens += forged
            others = {f"seal key {number}": line for number, line in enumerate(seal.read_text().split("\n")[1:-2])}
            yield Scene(client, running, valkey, connection, given, others)
            assert 0 == await running.stop()


# The search


async def test_no_secret_is_where_it_has_no_business(scene: Scene) -> None:
    """Lesson 31. The same search finds words that are no secrets in all the places that they went to."""
    client, words = scene.client, {name: a_canary("word") for name in ("request", "user", "valkey", "postgresql")}
    await plant(scene, words)

    places, known = await scene.places(), await scene.known()

    assert [] == leaks(places, known)
    assert_of_every_kind(scene)
    in_tables = {"table stored_events", "table events", "table stream_heads", "table command_log", "table users"}
    assert {"log", "answers", "table command_log"} == found(places, words["request"])
    assert {"answers", *in_tables} == found(places, words["user"])
    assert ({"valkey"}, {"log of postgresql"}) == (found(places, words["valkey"]), found(places, words["postgresql"]))
    assert {"table credentials", "table tokens", "table sessions"} <= places.keys()
    assert "web.worker" in places["arguments"]
    assert len(set(client.tokens)) > 100


async def plant(scene: Scene, words: Mapping[str, str]) -> None:
    """Bring words into every kind of place."""
    client, (admin, _) = scene.client, await scene.client.log_in()
    request_id = {"X-Request-Id": words["request"]}
    await client.must(409, "POST", "/v1/users", admin, json=a_user(username="admin"), headers=request_id)
    await client.new_user(admin, username=words["user"])
    await scene.connection.execute(f"DO $$ BEGIN RAISE LOG '{words['postgresql']}'; END $$")
    async with Redis(unix_socket_path=str(scene.valkey.socket), password=scene.given.redis, protocol=2) as other:
        await other.zadd("planted", {words["valkey"]: 1})


def assert_of_every_kind(scene: Scene) -> None:
    """The traffic had it all; else the search would say little."""
    client, records = scene.client, scene.running.records
    assert {200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503} <= client.statuses
    assert set(paths()) <= client.called
    assert client.statuses <= {record["status"] for record in records if record["event"] == "request"}
    assert {"request failed", "transaction failed"} <= {record["event"] for record in records}
    assert [record for record in records if record["level"] == "warning" and "redis" in record["event"]]


@pytest.mark.parametrize("spelt", ["{}", "x {} y", "{}".upper()])
def test_a_secret_is_found_in_any_spelling(spelt: str) -> None:
    secret = a_canary("planted")
    texts = {
        "plain": secret,
        "capitals": secret.upper(),
        "hexadecimal": secret.encode().hex(),
        **{f"base64 {size}": base64.b64encode(b"u" * size + secret.encode() + b"!").decode() for size in range(4)},
        "url": base64.urlsafe_b64encode(b":" + secret.encode()).decode(),
        "bytes": str(secret.encode()),
    }
    places = {place: spelt.format(text).lower() for place, text in texts.items()}

    assert texts.keys() == found({**places, "elsewhere": a_canary("planted")}, secret)
    assert [("it", place) for place in sorted(texts)] == leaks(places, {"it": secret, "not it": a_canary("planted")})


# How objects present themselves: whatever is logged, or raised, some day


def presented(things: Mapping[str, object]) -> dict[str, str]:
    """What there is to read of each thing; of an error, its traceback too."""
    return {
        name: "\n".join([repr(thing), str(thing), f"{thing}", *_trace(thing)]).lower() for name, thing in things.items()
    }


def _trace(thing: object) -> list[str]:
    return traceback.format_exception(thing) if isinstance(thing, BaseException) else []


async def raised(work: Callable[[], Any], kind: type[BaseException]) -> BaseException:
    async def done() -> None:
        result = work()
        if isinstance(result, Awaitable):
            await result

    with pytest.raises(kind) as caught:
        await done()
    return caught.value


async def test_the_service_and_its_parts_show_no_secret(
    settings: Settings, proxy: Proxy, valkey: Valkey, given: Given, tmp_path: Path
) -> None:
    """Lesson 31: "the whole configuration at debug level"."""
    seal = tmp_path / "seal-key"
    seal.write_text(new_private_pem())
    chosen = variables(settings, given, proxy, valkey, seal)
    full = Settings(**{name.lower(): value for name, value in chosen.items()})
    async with open_runtime(full) as runtime:
        parts = {name: getattr(runtime, name) for name in runtime.__dataclass_fields__}
        things = {"runtime": runtime, **parts, "dump": full.model_dump(), "json": full.model_dump_json()}
        things["key"] = secret_key(given.signing)
        things |= {
            "jwks": runtime.signer.jwks(),
            "connection": runtime.redis.connection_pool.make_connection(),  # type: ignore[no-untyped-call]  # untyped in redis-py
        }
        places = presented(things)

    assert [] == leaks(places, {**vars(given), "seal key": seal.read_text().split("\n")[1]})
    assert "secretstr" in places["settings"]


def test_commands_and_what_they_carry_show_no_secret(given: Given) -> None:
    """Lesson 31: a hash, a password, and what a body had, wherever it is a part of something."""
    user_id, pair = new_id(), Pair(new_id(), 2, new_id(), 3, 1)
    hashed = f"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ${given.digest}"
    credential = Credential(new_id(), user_id, hashed)
    user = {"username": "x", "email": "x@example.com", "roles": "guest", "password_salt": given.salt}
    things = {
        "credential": credential,
        "create": CreateUser(
            user_id=user_id, username="x", email="x@example.com", active=True, roles=("guest",), credential=credential
        ),
        "decision": Decision([], {}, credential),
        "start": StartSession(
            session_id=new_id(), user_id=user_id, credential_id=credential.id, pair=pair, session_expires_at=9
        ),
        "refresh": RefreshTokens(
            session_id=new_id(), user_id=user_id, refresh_jti=new_id(), pair=pair, grace_seconds=0
        ),
        "logout": LogOut(new_id(), user_id, new_id()),
        "origin": Origin(new_id(), request_hash=given.key.encode()[:0]),
        "caller": Caller(user_id, frozenset({"guest"}), new_id(), new_id()),
        "login": parse(requests.Login, json.dumps({"username": "x", "password": given.password}).encode()),
        "digest": parse(requests.Login, json.dumps({"username": "x", "password_hash": given.digest}).encode()),
        "new user": parse(requests.NewUser, json.dumps({**user, "password": given.password}).encode()),
        "user": parse(requests.User, json.dumps({**user, "password_hash": given.digest}).encode()),
    }

    places = presented(things)

    assert [] == leaks(places, {**vars(given), "argon2": "$argon2id$"})
    assert {"credential", "create", "decision"} == found(places, str(credential.id)) - {"start"}


@pytest.fixture
def nowhere() -> Iterator[int]:
    with a_port(listening=False) as port:
        yield port


async def test_errors_show_no_secret(settings: Settings, given: Given, nowhere: int) -> None:
    """Lesson 31: neither in their words nor in their traceback."""
    url = f"postgresql://ledger:{given.database}@127.0.0.1:{nowhere}/ledger"
    kept = settings.model_dump(exclude_unset=True)
    away = Settings(**{**kept, "database_url": url})
    signer = Signer(given.signing, leeway_seconds=0)
    token = expired_and_unknown(given.signing)[0]
    secret = json.dumps(
        {"username": [given.misplaced], "password": given.password, "unknown": given.misplaced}
    ).encode()

    def settings_with(**changes: Any) -> Callable[[], None]:
        return lambda: check_keys(Settings.load(**{**kept, **changes}))

    def validated() -> object:
        return requests.Login.model_validate_json(secret)

    errors = {
        "expired": await raised(lambda: signer.verify(token, TokenType.ACCESS), InvalidTokenError),
        "spoilt": await raised(lambda: signer.verify(f"{token}x", TokenType.ACCESS), InvalidTokenError),
        "refused": await raised(lambda: parse(requests.Login, secret), Refused),
        "malformed": await raised(lambda: parse(requests.Login, secret[:-1]), Refused),
        "invalid": await raised(validated, ValidationError),
        "short": await raised(settings_with(jwt_secret=given.signing[:20]), SettingsError),
        "short token": await raised(settings_with(ledger_metrics_token=given.scraping[:20]), SettingsError),
        "no file": await raised(settings_with(ledger_jwt_key_file=given.signing), SettingsError),
        "database": await raised(settings_with(database_url=f"mysql://x:{given.database}@x/x"), SettingsError),
        "redis": await raised(settings_with(redis_url=f"http://x:{given.redis}@x"), SettingsError),
        "admin": await raised(settings_with(ledger_admin_password=given.admin * 99), SettingsError),
        "unreachable": await raised(lambda: connect(away), OSError),
    }

    known = {
        **vars(given),
        "short": given.signing[:20],
        "short token": given.scraping[:20],
        "token": token,
        "signature": token.rsplit(".", 1)[1],
    }
    assert [] == leaks(presented(errors), known)
    assert ["it"] == sorted(found(presented({"it": ValueError(given.admin), "not it": ValueError()}), given.admin))


# Nothing to log in or to sign with by default


def test_no_secret_has_a_default() -> None:
    """Lesson 31: no default credentials, and no default signing key."""
    fields = {name: known for name, known in Settings.model_fields.items() if "SecretStr" in str(known)}

    assert {"jwt_secret", "ledger_admin_password", "database_url", "postgres_password", "redis_url"} <= fields.keys()
    assert {None} == {known.default for known in fields.values()}
