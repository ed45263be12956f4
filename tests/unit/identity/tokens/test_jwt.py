"""A token is verified strictly: signature, header and claims."""

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from ledger.identity.keys import private_key, secret_key
from ledger.identity.tokens import Signer, TokenType
from tests.support.tokens import (
    LATER,
    LEEWAY,
    REQUIRED,
    USER,
    Keys,
    claims,
    decode_segment,
    encode_segment,
    forge_token,
    header_of,
    is_valid,
    new_rsa_key,
    payload,
    payload_with,
    pem,
    sign_text,
    without_private,
)

LAST_SECOND = 253_402_300_799


@pytest.mark.parametrize("kind", TokenType)
def test_a_signed_token_is_verified(keys: Keys, signer: Signer, kind: TokenType) -> None:
    said = claims(typ=kind, prf="0190b2c3-d4e5-7f60-8a1b-000000000003", pex=LATER)

    verified = signer.verify(signer.sign(said), kind)

    assert said == verified.claims
    assert (said.sub, said.jti, said.sid) == (str(verified.user_id), str(verified.jti), str(verified.session_id))
    assert frozenset({"auditor", "customer"}) == verified.roles
    assert keys.signing.kid == jwt.get_unverified_header(signer.sign(said))["kid"]


def test_the_same_claims_give_the_same_token(keys: Keys) -> None:
    """A signature with PS256 has a salt."""
    said = claims()
    tokens = {Signer(keys.signing, leeway_seconds=0).sign(said) for _ in range(3)}

    assert len(tokens) == (3 if keys.signing.algorithm == "PS256" else 1)
    assert 1 == len({token.rpartition(".")[0] for token in tokens})


def test_the_header_has_the_algorithm_the_key_and_the_type_and_nothing_else(keys: Keys, signer: Signer) -> None:
    assert header_of(keys.signing) == json.loads(decode_segment(signer.sign(claims()).split(".")[0]))


def test_an_unmodified_forged_token_is_accepted(keys: Keys, signer: Signer) -> None:
    """Otherwise the refusals below would prove nothing."""
    assert is_valid(signer, forge_token(keys.signing))
    assert is_valid(signer, forge_token(keys.signing, payload_with()))


def test_third_parties_can_verify_with_the_published_key(tmp_path: Path) -> None:
    for make in (ed25519.Ed25519PrivateKey.generate, new_rsa_key):
        (tmp_path / "key.pem").write_bytes(pem(make()))
        key = private_key(tmp_path / "key.pem")
        signer = Signer(key, leeway_seconds=0, issuer="https://ledger.example", audience="books")
        published, *_ = jwt.PyJWKSet.from_dict(signer.jwks()).keys

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


def test_after_a_rotation_the_tokens_of_both_keys_are_accepted(keys: Keys) -> None:
    before = Signer(keys.signing, leeway_seconds=LEEWAY)
    rotated = Signer(keys.following, leeway_seconds=LEEWAY, previous=without_private(keys.signing))

    assert is_valid(rotated, before.sign(claims()))
    assert is_valid(rotated, rotated.sign(claims()))
    assert keys.following.kid == jwt.get_unverified_header(rotated.sign(claims()))["kid"]


def test_a_removed_key_is_no_longer_accepted(keys: Keys) -> None:
    token = Signer(keys.signing, leeway_seconds=LEEWAY).sign(claims())

    assert not is_valid(Signer(keys.following, leeway_seconds=LEEWAY), token)
    assert not is_valid(Signer(keys.following, leeway_seconds=LEEWAY, previous=keys.foreign), token)


def test_a_key_configured_twice_counts_once(keys: Keys) -> None:
    signer = Signer(keys.signing, leeway_seconds=LEEWAY, previous=without_private(keys.signing))

    assert is_valid(signer, signer.sign(claims()))
    assert len(signer.jwks()["keys"]) == {"HS256": 0, "EdDSA": 1}.get(keys.signing.algorithm, 2)


def test_a_signature_is_checked_with_the_named_key_only(keys: Keys, signer: Signer) -> None:
    for named, used in ((keys.signing, keys.following), (keys.following, keys.signing), (keys.signing, keys.foreign)):
        assert not is_valid(signer, forge_token(used, header=header_of(named)))


@pytest.mark.parametrize(
    "kid",
    [
        *("", "unknown", "../../dev/null", "/dev/null", "file:///dev/null", "https://evil.example/key", "' OR '1'='1"),
        *("' UNION SELECT 'secret' --", "|| true", "\x00", 0, 1, -1, 1.5, True, None, [], {}),
    ],
)
def test_an_unknown_kid_is_refused(keys: Keys, signer: Signer, kid: Any) -> None:
    """Lesson 29: a `kid` is never used as a path, URL or query."""
    assert not is_valid(signer, forge_token(keys.signing, header=header_of(keys.signing) | {"kid": kid}))


def test_a_kid_must_match_exactly(keys: Keys, signer: Signer) -> None:
    kid = keys.signing.kid
    for near in (kid.swapcase(), kid + "=", kid[:-1], f" {kid}", f"{kid}\n", f"{kid}\x00", [kid], {"kid": kid}):
        assert not is_valid(signer, forge_token(keys.signing, header=header_of(keys.signing) | {"kid": near}))


def test_a_token_without_a_kid_is_refused(keys: Keys, signer: Signer) -> None:
    assert not is_valid(signer, forge_token(keys.signing, header={"alg": keys.signing.algorithm, "typ": "JWT"}))


def test_the_kid_of_a_secret_reveals_nothing() -> None:
    secret = "a secret that is shared and long enough"
    digest = hashlib.sha256(secret.encode()).digest()

    kid = secret_key(secret).kid

    assert (16, kid) == (len(kid), secret_key(secret).kid)
    assert not digest.startswith(decode_segment(kid))
    assert kid != secret_key(secret + "!").kid


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE", " none", "none\x00", "", None, 0, False, [], {}])
def test_the_algorithm_none_is_refused(keys: Keys, signer: Signer, spelling: Any) -> None:
    """Lesson 29."""
    part = encode_segment(payload())
    for header in (header_of(keys.signing) | {"alg": spelling}, {"alg": spelling, "typ": "JWT"}, {"alg": spelling}):
        text = f"{encode_segment(header)}.{part}"
        for token in (f"{text}.", text, f"{text}.{encode_segment(b'none')}", sign_text(keys.signing, text)):
            assert not is_valid(signer, token)


def test_a_token_without_a_signature_is_refused(keys: Keys, signer: Signer) -> None:
    header, part, _ = forge_token(keys.signing).split(".")
    for token in (f"{header}.{part}.", f"{header}.{part}", f"{header}..", "..", ".", ""):
        assert not is_valid(signer, token)


@pytest.mark.parametrize(
    "algorithm", ["HS256", "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES256K", "EdDSA", "Ed25519", "hs256"]
)
def test_the_algorithm_must_match_the_key(keys: Keys, signer: Signer, algorithm: str) -> None:
    """Lesson 29."""
    renamed = header_of(keys.signing) | {"alg": algorithm}

    assert is_valid(signer, forge_token(keys.signing, header=renamed)) is (algorithm == keys.signing.algorithm)


@pytest.mark.parametrize(("algorithm", "digest"), [("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")])
def test_a_public_key_is_not_accepted_as_a_secret(keys: Keys, signer: Signer, algorithm: str, digest: str) -> None:
    """Lesson 29: the public key must not work as an HMAC secret."""
    for secret in (*keys.public, keys.signing.kid.encode(), b""):
        for header in (header_of(keys.signing) | {"alg": algorithm}, header_of(keys.signing)):
            text = f"{encode_segment(header)}.{encode_segment(payload())}"
            assert not is_valid(signer, f"{text}.{encode_segment(hmac.digest(secret, text.encode(), digest))}")


@pytest.mark.parametrize("member", ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "cty", "enc"])
def test_keys_and_addresses_in_a_header_are_refused(keys: Keys, signer: Signer, member: str) -> None:
    """Lesson 29: a key in the token, or at an address in it, is ignored."""
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
            assert not is_valid(signer, forge_token(key, header=header_of(key) | {member: value}))
            assert not is_valid(signer, forge_token(key, header=header_of(keys.signing) | {member: value}))


def test_a_header_has_no_member_twice(keys: Keys, signer: Signer) -> None:
    key = keys.signing
    usual = json.dumps(header_of(key), separators=(",", ":"))
    for second in (f'"alg":"{key.algorithm}"', '"alg":"none"', f'"kid":"{key.kid}"', '"kid":"another"', '"typ":"JWT"'):
        for text in (f"{usual[:-1]},{second}}}", f"{{{second},{usual[1:]}"):
            assert not is_valid(signer, forge_token(key, header=text.encode()))


@pytest.mark.parametrize("header", [b"", b"null", b"[]", b"{}", b'"JWT"', b"[" * 2900, b"\xff", b'{"alg":'])
def test_a_malformed_header_is_refused(keys: Keys, signer: Signer, header: bytes) -> None:
    assert not is_valid(signer, forge_token(keys.signing, header=header))


@pytest.mark.parametrize("name", REQUIRED)
def test_every_claim_is_required(keys: Keys, signer: Signer, name: str) -> None:
    """Lesson 29: above all, a token without `exp` would never expire."""
    for missing in ("", "null"):
        assert not is_valid(signer, forge_token(keys.signing, payload_with(**{name: missing})))


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
def test_numeric_claims_must_be_integers_within_bounds(keys: Keys, signer: Signer, name: str, value: str) -> None:
    """Lesson 29."""
    assert not is_valid(signer, forge_token(keys.signing, payload_with(**{name: value})))


@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_an_expiry_must_be_a_number(keys: Keys, signer: Signer, value: Any) -> None:
    """Lesson 29."""
    assert not is_valid(signer, forge_token(keys.signing, payload_with(exp=json.dumps(value))))


@pytest.mark.parametrize(
    ("exp", "valid"), [(LAST_SECOND, True), (LAST_SECOND + 1, False), (0, False), (1, False), (2**53, False)]
)
def test_a_time_must_be_before_the_year_10000(keys: Keys, signer: Signer, exp: int, valid: bool) -> None:
    assert valid is is_valid(signer, forge_token(keys.signing, payload_with(exp=str(exp))))


def test_a_token_must_expire_after_it_was_issued(keys: Keys, signer: Signer) -> None:
    now = int(time.time())
    for lifetime, valid in ((1, True), (0, False), (-1, False)):
        changed = payload_with(iat=str(now), exp=str(now + lifetime))
        assert valid is is_valid(signer, forge_token(keys.signing, changed))


@pytest.mark.parametrize("name", ["sub", "jti", "sid", "prf"])
@pytest.mark.parametrize(
    "value",
    [
        *(USER.upper(), USER.capitalize().replace("c", "C"), USER.replace("-", ""), f"{{{USER}}}", f"urn:uuid:{USER}"),
        *(f" {USER}", f"{USER}\n", USER[:-1], f"{USER}0", "admin", "", "\u0660" + USER[1:], 7, True, [USER], {}),
    ],
)
def test_an_id_has_one_spelling(keys: Keys, signer: Signer, name: str, value: Any) -> None:
    assert not is_valid(signer, forge_token(keys.signing, payload() | {name: value}))


@pytest.mark.parametrize("value", [["admin"], {"admin": True}, 1, True, None, 1.5])
def test_roles_are_text(keys: Keys, signer: Signer, value: Any) -> None:
    assert not is_valid(signer, forge_token(keys.signing, payload() | {"roles": value}))


@pytest.mark.parametrize("value", [2, -1, "0", "access", "ACCESS", False, 0.0])
def test_the_type_is_access_or_refresh(keys: Keys, signer: Signer, value: Any) -> None:
    token = forge_token(keys.signing, payload() | {"typ": value})

    assert [False, False] == [is_valid(signer, token, kind) for kind in TokenType]


@pytest.mark.parametrize("name", ["admin", "nbf", "iss", "aud", "SUB", "exp ", "", "__class__", "crit"])
def test_an_unknown_claim_is_refused(keys: Keys, signer: Signer, name: str) -> None:
    values: tuple[Any, ...] = (1, "x", True, None, {})
    for value in values:
        assert not is_valid(signer, forge_token(keys.signing, payload() | {name: value}))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_payload_has_no_member_twice(keys: Keys, signer: Signer, name: str) -> None:
    """Lesson 29: which one is used would depend on the parser."""
    usual = payload_with().decode()
    again = f'"{name}":{json.dumps(payload()[name])}'
    escaped = f'"\\u{ord(name[0]):04x}{name[1:]}":{json.dumps(payload()[name])}'
    for second in (again, escaped):
        for text in (f"{usual[:-1]},{second}}}", f"{{{second},{usual[1:]}"):
            assert not is_valid(signer, forge_token(keys.signing, text.encode()))


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
        assert not is_valid(signer, forge_token(keys.signing, text.encode()))
    for raw in (
        usual.encode("utf-16"),
        usual.encode("utf-32"),
        usual.encode().replace(b"auditor", b"\xff\xfe\xed\xa0\x80"),
    ):
        assert not is_valid(signer, forge_token(keys.signing, raw))


def test_a_token_in_a_token_is_refused(keys: Keys, signer: Signer) -> None:
    assert not is_valid(signer, forge_token(keys.signing, forge_token(keys.signing).encode()))


def test_tokens_name_the_configured_issuer_and_audience(keys: Keys) -> None:
    signer = Signer(keys.signing, leeway_seconds=LEEWAY, issuer="https://ledger.example", audience="books")
    token = signer.sign(claims())

    said = json.loads(decode_segment(token.split(".")[1]))

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
def test_the_issuer_and_the_audience_must_match_exactly(keys: Keys, changes: dict[str, Any]) -> None:
    signer = Signer(keys.signing, leeway_seconds=LEEWAY, issuer="https://ledger.example", audience="books")
    named = payload() | {"iss": "https://ledger.example", "aud": "books"}
    changed = {name: value for name, value in (named | changes).items() if value is not None}

    assert is_valid(signer, forge_token(keys.signing, named))
    assert not is_valid(signer, forge_token(keys.signing, changed))


def test_tokens_from_before_an_issuer_was_configured_are_refused(keys: Keys) -> None:
    token = Signer(keys.signing, leeway_seconds=LEEWAY).sign(claims())

    assert not is_valid(Signer(keys.signing, leeway_seconds=LEEWAY, issuer="a"), token)
    assert not is_valid(Signer(keys.signing, leeway_seconds=LEEWAY, audience="a"), token)
