"""The proxy of the fault tests does to a connection what its methods say."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.processes import DEADLINE_SECONDS, until
from tests.support.proxy import Direction, Proxy, Stream

SHORT_SECONDS = 0.05


@pytest.fixture
def received() -> bytearray:
    """Return what the server has received."""
    return bytearray()


@pytest.fixture
async def proxy(received: bytearray) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a server that echoes everything, and sends an exclamation mark before it closes."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            received.extend(chunk)
            writer.write(chunk)
        writer.write(b"!")
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy.to(*server.sockets[0].getsockname()) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection(*proxy.address)
    assert b"first" == await exchange((reader, writer), b"first")
    yield reader, writer
    writer.transport.abort()


async def exchange(client: Stream, sent: bytes) -> bytes:
    client[1].write(sent)
    return await receive(client, len(sent))


async def receive(client: Stream, count: int) -> bytes:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await client[0].readexactly(count)


async def is_silent(client: Stream) -> bool:
    try:
        async with asyncio.timeout(SHORT_SECONDS):
            await client[0].readexactly(1)
    except TimeoutError:
        return True
    return False


async def is_reset(client: Stream) -> bool:
    try:
        await receive(client, 1)
    except ConnectionResetError:
        return True
    return False


async def connects(proxy: Proxy) -> bool:
    """Return whether a new connection works."""
    client = await asyncio.open_connection(*proxy.address)
    try:
        return b"again" == await exchange(client, b"again")
    finally:
        client[1].transport.abort()


async def test_a_frozen_connection_delivers_everything_once_it_is_healed(proxy: Proxy, client: Stream) -> None:
    proxy.freeze()
    client[1].write(b"second")
    assert await is_silent(client)
    proxy.heal()
    assert b"second" == await receive(client, 6)


async def test_a_connection_that_is_opened_while_frozen_works_once_it_is_healed(proxy: Proxy) -> None:
    proxy.freeze()
    connecting = asyncio.create_task(connects(proxy))
    assert (set(), {connecting}) == await asyncio.wait([connecting], timeout=SHORT_SECONDS)
    proxy.heal()
    assert await connecting


async def test_a_delay_holds_back_each_way(proxy: Proxy, client: Stream) -> None:
    proxy.delay(SHORT_SECONDS)
    begun = time.monotonic()
    assert b"second" == await exchange(client, b"second")
    assert time.monotonic() - begun >= 2 * SHORT_SECONDS


async def test_a_black_hole_closes_nothing_until_it_is_healed(proxy: Proxy, client: Stream) -> None:
    proxy.black_hole()
    other = await asyncio.open_connection(*proxy.address)
    for connection in (client, other):
        connection[1].write(b"lost")
        assert await is_silent(connection)
    proxy.heal()
    assert [True, True] == [await is_reset(connection) for connection in (client, other)]
    assert await connects(proxy)


async def test_a_cut_connection_is_reset_and_a_new_one_works(proxy: Proxy, client: Stream) -> None:
    proxy.cut()
    assert await is_reset(client)
    assert await connects(proxy)


@pytest.mark.parametrize("direction", Direction)
async def test_a_connection_is_cut_at_the_chosen_chunk(proxy: Proxy, client: Stream, direction: Direction) -> None:
    proxy.cut_at(direction, 2)
    assert b"second" == await exchange(client, b"second")
    client[1].write(b"third")
    assert await is_reset(client)
    assert (1, True) == (proxy.cuts, await connects(proxy))


async def test_a_half_closed_connection_ends_for_the_client_only(
    proxy: Proxy, client: Stream, received: bytearray
) -> None:
    proxy.half_close()
    assert b"" == await client[0].read()
    client[1].write(b"second")
    await until(lambda: received.endswith(b"second"))


async def test_a_server_that_sees_the_end_can_still_answer(proxy: Proxy, client: Stream) -> None:
    proxy.half_close(Direction.TO_SERVER)
    assert b"!" == await receive(client, 1)


async def test_a_proxy_that_refuses_keeps_its_port(proxy: Proxy, client: Stream) -> None:
    address = proxy.address
    proxy.refuse()
    assert await is_reset(client)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    proxy.heal()
    assert await connects(proxy)
