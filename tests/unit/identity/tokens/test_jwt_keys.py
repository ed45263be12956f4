"""Keys are loaded, published and named according to the settings."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    load_pem_public_key,
)
from pydantic import SecretStr

from ledger.environment.variables import SettingsError
from ledger.identity.keyring import check_keys, load_keyring
from ledger.identity.keys import private_key, public_key
from ledger.identity.tokens import Signer, create_signer
from ledger.settings import Settings
from tests.support.tokens import (
    Keys,
    claims,
    decode_segment,
    forge_token,
    header_of,
    is_valid,
    payload,
    public_pem,
    secret_keys,
    without_private,
)


def test_a_secret_publishes_nothing() -> None:
    keys = secret_keys()

    assert {"keys": []} == Signer(keys.signing, leeway_seconds=0, previous=keys.following).jwks()


def test_both_accepted_keys_are_published_and_nothing_private_with_them(keys: Keys) -> None:
    published = Signer(keys.signing, leeway_seconds=0, previous=without_private(keys.following)).jwks()["keys"]

    kinds = {"HS256": set(), "EdDSA": {"crv", "x"}, "PS256": {"n", "e"}, "RS256": {"n", "e"}}
    accepted = [*keys.signing.accepted(), *keys.following.accepted()]
    expected = [key for key in accepted if key.public is not None]
    assert len({key.kid for key in accepted}) == len(accepted)
    assert [(key.kid, key.algorithm, "sig") for key in expected] == [
        (entry["kid"], entry["alg"], entry["use"]) for entry in published
    ]
    for entry in published:
        assert {"kty", "kid", "alg", "use"} | kinds[keys.signing.algorithm] == entry.keys()


def test_the_repr_of_a_key_shows_no_secret(keys: Keys) -> None:
    shown = repr(keys.signing)

    assert keys.signing.kid in shown
    assert "secret number" not in shown
    assert not any(word in shown for word in ("verifying", "signing"))


RFC_8037_PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
"""


RFC_7638_MODULUS = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3ok"
    "njhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu"
    "6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8a"
    "wapJzKnqDKgw"
)


def test_a_key_is_named_by_its_thumbprint(tmp_path: Path) -> None:
    """The examples of RFC 8037, appendix A.3, and RFC 7638, section 3.1."""
    modulus = int.from_bytes(decode_segment(RFC_7638_MODULUS), "big")
    (tmp_path / "ed25519.pem").write_text(RFC_8037_PEM)
    (tmp_path / "rsa.pem").write_bytes(public_pem(rsa.RSAPublicNumbers(65537, modulus).public_key()))

    names = [public_key(tmp_path / f"{kind}.pem", "RS256").kid for kind in ("ed25519", "rsa")]

    assert ["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"] == names


SECRET = "a-secret-of-the-tests-that-is-long-enough"


def load_settings(**variables: str) -> Settings:
    return Settings.load(**{name.lower(): value for name, value in ({"JWT_SECRET": SECRET} | variables).items()})


def signer_of(settings: Settings) -> Signer:
    return create_signer(settings, load_keyring(settings))


RSA_ALGORITHM = "LEDGER_JWT_RSA_ALGORITHM"
KEY, PREVIOUS, PREVIOUS_SECRET = "LEDGER_JWT_KEY_FILE", "LEDGER_JWT_PREVIOUS_KEY_FILE", "LEDGER_JWT_PREVIOUS_SECRET"


BAD_FILES = [
    *("no-such.pem", "folder.pem", "empty.pem", "garbage.pem", "cut.pem", "huge.pem", "locked.pem", "short.pem"),
    *("ed448.pem", "ec.pem", "ed25519.pem/hunter2", "x" * 300, "ed448.pub", "ec.pub", "short.pub", "a\x00b"),
]


@pytest.mark.parametrize(
    ("variable", "value", "others"),
    [
        *((KEY, name, {}) for name in [*BAD_FILES, "ed25519.pub", "rsa.pub", "older.pem"]),
        *((PREVIOUS, name, {KEY: "ed25519.pem"}) for name in [*BAD_FILES, "rsa.pem", "rsa.pub"]),
        (PREVIOUS, "ed25519.pub", {KEY: "rsa.pem"}),
        (PREVIOUS, "ed25519.pem", {}),
        (PREVIOUS_SECRET, "too-short-hunter2", {}),
        (PREVIOUS_SECRET, SECRET + "-before", {KEY: "ed25519.pem"}),
        (PREVIOUS_SECRET, SECRET + "-before", {KEY: "ed25519.pem", PREVIOUS: "other.pem"}),
        (PREVIOUS_SECRET, RFC_8037_PEM, {}),
        ("JWT_SECRET", RFC_8037_PEM, {}),
        ("JWT_SECRET", '{"kty":"oct","k":"aHVudGVyMmh1bnRlcjI"}', {}),
        ("JWT_SECRET", "too-short-hunter2", {KEY: "ed25519.pem"}),
        ("LEDGER_JWT_ISSUER", "two words", {}),
        ("LEDGER_JWT_ISSUER", "x" * 257, {}),
        ("LEDGER_JWT_ISSUER", "line\n", {}),
        ("LEDGER_JWT_AUDIENCE", "größe", {}),
    ],
)
def test_an_unusable_key_stops_the_start_with_one_line(
    folder: Path, variable: str, value: str, others: dict[str, str]
) -> None:
    """Lesson 31: the message names the variable, never its value."""
    with pytest.raises(SettingsError) as raised:
        check_keys(load_settings(**others, **{variable: value}))

    said = str(raised.value)
    assert said.startswith(f"{variable}: ")
    assert "\n" not in said
    assert not any(secret in said for secret in (value, str(folder), "hunter2", SECRET))


@pytest.mark.parametrize(
    ("variables", "algorithm", "published"),
    [
        ({}, "HS256", 0),
        ({PREVIOUS_SECRET: SECRET + "-before"}, "HS256", 0),
        ({KEY: "ed25519.pem"}, "EdDSA", 1),
        ({KEY: "ed25519.pem", PREVIOUS: "other.pem"}, "EdDSA", 2),
        ({KEY: "ed25519.pem", PREVIOUS: "other.pub"}, "EdDSA", 2),
        ({KEY: "rsa.pem"}, "PS256", 2),
        ({KEY: "rsa.pem", RSA_ALGORITHM: "RS256"}, "RS256", 2),
        ({KEY: "rsa.pem", PREVIOUS: "rsa.pub"}, "PS256", 2),
        ({KEY: "rsa.pem", PREVIOUS: "older.pub"}, "PS256", 4),
    ],
)
def test_the_settings_select_the_keys(folder: Path, variables: dict[str, str], algorithm: str, published: int) -> None:
    del folder
    signer = signer_of(load_settings(**variables))

    token = signer.sign(claims())

    assert is_valid(signer, token)
    assert (algorithm, published) == (jwt.get_unverified_header(token)["alg"], len(signer.jwks()["keys"]))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"JWT_SECRET": SECRET + "-after", PREVIOUS_SECRET: SECRET}),
        ({KEY: "ed25519.pem"}, {KEY: "other.pem", PREVIOUS: "ed25519.pub"}),
        ({KEY: "ed25519.pem"}, {KEY: "other.pem", PREVIOUS: "ed25519.pem"}),
    ],
)
def test_the_settings_rotate_keys(folder: Path, before: dict[str, str], after: dict[str, str]) -> None:
    del folder
    token = signer_of(load_settings(**before)).sign(claims())
    only_new = {name: value for name, value in after.items() if "PREVIOUS" not in name}

    assert is_valid(signer_of(load_settings(**after)), token)
    assert not is_valid(signer_of(load_settings(**only_new)), token)


def test_an_rsa_key_accepts_the_tokens_of_both_algorithms(folder: Path) -> None:
    """An upgrade ends no session, nor does a change of the setting."""
    del folder
    signers = [signer_of(load_settings(**{KEY: "rsa.pem", RSA_ALGORITHM: name})) for name in ("PS256", "RS256")]

    for signer in signers:
        assert all(is_valid(other, signer.sign(claims())) for other in signers)


def test_the_algorithm_of_an_rsa_token_cannot_be_renamed(folder: Path) -> None:
    key = private_key(folder / "rsa.pem")
    signer = Signer(key, leeway_seconds=0)

    for one, other in (key.accepted(), reversed(key.accepted())):
        signing = replace(one, signing=key.signing)
        assert is_valid(signer, forge_token(signing))
        for header in (
            header_of(other),
            header_of(one) | {"alg": other.algorithm},
            header_of(one) | {"kid": other.kid},
        ):
            assert not is_valid(signer, forge_token(signing, header=header))


def test_a_small_rsa_key_signs_nothing_and_still_verifies_the_tokens_that_it_signed(folder: Path) -> None:
    older = (folder / "older.pem").read_bytes()
    token = jwt.encode(payload(), older, "RS256", headers={"kid": public_key(folder / "older.pem", "RS256").kid})
    replaced = load_settings(**{KEY: "rsa.pem", PREVIOUS: "older.pub"})

    assert is_valid(signer_of(replaced), token)
    with pytest.raises(SettingsError) as raised:
        check_keys(load_settings(**{KEY: "older.pem"}))
    said = "LEDGER_JWT_KEY_FILE: must be an Ed25519 key, or an RSA key of 3072 to 8192 bits"
    assert said == str(raised.value)


def test_what_is_derived_from_an_rsa_key_is_the_same_with_both_algorithms(folder: Path) -> None:
    """So cursors and repeated requests survive the upgrade, and are the same in each process."""
    label = b"ledger: a label"
    derived = {private_key(folder / "rsa.pem", name).derive(label) for name in ("PS256", "RS256") for _ in range(2)}
    signed = private_key(folder / "rsa.pem", "RS256").sign(label)

    assert {hashlib.sha256(signed).digest()} == derived


def test_with_a_key_file_the_secret_signs_nothing(folder: Path) -> None:
    del folder
    with_file, with_secret = load_settings(**{KEY: "ed25519.pem"}), load_settings()

    assert not is_valid(signer_of(with_file), signer_of(with_secret).sign(claims()))
    assert not is_valid(signer_of(with_secret), signer_of(with_file).sign(claims()))


def test_the_settings_name_issuer_audience_and_leeway(folder: Path) -> None:
    del folder
    named = signer_of(
        load_settings(LEDGER_JWT_ISSUER="me", LEDGER_JWT_AUDIENCE="you", JWT_VALIDATION_LEEWAY_SECONDS="5")
    )
    now = int(time.time())

    assert is_valid(named, named.sign(claims()))
    assert not is_valid(named, named.sign(claims(iat=now - 60, exp=now - 10)))
    assert not is_valid(named, signer_of(load_settings()).sign(claims()))


def test_without_any_key_there_is_no_signer(folder: Path) -> None:
    del folder
    with pytest.raises(SettingsError, match=r"^JWT_SECRET: must be set"):
        signer_of(Settings.load())


def test_a_key_file_removed_since_is_reported_in_one_line(folder: Path) -> None:
    settings = load_settings(**{KEY: "ed25519.pem"})
    (folder / "ed25519.pem").unlink()

    with pytest.raises(SettingsError, match=r"^LEDGER_JWT_KEY_FILE: must be the name of a file that is there$"):
        signer_of(settings)


def test_a_child_process_gets_the_key_settings(folder: Path) -> None:
    del folder
    given_settings = load_settings(**{KEY: "rsa.pem", PREVIOUS: "rsa.pub", "LEDGER_JWT_ISSUER": "me"})

    passed_on = given_settings.environment()

    assert ("rsa.pem", "rsa.pub", "me") == (passed_on[KEY], passed_on[PREVIOUS], passed_on["LEDGER_JWT_ISSUER"])
    assert isinstance(given_settings.jwt_secret, SecretStr)
    assert load_pem_public_key(Path(passed_on[PREVIOUS]).read_bytes()) is not None
