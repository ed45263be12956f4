"""One-time codes (TOTP, RFC 6238), whose secrets are encrypted in a table outside the log, and recovery codes."""

import hashlib
import hmac
import secrets
from base64 import b32encode
from collections.abc import Sequence
from urllib.parse import quote
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from ledger.commands.command import FactorSecret
from ledger.commands.second_factors import Code
from ledger.events.second_factors import SecondFactor, second_factor_stream
from ledger.identity.secret_box import SecretBox, UnreadableSecretError
from ledger.store.connections import Reader
from ledger.store.heads import read_heads
from ledger.store.second_factors import read_stored_factors
from ledger.store.statements import Statement, blobs, columns, uuids

ISSUER = "Ledger"
SECRET_BYTES = 20  # RFC 4226, section 4: at least 16, and 20 are recommended
DIGITS, STEP_SECONDS = 6, 30  # what all authenticator applications can do
STEPS_AROUND = (0, -1, 1)  # a code is accepted for a minute and a half, because clocks differ
RECOVERY_CODES = 10
RECOVERY_LENGTH = 28  # letters of five bits each, 140 bits: enough that a fast digest protects them
_HASH = SHA1()  # noqa: S303 - in HMAC it is sound (RFC 6194), and all applications know no other
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # of base32 (RFC 4648), which has no look-alikes
_GROUP = 4  # letters of a recovery code between hyphens

log = structlog.get_logger(__name__)


def create_factor(box: SecretBox, user_id: UUID, factor_id: UUID) -> tuple[bytes, FactorSecret]:
    """Return a new secret, and what the table keeps of it."""
    secret, stream_id = secrets.token_bytes(SECRET_BYTES), second_factor_stream(user_id)
    return secret, FactorSecret(factor_id, stream_id, box.seal(secret, stream_id, factor_id))


def show_secret(secret: bytes) -> str:
    """Return a secret as a user types it into an application."""
    return b32encode(secret).decode()


def make_uri(secret: bytes, username: str) -> str:
    """Return the address that authenticator applications read from a QR code."""
    label = quote(f"{ISSUER}:{username}", safe="")
    return (
        f"otpauth://totp/{label}?secret={show_secret(secret)}&issuer={ISSUER}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
    )


def code_at(secret: bytes, step: int) -> str:
    """Return the code of a time step (RFC 6238, section 4)."""
    return TOTP(secret, DIGITS, _HASH, STEP_SECONDS).generate(step * STEP_SECONDS).decode()


def create_recovery_codes() -> list[str]:
    """Return new recovery codes."""
    return [_create_recovery_code() for _ in range(RECOVERY_CODES)]


def digest_of(recovery_code: str) -> str:
    """Return the digest of a recovery code; hyphens, blanks and the case of letters do not matter."""
    plain = "".join(recovery_code.split()).replace("-", "").upper()
    return hashlib.sha256(plain.encode(errors="surrogatepass")).hexdigest()


async def read_factor(reader: Reader, user_id: UUID) -> SecondFactor | None:
    """Return the state of a user's second factor from the log, or None."""
    stream = second_factor_stream(user_id)
    heads = await read_heads(reader, [stream])
    state = heads[stream].state if stream in heads else None
    return state if isinstance(state, SecondFactor) else None


async def match_code(reader: Reader, box: SecretBox, factor: SecondFactor, presented: str, now: int) -> Code | None:
    """Return what a user presented as a code of the factor that is in force, or else was offered; None if it is none.

    Whether a code was used before is decided with the command that uses it.
    """
    factor_id = factor.secret_id
    if factor_id is None:
        return None
    if len(presented) == DIGITS:
        step = await _match_step(reader, box, factor.user_id, factor_id, presented, now)
        return None if step is None else Code(factor_id, step=step)
    digest = digest_of(presented)
    known = [one for one in factor.recovery_digests if hmac.compare_digest(one, digest)]
    return Code(factor_id, digest=digest) if known else None


async def _match_step(
    reader: Reader, box: SecretBox, user_id: UUID, factor_id: UUID, presented: str, now: int
) -> int | None:
    stream_id = second_factor_stream(user_id)
    stored = (await read_stored_factors(reader, [stream_id])).get(stream_id)
    try:
        if stored is None or stored.id != factor_id:
            raise UnreadableSecretError("it is missing, or of another factor")  # noqa: TRY301 - as the other reasons
        secret = box.open(stored.secret, stream_id, factor_id)
    except UnreadableSecretError as error:
        log.error("the secret of a second factor cannot be used", reason=str(error), user_id=str(user_id))  # noqa: TRY400
        return None
    given, present = presented.encode(errors="surrogatepass"), now // STEP_SECONDS
    steps = [present + around for around in STEPS_AROUND]
    matching = [step for step in steps if hmac.compare_digest(code_at(secret, step).encode(), given)]
    return max(matching, default=None)


def _create_recovery_code() -> str:
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(RECOVERY_LENGTH))
    return "-".join(letters[begin : begin + _GROUP] for begin in range(0, len(letters), _GROUP))


def store(factors: Sequence[FactorSecret]) -> list[Statement]:
    """Return statements that replace the secrets of factors, and delete those of removed ones."""
    last = {factor.stream_id: factor for factor in factors}
    kept = {factor.stream_id: factor.sealed for factor in last.values() if factor.sealed is not None}
    deleted = [stream_id for stream_id in last if stream_id not in kept]
    ids = uuids(last[stream_id].id for stream_id in kept)
    return [
        *([Statement(_UPSERT, (uuids(kept), ids, blobs(kept.values())))] if kept else []),
        *([Statement(_DELETE, (uuids(deleted),))] if deleted else []),
    ]


_UPSERT = f"""INSERT INTO second_factors (stream_id, id, secret) SELECT * FROM {columns("uuid", "uuid", "bytea")}
              ON CONFLICT (stream_id) DO UPDATE SET id = excluded.id, secret = excluded.secret"""
_DELETE = "DELETE FROM second_factors WHERE stream_id = ANY($1::uuid[])"
