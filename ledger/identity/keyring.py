"""The keys that the settings name: those that sign tokens, and the one that seals the log.

Only this module reads key files, once at the start, so that no request opens a file. With an unusable key, the service
prints one line that names the variable, but not the key or its file, and does not start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pydantic import SecretStr

from ledger.environment.variables import SettingsError
from ledger.identity.keys import EDDSA, Key, private_key, public_key, secret_key
from ledger.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key that signs tokens, the previous one if its tokens are still accepted, and the sealing key, if any.

    The first key of `encrypting` encrypts secrets, and each of them decrypts what it has encrypted.
    """

    signing: Key
    previous: Key | None
    sealing: Key | None
    encrypting: tuple[Key, ...]


def load_keyring(settings: Settings) -> Keyring:
    """Read every key that the service needs. Raises `SettingsError`."""
    signing, previous = _load_signing_keys(settings)
    if signing is None:
        raise SettingsError("JWT_SECRET: must be set when LEDGER_JWT_KEY_FILE is not")
    return Keyring(signing, previous, load_sealing_key(settings), _load_encrypting_keys(settings) or (signing,))


def load_sealing_key(settings: Settings) -> Key | None:
    """Read the key that signs the blocks of the log; None if the log is not sealed. Raises `SettingsError`."""
    key = _load("LEDGER_SEAL_KEY_FILE", settings.ledger_seal_key_file, private_key)
    if key is not None and key.algorithm != EDDSA:
        raise SettingsError("LEDGER_SEAL_KEY_FILE: must be an Ed25519 key")
    return key


def check_keys(settings: Settings) -> None:
    """Raise `SettingsError` unless every configured key can be used. A missing key is not an error here."""
    _load_signing_keys(settings)
    load_sealing_key(settings)
    _load_encrypting_keys(settings)


def _load_encrypting_keys(settings: Settings) -> tuple[Key, ...]:
    """Return the keys that encrypt, the newest first. By default, these are the secrets that sign tokens."""
    keys = (
        _load("LEDGER_SECOND_FACTOR_SECRET", settings.ledger_second_factor_secret, _read_secret),
        _load("JWT_SECRET", settings.jwt_secret, _read_secret),
        _load("LEDGER_SECOND_FACTOR_PREVIOUS_SECRET", settings.ledger_second_factor_previous_secret, _read_secret),
        _load("LEDGER_JWT_PREVIOUS_SECRET", settings.ledger_jwt_previous_secret, _read_secret),
    )
    return tuple(key for key in keys if key is not None)


def _load_signing_keys(settings: Settings) -> tuple[Key | None, Key | None]:
    secrets = (
        _load("JWT_SECRET", settings.jwt_secret, _read_secret),
        _load("LEDGER_JWT_PREVIOUS_SECRET", settings.ledger_jwt_previous_secret, _read_secret),
    )
    algorithm = settings.ledger_jwt_rsa_algorithm
    key = _load("LEDGER_JWT_KEY_FILE", settings.ledger_jwt_key_file, partial(private_key, rsa_algorithm=algorithm))
    if key is None:
        return secrets
    read = partial(public_key, rsa_algorithm=algorithm)
    previous = _load("LEDGER_JWT_PREVIOUS_KEY_FILE", settings.ledger_jwt_previous_key_file, read)
    if previous is not None and previous.algorithm != key.algorithm:
        raise SettingsError("LEDGER_JWT_PREVIOUS_KEY_FILE: must be a key of the same kind as LEDGER_JWT_KEY_FILE")
    return key, previous


def _read_secret(value: SecretStr) -> Key:
    return secret_key(value.get_secret_value())


def _load(variable: str, value: T | None, read: Callable[[T], Key]) -> Key | None:
    if value is None:
        return None
    try:
        return read(value)
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None
