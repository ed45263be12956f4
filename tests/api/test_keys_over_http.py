"""Public keys over HTTP: what is published, how third parties verify with it, and rotation."""

import base64
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, Api
from tests.support.tokens import make_three, new_rsa_key

Serve = Callable[[Settings], Awaitable[Api]]

LOGIN, REFRESH, JWKS = "/v1/auth/login", "/v1/auth/refresh", "/.well-known/jwks.json"
ALGORITHMS = {"ed25519": "EdDSA", "rsa": "PS256"}
PUBLIC_MEMBERS = {"ed25519": {"crv", "kty", "x"}, "rsa": {"e", "kty", "n"}}

RSA_NUMBERS = cycle(range(3))  # no test needs more keys

kinds = pytest.mark.parametrize("kind", ["ed25519", "rsa"])


def write_key_file(path: Path, kind: str) -> Path:
    """Write a new private key to a file."""
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else make_three(new_rsa_key)[next(RSA_NUMBERS)]
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def public_pem(path: Path) -> bytes:
    key = load_pem_private_key(path.read_bytes(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def with_changes(settings: Settings, **changes: Any) -> Settings:
    """Return the settings with changes, validated as at a start."""
    return Settings(**{**settings.model_dump(exclude_unset=True), **changes})


async def log_in(api: Api) -> dict[str, Any]:
    answer = await api.nobody.post(LOGIN, {"username": "admin", "password": ADMIN_PASSWORD})
    assert 200 == answer.status
    pair: dict[str, Any] = answer.body
    return pair


async def status_of(api: Api, token: str) -> int:
    return (await replace(api, token=token).get("/")).status


async def verify_with_published_keys(api: Api, token: str) -> dict[str, Any]:
    """Verify a token with the published keys alone; return its claims."""
    published = (await api.nobody.get(JWKS)).body
    header = jwt.get_unverified_header(token)
    (entry,) = [entry for entry in published["keys"] if entry["kid"] == header["kid"]]
    claims: dict[str, Any] = jwt.decode(token, jwt.PyJWK(entry), algorithms=[entry["alg"]])
    return claims


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def encode_segment(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


# What is published


@kinds
async def test_the_published_key_alone_verifies_the_tokens(
    serve: Serve, settings: Settings, tmp_path: Path, kind: str
) -> None:
    api = await serve(with_changes(settings, ledger_jwt_key_file=write_key_file(tmp_path / "key", kind)))

    pair = await log_in(api)
    access, refresh = [await verify_with_published_keys(api, pair[name]) for name in ("access_token", "refresh_token")]

    assert ALGORITHMS[kind] == jwt.get_unverified_header(pair["access_token"])["alg"]
    assert (0, 1, "admin") == (access["typ"], refresh["typ"], access["roles"])
    assert access["jti"] == refresh["prf"]
    assert 200 == await status_of(api, pair["access_token"])


@kinds
async def test_only_public_members_are_published(serve: Serve, settings: Settings, tmp_path: Path, kind: str) -> None:
    """Lesson 31: only members of the public key."""
    api = await serve(with_changes(settings, ledger_jwt_key_file=write_key_file(tmp_path / "key", kind)))

    answer = await api.nobody.get(JWKS)

    assert (200, "application/json", ["keys"]) == (answer.status, answer.headers["Content-Type"], list(answer.body))
    for entry in answer.body["keys"]:
        assert PUBLIC_MEMBERS[kind] | {"alg", "kid", "use"} == entry.keys()
    listed = [(entry["alg"], entry["use"]) for entry in answer.body["keys"]]
    assert [(ALGORITHMS[kind], "sig"), ("RS256", "sig")][: 1 if kind == "ed25519" else 2] == listed


async def test_a_shared_secret_is_not_published(api: Api) -> None:
    """Lesson 31."""
    answer = await api.nobody.get(JWKS)

    assert (200, {"keys": []}) == (answer.status, answer.body)


async def test_two_services_with_one_key_file_publish_the_same(
    serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    keyed = with_changes(settings, ledger_jwt_key_file=write_key_file(tmp_path / "key", "ed25519"))
    one, other = [await serve(keyed) for _ in range(2)]

    assert (await one.nobody.get(JWKS)).body == (await other.nobody.get(JWKS)).body
    assert 200 == await status_of(other, str(one.token))


# What is not a signature


@kinds
async def test_a_token_signed_with_another_key_is_refused(
    serve: Serve, settings: Settings, tmp_path: Path, kind: str
) -> None:
    """Also if it names the service's key."""
    api = await serve(with_changes(settings, ledger_jwt_key_file=write_key_file(tmp_path / "key", kind)))
    claims = await verify_with_published_keys(api, str(api.token))
    foreign = write_key_file(tmp_path / "foreign", kind).read_bytes()
    own = (tmp_path / "key").read_bytes()

    made = {
        name: jwt.encode(claims, key, algorithm=ALGORITHMS[kind], headers={"kid": kid_of(str(api.token))})
        for name, key in {"own": own, "foreign": foreign}.items()
    }

    assert {"own": 200, "foreign": 401} == {name: await status_of(api, token) for name, token in made.items()}
    with pytest.raises(jwt.InvalidSignatureError):
        await verify_with_published_keys(api, made["foreign"])


@kinds
async def test_the_public_key_is_no_shared_secret(serve: Serve, settings: Settings, tmp_path: Path, kind: str) -> None:
    """Lesson 29: algorithm confusion. The old JWT_SECRET is no longer accepted either."""
    path = write_key_file(tmp_path / "key", kind)
    api = await serve(with_changes(settings, ledger_jwt_key_file=path))
    _, payload, _ = str(api.token).split(".")
    published = (await api.nobody.get(JWKS)).body["keys"][0]
    assert settings.jwt_secret is not None
    secrets = [public_pem(path), json.dumps(published).encode(), settings.jwt_secret.get_secret_value().encode()]

    header = encode_segment(
        json.dumps({"alg": "HS256", "kid": published["kid"], "typ": "JWT"}, separators=(",", ":")).encode()
    )
    signed = f"{header}.{payload}"
    forged = [f"{signed}.{encode_segment(hmac.digest(secret, signed.encode(), 'sha256'))}" for secret in secrets]

    assert [401] * len(forged) == [await status_of(api, token) for token in forged]
    assert 200 == await status_of(api, str(api.token))


async def test_a_service_with_a_key_file_refuses_tokens_of_the_old_secret(
    serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    before = await log_in(await serve(settings))

    api = await serve(with_changes(settings, ledger_jwt_key_file=write_key_file(tmp_path / "key", "ed25519")))

    assert 401 == await status_of(api, before["access_token"])
    refused = await replace(api, token=before["refresh_token"]).post(REFRESH)
    assert (401, ["authentication_wrong_credentials"]) == (refused.status, refused.codes)


# Rotation


@pytest.fixture(params=["ed25519", "rsa", "ed25519, public", "secret"])
def rotation(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> list[Settings]:
    """Return the settings before, during and after a rotation."""
    if request.param == "secret":
        old, new = "the-old-secret-of-the-tests-is-long-enough", "the-new-secret-of-the-tests-is-long-enough"
        steps: list[dict[str, Any]] = [
            {"jwt_secret": old},
            {"jwt_secret": new, "ledger_jwt_previous_secret": old},
            {"jwt_secret": new},
        ]
        return [with_changes(settings, **step) for step in steps]
    kind, *half = request.param.split(", ")
    first, second = [write_key_file(tmp_path / name, kind) for name in ("first", "second")]
    previous = first
    if half:  # the public half is enough to verify, so the old private key can be destroyed
        previous = tmp_path / "first.public"
        previous.write_bytes(public_pem(first))
    return [
        with_changes(settings, ledger_jwt_key_file=first),
        with_changes(settings, ledger_jwt_key_file=second, ledger_jwt_previous_key_file=previous),
        with_changes(settings, ledger_jwt_key_file=second),
    ]


async def restart(serve: Serve, api: Api, settings: Settings) -> Api:
    """Stop the service, and start it with other settings."""
    await api.client.close()
    return await serve(settings)


async def test_tokens_of_the_previous_key_stay_valid_and_refresh_to_the_new_key(
    serve: Serve, rotation: list[Settings]
) -> None:
    before, during, _ = rotation
    api = await serve(before)
    old = await log_in(api)

    api = await restart(serve, api, during)
    status = await status_of(api, old["access_token"])
    refreshed = await replace(api, token=old["refresh_token"]).post(REFRESH)
    new = refreshed.body

    assert (200, 200) == (status, refreshed.status)
    assert kid_of(old["access_token"]) == kid_of(old["refresh_token"])
    assert kid_of(new["access_token"]) == kid_of(new["refresh_token"]) == kid_of(str(api.token))
    assert kid_of(old["access_token"]) != kid_of(new["access_token"])
    assert (200, 401) == (
        await status_of(api, new["access_token"]),
        await status_of(api, old["access_token"]),  # rotated away, as by any refresh
    )


async def test_removing_the_previous_key_invalidates_its_tokens(serve: Serve, rotation: list[Settings]) -> None:
    before, during, after = rotation
    api = await serve(before)
    old = await log_in(api)
    api = await restart(serve, api, during)
    new = await log_in(api)

    api = await restart(serve, api, after)

    assert (401, 200) == (await status_of(api, old["access_token"]), await status_of(api, new["access_token"]))
    assert 401 == (await replace(api, token=old["refresh_token"]).post(REFRESH)).status
    assert 200 == (await replace(api, token=new["refresh_token"]).post(REFRESH)).status


@kinds
async def test_during_a_rotation_both_keys_are_published(
    serve: Serve, settings: Settings, tmp_path: Path, kind: str
) -> None:
    first, second = [write_key_file(tmp_path / name, kind) for name in ("first", "second")]
    api = await serve(with_changes(settings, ledger_jwt_key_file=first))
    old = await log_in(api)

    keys = {"ledger_jwt_key_file": second, "ledger_jwt_previous_key_file": first}
    api = await restart(serve, api, with_changes(settings, **keys))
    new = await log_in(api)

    listed = (await api.nobody.get(JWKS)).body["keys"]
    published = [entry["kid"] for entry in listed if entry["alg"] == ALGORITHMS[kind]]
    assert [kid_of(new["access_token"]), kid_of(old["access_token"])] == published
    assert {"admin"} == {(await verify_with_published_keys(api, pair["access_token"]))["roles"] for pair in (old, new)}
