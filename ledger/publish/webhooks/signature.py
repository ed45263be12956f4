"""Signatures of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 of id, timestamp and body."""

import base64
import hmac
from collections.abc import Iterable, Mapping
from uuid import UUID


def message_id(webhook_id: UUID, position: int) -> str:
    """Return the `webhook-id` of an event: the same for each attempt, and for each time that it is sent again."""
    return f"msg_{webhook_id.hex}_{position}"


def sign(secrets: Iterable[bytes], message: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: a signature with each secret, separated by blanks."""
    content = f"{message}.{timestamp}.".encode() + body
    digests = (hmac.digest(secret, content, "sha256") for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def make_headers(secrets: Iterable[bytes], message: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """Return the headers by which a receiver recognizes and verifies a message."""
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secrets, message, timestamp, body),
    }
