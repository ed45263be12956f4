"""One-time codes are those of RFC 6238, and their secrets are readable with their key and in their place alone."""

import base64
import re

import pytest

from ledger.events.second_factors import second_factor_stream
from ledger.identity.keys import secret_key
from ledger.identity.second_factors import (
    RECOVERY_CODES,
    RECOVERY_LENGTH,
    STEP_SECONDS,
    code_at,
    create_factor,
    create_recovery_codes,
    digest_of,
    make_uri,
    show_secret,
)
from ledger.identity.secret_box import SecretBox, UnreadableSecretError
from tests.support.ledgers import ALICE, named_id

KEY, OTHER_KEY = secret_key("a" * 32), secret_key("b" * 32)
FACTOR, OTHER = named_id("factor"), named_id("another factor")
ALICES, BOBS = second_factor_stream(ALICE), second_factor_stream(OTHER)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    """RFC 6238, appendix B, for SHA-1. Its codes have eight digits, of which ours are the last six."""
    assert code[-6:] == code_at(b"12345678901234567890", seconds // STEP_SECONDS)


def test_the_address_of_a_secret_has_what_an_application_needs() -> None:
    secret, _ = create_factor(SecretBox([KEY]), ALICE, FACTOR)

    shown = show_secret(secret)

    assert (secret, 20) == (base64.b32decode(shown), len(secret))
    assert (
        f"otpauth://totp/Ledger%3Aal%20ice%3Fx?secret={shown}&issuer=Ledger&algorithm=SHA1&digits=6&period=30"
        == make_uri(secret, "al ice?x")
    )


def test_recovery_codes_have_enough_random_bits_and_one_digest_however_they_are_written() -> None:
    codes = create_recovery_codes()

    assert RECOVERY_CODES == len({*codes})
    assert all(re.fullmatch(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){6}", code) for code in codes)
    assert RECOVERY_LENGTH == len(codes[0].replace("-", ""))
    assert RECOVERY_LENGTH * 5 >= 128  # bits (ASVS 11.5.1); from 112 on, a fast digest is enough (6.5.2)
    assert digest_of(codes[0]) == digest_of(f" {codes[0].lower().replace('-', ' ')} ")


def test_a_sealed_secret_opens_in_its_place_with_its_key() -> None:
    secret, sealed = create_factor(SecretBox([KEY]), ALICE, FACTOR)
    assert sealed.sealed is not None

    assert secret == SecretBox([OTHER_KEY, KEY]).open(sealed.sealed, ALICES, FACTOR)
    assert secret not in sealed.sealed
    for box, stored, stream, factor in (
        (SecretBox([OTHER_KEY]), sealed.sealed, ALICES, FACTOR),
        (SecretBox([KEY]), sealed.sealed, BOBS, FACTOR),
        (SecretBox([KEY]), sealed.sealed, ALICES, OTHER),
        (SecretBox([KEY]), sealed.sealed[:-1], ALICES, FACTOR),
        (SecretBox([KEY]), sealed.sealed[:8], ALICES, FACTOR),
        (SecretBox([KEY]), b"", ALICES, FACTOR),
    ):
        with pytest.raises(UnreadableSecretError):
            box.open(stored, stream, factor)
