"""Where the service finds its servers and secrets: as configured, or, where nothing is, its own.

The embedded profile keeps what it makes up, the keys that sign tokens and seals and the first admin's password, in the
data folder, readable by its owner only.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from ledger.embedded import embedded_services
from ledger.identity.keys import new_private_pem
from ledger.settings import Settings

ADMIN_PASSWORD_FILE = "admin-password"  # noqa: S105 - a file's name
JWT_SECRET_FILE = "jwt-secret"  # noqa: S105 - a file's name
SEAL_KEY_FILE = "seal-key.pem"


@asynccontextmanager
async def completed(settings: Settings, *, needs_redis: bool) -> AsyncIterator[Settings]:
    """Complete the settings with the servers and secrets that are needed, for as long as the context lasts."""
    if settings.has_database and (settings.has_redis or not needs_redis):
        yield settings
        return
    async with embedded_services(settings.ledger_data_dir) as services:
        found: dict[str, object] = {}
        if not settings.has_redis:
            found["redis_url"] = SecretStr(services.redis_url)
        if not settings.has_database:
            found |= {
                "database_url": SecretStr(services.database_url),
                "jwt_secret": settings.jwt_secret or _kept(settings.ledger_data_dir / JWT_SECRET_FILE),
                "ledger_admin_password": settings.ledger_admin_password
                or _kept(settings.ledger_data_dir / ADMIN_PASSWORD_FILE),
                "ledger_seal_key_file": settings.ledger_seal_key_file
                or _kept_key(settings.ledger_data_dir.absolute() / SEAL_KEY_FILE),
            }
        yield settings.model_copy(update=found)


def admin_password_file(settings: Settings) -> Path | None:
    """Return the file in which the embedded profile keeps the first admin's password, if it made that up."""
    path, password = settings.ledger_data_dir / ADMIN_PASSWORD_FILE, settings.ledger_admin_password
    try:
        kept = path.read_text().strip()
    except OSError:
        return None
    return path if password is not None and password.get_secret_value() == kept else None


def _kept(path: Path) -> SecretStr:
    """The secret in a file; a fresh random one, if there is no file yet."""
    while True:
        try:
            return SecretStr(path.read_text().strip())
        except FileNotFoundError:
            _write_whole(path, secrets.token_urlsafe(32) + "\n")


def _kept_key(path: Path) -> Path:
    """The name of a file with a key; with a fresh one, if there is no file yet."""
    if not path.exists():
        _write_whole(path, new_private_pem())
    return path


def _write_whole(path: Path, text: str) -> None:
    """Create the file atomically: readers never see a part of it, and of two processes that try, one succeeds."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
