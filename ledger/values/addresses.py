"""The addresses that the service may send requests to on behalf of clients: public ones, and those an operator allows.

A client that could choose any address could reach services that only this network may reach (server-side request
forgery). So every address is judged, and those that contain another address are judged by that one.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MAX_NAME_LENGTH = 253
WEB_PORTS = (80, 443)
FIRST_FREE_PORT = 1024  # below it, services other than the web's have ports that a request could misuse

_UNICAST = IPv6Network("2000::/3")  # all that is assigned for the public (RFC 4291, section 2.4)
_TRANSLATED = IPv6Network("64:ff9b::/96")  # to the IPv4 address in the last bits (RFC 6052)
_NOT_PUBLIC: tuple[Network, ...] = (
    IPv4Network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526), which Python counts as public
    IPv6Network("2001::/32"),  # Teredo, which contains an IPv4 address (RFC 4380)
    IPv6Network("2002::/16"),  # 6to4, which contains one too (RFC 3056)
    IPv6Network("3fff::/20"),  # documentation (RFC 9637), which older versions of Python do not know
)


class AllowList(NamedTuple):
    """The names of hosts, in lower case, and the networks that an operator allows although they are not public."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def allows(self, host: str, address: Address) -> bool:
        """Return whether an operator allows this address of the host."""
        return _canonical_name(host) in self.names or self.allows_address(address)

    def allows_address(self, address: Address) -> bool:
        """Return whether an address is in one of the networks."""
        plain = unwrap(address)
        return any(plain in network or address in network for network in self.networks)


def parse_allow_list(text: str) -> AllowList:
    """Parse names of hosts, addresses and networks, separated by blanks or commas. Raises `ValueError`."""
    names, networks = set[str](), []
    for entry in text.replace(",", " ").split():
        try:
            networks.append(ip_network(entry.strip("[]")))
        except ValueError:
            if not is_name(entry) or "/" in entry:
                raise ValueError(f"must be names of hosts, addresses or networks: {entry}") from None
            names.add(_canonical_name(entry))
    return AllowList(frozenset(names), tuple(networks))


def parse_address(host: str) -> Address | None:
    """Return the address that a host is, or None if it is a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_name(host: str) -> bool:
    """Return whether a text can be the name of a host in ASCII.

    What ends in a number is none: some resolvers take `0x7f.1` or `2130706433` for an address.
    """
    name = _canonical_name(host)
    return len(name) <= MAX_NAME_LENGTH and bool(_match_name(name)) and not _ends_in_number(name)


def unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet, whatever form it has."""
    plain = unwrap(address)
    if any(plain in network for network in _NOT_PUBLIC) or plain.is_multicast or not plain.is_global:
        return False
    return isinstance(plain, IPv4Address) or plain in _UNICAST


def judge_address(host: str, address: Address, allowed: AllowList, *, encrypted: bool) -> str | None:
    """Return why a request may not go to this address of a host, or None. Only allowed ones need no encryption.

    The reason is for clients, so it does not tell which address a name has in a private network.
    """
    if allowed.allows(host, address):
        return None
    if not is_public(address):
        if parse_address(host) is None:
            return f"must not name a host with an address of a private network: {host}"
        return f"must not be an address of a private network: {address}"
    return None if encrypted else "must begin with https://"


def judge_addresses(host: str, addresses: Collection[Address], allowed: AllowList, *, encrypted: bool) -> str | None:
    """Return why a request may not go to a host with these addresses, or None. One that is not allowed is enough."""
    if not addresses:
        return f"must name a host that has an address: {host}"
    reasons = (judge_address(host, address, allowed, encrypted=encrypted) for address in addresses)
    return next((reason for reason in reasons if reason is not None), None)


def judge_port(host: str, port: int, allowed: AllowList) -> str | None:
    """Return why a request may not go to a port, or None. Hosts that an operator allows may use any."""
    address = parse_address(host)
    is_allowed = _canonical_name(host) in allowed.names or (address is not None and allowed.allows_address(address))
    if is_allowed or port in WEB_PORTS or port >= FIRST_FREE_PORT:
        return None
    return f"must have the port 80, 443 or one from {FIRST_FREE_PORT} on"


_match_name = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII).fullmatch
_ends_in_number = re.compile(r"(^|\.)(0x[0-9a-f]*|[0-9]+)$", re.ASCII).search


def _canonical_name(host: str) -> str:
    return host.lower().removesuffix(".")
