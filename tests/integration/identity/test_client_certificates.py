"""The service authenticates itself to PostgreSQL and to Valkey with a certificate instead of a password."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pytest
from pydantic import SecretStr

from ledger.errors import DatabaseError, RedisAwayError
from ledger.identity.valkey import check_version
from ledger.settings import Settings
from ledger.store.pool import check_server
from tests.support.certificates import Authority, Identity
from tests.support.controls import Api
from tests.support.processes import until
from tests.support.tls import TlsServer, tls_server


class Servers(NamedTuple):
    """PostgreSQL and Valkey behind TLS, and the settings of a service that has a certificate for both."""

    postgresql: TlsServer
    valkey: TlsServer
    authority: Authority
    given: Settings

    def settings(self, identity: Identity | None, authority: Authority | None = None) -> Settings:
        """Return the settings of a service with this certificate, which trusts this authority."""
        trusted = str((authority or self.authority).certificate)
        certificate, key = map(str, identity or ("", ""))
        of_postgresql = {"sslmode": "verify-full", "sslrootcert": trusted, "sslcert": certificate, "sslkey": key}
        of_valkey = {"ssl_ca_certs": trusted, "ssl_certfile": certificate, "ssl_keyfile": key}
        database, redis = urlsplit(self.given.database_dsn()), urlsplit(self.given.redis_dsn())
        urls = {
            "database_url": f"postgresql://ledger@localhost:{self.postgresql.port}{database.path}?{_query(of_postgresql)}",
            "redis_url": f"rediss://:{quote(redis.password or '')}@localhost:{self.valkey.port}/0?{_query(of_valkey)}",
        }
        return self.given.model_copy(update={name: SecretStr(url) for name, url in urls.items()})


def _query(parameters: dict[str, str]) -> str:
    return urlencode({name: value for name, value in parameters.items() if value})


@pytest.fixture
async def servers_with_tls(settings: Settings, tmp_path: Path) -> AsyncIterator[Servers]:
    authority = Authority(tmp_path)
    folder = Path(parse_qs(urlsplit(settings.database_dsn()).query)["host"][0])
    valkey = Path(unquote(urlsplit(settings.redis_dsn()).path))
    async with AsyncExitStack() as stack:
        postgresql = await stack.enter_async_context(
            tls_server(authority, folder / ".s.PGSQL.5432", is_postgresql=True)
        )
        redis = await stack.enter_async_context(tls_server(authority, valkey, is_postgresql=False))
        yield Servers(postgresql, redis, authority, settings)


async def test_a_service_with_a_certificate_serves(
    servers_with_tls: Servers, serve: Callable[[Settings], Awaitable[Api]]
) -> None:
    api = await serve(servers_with_tls.settings(servers_with_tls.authority.issue("ledger_serving")))

    one, other = await api.new_account(balance_cents=100), await api.new_account()

    assert 200 == (await api.transfer(one, other, 40)).status

    async def is_redis_used() -> bool:
        return bool((await api.get("/v1/readyz")).body["checks"]["redis"] == "ok")

    await until(is_redis_used)
    assert {"ledger_serving"} == servers_with_tls.postgresql.clients == servers_with_tls.valkey.clients


async def test_a_replaced_certificate_counts_from_the_next_connection_on(servers_with_tls: Servers) -> None:
    identity = servers_with_tls.authority.issue("the first")
    settings = servers_with_tls.settings(identity)
    await check_server(settings)
    await check_version(settings)

    replaced = servers_with_tls.authority.issue("the second")
    for old, new in zip(identity, replaced, strict=True):
        new.replace(old)
    await check_server(settings)
    await check_version(settings)

    assert {"the first", "the second"} == servers_with_tls.postgresql.clients == servers_with_tls.valkey.clients


async def test_without_a_certificate_of_the_authority_nobody_is_let_in(
    servers_with_tls: Servers, tmp_path: Path
) -> None:
    (tmp_path / "others").mkdir()
    stranger = Authority(tmp_path / "others", "stranger").issue("ledger_serving")

    for identity in (None, stranger):
        settings = servers_with_tls.settings(identity)
        with pytest.raises(DatabaseError):
            await check_server(settings)
        with pytest.raises(RedisAwayError):
            await check_version(settings)

    assert set() == servers_with_tls.postgresql.clients | servers_with_tls.valkey.clients


async def test_the_service_trusts_no_server_of_another_authority(servers_with_tls: Servers, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    settings = servers_with_tls.settings(
        servers_with_tls.authority.issue("ledger_serving"), Authority(tmp_path / "others", "stranger")
    )

    with pytest.raises(DatabaseError, match="certificate"):
        await check_server(settings)
    with pytest.raises(RedisAwayError, match="certificate"):
        await check_version(settings)
