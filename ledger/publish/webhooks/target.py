"""The URL of a webhook, and what it must be for the service to send requests there."""

import re
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

from ledger.values.addresses import AllowList, is_name, judge_address, judge_port, parse_address

MAX_LENGTH = 2048
PATTERN = r"^https?://[!-~]+$"
EXAMPLE = "https://example.com/hooks"
NOT_A_URL = f"must be an absolute URL of https with the name or address of a host, such as {EXAMPLE}"
NOT_ASCII = "must be a URL in ASCII: internationalized names begin with xn--, other characters are percent-encoded"

_split_authority = re.compile(r"(?<=://)[^/?#]*").findall
_is_printable = re.compile(PATTERN, re.ASCII).fullmatch


class Target(NamedTuple):
    """A URL, and what requests to it connect to. `is_encrypted` says whether by TLS."""

    url: URL
    host: str
    port: int
    is_encrypted: bool


@lru_cache(maxsize=1024)  # for each request to a webhook
def parse_target(text: str, allowed: AllowList) -> Target:
    """Parse a URL. The addresses of a name are judged later, because they can change. Raises `ValueError`."""
    target = _parse(text)
    reason = judge_port(target.host, target.port, allowed)
    address = parse_address(target.host)
    if reason is None and address is not None:
        reason = judge_address(target.host, address, allowed, encrypted=target.is_encrypted)
    if reason is None and address is None and not target.is_encrypted and allowed == AllowList():
        reason = "must begin with https://"
    if reason is not None:
        raise ValueError(reason)
    return target


def _parse(text: str) -> Target:
    if len(text) > MAX_LENGTH:
        raise ValueError(f"must have at most {MAX_LENGTH} characters")
    if text.startswith(("http://", "https://")) and not text.isascii():
        raise ValueError(NOT_ASCII)
    if not _is_printable(text) or "\\" in text:
        raise ValueError(NOT_A_URL)
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError:
        raise ValueError(NOT_A_URL) from None
    if not host or not port or (parse_address(host) is None and not is_name(host)):
        raise ValueError(NOT_A_URL)
    if "@" in _split_authority(text)[0]:
        raise ValueError("must not have a user or a password")
    if "#" in text:
        raise ValueError("must not have a fragment")
    return Target(url, host, port, url.scheme == "https")
