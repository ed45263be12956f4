"""Complete the settings: start embedded servers and generate secrets where none are configured.

The embedded profile generates the keys that sign tokens and seals, and the first admin's password. It keeps them in the
data folder, readable by the folder's owner only.
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
async def complete_settings(settings: Settings, *, needs_redis: bool) -> AsyncIterator[Settings]:
    """Yield the settings with all servers and secrets that are needed. Embedded servers stop when the context ends."""
    if settings.has_database and (settings.has_redis or not needs_redis):
        yield settings
        return
    async with embedded_services(settings.ledger_data_dir) as services:
        missing: dict[str, object] = {}
        if not settings.has_redis:
            missing["redis_url"] = SecretStr(services.redis_url)
        if not settings.has_database:
            missing |= {
                "database_url": SecretStr(services.serving_url),
                "ledger_owner_database_url": SecretStr(services.database_url),
                "jwt_secret": settings.jwt_secret or _ensure_secret(settings.ledger_data_dir / JWT_SECRET_FILE),
                "ledger_admin_password": settings.ledger_admin_password
                or _ensure_secret(settings.ledger_data_dir / ADMIN_PASSWORD_FILE),
                "ledger_seal_key_file": settings.ledger_seal_key_file
                or _ensure_key_file(settings.ledger_data_dir.absolute() / SEAL_KEY_FILE),
            }
        yield settings.model_copy(update=missing)


def admin_password_file(settings: Settings) -> Path | None:
    """Return the file that has the first admin's password if the embedded profile generated it, or None."""
    path, password = settings.ledger_data_dir / ADMIN_PASSWORD_FILE, settings.ledger_admin_password
    try:
        generated = path.read_text().strip()
    except OSError:
        return None
    return path if password is not None and password.get_secret_value() == generated else None


def _ensure_secret(path: Path) -> SecretStr:
    """Return the secret in a file; without a file, create it with a random secret."""
    while True:
        try:
            return SecretStr(path.read_text().strip())
        except FileNotFoundError:
            _write_atomically(path, secrets.token_urlsafe(32) + "\n")


def _ensure_key_file(path: Path) -> Path:
    """Return the path of a key file; without a file, create it with a new key."""
    if not path.exists():
        _write_atomically(path, new_private_pem())
    return path


def _write_atomically(path: Path, text: str) -> None:
    """Create the file atomically: no reader sees a part of it, and if two processes try, the first one wins."""
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
