"""A token has one spelling, and is accepted only as its own type."""

import string
import time
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger.identity.tokens
from ledger.identity.keys import Key
from ledger.identity.tokens import MAX_TOKEN_LENGTH, Signer, TokenType
from tests.support.tokens import (
    LATER,
    LEEWAY,
    Keys,
    claims,
    decode_segment,
    encode_segment,
    forge_token,
    is_valid,
    payload,
    payload_with,
    sign_text,
)

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_token_is_accepted_only_as_its_own_type(signer: Signer) -> None:
    """Lesson 21: also if it was verified before."""
    for kind, other in ((TokenType.ACCESS, TokenType.REFRESH), (TokenType.REFRESH, TokenType.ACCESS)):
        token = signer.sign(claims(typ=kind))

        assert [False, True, False, True] == [is_valid(signer, token, asked) for asked in (other, kind, other, kind)]


@pytest.mark.parametrize(
    ("seconds_ago", "valid"), [(0, True), (LEEWAY - 5, True), (LEEWAY, False), (LEEWAY + 1, False)]
)
def test_an_expired_token_is_accepted_only_within_the_leeway(signer: Signer, seconds_ago: int, valid: bool) -> None:
    now = int(time.time())

    assert valid is is_valid(signer, signer.sign(claims(iat=now - 3600, exp=now - seconds_ago)))


@pytest.mark.parametrize(("seconds_ahead", "valid"), [(LEEWAY - 5, True), (LEEWAY + 5, False), (10**9, False)])
def test_a_token_from_the_future_is_accepted_only_within_the_leeway(
    signer: Signer, seconds_ahead: int, valid: bool
) -> None:
    now = int(time.time())

    assert valid is is_valid(signer, signer.sign(claims(iat=now + seconds_ahead, exp=now + 2 * 10**9)))


def test_a_cached_token_expires_too(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signer.sign(claims())
    assert is_valid(signer, token)
    end = claims().exp + LEEWAY

    for passed, valid in ((-5, True), (0, False), (5, False)):
        monkeypatch.setattr(ledger.identity.tokens, "time", SimpleNamespace(time=lambda passed=passed: end + passed))
        assert valid is is_valid(signer, token)


def test_the_cache_of_verified_tokens_is_bounded(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
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


@given(data=st.data())
def test_a_token_with_one_changed_character_is_refused(signer: Signer, data: st.DataObject) -> None:
    """Lesson 28: a token that is revoked by its text must not have another spelling."""
    token = signer.sign(claims(iat=1_500_000_000, exp=LATER))
    assert is_valid(signer, token)
    at = data.draw(st.integers(0, len(token)))
    character = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_=.+/ \n") | st.characters())
    width = data.draw(st.sampled_from([0, 1]))
    changed = token[:at] + data.draw(st.sampled_from(["", character])) + token[at + width :]

    assert (changed == token) is is_valid(signer, changed)


@given(text=st.text() | st.lists(st.text(string.ascii_letters + "-_"), min_size=3, max_size=3).map(".".join))
def test_random_text_is_refused(signer: Signer, text: str) -> None:
    assert not is_valid(signer, text)


def spellings(segment: str) -> list[str]:
    """Return other texts that lenient decoders decode to the same bytes."""
    alphabet = string.ascii_letters + string.digits + "-_"
    spare = [
        segment[:-1] + character
        for character in alphabet
        if decode_segment(segment[:-1] + character) == decode_segment(segment)
    ]
    padded = [f"{segment}{padding}" for padding in ("=", "==", "===")]
    blank = [
        segment[:at] + blank + segment[at:] for at in (0, 9, len(segment)) for blank in (" ", "\n", "\r\n", "\t", "!")
    ]
    standard = [segment.replace("-", "+").replace("_", "/")]
    return [other for other in [*spare, *padded, *blank, *standard] if other != segment]


def test_every_part_of_a_token_has_one_spelling(keys: Keys, signer: Signer) -> None:
    """Lesson 28: unused bits of the last character, padding, blanks, and the other alphabet."""
    for position in (7, 77, 777, 7777):
        header, part, signature = forge_token(keys.signing, payload_with(pos=str(position))).split(".")
        assert is_valid(signer, f"{header}.{part}.{signature}")
        has_spare_bits = len(decode_segment(signature)) % 3 != 0  # which the signature of an RSA key has not
        assert any(other[:-1] == signature[:-1] for other in spellings(signature)) is has_spare_bits
        for other in spellings(signature):
            assert not is_valid(signer, f"{header}.{part}.{other}")
        for other in spellings(header):
            assert not is_valid(signer, f"{other}.{part}.{signature}")
            assert not is_valid(signer, sign_text(keys.signing, f"{other}.{part}"))
        for other in spellings(part):
            assert not is_valid(signer, f"{header}.{other}.{signature}")
            assert not is_valid(signer, sign_text(keys.signing, f"{header}.{other}"))


def other_signatures(key: Key, signature: bytes) -> list[bytes]:
    """Return other bytes that a lenient implementation accepts as the same signature."""
    number = int.from_bytes(signature, "big")
    others = [signature + b"\x00", b"\x00" + signature, signature[:-1], signature[1:], signature + signature, b""]
    if key.algorithm in {"PS256", "RS256"}:
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


def test_leading_zeros_belong_to_the_signature_of_an_rsa_key(keys: Keys, signer: Signer) -> None:
    """Lesson 28: about every 256th signature has one."""
    if keys.signing.algorithm not in {"PS256", "RS256"}:
        return
    tokens = (forge_token(keys.signing, payload_with(pos=str(position))) for position in count())
    token = next(token for token in tokens if decode_segment(token.split(".")[2]).startswith(b"\x00"))
    header, part, signature = token.split(".")
    assert is_valid(signer, token)
    assert not is_valid(signer, f"{header}.{part}.{encode_segment(decode_segment(signature).lstrip(bytes(1)))}")


def test_a_message_has_one_signature(keys: Keys, signer: Signer) -> None:
    """Lesson 28: added modulus or group order, and leading zeros."""
    for position in range(20):
        header, part, signature = forge_token(keys.signing, payload_with(pos=str(position))).split(".")
        for other in other_signatures(keys.signing, decode_segment(signature)):
            assert not is_valid(signer, f"{header}.{part}.{encode_segment(other)}")


@pytest.mark.parametrize(
    "text", ["\udcff\udcfe", "é.ü.ö", "a" * 5000, "." * 5000, "a.b.c.d", "\x00", "Bearer a.b.c", "🎟.🎟.🎟"]
)
def test_malformed_tokens_are_refused(signer: Signer, text: str) -> None:
    assert not is_valid(signer, text)


def test_a_token_has_a_limited_length(keys: Keys, signer: Signer) -> None:
    token = forge_token(keys.signing, payload() | {"roles": "r" * MAX_TOKEN_LENGTH})

    assert len(token) > MAX_TOKEN_LENGTH
    assert not is_valid(signer, token)
