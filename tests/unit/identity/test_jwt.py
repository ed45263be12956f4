"""What a token must be, for each kind of key; and which keys the service starts with."""

import base64
import hashlib
import hmac
import json
import string
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import ledger.identity.tokens
from ledger.environment.variables import SettingsError
from ledger.identity.keyring import check_keys, load_keyring
from ledger.identity.keys import Key, private_key, public_key, secret_key
from ledger.identity.tokens import MAX_TOKEN_LENGTH, Claims, InvalidTokenError, Signer, TokenType, create_signer
from ledger.settings import Settings

SigningKey = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

LEEWAY = 60
LATER = 4_102_444_800  # 1 January 2100
LAST_SECOND = 253_402_300_799
REQUIRED = ["sub", "jti", "iat", "exp", "typ", "roles", "sid", "pos"]
USER = "0190b2c3-d4e5-7f60-8a1b-2c3d4e5f6071"
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


class Keys:
    """Three keys of one kind; what a forger may know of the first one is `public`."""

    def __init__(self, *keys: Key, public: list[bytes]) -> None:
        self.signing, self.following, self.foreign = keys
        self.public = public


def pem(key: PrivateKeyTypes, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def of_secrets() -> Keys:
    return Keys(*(secret_key(f"secret number {number} which is long enough") for number in range(3)), public=[])


def of_files(folder: Path, make: Callable[[], SigningKey]) -> Keys:
    made = [make() for _ in range(3)]
    for number, key in enumerate(made):
        (folder / f"{number}.pem").write_bytes(pem(key))
    keys = [private_key(folder / f"{number}.pem") for number in range(3)]
    public = made[0].public_key()
    assert keys[0].public is not None
    return Keys(
        *keys,
        public=[
            public_pem(public),
            public_pem(public).strip(),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(keys[0].public).encode(),
            json.dumps({"keys": [keys[0].public]}).encode(),
            *(member.encode() for member in keys[0].public.values()),
            *(decoded(keys[0].public[member]) for member in ("x", "n") if member in keys[0].public),
        ],
    )


def an_rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@pytest.fixture(scope="module", params=["HS256", "EdDSA", "RS256"])
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys of each kind."""
    makers: dict[str, Callable[[], SigningKey]] = {"EdDSA": ed25519.Ed25519PrivateKey.generate, "RS256": an_rsa_key}
    maker = makers.get(request.param)
    return of_files(tmp_path_factory.mktemp("keys"), maker) if maker else of_secrets()


@pytest.fixture(scope="module")
def signer(keys: Keys) -> Signer:
    """The service's signer, which has a previous key as well."""
    return Signer(keys.signing, leeway_seconds=LEEWAY, previous=without_private(keys.following))


def without_private(key: Key) -> Key:
    return replace(key, signing=None)


def claims(**changes: Any) -> Claims:
    now = int(time.time())
    given_claims: dict[str, Any] = {
        "sub": USER,
        "jti": "0190b2c3-d4e5-7f60-8a1b-000000000001",
        "iat": now,
        "exp": now + 3600,
        "typ": TokenType.ACCESS,
        "roles": "auditor,customer",
        "sid": "0190b2c3-d4e5-7f60-8a1b-000000000002",
        "pos": 7,
    }
    return Claims(**(given_claims | changes))


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(segment: str) -> bytes:
    """As lenient as most libraries."""
    return base64.urlsafe_b64decode(segment + "==")


def header_of(key: Key) -> dict[str, Any]:
    return {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}


def signed(key: Key, text: str) -> str:
    """A token with this header and payload, whatever they are, and a right signature."""
    return f"{text}.{encoded(key.sign(text.encode()))}"


def forged(key: Key, payload: Any = None, header: Any = None) -> str:
    if payload is None:
        payload = json.loads(decoded(Signer(key, leeway_seconds=0).sign(claims()).split(".")[1]))
    return signed(key, f"{encoded(header_of(key) if header is None else header)}.{encoded(payload)}")


def payload_with(**changes: str) -> bytes:
    """A payload as JSON text, some of whose members are not what they should be: "" is none at all."""
    usual = {name: json.dumps(value) for name, value in payload().items()}
    members = [f'"{name}":{text}' for name, text in (usual | changes).items() if text]
    return f"{{{','.join(members)}}}".encode()


def payload() -> dict[str, Any]:
    return {name: getattr(claims(), name) for name in REQUIRED} | {"typ": 0}


def is_valid(signer: Signer, token: str, kind: TokenType = TokenType.ACCESS) -> bool:
    try:
        signer.verify(token, kind)
    except InvalidTokenError:
        return False
    return True


# What comes back


@pytest.mark.parametrize("kind", TokenType)
def test_what_was_signed_is_verified(keys: Keys, signer: Signer, kind: TokenType) -> None:
    said = claims(typ=kind, prf="0190b2c3-d4e5-7f60-8a1b-000000000003", pex=LATER)

    verified = signer.verify(signer.sign(said), kind)

    assert said == verified.claims
    assert (said.sub, said.jti, said.sid) == (str(verified.user_id), str(verified.jti), str(verified.session_id))
    assert frozenset({"auditor", "customer"}) == verified.roles
    assert keys.signing.kid == jwt.get_unverified_header(signer.sign(said))["kid"]


def test_the_same_claims_give_the_same_token(keys: Keys) -> None:
    said = claims()
    tokens = {Signer(keys.signing, leeway_seconds=0).sign(said) for _ in range(3)}

    assert 1 == len(tokens)


def test_the_header_has_the_algorithm_the_key_and_the_type_and_nothing_else(keys: Keys, signer: Signer) -> None:
    assert header_of(keys.signing) == json.loads(decoded(signer.sign(claims()).split(".")[0]))


def test_a_forged_token_passes_when_nothing_is_wrong_with_it(keys: Keys, signer: Signer) -> None:
    """Without this, the refusals below would mean nothing."""
    assert is_valid(signer, forged(keys.signing))
    assert is_valid(signer, forged(keys.signing, payload_with()))


def test_others_verify_with_the_published_key(tmp_path: Path) -> None:
    for make in (ed25519.Ed25519PrivateKey.generate, an_rsa_key):
        (tmp_path / "key.pem").write_bytes(pem(make()))
        key = private_key(tmp_path / "key.pem")
        signer = Signer(key, leeway_seconds=0, issuer="https://ledger.example", audience="books")
        [published] = jwt.PyJWKSet.from_dict(signer.jwks()).keys

        said = jwt.decode(
            signer.sign(claims()),
            published,
            algorithms=[key.algorithm],
            issuer="https://ledger.example",
            audience="books",
        )

        assert (USER, published.key_id) == (said["sub"], key.kid)


def test_a_library_makes_the_same_token_from_the_shared_secret() -> None:
    secret = "a secret that is shared and long enough"
    signer = Signer(secret, leeway_seconds=LEEWAY)

    token = jwt.encode(payload(), secret, algorithm="HS256", headers={"kid": secret_key(secret).kid})

    assert is_valid(signer, token)
    assert payload() == jwt.decode(token, secret, algorithms=["HS256"])


# Which key


def test_after_a_rotation_the_tokens_of_both_keys_are_accepted(keys: Keys) -> None:
    before = Signer(keys.signing, leeway_seconds=LEEWAY)
    rotated = Signer(keys.following, leeway_seconds=LEEWAY, previous=without_private(keys.signing))

    assert is_valid(rotated, before.sign(claims()))
    assert is_valid(rotated, rotated.sign(claims()))
    assert keys.following.kid == jwt.get_unverified_header(rotated.sign(claims()))["kid"]


def test_a_key_that_is_gone_is_not_accepted_any_more(keys: Keys) -> None:
    token = Signer(keys.signing, leeway_seconds=LEEWAY).sign(claims())

    assert not is_valid(Signer(keys.following, leeway_seconds=LEEWAY), token)
    assert not is_valid(Signer(keys.following, leeway_seconds=LEEWAY, previous=keys.foreign), token)


def test_a_key_that_is_named_twice_is_one_key(keys: Keys) -> None:
    signer = Signer(keys.signing, leeway_seconds=LEEWAY, previous=without_private(keys.signing))

    assert is_valid(signer, signer.sign(claims()))
    assert len(signer.jwks()["keys"]) == (0 if keys.signing.public is None else 1)


def test_a_signature_counts_for_the_key_that_is_named_only(keys: Keys, signer: Signer) -> None:
    for named, used in ((keys.signing, keys.following), (keys.following, keys.signing), (keys.signing, keys.foreign)):
        assert not is_valid(signer, forged(used, header=header_of(named)))


@pytest.mark.parametrize(
    "kid",
    [
        *("", "unknown", "../../dev/null", "/dev/null", "file:///dev/null", "https://evil.example/key", "' OR '1'='1"),
        *("' UNION SELECT 'secret' --", "|| true", "\x00", 0, 1, -1, 1.5, True, None, [], {}),
    ],
)
def test_a_kid_is_one_of_ours_or_nothing(keys: Keys, signer: Signer, kid: Any) -> None:
    """Lesson 29: it is no path, address or query, and is not used as one."""
    assert not is_valid(signer, forged(keys.signing, header=header_of(keys.signing) | {"kid": kid}))


def test_a_kid_is_not_nearly_one_of_ours(keys: Keys, signer: Signer) -> None:
    kid = keys.signing.kid
    for near in (kid.swapcase(), kid + "=", kid[:-1], f" {kid}", f"{kid}\n", f"{kid}\x00", [kid], {"kid": kid}):
        assert not is_valid(signer, forged(keys.signing, header=header_of(keys.signing) | {"kid": near}))


def test_a_token_without_a_kid_is_refused(keys: Keys, signer: Signer) -> None:
    assert not is_valid(signer, forged(keys.signing, header={"alg": keys.signing.algorithm, "typ": "JWT"}))


def test_the_kid_of_a_secret_says_nothing_about_it() -> None:
    secret = "a secret that is shared and long enough"
    digest = hashlib.sha256(secret.encode()).digest()

    kid = secret_key(secret).kid

    assert (16, kid) == (len(kid), secret_key(secret).kid)
    assert not digest.startswith(decoded(kid))
    assert kid != secret_key(secret + "!").kid


# Which algorithm


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE", " none", "none\x00", "", None, 0, False, [], {}])
def test_no_algorithm_is_none(keys: Keys, signer: Signer, spelling: Any) -> None:
    """Lesson 29."""
    part = encoded(payload())
    for header in (header_of(keys.signing) | {"alg": spelling}, {"alg": spelling, "typ": "JWT"}, {"alg": spelling}):
        text = f"{encoded(header)}.{part}"
        for token in (f"{text}.", text, f"{text}.{encoded(b'none')}", signed(keys.signing, text)):
            assert not is_valid(signer, token)


def test_a_token_without_a_signature_is_refused(keys: Keys, signer: Signer) -> None:
    header, part, _ = forged(keys.signing).split(".")
    for token in (f"{header}.{part}.", f"{header}.{part}", f"{header}..", "..", ".", ""):
        assert not is_valid(signer, token)


@pytest.mark.parametrize(
    "algorithm", ["HS256", "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES256K", "EdDSA", "Ed25519", "hs256"]
)
def test_the_algorithm_is_the_one_of_the_key(keys: Keys, signer: Signer, algorithm: str) -> None:
    """Lesson 29."""
    renamed = header_of(keys.signing) | {"alg": algorithm}

    assert is_valid(signer, forged(keys.signing, header=renamed)) is (algorithm == keys.signing.algorithm)


@pytest.mark.parametrize(("algorithm", "digest"), [("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")])
def test_what_is_public_is_no_secret(keys: Keys, signer: Signer, algorithm: str, digest: str) -> None:
    """Lesson 29: the public key must not be taken for the secret of a shared one."""
    for secret in (*keys.public, keys.signing.kid.encode(), b""):
        for header in (header_of(keys.signing) | {"alg": algorithm}, header_of(keys.signing)):
            text = f"{encoded(header)}.{encoded(payload())}"
            assert not is_valid(signer, f"{text}.{encoded(hmac.digest(secret, text.encode(), digest))}")


@pytest.mark.parametrize("member", ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "cty", "enc"])
def test_a_header_brings_no_key_and_asks_for_nothing(keys: Keys, signer: Signer, member: str) -> None:
    """Lesson 29: a forger's key in the token, or where the token says, is not looked at."""
    values: list[Any] = [
        keys.foreign.public,
        "https://evil.example/jwks.json",
        ["exp"],
        [],
        False,
        None,
    ]
    for value in values:
        for key in (keys.signing, keys.foreign):
            assert not is_valid(signer, forged(key, header=header_of(key) | {member: value}))
            assert not is_valid(signer, forged(key, header=header_of(keys.signing) | {member: value}))


def test_a_header_has_no_member_twice(keys: Keys, signer: Signer) -> None:
    key = keys.signing
    usual = json.dumps(header_of(key), separators=(",", ":"))
    for second in (f'"alg":"{key.algorithm}"', '"alg":"none"', f'"kid":"{key.kid}"', '"kid":"another"', '"typ":"JWT"'):
        for text in (f"{usual[:-1]},{second}}}", f"{{{second},{usual[1:]}"):
            assert not is_valid(signer, forged(key, header=text.encode()))


@pytest.mark.parametrize("header", [b"", b"null", b"[]", b"{}", b'"JWT"', b"[" * 2900, b"\xff", b'{"alg":'])
def test_a_header_that_is_none_is_refused(keys: Keys, signer: Signer, header: bytes) -> None:
    assert not is_valid(signer, forged(keys.signing, header=header))


# Which claims


@pytest.mark.parametrize("name", REQUIRED)
def test_every_claim_is_required(keys: Keys, signer: Signer, name: str) -> None:
    """Lesson 29: above all, without `exp` a token would never end."""
    for missing in ("", "null"):
        assert not is_valid(signer, forged(keys.signing, payload_with(**{name: missing})))


@pytest.mark.parametrize("name", ["exp", "iat", "pex", "pos", "typ"])
@pytest.mark.parametrize(
    "value",
    [
        *(
            f"{LATER}.0",
            f"{LATER}.5",
            "0.0",
            "1e0",
            "4e9",
            f'"{LATER}"',
            '"0"',
            "true",
            "false",
            "[]",
            "{}",
            f"[{LATER}]",
        ),
        *("-1", "-0", "-0.0", "1e400", "NaN", "Infinity", "-Infinity", str(2**63), str(2**64), "9" * 300, "00", "+1"),
        *("0x10", '""', '"now"'),
    ],
)
def test_a_number_is_a_whole_number_that_makes_sense(keys: Keys, signer: Signer, name: str, value: str) -> None:
    """Lesson 29."""
    assert not is_valid(signer, forged(keys.signing, payload_with(**{name: value})))


@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_an_expiry_is_nothing_but_a_number(keys: Keys, signer: Signer, value: Any) -> None:
    """Lesson 29."""
    assert not is_valid(signer, forged(keys.signing, payload_with(exp=json.dumps(value))))


@pytest.mark.parametrize(
    ("exp", "valid"), [(LAST_SECOND, True), (LAST_SECOND + 1, False), (0, False), (1, False), (2**53, False)]
)
def test_a_time_is_before_the_year_10000(keys: Keys, signer: Signer, exp: int, valid: bool) -> None:
    assert valid is is_valid(signer, forged(keys.signing, payload_with(exp=str(exp))))


def test_a_token_ends_after_it_was_issued(keys: Keys, signer: Signer) -> None:
    now = int(time.time())
    for lifetime, valid in ((1, True), (0, False), (-1, False)):
        changed = payload_with(iat=str(now), exp=str(now + lifetime))
        assert valid is is_valid(signer, forged(keys.signing, changed))


@pytest.mark.parametrize("name", ["sub", "jti", "sid", "prf"])
@pytest.mark.parametrize(
    "value",
    [
        *(USER.upper(), USER.capitalize().replace("c", "C"), USER.replace("-", ""), f"{{{USER}}}", f"urn:uuid:{USER}"),
        *(f" {USER}", f"{USER}\n", USER[:-1], f"{USER}0", "admin", "", "\u0660" + USER[1:], 7, True, [USER], {}),
    ],
)
def test_an_id_has_one_spelling(keys: Keys, signer: Signer, name: str, value: Any) -> None:
    assert not is_valid(signer, forged(keys.signing, payload() | {name: value}))


@pytest.mark.parametrize("value", [["admin"], {"admin": True}, 1, True, None, 1.5])
def test_roles_are_text(keys: Keys, signer: Signer, value: Any) -> None:
    assert not is_valid(signer, forged(keys.signing, payload() | {"roles": value}))


@pytest.mark.parametrize("value", [2, -1, "0", "access", "ACCESS", False, 0.0])
def test_the_type_is_access_or_refresh(keys: Keys, signer: Signer, value: Any) -> None:
    token = forged(keys.signing, payload() | {"typ": value})

    assert [False, False] == [is_valid(signer, token, kind) for kind in TokenType]


@pytest.mark.parametrize("name", ["admin", "nbf", "iss", "aud", "SUB", "exp ", "", "__class__", "crit"])
def test_an_unknown_claim_is_refused(keys: Keys, signer: Signer, name: str) -> None:
    values: tuple[Any, ...] = (1, "x", True, None, {})
    for value in values:
        assert not is_valid(signer, forged(keys.signing, payload() | {name: value}))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_payload_has_no_member_twice(keys: Keys, signer: Signer, name: str) -> None:
    """Lesson 29: which one counts would depend on the reader."""
    usual = payload_with().decode()
    again = f'"{name}":{json.dumps(payload()[name])}'
    escaped = f'"\\u{ord(name[0]):04x}{name[1:]}":{json.dumps(payload()[name])}'
    for second in (again, escaped):
        for text in (f"{usual[:-1]},{second}}}", f"{{{second},{usual[1:]}"):
            assert not is_valid(signer, forged(keys.signing, text.encode()))


def test_a_payload_is_one_flat_object_in_one_spelling(keys: Keys, signer: Signer) -> None:
    usual = payload_with().decode()
    strange = [
        *(
            f" {usual}",
            f"{usual}\n",
            usual.replace(":", ": "),
            usual.replace(",", ", "),
            usual[:-1] + ",}",
            usual + usual,
        ),
        *(f"[{usual}]", f'{{"claims":{usual}}}', "null", "[]", "{}", '"text"', "[" * 2000, '{"a":' * 500, ""),
        *(f"\ufeff{usual}", usual.replace("auditor", "\\u0061uditor"), usual.replace('"', "'")),
    ]
    for text in strange:
        assert not is_valid(signer, forged(keys.signing, text.encode()))
    for raw in (
        usual.encode("utf-16"),
        usual.encode("utf-32"),
        usual.encode().replace(b"auditor", b"\xff\xfe\xed\xa0\x80"),
    ):
        assert not is_valid(signer, forged(keys.signing, raw))


def test_a_token_in_a_token_is_refused(keys: Keys, signer: Signer) -> None:
    assert not is_valid(signer, forged(keys.signing, forged(keys.signing).encode()))


# Issuer and audience


def test_tokens_name_the_issuer_and_the_audience_that_are_configured(keys: Keys) -> None:
    signer = Signer(keys.signing, leeway_seconds=LEEWAY, issuer="https://ledger.example", audience="books")
    token = signer.sign(claims())

    said = json.loads(decoded(token.split(".")[1]))

    assert ("https://ledger.example", "books") == (said["iss"], said["aud"])
    assert is_valid(signer, token)


@pytest.mark.parametrize(
    "changes",
    [
        *({"iss": None}, {"iss": "https://ledger.example/"}, {"iss": "HTTPS://ledger.example"}, {"iss": ""}),
        *({"iss": ["https://ledger.example"]}, {"iss": 1}, {"aud": None}, {"aud": "Books"}, {"aud": "books "}),
        *({"aud": ["books"]}, {"aud": ["books", "others"]}, {"aud": {"books": 1}}, {"aud": True}),
        {"iss": "books", "aud": "https://ledger.example"},
    ],
)
def test_the_issuer_and_the_audience_are_exactly_these(keys: Keys, changes: dict[str, Any]) -> None:
    signer = Signer(keys.signing, leeway_seconds=LEEWAY, issuer="https://ledger.example", audience="books")
    named = payload() | {"iss": "https://ledger.example", "aud": "books"}
    changed = {name: value for name, value in (named | changes).items() if value is not None}

    assert is_valid(signer, forged(keys.signing, named))
    assert not is_valid(signer, forged(keys.signing, changed))


def test_tokens_of_before_there_was_an_issuer_are_refused(keys: Keys) -> None:
    token = Signer(keys.signing, leeway_seconds=LEEWAY).sign(claims())

    assert not is_valid(Signer(keys.signing, leeway_seconds=LEEWAY, issuer="a"), token)
    assert not is_valid(Signer(keys.signing, leeway_seconds=LEEWAY, audience="a"), token)


# The kind of token, and time


def test_a_token_passes_as_what_it_is_only(signer: Signer) -> None:
    """Lesson 21: also when it has been verified before."""
    for kind, other in ((TokenType.ACCESS, TokenType.REFRESH), (TokenType.REFRESH, TokenType.ACCESS)):
        token = signer.sign(claims(typ=kind))

        assert [False, True, False, True] == [is_valid(signer, token, asked) for asked in (other, kind, other, kind)]


@pytest.mark.parametrize(
    ("seconds_ago", "valid"), [(0, True), (LEEWAY - 5, True), (LEEWAY, False), (LEEWAY + 1, False)]
)
def test_an_expired_token_passes_within_the_leeway_only(signer: Signer, seconds_ago: int, valid: bool) -> None:
    now = int(time.time())

    assert valid is is_valid(signer, signer.sign(claims(iat=now - 3600, exp=now - seconds_ago)))


@pytest.mark.parametrize(("seconds_ahead", "valid"), [(LEEWAY - 5, True), (LEEWAY + 5, False), (10**9, False)])
def test_a_token_of_the_future_passes_within_the_leeway_only(signer: Signer, seconds_ahead: int, valid: bool) -> None:
    now = int(time.time())

    assert valid is is_valid(signer, signer.sign(claims(iat=now + seconds_ahead, exp=now + 2 * 10**9)))


def test_a_token_that_is_remembered_ends_all_the_same(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signer.sign(claims())
    assert is_valid(signer, token)
    end = claims().exp + LEEWAY

    for passed, valid in ((-5, True), (0, False), (5, False)):
        monkeypatch.setattr(ledger.identity.tokens, "time", SimpleNamespace(time=lambda passed=passed: end + passed))
        assert valid is is_valid(signer, token)


def test_no_more_tokens_are_remembered_than_there_is_room_for(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer(keys.signing, leeway_seconds=LEEWAY, cache_size=2)
    tokens = [signer.sign(claims(pos=position)) for position in range(3)]
    checked: list[bytes] = []
    verifies = Key.verifies

    def counted(key: Key, message: bytes, signature: bytes) -> bool:
        checked.append(message)
        return verifies(key, message, signature)

    monkeypatch.setattr(Key, "verifies", counted)

    seen = [(is_valid(signer, tokens[number]), len(checked)) for number in (0, 0, 1, 0, 2, 1, 2, 0)]

    assert [(True, 1), (True, 1), (True, 2), (True, 2), (True, 3), (True, 3), (True, 3), (True, 4)] == seen


# One token, one text


@given(data=st.data())
def test_a_token_with_one_other_character_is_no_token(signer: Signer, data: st.DataObject) -> None:
    """Lesson 28: what is known by its text must not have a second one."""
    token = signer.sign(claims(iat=1_500_000_000, exp=LATER))
    assert is_valid(signer, token)
    at = data.draw(st.integers(0, len(token)))
    character = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_=.+/ \n") | st.characters())
    width = data.draw(st.sampled_from([0, 1]))
    changed = token[:at] + data.draw(st.sampled_from(["", character])) + token[at + width :]

    assert (changed == token) is is_valid(signer, changed)


@given(text=st.text() | st.lists(st.text(string.ascii_letters + "-_"), min_size=3, max_size=3).map(".".join))
def test_no_text_is_a_token_by_chance(signer: Signer, text: str) -> None:
    assert not is_valid(signer, text)


def spellings(segment: str) -> list[str]:
    """Other texts that lenient decoders take for the same bytes."""
    alphabet = string.ascii_letters + string.digits + "-_"
    spare = [
        segment[:-1] + character for character in alphabet if decoded(segment[:-1] + character) == decoded(segment)
    ]
    padded = [f"{segment}{padding}" for padding in ("=", "==", "===")]
    blank = [
        segment[:at] + blank + segment[at:] for at in (0, 9, len(segment)) for blank in (" ", "\n", "\r\n", "\t", "!")
    ]
    standard = [segment.replace("-", "+").replace("_", "/")]
    return [other for other in [*spare, *padded, *blank, *standard] if other != segment]


def test_every_part_of_a_token_has_one_spelling(keys: Keys, signer: Signer) -> None:
    """Lesson 28: the unused bits of the last character, padding, blanks, and the other alphabet."""
    for position in (7, 77, 777, 7777):
        header, part, signature = forged(keys.signing, payload_with(pos=str(position))).split(".")
        assert is_valid(signer, f"{header}.{part}.{signature}")
        assert any(other[:-1] == signature[:-1] for other in spellings(signature))
        for other in spellings(signature):
            assert not is_valid(signer, f"{header}.{part}.{other}")
        for other in spellings(header):
            assert not is_valid(signer, f"{other}.{part}.{signature}")
            assert not is_valid(signer, signed(keys.signing, f"{other}.{part}"))
        for other in spellings(part):
            assert not is_valid(signer, f"{header}.{other}.{signature}")
            assert not is_valid(signer, signed(keys.signing, f"{header}.{other}"))


def other_signatures(key: Key, signature: bytes) -> list[bytes]:
    """What an implementation that does not look closely takes for the same signature."""
    number = int.from_bytes(signature, "big")
    others = [signature + b"\x00", b"\x00" + signature, signature[:-1], signature[1:], signature + signature, b""]
    if key.algorithm == "RS256":
        modulus = key.verifying.public_numbers().n
        size = (key.verifying.key_size + 7) // 8
        others += [(number + modulus).to_bytes(size + 1, "big"), (modulus - number).to_bytes(size, "big")]
        others += [(number + modulus).to_bytes(size, "big")] if (number + modulus).bit_length() <= 8 * size else []
        others += [signature.lstrip(b"\x00")] if signature.startswith(b"\x00") else []
    if key.algorithm == "EdDSA":
        half, scalar = signature[:32], int.from_bytes(signature[32:], "little")
        for times in range(1, 16):
            if (scalar + times * ED25519_ORDER).bit_length() <= 256:
                others.append(half + (scalar + times * ED25519_ORDER).to_bytes(32, "little"))
        others += [
            half + (ED25519_ORDER - scalar).to_bytes(32, "little"),
            bytes([*half[:31], half[31] ^ 0x80]) + signature[32:],
        ]
        others += [b"\x01" + bytes(63), bytes(64)]
    return others


def test_a_message_has_one_signature(keys: Keys, signer: Signer) -> None:
    """Lesson 28: adding the modulus or the order of the group, and leading zeros."""
    for position in range(20):
        header, part, signature = forged(keys.signing, payload_with(pos=str(position))).split(".")
        for other in other_signatures(keys.signing, decoded(signature)):
            assert not is_valid(signer, f"{header}.{part}.{encoded(other)}")


@pytest.mark.parametrize(
    "text", ["\udcff\udcfe", "é.ü.ö", "a" * 5000, "." * 5000, "a.b.c.d", "\x00", "Bearer a.b.c", "🎟.🎟.🎟"]
)
def test_what_is_no_token_is_refused(signer: Signer, text: str) -> None:
    assert not is_valid(signer, text)


def test_a_token_has_a_limited_length(keys: Keys, signer: Signer) -> None:
    token = forged(keys.signing, payload() | {"roles": "r" * MAX_TOKEN_LENGTH})

    assert len(token) > MAX_TOKEN_LENGTH
    assert not is_valid(signer, token)


# What others may know


def test_a_secret_publishes_nothing() -> None:
    keys = of_secrets()

    assert {"keys": []} == Signer(keys.signing, leeway_seconds=0, previous=keys.following).jwks()


def test_both_accepted_keys_are_published_and_nothing_private_with_them(keys: Keys) -> None:
    published = Signer(keys.signing, leeway_seconds=0, previous=without_private(keys.following)).jwks()["keys"]

    kinds = {"HS256": set(), "EdDSA": {"crv", "x"}, "RS256": {"n", "e"}}
    expected = [key for key in (keys.signing, keys.following) if key.public is not None]
    assert [(key.kid, key.algorithm, "sig") for key in expected] == [
        (entry["kid"], entry["alg"], entry["use"]) for entry in published
    ]
    for entry in published:
        assert {"kty", "kid", "alg", "use"} | kinds[keys.signing.algorithm] == entry.keys()


def test_a_key_does_not_show_itself(keys: Keys) -> None:
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
    modulus = int.from_bytes(decoded(RFC_7638_MODULUS), "big")
    (tmp_path / "ed25519.pem").write_text(RFC_8037_PEM)
    (tmp_path / "rsa.pem").write_bytes(public_pem(rsa.RSAPublicNumbers(65537, modulus).public_key()))

    names = [public_key(tmp_path / f"{kind}.pem").kid for kind in ("ed25519", "rsa")]

    assert ["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"] == names


# Which keys the service starts with

SECRET = "a-secret-of-the-tests-that-is-long-enough"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with key files of all sorts, good and bad, and an environment without settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    made: dict[str, PrivateKeyTypes] = {
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "other": ed25519.Ed25519PrivateKey.generate(),
    }
    made |= {"ed448": ed448.Ed448PrivateKey.generate(), "ec": ec.generate_private_key(ec.SECP256R1())}
    made |= {"rsa": an_rsa_key(), "short": an_rsa_key(1024)}
    for name, key in made.items():
        (tmp_path / f"{name}.pem").write_bytes(pem(key))
        (tmp_path / f"{name}.pub").write_bytes(public_pem(key.public_key()))
    (tmp_path / "locked.pem").write_bytes(pem(made["ed25519"], b"hunter2"))
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "garbage.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    (tmp_path / "cut.pem").write_bytes(pem(made["rsa"])[:-200])
    (tmp_path / "huge.pem").write_bytes(b"\x00" * 200_000 + pem(made["ed25519"]))
    (tmp_path / "folder.pem").mkdir()
    return tmp_path


def loaded(**variables: str) -> Settings:
    return Settings.load(**{name.lower(): value for name, value in ({"JWT_SECRET": SECRET} | variables).items()})


def signer_of(settings: Settings) -> Signer:
    return create_signer(settings, load_keyring(settings))


KEY, PREVIOUS, PREVIOUS_SECRET = "LEDGER_JWT_KEY_FILE", "LEDGER_JWT_PREVIOUS_KEY_FILE", "LEDGER_JWT_PREVIOUS_SECRET"
BAD_FILES = [
    *("no-such.pem", "folder.pem", "empty.pem", "garbage.pem", "cut.pem", "huge.pem", "locked.pem", "short.pem"),
    *("ed448.pem", "ec.pem", "ed25519.pem/hunter2", "x" * 300, "ed448.pub", "ec.pub", "short.pub", "a\x00b"),
]


@pytest.mark.parametrize(
    ("variable", "value", "others"),
    [
        *((KEY, name, {}) for name in [*BAD_FILES, "ed25519.pub", "rsa.pub"]),
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
def test_a_key_that_cannot_be_used_stops_the_start_with_one_line(
    folder: Path, variable: str, value: str, others: dict[str, str]
) -> None:
    """Lesson 31: the line names the variable and never its value."""
    with pytest.raises(SettingsError) as raised:
        check_keys(loaded(**others, **{variable: value}))

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
        ({KEY: "rsa.pem"}, "RS256", 1),
        ({KEY: "rsa.pem", PREVIOUS: "rsa.pub"}, "RS256", 1),
    ],
)
def test_the_settings_say_which_keys_are_used(
    folder: Path, variables: dict[str, str], algorithm: str, published: int
) -> None:
    del folder
    signer = signer_of(loaded(**variables))

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
    token = signer_of(loaded(**before)).sign(claims())
    only_new = {name: value for name, value in after.items() if "PREVIOUS" not in name}

    assert is_valid(signer_of(loaded(**after)), token)
    assert not is_valid(signer_of(loaded(**only_new)), token)


def test_with_a_key_file_the_secret_signs_nothing(folder: Path) -> None:
    del folder
    with_file, with_secret = loaded(**{KEY: "ed25519.pem"}), loaded()

    assert not is_valid(signer_of(with_file), signer_of(with_secret).sign(claims()))
    assert not is_valid(signer_of(with_secret), signer_of(with_file).sign(claims()))


def test_the_settings_name_issuer_audience_and_leeway(folder: Path) -> None:
    del folder
    named = signer_of(loaded(LEDGER_JWT_ISSUER="me", LEDGER_JWT_AUDIENCE="you", JWT_VALIDATION_LEEWAY_SECONDS="5"))
    now = int(time.time())

    assert is_valid(named, named.sign(claims()))
    assert not is_valid(named, named.sign(claims(iat=now - 60, exp=now - 10)))
    assert not is_valid(named, signer_of(loaded()).sign(claims()))


def test_without_any_key_there_is_no_signer(folder: Path) -> None:
    del folder
    with pytest.raises(SettingsError, match=r"^JWT_SECRET: must be set"):
        signer_of(Settings.load())


def test_a_key_file_that_is_gone_since_is_one_line_too(folder: Path) -> None:
    settings = loaded(**{KEY: "ed25519.pem"})
    (folder / "ed25519.pem").unlink()

    with pytest.raises(SettingsError, match=r"^LEDGER_JWT_KEY_FILE: must be the name of a file that is there$"):
        signer_of(settings)


def test_a_child_process_gets_the_key_settings(folder: Path) -> None:
    del folder
    given_settings = loaded(**{KEY: "rsa.pem", PREVIOUS: "rsa.pub", "LEDGER_JWT_ISSUER": "me"})

    passed_on = given_settings.environment()

    assert ("rsa.pem", "rsa.pub", "me") == (passed_on[KEY], passed_on[PREVIOUS], passed_on["LEDGER_JWT_ISSUER"])
    assert isinstance(given_settings.jwt_secret, SecretStr)
    assert load_pem_public_key(Path(passed_on[PREVIOUS]).read_bytes()) is not None
