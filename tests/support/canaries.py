"""Unique secrets, and the search for places where they must not appear."""

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ledger.identity.tokens import Claims, Signer, TokenType
from ledger.settings import Settings
from ledger.values.ids import new_id
from tests.support.controls import NOBODY
from tests.support.proxy import Proxy
from tests.support.valkey import PATIENCE, Valkey

ATTEMPTS = 4


def new_canary(name: str) -> str:
    """Return a word that occurs nowhere else."""
    return f"canary-{name}-{secrets.token_hex(12)}"


def encodings_of(secret: str) -> list[str]:
    """Return a secret as it is, in hexadecimal, and as it appears inside base64 at any offset."""
    raw = secret.encode()
    spelt = [secret, raw.hex()]
    for padding, first in ((0, 0), (1, 2), (2, 3)):  # the first characters that depend on the secret alone
        padded = b"\0" * padding + raw
        whole = base64.b64encode(padded)[first : len(padded) // 3 * 4].decode()
        spelt += [whole, whole.translate(str.maketrans("+/", "-_"))]
    return [form.lower() for form in spelt]


def places_with(places: Mapping[str, str], secret: str) -> set[str]:
    """Return the places that contain a secret, in any encoding."""
    spelt = encodings_of(secret)
    return {place for place, text in places.items() if any(form in text for form in spelt)}


def find_leaks(places: Mapping[str, str], known: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the name of each leaked secret with the name of the place it leaked to."""
    return sorted((name, place) for name, secret in known.items() for place in places_with(places, secret))


@dataclass(frozen=True)
class Secrets:
    """The secrets of the service and its clients."""

    signing: str = field(default_factory=lambda: new_canary("signing-key"))
    admin: str = field(default_factory=lambda: new_canary("admin"))
    database: str = field(default_factory=lambda: new_canary("database"))
    redis: str = field(default_factory=lambda: new_canary("redis"))
    password: str = field(default_factory=lambda: new_canary("password"))
    following: str = field(default_factory=lambda: new_canary("next-password"))
    digest: str = field(default_factory=lambda: new_canary("digest"))
    salt: str = field(default_factory=lambda: new_canary("salt"))
    wrong: str = field(default_factory=lambda: new_canary("wrong-password"))
    misplaced: str = field(default_factory=lambda: new_canary("misplaced"))
    query: str = field(default_factory=lambda: new_canary("query"))
    header: str = field(default_factory=lambda: new_canary("header"))
    key: str = field(default_factory=lambda: new_canary("idempotency-key"))
    bearer: str = field(default_factory=lambda: new_canary("bearer"))
    malformed: str = field(default_factory=lambda: new_canary("malformed"))
    scraping: str = field(default_factory=lambda: new_canary("metrics-token"))


async def require_password(valkey: Valkey, password: str) -> None:
    """Make Valkey require this password."""
    async with valkey.client() as client:
        await client.config_set("requirepass", password)


def variables(settings: Settings, given: Secrets, proxy: Proxy, valkey: Valkey, seal: Path) -> dict[str, str]:
    """Return the environment of a service whose secrets are all unique."""
    return settings.environment() | {
        "DATABASE_URL": proxy.database_url(settings, user=f"ledger:{given.database}"),
        "REDIS_URL": f"unix://:{given.redis}@{valkey.socket}?db=0&{PATIENCE}",
        "JWT_SECRET": given.signing,
        "LEDGER_METRICS_TOKEN": given.scraping,
        "LEDGER_ADMIN_PASSWORD": given.admin,
        "LEDGER_SEAL_KEY_FILE": str(seal),
        "LEDGER_LOGIN_ATTEMPTS_PER_ACCOUNT": str(ATTEMPTS),
        "LEDGER_LOGIN_WINDOW_SECONDS": "86400",  # counters must not expire before the search
        "LEDGER_DATABASE_PATIENCE_SECONDS": "1",
        "LEDGER_REFRESH_GRACE_SECONDS": "300",
        "LEDGER_LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
        "SERVICE_PORT": "0",
    }


def expired_and_unknown(signing: str) -> list[str]:
    """Return an expired token and one of an unknown session, both signed correctly."""
    signer, now = Signer(signing, leeway_seconds=0), int(time.time())
    common = {"sub": NOBODY, "jti": str(new_id()), "typ": TokenType.ACCESS, "roles": "admin", "sid": str(new_id())}
    return [
        signer.sign(Claims(**common, iat=now - 9000, exp=now + offset, pos=1))  # type: ignore[arg-type]
        for offset in (-5000, 5000)
    ]
