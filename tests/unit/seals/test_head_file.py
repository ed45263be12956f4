"""The file of the kept head never goes back by itself, and a file that cannot be used is never taken for none."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from structlog.testing import capture_logs

from ledger.identity.keys import new_private_pem, private_key
from ledger.seals.blocks import NO_BLOCK, Block, Header, seal_block
from ledger.seals.chain import BrokenChainError, Chain
from ledger.seals.head_file import HeadFile, HeadFileError

LEDGER = UUID("018f0000-0000-7000-8000-000000000001")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def chains(tmp_path: Path) -> list[Chain]:
    """Return a chain without a block, with one, and with two."""
    (tmp_path / "key.pem").write_text(new_private_pem())
    key = private_key(tmp_path / "key.pem")

    def next_block(previous: Header | None, position: int) -> Block:
        return seal_block(LEDGER, previous, (NO_BLOCK,), None, last_position=position, sealed_at=NOW, key=key)

    found = [Chain(LEDGER, None)]
    for position in (3, 5):
        found.append(found[-1].extend(next_block(found[-1].last, position).signed_header))
    return found


async def test_a_kept_chain_is_read_back_and_never_replaced_by_a_shorter_one(
    chains: list[Chain], tmp_path: Path
) -> None:
    """Two processes that share a file may write it in any order. Only an operator sets it back."""
    file = HeadFile(tmp_path / "head")
    assert file.read() is None
    for chain, expected in ((chains[0], 0), (chains[2], 2), (chains[1], 2)):
        await file.keep(chain)
        kept = file.read()
        assert kept is not None
        assert (chains[expected], chains[expected].root) == (kept, kept.root)
    await file.keep(chains[1], replaces=True)
    assert chains[1] == file.read()
    assert 0o600 == file.path.stat().st_mode & 0o777


@pytest.mark.parametrize("content", ["", "{}", '{"format":"ledger-seal-head-2","chain":null}'])
async def test_a_damaged_file_is_refused(content: str, chains: list[Chain], tmp_path: Path) -> None:
    file = HeadFile(tmp_path / "head")
    await asyncio.to_thread(file.path.write_text, content)
    with pytest.raises(BrokenChainError, match="accept-head"):
        file.read()
    with pytest.raises(BrokenChainError):
        await file.keep(chains[2])
    await file.keep(chains[2], replaces=True)
    assert chains[2] == file.read()


async def test_a_file_that_cannot_be_written_stops_sealing_only_if_it_was_named(
    chains: list[Chain], tmp_path: Path
) -> None:
    """Keys are often in folders that are read-only; such a service has sealed before."""
    path = tmp_path / "none" / "head"
    with pytest.raises(HeadFileError):
        await HeadFile(path).keep(chains[1])
    beside_the_key = HeadFile(path, is_required=False)
    with capture_logs() as logged:
        for _ in range(2):
            await beside_the_key.keep(chains[1])
    (record,) = logged
    assert "LEDGER_SEAL_HEAD_FILE" in record["event"]


def test_a_chain_is_extended_by_its_next_block_only(chains: list[Chain]) -> None:
    head = chains[2].head
    assert head is not None
    for changes in ({"number": 3}, {"previous": NO_BLOCK}, {"first_position": 1}):
        changed = msgspec.structs.replace(head, block=msgspec.structs.replace(head.block, **changes))
        with pytest.raises(BrokenChainError):
            chains[1].extend(changed)
    assert chains[2] == chains[1].extend(head)
