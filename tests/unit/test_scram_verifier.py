"""The verifier of a role's password is the one by which RFC 7677's example authenticates."""

import base64
import hashlib
import hmac

from ledger.store.roles import compute_verifier

SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
NONCE = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
MESSAGE = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={NONCE},s={SALT},i=4096,c=biws,r={NONCE}"
PROOF, SIGNATURE = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_verifier_authenticates_the_example_of_the_rfc() -> None:
    kind, parameters, keys = compute_verifier("pencil", base64.b64decode(SALT)).split("$")
    stored, server = (base64.b64decode(key) for key in keys.split(":"))

    assert ("SCRAM-SHA-256", f"4096:{SALT}") == (kind, parameters)
    assert base64.b64decode(SIGNATURE) == hmac.digest(server, MESSAGE.encode(), "sha256")
    client_signature = hmac.digest(stored, MESSAGE.encode(), "sha256")
    client_key = bytes(a ^ b for a, b in zip(base64.b64decode(PROOF), client_signature, strict=True))
    assert stored == hashlib.sha256(client_key).digest()
