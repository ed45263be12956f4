"""Heads that are anchored elsewhere reveal a chain that even the keeper of the key has replaced."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ledger.identity.keys import private_key
from ledger.seals import anchoring
from ledger.seals.checkpoints import open_note
from ledger.settings import Settings
from ledger.store.identity import read_ledger_id
from tests.support.processes import until
from tests.support.rewriting import DELETE_SEALS, Victim, prepare_victim, problems, record_history
from tests.support.sealed import Sealed


@pytest.fixture
def victim(settings: Settings, connection: Any, tmp_path: Path) -> Victim:
    return prepare_victim(settings, connection, tmp_path)


async def test_a_chain_that_was_replaced_with_the_key_differs_from_its_anchor(victim: Victim) -> None:
    """The attacker can write to the database, has the key and the kept head, but not the folder of the anchor."""
    anchor = victim.folder / "anchor"
    await asyncio.to_thread(anchor.mkdir)
    with victim.serve(LEDGER_SEAL_ANCHOR=str(anchor)) as running:
        await record_history(victim, running)
        await until(lambda: [*anchor.glob("*.checkpoint")])
        assert 0 == await running.stop()
    assert 0 == (await victim.run("seal", LEDGER_SEAL_ANCHOR=str(anchor))).status
    against = ("verify-seals", "--against", str(anchor))
    assert 0 == (await victim.run(*against)).status

    await victim.attack("UPDATE stored_events SET state = state || ' ' WHERE notification_id = 1", DELETE_SEALS)
    (victim.folder / "seal-key.head").unlink()
    assert 0 == (await victim.run("accept-head", "--reason", "none")).status
    assert 0 == (await victim.run("seal")).status
    assert 0 == (await victim.run("verify-seals")).status
    assert any("anchored checkpoint" in problem for problem in problems(await victim.run(*against)))


@pytest.fixture
async def received() -> AsyncIterator[tuple[str, list[bytes], list[int]]]:
    """Yield the URL of an anchor, the notes that it has received, and the statuses with which it fails first."""
    notes, failures = list[bytes](), list[int]()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        if failures:
            return web.Response(status=failures.pop())
        notes.append(body)
        return web.Response()

    application = web.Application()
    application.router.add_post("/heads", receive)
    async with TestServer(application) as server:
        yield str(server.make_url("/heads")), notes, failures


async def test_a_url_receives_the_last_head_although_it_fails_at_first(
    sealed: Sealed,
    settings: Settings,
    key_file: Path,
    received: tuple[str, list[bytes], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sealing does not wait for it."""
    url, notes, failures = received
    failures += [500, 302, 503]
    monkeypatch.setattr(anchoring, "RETRY_SECONDS", (0.01, 0.02))
    key, ledger_id = private_key(key_file), await read_ledger_id(sealed.pool)
    anchor = anchoring.open_anchor(settings.model_copy(update={"ledger_seal_anchor": url}), ledger_id, key)
    assert anchor is not None
    chain = await sealed.chain()
    anchor.announce(chain)
    following = asyncio.create_task(anchor.follow())
    await until(lambda: notes)
    anchor.announce(chain)
    following.cancel()
    (note,) = notes
    assert (chain.size, chain.root) == open_note(note, ledger_id, [key])
    assert [] == failures
