"""Keys, claims and forged tokens, for the tests of tokens."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ledger.identity.tokens import Signer
from ledger.settings import Settings
from tests.support.tokens import (
    LEEWAY,
    Keys,
    SigningKey,
    file_keys,
    new_rsa_key,
    pem,
    public_pem,
    secret_keys,
    without_private,
)


@pytest.fixture(scope="module", params=["HS256", "EdDSA", "PS256", "RS256"])
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Return keys of each kind."""
    if request.param == "HS256":
        return secret_keys()
    make: Callable[[], SigningKey] = ed25519.Ed25519PrivateKey.generate if request.param == "EdDSA" else new_rsa_key
    return file_keys(tmp_path_factory.mktemp("keys"), make, request.param)


@pytest.fixture(scope="module")
def signer(keys: Keys) -> Signer:
    """Return the service's signer, which also accepts a previous key."""
    return Signer(keys.signing, leeway_seconds=LEEWAY, previous=without_private(keys.following))


@pytest.fixture(scope="session")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of valid and invalid key files, which no test changes."""
    folder = tmp_path_factory.mktemp("key-files")
    made: dict[str, PrivateKeyTypes] = {
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "other": ed25519.Ed25519PrivateKey.generate(),
    }
    made |= {"ed448": ed448.Ed448PrivateKey.generate(), "ec": ec.generate_private_key(ec.SECP256R1())}
    made |= {"rsa": new_rsa_key(), "older": new_rsa_key(2048), "short": new_rsa_key(1024)}
    for name, key in made.items():
        (folder / f"{name}.pem").write_bytes(pem(key))
        (folder / f"{name}.pub").write_bytes(public_pem(key.public_key()))
    (folder / "locked.pem").write_bytes(pem(made["ed25519"], b"hunter2"))
    (folder / "empty.pem").write_bytes(b"")
    (folder / "garbage.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    (folder / "cut.pem").write_bytes(pem(made["rsa"])[:-200])
    (folder / "huge.pem").write_bytes(b"\x00" * 200_000 + pem(made["ed25519"]))
    (folder / "folder.pem").mkdir()
    return folder


@pytest.fixture
def folder(key_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of valid and invalid key files, in an environment without settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    copytree(key_files, tmp_path, dirs_exist_ok=True)
    return tmp_path
