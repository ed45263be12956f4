"""Secrets in files: `JWT_SECRET_FILE` names a file that has the value of `JWT_SECRET`, and so on for each secret.

So a vault, systemd, Docker or Kubernetes can hand over secrets, which then are in no environment and no settings file.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from ledger.environment.settings_error import SettingsError

MAX_BYTES = 65_536
SUFFIX = "_FILE"
SHARED = "postgres_password_file"  # also a variable of PostgreSQL's container image, to which one `.env` may be passed


def read_secret_files(values: Mapping[str, str], secrets: Collection[str]) -> dict[str, str]:
    """Return settings with the secrets that are in files, by name in lower case. Raises `SettingsError`.

    `values` are the settings, and the names of files; `secrets` are the names of the settings that are secrets.
    """
    files = {f"{secret}{SUFFIX}".lower(): secret.lower() for secret in secrets}
    found = {name: value for name, value in values.items() if name not in files}
    for variable, setting in files.items():
        if variable not in values or (variable == SHARED and not _needs_postgres_password(found)):
            continue
        if setting in found:
            raise SettingsError(f"{variable.upper()}: cannot be set when {setting.upper()} is")
        found[setting] = _read(variable.upper(), Path(values[variable]))
    return found


def _needs_postgres_password(found: Mapping[str, str]) -> bool:
    return "postgres_host" in found and not {"database_url", "postgres_password"} & found.keys()


def _read(variable: str, path: Path) -> str:
    """Return the content of a file without the end of its last line."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode()
    except (OSError, ValueError) as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else "is not the name of a file with UTF-8"
        raise SettingsError(f"{variable}: cannot be read: {reason}") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret or len(raw) > MAX_BYTES:
        raise SettingsError(f"{variable}: must be a file with 1 to {MAX_BYTES} bytes")
    return secret
