"""The values of the revocation cache, each with a code that only the ledger's own processes can compute.

Without it, anybody who reaches Redis could plant a value that revives a revoked token. The code covers the place of the
value, so a value of one session is not authentic in the place of another. Its key is in PostgreSQL, like the
revocations themselves: all processes of a ledger share it.
"""

import base64
import hmac
from uuid import UUID

FORGED = -2  # what stands in a place is not authentic
MAC_BYTES = 16
NUMBER = "'^-?%d+'"  # in Lua: the number at the beginning of a value


class CacheValues:
    """Writes and reads numbers with the codes of one key. All keys of the ledger's cache in Redis have the `prefix`.

    Those of versions before, under `revoked`, had no codes.
    """

    def __init__(self, ledger_id: UUID, key: bytes) -> None:
        self.prefix = f"ledger:{ledger_id}:revocations:"
        self.cutoffs = f"{self.prefix}cutoffs"
        self._key = key

    def encode(self, key: str, member: str, number: int) -> str:
        """Return the value for a place: a key of Redis and, in a hash, a member of it."""
        message = f"{key}\n{member}\n{number}".encode()
        code = hmac.digest(self._key, message, "sha256")[:MAC_BYTES]
        return f"{number} {base64.b64encode(code).decode()}"

    def decode(self, key: str, member: str, value: bytes | str | None) -> int | None:
        """Return the number in a place, None if nothing is there, or `FORGED`."""
        if value is None:
            return None
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        digits = text.partition(" ")[0]
        if not digits.lstrip("-").isdecimal() or len(digits) > len(str(2**63)):
            return FORGED
        number = int(digits)
        expected = self.encode(key, member, number)
        return number if hmac.compare_digest(expected.encode(), text.encode(errors="replace")) else FORGED
