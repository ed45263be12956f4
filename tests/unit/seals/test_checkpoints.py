"""Checkpoints are signed notes as C2SP defines them, and prove the size and the root of the tree of block headers."""

import base64
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.identity.keys import EDDSA, Key, new_private_pem, private_key
from ledger.seals import checkpoints, merkle
from ledger.seals.checkpoints import Checkpoint, InvalidCheckpointError, open_note, sign

LEDGER = UUID("018f0000-0000-7000-8000-000000000001")
ORIGIN = f"ledger/{LEDGER}"
ROOT = bytes(range(32))
WITNESS = "\N{EM DASH} witness.example/w " + base64.b64encode(bytes(4 + 8 + 64)).decode() + "\n"


@pytest.fixture
def key(tmp_path: Path) -> Key:
    (tmp_path / "key.pem").write_text(new_private_pem())
    return private_key(tmp_path / "key.pem")


def is_valid(raw: bytes, key: Key) -> bool:
    try:
        return open_note(raw, LEDGER, [key]) == Checkpoint(7, ROOT)
    except InvalidCheckpointError:
        return False


def test_a_note_has_the_text_and_the_signature_of_the_specification(key: Key) -> None:
    text, _, signatures = sign(LEDGER, Checkpoint(7, ROOT), key).partition("\n\n")
    assert [ORIGIN, "7", base64.b64encode(ROOT).decode()] == text.split("\n")
    dash, name, encoded = signatures.removesuffix("\n").split(" ")
    raw = base64.b64decode(encoded)
    public, key_id = key.verifying, checkpoints.verifier_key(LEDGER, key).split("+")[1]
    public.verify(raw[4:], f"{text}\n".encode())
    assert ("\u2014", ORIGIN, key_id) == (dash, name, raw[:4].hex())


def test_a_key_id_is_computed_as_other_implementations_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is that of an example of another implementation."""
    name, key_id, encoded = "example.com/foo", "530d903a", "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
    monkeypatch.setattr(checkpoints, "origin_of", lambda _: name)
    assert f"{name}+{key_id}+{encoded}" == checkpoints.verifier_key(LEDGER, Key(EDDSA, "", public, None))


def test_a_note_opens_also_with_the_signatures_of_witnesses(key: Key) -> None:
    note = sign(LEDGER, Checkpoint(7, ROOT), key)
    head, own = note.split("\n\n")
    assert is_valid(note.encode(), key)
    assert is_valid(f"{note}{WITNESS}".encode(), key)
    assert is_valid(f"{head}\n\n{WITNESS}{own}".encode(), key)
    assert not is_valid(f"{head}\n\n{WITNESS}".encode(), key)


def test_a_changed_note_is_refused(key: Key) -> None:
    note = sign(LEDGER, Checkpoint(7, ROOT), key)
    for old, new in (("\n7\n", "\n8\n"), ("\n7\n", "\n07\n"), (ORIGIN, f"ledger/{LEDGER.hex}"), ("AAEC", "AAED")):
        assert not is_valid(note.replace(old, new).encode(), key)
    for raw in (b"", b"\xff", note.encode()[:-80], note.replace("\n\n", "\n").encode()):
        assert not is_valid(raw, key)


def test_a_frontier_has_the_root_of_the_whole_tree() -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(70)]
    frontier: list[bytes] = []
    for size in range(len(leaves) + 1):
        assert merkle.root(leaves[:size]) == merkle.frontier_root(frontier)
        assert len(frontier) == size.bit_count()
        if size < len(leaves):
            frontier = merkle.append(frontier, size, leaves[size])
