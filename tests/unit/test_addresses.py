"""Which addresses, ports and URLs requests of webhooks may go to."""

from ipaddress import ip_address

import pytest

from ledger.publish.webhooks.target import MAX_LENGTH, parse_target
from ledger.values.addresses import AllowList, is_name, is_public, judge_addresses, parse_allow_list

NOTHING = AllowList()
PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),  # noqa: S104
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b::a00:1", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1"),
    *("3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_that_are_not_public_are_refused(text: str) -> None:
    address = ip_address(text)
    assert not is_public(address)
    reason = judge_addresses("example.com", [ip_address("1.1.1.1"), address], NOTHING, encrypted=True)
    assert reason == "must not name a host with an address of a private network: example.com"
    reason = judge_addresses(text, [address], NOTHING, encrypted=True)
    assert reason == f"must not be an address of a private network: {address}"


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_need_encryption_alone(text: str) -> None:
    assert is_public(ip_address(text))
    assert judge_addresses("example.com", [ip_address(text)], NOTHING, encrypted=True) is None
    assert "must begin with https://" == judge_addresses("example.com", [ip_address(text)], NOTHING, encrypted=False)


def test_a_host_without_addresses_is_refused() -> None:
    assert "must name a host that has an address: a.example" == judge_addresses(
        "a.example", [], NOTHING, encrypted=True
    )


@pytest.mark.parametrize(
    ("allowed", "host", "address", "is_allowed"),
    [
        ("127.0.0.0/8", "127.0.0.1", "127.0.0.1", True),
        ("127.0.0.0/8", "127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "10.0.0.1", "10.0.0.1", False),
        ("10.1.0.0/16, [::1]", "::1", "::1", True),
        ("10.1.0.7", "10.1.0.7", "10.1.0.7", True),
        ("10.1.0.7", "10.1.0.8", "10.1.0.8", False),
        ("hooks.internal", "Hooks.Internal.", "10.0.0.1", True),
        ("hooks.internal", "other.internal", "10.0.0.1", False),
        ("hooks.internal", "x.hooks.internal", "10.0.0.1", False),
        ("fd00::/8", "fd00::1", "fd00::1", True),
    ],
)
def test_operators_allow_hosts_and_networks(allowed: str, host: str, address: str, is_allowed: bool) -> None:
    reason = judge_addresses(host, [ip_address(address)], parse_allow_list(allowed), encrypted=False)
    assert is_allowed == (reason is None)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "a b!", "http://a", "*", "-", "a..b", "0x7f.1", "127.1"])
def test_an_allow_list_that_means_nothing_is_refused(text: str) -> None:
    if text == "-":
        assert parse_allow_list(text) == AllowList(frozenset({"-"}))
        return
    with pytest.raises(ValueError, match="must be names of hosts, addresses or networks"):
        parse_allow_list(text)


NOT_A_URL = "must be an absolute URL"
NOT_ASCII = "must be a URL in ASCII"
PORT = "must have the port 80, 443"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", NOT_A_URL),
        ("example.com/hooks", NOT_A_URL),
        ("ftp://example.com", NOT_A_URL),
        ("file:///etc/passwd", NOT_A_URL),
        ("https://", NOT_A_URL),
        ("https:///hooks", NOT_A_URL),
        ("https://.", NOT_A_URL),
        ("https://a..b", NOT_A_URL),
        ("https://exa mple.com", NOT_A_URL),
        ("https://exam\tple.com", NOT_A_URL),
        ("https://example.com\\@localhost", NOT_A_URL),
        ("https://exämple.com", NOT_ASCII),
        ("https://①②⑦.0.0.1", NOT_ASCII),
        ("https://example.com/ä", NOT_ASCII),
        ("https://example.com:0", NOT_A_URL),
        ("https://example.com:99999", NOT_A_URL),
        ("https://2130706433", NOT_A_URL),
        ("https://0x7f000001", NOT_A_URL),
        ("https://0x7f.1", NOT_A_URL),
        ("https://127.1", NOT_A_URL),
        ("https://0177.0.0.1", NOT_A_URL),
        ("https://%31%32%37.0.0.1", NOT_A_URL),
        ("https://user@example.com", "must not have a user or a password"),
        ("https://user:secret@example.com", "must not have a user or a password"),
        ("https://@example.com", "must not have a user or a password"),
        ("https://example.com/#part", "must not have a fragment"),
        ("https://example.com/#", "must not have a fragment"),
        ("http://example.com/hooks", "must begin with https://"),
        ("https://127.0.0.1", "must not be an address of a private network: 127.0.0.1"),
        ("https://[::1]/", "must not be an address of a private network: ::1"),
        ("https://[::ffff:10.0.0.1]/", "must not be an address of a private network"),
        ("https://169.254.169.254/latest", "must not be an address of a private network"),
        ("https://example.com:22", PORT),
        ("https://example.com:25", PORT),
        ("https://1.1.1.1:1023", PORT),
        (f"https://example.com/{'a' * MAX_LENGTH}", f"must have at most {MAX_LENGTH} characters"),
    ],
)
def test_a_wrong_url_has_one_reason(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_target(url, NOTHING)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.com", ""),
        ("https://example.com:8443/hooks?token=a%20b", ""),
        ("https://1.1.1.1/", ""),
        ("https://[2606:4700::1111]/", ""),
        ("https://xn--exmple-cua.com/", ""),
        ("http://127.0.0.1:25/", "127.0.0.0/8"),
        ("http://hooks.internal/", "hooks.internal"),
    ],
)
def test_a_url_is_taken_as_it_is(url: str, allowed: str) -> None:
    target = parse_target(url, parse_allow_list(allowed))
    assert url.startswith("https") == target.is_encrypted
    assert str(target.url).rstrip("/") == url.rstrip("/")


@pytest.mark.parametrize(
    ("host", "is_host"),
    [
        ("example.com", True),
        ("a_b.example", True),
        ("localhost", True),
        ("a" * 64, False),
        ("1", False),
        ("a.0x1", False),
    ],
)
def test_names_of_hosts(host: str, is_host: bool) -> None:
    assert is_host == is_name(host)
