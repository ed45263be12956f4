"""Lesson 31: the objects that carry secrets do not show them."""

import json
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.commands.caller import Caller
from ledger.commands.command import Credential, Decision
from ledger.commands.tokens import LogOut, RefreshTokens, StartSession
from ledger.commands.users import CreateUser
from ledger.environment.variables import SettingsError
from ledger.errors import Refused
from ledger.events.tokens import Pair
from ledger.identity.keyring import check_keys
from ledger.identity.keys import new_private_pem, secret_key
from ledger.identity.tokens import InvalidTokenError, Signer, TokenType
from ledger.runtime import open_runtime
from ledger.settings import Settings
from ledger.store.pool import connect
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.canaries import Secrets, expired_and_unknown, find_leaks, places_with, variables
from tests.support.outages import reserved_port
from tests.support.proxy import Proxy
from tests.support.valkey import Valkey
from web import requests
from web.http.json import parse


def presented(things: Mapping[str, object]) -> dict[str, str]:
    """Return the text forms of each object, including the traceback of an error."""
    return {
        name: "\n".join([repr(thing), str(thing), f"{thing}", *_trace(thing)]).lower() for name, thing in things.items()
    }


def _trace(thing: object) -> list[str]:
    return traceback.format_exception(thing) if isinstance(thing, BaseException) else []


async def raised(work: Callable[[], Any], kind: type[BaseException]) -> BaseException:
    async def done() -> None:
        result = work()
        if isinstance(result, Awaitable):
            await result

    with pytest.raises(kind) as caught:
        await done()
    return caught.value


async def test_the_service_and_its_parts_show_no_secret(
    settings: Settings, proxy: Proxy, valkey: Valkey, given: Secrets, tmp_path: Path
) -> None:
    """Lesson 31: "the whole configuration at debug level"."""
    seal = tmp_path / "seal-key"
    seal.write_text(new_private_pem())
    chosen = variables(settings, given, proxy, valkey, seal)
    full = Settings(**{name.lower(): value for name, value in chosen.items()})
    async with open_runtime(full) as runtime:
        parts = {name: getattr(runtime, name) for name in runtime.__dataclass_fields__}
        things = {"runtime": runtime, **parts, "dump": full.model_dump(), "json": full.model_dump_json()}
        things["key"] = secret_key(given.signing)
        things |= {
            "jwks": runtime.signer.jwks(),
            "connection": runtime.redis.connection_pool.make_connection(),  # type: ignore[no-untyped-call]  # untyped in redis-py
        }
        places = presented(things)

    assert [] == find_leaks(places, {**vars(given), "seal key": seal.read_text().split("\n")[1]})
    assert "secretstr" in places["settings"]


def test_commands_and_their_parts_show_no_secret(given: Secrets) -> None:
    """Lesson 31: this covers a hash, a password and the content of a body, in every object that has them."""
    user_id, pair = new_id(), Pair(new_id(), 2, new_id(), 3, 1)
    hashed = f"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ${given.digest}"
    credential = Credential(new_id(), user_id, hashed)
    user = {"username": "x", "email": "x@example.com", "roles": "guest", "password_salt": given.salt}
    things = {
        "credential": credential,
        "create": CreateUser(
            user_id=user_id, username="x", email="x@example.com", active=True, roles=("guest",), credential=credential
        ),
        "decision": Decision([], {}, credential),
        "start": StartSession(
            session_id=new_id(), user_id=user_id, credential_id=credential.id, pair=pair, session_expires_at=9
        ),
        "refresh": RefreshTokens(
            session_id=new_id(), user_id=user_id, refresh_jti=new_id(), pair=pair, grace_seconds=0
        ),
        "logout": LogOut(new_id(), user_id, new_id()),
        "origin": Origin(new_id(), request_hash=given.key.encode()[:0]),
        "caller": Caller(user_id, frozenset({"guest"}), new_id(), new_id()),
        "login": parse(requests.Login, json.dumps({"username": "x", "password": given.password}).encode()),
        "digest": parse(requests.Login, json.dumps({"username": "x", "password_hash": given.digest}).encode()),
        "new user": parse(requests.NewUser, json.dumps({**user, "password": given.password}).encode()),
        "user": parse(requests.User, json.dumps({**user, "password_hash": given.digest}).encode()),
    }

    places = presented(things)

    assert [] == find_leaks(places, {**vars(given), "argon2": "$argon2id$"})
    assert {"credential", "create", "decision"} == places_with(places, str(credential.id)) - {"start"}


@pytest.fixture
def nowhere() -> Iterator[int]:
    with reserved_port(listening=False) as port:
        yield port


async def test_errors_show_no_secret(settings: Settings, given: Secrets, nowhere: int) -> None:
    """Lesson 31: neither their texts nor their tracebacks do."""
    url = f"postgresql://ledger:{given.database}@127.0.0.1:{nowhere}/ledger"
    kept = settings.model_dump(exclude_unset=True)
    away = Settings(**{**kept, "database_url": url})
    signer = Signer(given.signing, leeway_seconds=0)
    token = expired_and_unknown(given.signing)[0]
    secret = json.dumps(
        {"username": [given.misplaced], "password": given.password, "unknown": given.misplaced}
    ).encode()

    def settings_with(**changes: Any) -> Callable[[], None]:
        return lambda: check_keys(Settings.load(**{**kept, **changes}))

    def validated() -> object:
        return requests.Login.model_validate_json(secret)

    errors = {
        "expired": await raised(lambda: signer.verify(token, TokenType.ACCESS), InvalidTokenError),
        "spoilt": await raised(lambda: signer.verify(f"{token}x", TokenType.ACCESS), InvalidTokenError),
        "refused": await raised(lambda: parse(requests.Login, secret), Refused),
        "malformed": await raised(lambda: parse(requests.Login, secret[:-1]), Refused),
        "invalid": await raised(validated, ValidationError),
        "short": await raised(settings_with(jwt_secret=given.signing[:20]), SettingsError),
        "short token": await raised(settings_with(ledger_metrics_token=given.scraping[:20]), SettingsError),
        "no file": await raised(settings_with(ledger_jwt_key_file=given.signing), SettingsError),
        "database": await raised(settings_with(database_url=f"mysql://x:{given.database}@x/x"), SettingsError),
        "redis": await raised(settings_with(redis_url=f"http://x:{given.redis}@x"), SettingsError),
        "admin": await raised(settings_with(ledger_admin_password=given.admin * 99), SettingsError),
        "unreachable": await raised(lambda: connect(away), OSError),
    }

    known = {
        **vars(given),
        "short": given.signing[:20],
        "short token": given.scraping[:20],
        "token": token,
        "signature": token.rsplit(".", 1)[1],
    }
    assert [] == find_leaks(presented(errors), known)
    assert ["it"] == sorted(
        places_with(presented({"it": ValueError(given.admin), "not it": ValueError()}), given.admin)
    )


def test_no_secret_has_a_default() -> None:
    """Lesson 31: no default credentials, and no default signing key."""
    fields = {name: known for name, known in Settings.model_fields.items() if "SecretStr" in str(known)}

    assert {"jwt_secret", "ledger_admin_password", "database_url", "postgres_password", "redis_url"} <= fields.keys()
    assert {None} == {known.default for known in fields.values()}
