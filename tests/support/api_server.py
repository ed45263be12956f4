"""The API over real HTTP, in the process of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from ledger.cli.seed import ensure_first_admin
from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, Api
from web.app import create_app
from web.http.request import RUNTIME
from web.server import Runner


class ApiServer(TestServer):
    """The service with these settings."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(create_app(settings, **options))
        self.settings = settings

    async def _make_runner(self, **_: Any) -> Runner:
        return Runner(self.app, self.settings)


async def begin(client: TestClient[Any, Any]) -> Api:
    """Return the API of a started service that has its first admin."""
    server = client.server
    assert isinstance(server, ApiServer)
    await ensure_first_admin(server.app[RUNTIME])
    return Api(client)


@asynccontextmanager
async def serve_once(settings: Settings) -> AsyncIterator[Api]:
    """Serve the API as its first admin, for as long as the context lasts."""
    async with TestClient(ApiServer(settings)) as client:
        yield await (await begin(client)).logged_in("admin", ADMIN_PASSWORD)
