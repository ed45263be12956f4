"""How the publisher reaches NATS: passwords, tokens, signed credentials, TLS. No secret is shown or sent in clear."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.publish.destination import DestinationError
from ledger.publish.nats_connection import Access, Connection
from tests.support.certificates import Authority
from tests.support.nats import NatsServer, running_nats
from tests.support.nats_accounts import make_accounts

PASSWORD = "keep-this-to-yourself"
# The server says why and closes the connection. The second can be faster than the first.
REFUSED = re.compile("Authorization Violation|are the password or the credentials right")


async def ask(access: Access) -> object:
    """Connect, and return what JetStream says of the account."""
    connection = await Connection.open(access, "test")
    try:
        return (await connection.call("INFO"))["streams"]
    finally:
        await connection.close()


async def refuse(access: Access) -> str:
    """Return the error of a connection that must fail. It shows no password."""
    with pytest.raises(DestinationError) as caught:
        await ask(access)
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSWORD not in f"{error} {error!r}"
        error = error.__cause__
    return str(caught.value)


async def test_a_user_with_a_password(tmp_path: Path) -> None:
    config = f'authorization: {{ user: ledger, password: "{PASSWORD}" }}'
    async with running_nats(tmp_path, config) as server:
        assert 0 == await ask(Access([f"nats://ledger:{PASSWORD}@127.0.0.1:{server.port}"]))
        for url in (f"nats://ledger:no@127.0.0.1:{server.port}", server.url):
            assert REFUSED.search(await refuse(Access([url])))


async def test_a_token(tmp_path: Path) -> None:
    async with running_nats(tmp_path, f'authorization: {{ token: "{PASSWORD}" }}') as server:
        assert 0 == await ask(Access([f"nats://{PASSWORD}@127.0.0.1:{server.port}"]))


async def test_credentials_that_an_operator_has_signed(tmp_path: Path) -> None:
    accounts, others = make_accounts(), make_accounts()
    async with running_nats(tmp_path, accounts.config) as server:
        assert 0 == await ask(Access([server.url], accounts.credentials))
        assert REFUSED.search(await refuse(Access([server.url], others.credentials)))


@pytest.mark.parametrize("credentials", ["", "eyJ0eXAi", "-----BEGIN NATS USER JWT-----\nx\n"])
async def test_credentials_that_are_none(nats_server: NatsServer, credentials: str) -> None:
    assert "LEDGER_NATS_CREDENTIALS" in await refuse(Access([nats_server.url], credentials))


async def test_a_seed_that_is_none(nats_server: NatsServer) -> None:
    credentials = make_accounts().credentials
    cut = credentials.replace("-----BEGIN USER NKEY SEED-----\nSU", "-----BEGIN USER NKEY SEED-----\n")
    assert "has no valid seed" in await refuse(Access([nats_server.url], cut))


async def test_tls_with_a_certificate_of_the_ledgers_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    config = f"""tls: {{ cert_file: "{server.certificate}", key_file: "{server.key}",
                         ca_file: "{authority.certificate}", verify: true }}"""
    async with running_nats(tmp_path / "nats", config) as nats:
        urls = [f"tls://127.0.0.1:{nats.port}"]
        trusting = Access(urls, ca_file=authority.certificate)
        assert 0 == await ask(replace(trusting, certificate_file=client.certificate, key_file=client.key))
        assert await refuse(trusting)  # no certificate of its own


async def test_a_server_that_nobody_vouches_for(tmp_path: Path) -> None:
    server = Authority(tmp_path).issue("server")
    config = f'tls: {{ cert_file: "{server.certificate}", key_file: "{server.key}" }}'
    async with running_nats(tmp_path / "nats", config) as nats:
        said = await refuse(Access([f"tls://ledger:{PASSWORD}@127.0.0.1:{nats.port}"]))
    assert "certificate verify failed" in said


async def test_a_certificate_of_another_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server")
    config = f'tls: {{ cert_file: "{server.certificate}", key_file: "{server.key}" }}'
    async with running_nats(tmp_path / "nats", config) as nats:
        said = await refuse(Access([f"tls://127.1:{nats.port}"], ca_file=authority.certificate))
    assert "mismatch" in said


async def test_files_that_cannot_be_used(nats_server: NatsServer, tmp_path: Path) -> None:
    missing, other = tmp_path / "missing", tmp_path / "other"
    other.write_text("no certificate")
    for access, said in (
        (Access([nats_server.url], ca_file=missing), "LEDGER_NATS_CA_FILE: cannot be used: No such file or directory"),
        (Access([nats_server.url], ca_file=other), "LEDGER_NATS_CA_FILE: cannot be used: "),
        (Access([nats_server.url], certificate_file=other), "LEDGER_NATS_CERTIFICATE_FILE or LEDGER_NATS_KEY_FILE: "),
    ):
        assert said in await refuse(access)


async def test_no_password_is_sent_to_a_server_that_does_not_offer_tls() -> None:
    """Somebody between the ledger and NATS could say that it does not."""
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.0","headers":true,"max_payload":1048576}\r\n')
        while chunk := await reader.read(4096):
            received.extend(chunk)
            writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await refuse(Access([f"tls://ledger:{PASSWORD}@127.0.0.1:{port}"]))
    assert "does not offer TLS" in said
    assert b"" == received


async def test_one_server_of_several_is_enough(nats_server: NatsServer) -> None:
    assert 0 == await ask(Access(["nats://127.0.0.1:1", nats_server.url]))


async def test_no_server_answers() -> None:
    assert await refuse(Access([f"nats://u:{PASSWORD}@127.0.0.1:1"]))


async def test_jetstream_is_not_enabled(tmp_path: Path) -> None:
    accounts = "accounts: { A: { users: [ { user: a, password: a } ] } }"
    async with running_nats(tmp_path, accounts) as server:
        said = await refuse(Access([f"nats://a:a@127.0.0.1:{server.port}"]))
    assert "JetStream" in said


def test_access_shows_no_secret() -> None:
    assert PASSWORD not in repr(Access([f"nats://{PASSWORD}@nats.example"], PASSWORD))
