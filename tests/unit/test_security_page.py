"""The security page: it has every requirement once, the tests that it names exist, and its lists are complete."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from ledger.embedded.folder import PASSWORD_LENGTH
from ledger.events.users import ROLES
from ledger.identity.client_secrets import PREFIX, create_secret
from tests.support.processes import ROOT
from web.auth import PUBLIC
from web.routes import CONSOLE, ROUTES, UNVERSIONED

PAGE = ROOT / "docs" / "explanation" / "security.md"
TEXT = PAGE.read_text()
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| (.*) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
REASON = re.compile(r"Does not apply: \S[^<]*\.$")
CODE = sorted(path for folder in ("ledger", "web") for path in (ROOT / folder).rglob("*.py"))
CRYPTOGRAPHY = re.compile(
    r"^\s*(?:import (?:hashlib|hmac|jwt|secrets|ssl)$|from (?:argon2|cryptography|hashlib|hmac|jwt|secrets)\b)"
    r"|\bos\.urandom\(|\buuid[135]\(|\bpgcrypto\b",
    re.MULTILINE,
)
CONNECTING = re.compile(
    r"\basyncpg\.(?:connect|create_pool)\b|\bClientSession\(|\burlopen\(|\.from_url\(|\bOTLPSpanExporter\("
    r"|\bopen_connection\(|\bcreate_connection\(|\bHTTPS?Connection\(|\bAIOKafkaProducer\("
    r"|^from nats\.aio\.client\b",
    re.MULTILINE,
)
WEAK = re.compile(r"\bhashlib\.(?:md5|sha1|new)\b|^\s*(?:import|from) random\b|\buuid1\(", re.MULTILINE)
# The requirements of levels 1 and 2 of OWASP ASVS 5.0.0, by section.
REQUIREMENTS = {
    "6.1": "1 2 3",
    "6.2": "1 2 3 4 5 6 7 8 9 10 11 12",
    "6.3": "1 2 3 4",
    "6.4": "1 2 3 4",
    "6.5": "1 2 3 4 5",
    "6.6": "1 2 3",
    "6.8": "1 2 3 4",
    "7.1": "1 2 3",
    "7.2": "1 2 3 4",
    "7.3": "1 2",
    "7.4": "1 2 3 4 5",
    "7.5": "1 2",
    "7.6": "1 2",
    "8.1": "1 2",
    "8.2": "1 2 3",
    "8.3": "1",
    "8.4": "1",
    "9.1": "1 2 3",
    "9.2": "1 2 3 4",
    "10.1": "1 2",
    "10.2": "1 2",
    "10.3": "1 2 3 4",
    "10.4": "1 2 3 4 5 6 7 8 9 10 11",
    "10.5": "1 2 3 4 5",
    "10.6": "1 2",
    "10.7": "1 2 3",
    "11.1": "1 2",
    "11.2": "1 2 3",
    "11.3": "1 2 3",
    "11.4": "1 2 3 4",
    "11.5": "1",
    "11.6": "1",
    "13.1": "1",
    "13.2": "1 2 3 4 5",
    "13.3": "1 2",
    "13.4": "1 2 3 4 5",
}
NUMBERS = [f"{section}.{number}" for section, numbers in REQUIREMENTS.items() for number in numbers.split()]


def modules_with(pattern: re.Pattern[str]) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in CODE if pattern.search(path.read_text())}


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def modules_in(title: str) -> set[str]:
    return set(re.findall(r"`((?:ledger|web)/[\w/]+\.py)`", section(title)))


@cache
def functions_of(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_requirement_is_in_the_table_once() -> None:
    assert NUMBERS == [number for number, _, _ in ROW.findall(TEXT)]


def test_every_row_has_a_test_or_a_reason() -> None:
    rows = {number: (words, held_by) for number, words, held_by in ROW.findall(TEXT)}
    bare = {number for number, (_, held_by) in rows.items() if not TEST.search(held_by) and not REASON.search(held_by)}
    assert set() == bare | {
        number for number, (words, held_by) in rows.items() if not words.strip() or not held_by.strip()
    }


def test_every_test_that_the_page_names_exists() -> None:
    named = TEST.findall(TEXT)
    assert named
    assert [] == [(file, name) for file, name in named if name not in functions_of(ROOT / file)]


def test_the_inventory_has_every_module_with_cryptography() -> None:
    assert modules_with(CRYPTOGRAPHY) | modules_with(WEAK) == modules_in("Keys and algorithms")


def test_the_inventory_has_every_module_that_opens_connections() -> None:
    assert modules_with(CONNECTING) == modules_in("Connections")


def test_the_page_names_every_route_that_needs_no_access_token() -> None:
    routes = [route for route in (*UNVERSIONED, *CONSOLE, *ROUTES) if route.access == PUBLIC or route.access.by_secret]
    named = set(re.findall(r"`([A-Z]+ /[^`]*)`", section("Ways in")))
    assert set() == {f"{route.method} {route.path}" for route in routes} - named


@pytest.mark.parametrize("role", ROLES)
def test_the_page_names_every_role(role: str) -> None:
    assert f"\n| {role} | " in section("Permissions")


def test_no_module_uses_a_weak_digest_or_predictable_numbers() -> None:
    """The ids of requests may be predictable: they are in each response, and protect nothing.

    Digests of common passwords are compared with those that clients send, whatever algorithm these use.
    """
    assert {"web/http/request.py", "ledger/identity/password_digests.py"} == modules_with(WEAK)


def test_generated_secrets_have_128_random_bits() -> None:
    sources = {path: path.read_text() for path in CODE}
    drawn = re.compile(r"\b(?:token_(?:urlsafe|hex|bytes)|urandom)\((\d+)\)")
    sizes = [int(size) for text in sources.values() for size in drawn.findall(text)]

    assert min(sizes) * 8 >= 128
    assert PASSWORD_LENGTH // 2 * 8 >= 128
    assert len({create_secret()[0].removeprefix(PREFIX) for _ in range(100)}) == 100
    assert [] == [path for path, text in sources.items() if re.search(r"token_(?:urlsafe|hex|bytes)\(\)", text)]
