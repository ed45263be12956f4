"""Requests are parsed strictly: an invalid body is refused with the name of the member, and changes nothing.

Lesson 33.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ledger.settings import Settings
from tests.support.controls import NOBODY, Api, new_id

Serve = Callable[[Settings], Awaitable[Api]]

CANARY = "canary-3141592653"  # a value that no response may repeat
USER = {"username": "carol", "email": "carol@example.com", "password": "a password of hers", "roles": "customer"}
ACCOUNT = {"user_id": NOBODY, "balance_cents": 5, "currency": "USD"}
TRANSFER = {"source_account_id": NOBODY, "destination_account_id": NOBODY, "amount_cents": 5}
ENTRY = {"postings": [{"account_id": NOBODY, "amount_cents": -5}, {"account_id": str(UUID(int=1)), "amount_cents": 5}]}
LOGIN = {"username": "carol", "password": "a password of hers"}

ROUTES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "login": ("POST", "/v1/auth/login", LOGIN),
    "create user": ("POST", "/v1/users", USER),
    "update user": ("PUT", f"/v1/users/{NOBODY}", USER),
    "open account": ("POST", "/v1/accounts", ACCOUNT),
    "update account": ("PUT", f"/v1/accounts/{NOBODY}", ACCOUNT),
    "transfer": ("POST", "/v1/transactions/transfer", TRANSFER),
    "hold": ("POST", "/v1/transactions/hold", TRANSFER),
    "entry": ("POST", "/v1/transactions", ENTRY),
}

# JSON text, because Python would not produce most of these values.
NOT_TEXT = ["7", "true", "1.5", "[]", "{}", f'["{CANARY}"]']
CONTROL = [f'"{CANARY}{character}x"' for character in ("\\u0000", "\\n", "\\t", "\\u001b", "\\u007f", "\\u0085")]
NOT_IDS = [
    *('"not-an-id"', '""', '"018f000000007000800000000000000000"', '"{018f0000-0000-7000-8000-000000000000}"'),
    *('"urn:uuid:018f0000000070008000000000000000"', '"018f0000-0000-7000-8000-00000000000"', '" "'),
    *(
        '"018f0000-0000-7000-8000-000000000000\\n"',
        '"\u066018f0000-0000-7000-8000-000000000000"',
        "7",
        "true",
        "[]",
        "{}",
    ),
]
CODES = [
    "not-an-id",
    "urn:uuid:018f0000000070008000000000000000",
    "018f000000007000800000000000000000",
    "018f0000-0000-7000-8000-00000000000",
]  # of accounts
NOT_ACCOUNTS = [text for text in NOT_IDS if text.strip('"') not in CODES]
NOT_CENTS = [
    *(
        "25.0",
        "25.5",
        "1e3",
        "1E3",
        "1.0e1",
        '"25"',
        '""',
        "true",
        "false",
        "[25]",
        "{}",
        "-1",
        "-0.0",
    ),
    *("9007199254740992", "9223372036854775808", "18446744073709551616", "9" * 400, "-" + "9" * 400, "1e300"),
]
NOT_CURRENCIES = [
    '"usd"',
    '"1USD"',
    '"USD."',
    '"U SD"',
    '"' + "U" * 17 + '"',
    '""',
    '"USD "',
    "7",
    "true",
    "[]",
    f'"{CANARY}"',
]
NOT_ROLES = [
    *('""', '","', '"root"', '"Admin"', '"admin,root"', '"admin,admin"', '"admin;customer"', '"customer,"', "7", "[]"),
    *(
        '["admin"]',
        "true",
        f'"{CANARY}"',
        '"' + "admin," * 5000 + '"',
        '"admin\\u0000"',
        '"\\nadmin"',
        '"admin,\\tguest"',
    ),
]
NOT_NAMES = ['""', '" "', f'" {CANARY}"', f'"{CANARY} "', '"' + "x" * 65 + '"', *CONTROL, *NOT_TEXT]
NOT_EMAILS = [
    *('""', f'"{CANARY}"', '"@example.com"', '"carol@"', '"a@b@c"', '"carol @example.com"', '"carol@example.com "'),
    *('"' + "x" * 251 + '@b.c"', '"carol@exam\\u0000ple.com"', '"carol@example.com\\n"', *NOT_TEXT),
]
NOT_PASSWORDS = ['"seven77"', '""', '"' + "x" * 1025 + '"', *NOT_TEXT]

NOT_DATES = ['""', '"2026-02-30"', '"2026-05-01T12:00:00"', '"2026-02-30T12:00:00Z"', "7", "1.5", "true", "[]", "{}"]
NOT_TIMES = [*NOT_DATES, '"2026-05-01"']
NOT_FREEZES = ['""', '"None"', '"credits"', "7", "true", "[]", "{}", f'"{CANARY}"']
_LEG = '{"account_id": "018f0000-0000-7000-8000-%012d", "amount_cents": 1}'
NOT_POSTINGS = [
    *("null", "7", "[]", "{}", f"[{_LEG % 1}]", f'"{CANARY}"'),
    f"[{', '.join(_LEG % number for number in range(101))}]",
]

FIELDS: list[tuple[str, str, list[str]]] = [
    ("login", "username", [*NOT_TEXT, '"' + "x" * 1025 + '"']),
    ("login", "password", [*NOT_TEXT, '"' + "x" * 1025 + '"']),
    ("create user", "id", NOT_IDS),
    ("create user", "username", [*NOT_NAMES, "null"]),
    ("create user", "email", [*NOT_EMAILS, "null"]),
    ("create user", "password", [*NOT_PASSWORDS, "null"]),
    ("create user", "active", ["0", "1", '"true"', '"false"', '"yes"', "[]", "{}", "1.0"]),
    ("create user", "roles", NOT_ROLES),
    ("update user", "id", NOT_IDS),
    ("update user", "username", [*NOT_NAMES, "null"]),
    ("update user", "email", [*NOT_EMAILS, "null"]),
    ("update user", "password", [value for value in NOT_PASSWORDS if value != '""']),
    ("update user", "active", ["0", "1", '"true"', '"false"', "[]"]),
    ("update user", "roles", NOT_ROLES),
    ("open account", "id", NOT_IDS),
    ("open account", "user_id", [*NOT_IDS, "null"]),
    ("open account", "balance_cents", NOT_CENTS),
    ("open account", "currency", NOT_CURRENCIES),
    ("update account", "id", NOT_IDS),
    ("update account", "user_id", NOT_IDS),
    ("update account", "balance_cents", [*(value for value in NOT_CENTS if value != "-1"), "-9007199254740992"]),
    ("update account", "overdraft_limit_cents", NOT_CENTS),
    ("update account", "frozen", NOT_FREEZES),
    ("open account", "overdraft_limit_cents", NOT_CENTS),
    ("open account", "max_balance_cents", [*(value for value in NOT_CENTS if value != "-1"), "-9007199254740992"]),
    ("update account", "max_balance_cents", [*(value for value in NOT_CENTS if value != "-1"), "-9007199254740992"]),
    ("open account", "frozen", NOT_FREEZES),
    ("update account", "currency", NOT_CURRENCIES),
    ("transfer", "id", NOT_IDS),
    ("transfer", "source_account_id", [*NOT_ACCOUNTS, "null"]),
    ("transfer", "destination_account_id", [*NOT_ACCOUNTS, "null"]),
    ("transfer", "amount_cents", [*NOT_CENTS, "null", "0", "-0"]),
    ("transfer", "reference", ['""', '" x"', '"' + "x" * 201 + '"', *CONTROL, *NOT_TEXT]),
    ("transfer", "description", ['""', '" x"', '"' + "x" * 501 + '"', *CONTROL, *NOT_TEXT]),
    ("transfer", "metadata", ["7", "true", "[]", f'"{CANARY}"', json.dumps({str(n): "" for n in range(51)})]),
    ("transfer", "effective_at", NOT_DATES),
    ("hold", "expires_at", NOT_TIMES),
    ("hold", "expires_in_seconds", [*NOT_CENTS, "0", "31622401"]),
    ("hold", "amount_cents", [*NOT_CENTS, "null", "0"]),
    ("entry", "postings", NOT_POSTINGS),
]

REQUIRED = [
    *(("create user", member) for member in USER if member != "roles"),
    *(("update user", member) for member in ("username", "email")),
    ("open account", "user_id"),
    *(("transfer", member) for member in TRANSFER),
]

BROKEN = {
    "a member twice": b'{"username": "carol", "username": "carol"}',
    "a member twice, once escaped": b'{"amount_cents": 1, "amount\\u005fcents": 100}',
    "a member twice, in a member": b'{"metadata": {"order": "1", "order": "2"}}',
    "a member twice, that is ignored": b'{"status": 1, "status": 1}',
    "nothing": b"",
    "blanks": b" \n",
    "half": b'{"username": "carol"',
    "two": b"{} {}",
    "comment": b"{} // really",
    "single quotes": b"{'username': 'carol'}",
    "trailing comma": b'{"username": "carol",}',
    "invalid UTF-8": b'{"username": "\xff\xfe"}',
    "overlong UTF-8": b'{"username": "\xc0\x80"}',
    "surrogate in UTF-8": b'{"username": "\xed\xa0\x80"}',
    "UTF-16": '{"username": "carol"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "high surrogate": b'{"username": "\\ud800"}',
    "low surrogate": b'{"username": "\\udc00"}',
    "surrogates swapped": b'{"username": "\\udc00\\ud800"}',
    "surrogate in a name": b'{"\\ud800": 1}',
    "raw control character": b'{"username": "a\x01b"}',
    "brackets": b"[" * 60_000,
    "braces": b'{"a":' * 12_000,
    "a number of 5000 digits": b'{"amount_cents": ' + b"9" * 5000 + b"}",
    "a leading zero": b'{"amount_cents": 025}',
    "hexadecimal": b'{"amount_cents": 0x19}',
    "a plus": b'{"amount_cents": +25}',
}
NO_OBJECTS = [b"[]", b"7", b'"text"', b"null", b"true", b"[{}]", b'"' + CANARY.encode() + b'"']


async def events(connection: "asyncpg.Connection[Any]") -> int:
    return int(await connection.fetchval("SELECT count(*) FROM stored_events"))


async def send(api: Api, route: str, raw: str | bytes, **headers: str) -> Any:
    method, path, _ = ROUTES[route]
    return await api.call(method, path, data=raw, headers={"Content-Type": "application/json", **headers})


def body_with(route: str, member: str, value: str) -> str:
    """Return a valid body with one member replaced by JSON text."""
    members = {name: json.dumps(good) for name, good in ROUTES[route][2].items()} | {member: value}
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"


@pytest.mark.parametrize(
    ("route", "member", "values"), FIELDS, ids=[f"{route}: {member}" for route, member, _ in FIELDS]
)
async def test_an_invalid_member_is_refused_by_name_and_changes_nothing(
    api: Api, connection: "asyncpg.Connection[Any]", route: str, member: str, values: list[str]
) -> None:
    before = await events(connection)

    answers = {value: await send(api, route, body_with(route, member, value)) for value in values}

    named = (422, {"validation_error"}, {f"/{member}"})
    assert dict.fromkeys(values, named) == {
        value: (answer.status, set(answer.codes), set(answer.pointers)) for value, answer in answers.items()
    }
    assert {"validation_error"} == {entry["kind"] for answer in answers.values() for entry in answer.body["errors"]}
    assert [] == [value for value, answer in answers.items() if CANARY in json.dumps(answer.body)]
    assert before == await events(connection)


@pytest.mark.parametrize(("route", "member"), REQUIRED)
async def test_a_missing_member_is_named(
    api: Api, connection: "asyncpg.Connection[Any]", route: str, member: str
) -> None:
    before = await events(connection)
    body = {name: value for name, value in ROUTES[route][2].items() if name != member}

    answer = await send(api, route, json.dumps(body))

    assert (422, ["validation_error"], [f"/{member}"]) == (answer.status, answer.codes, answer.pointers)
    assert before == await events(connection)


@pytest.mark.parametrize("route", ROUTES)
async def test_an_unknown_member_is_named_without_its_value(
    api: Api, connection: "asyncpg.Connection[Any]", route: str
) -> None:
    """The pointer is escaped as RFC 6901, section 3, requires."""
    before = await events(connection)
    pointers = {
        "nickname": "/nickname",
        "a/b~c": "/a~1b~0c",
        "": "/",
        "Username": "/Username",
        "__class__": "/__class__",
    }

    for member, pointer in pointers.items():
        answer = await send(api, route, json.dumps({**ROUTES[route][2], member: CANARY}))

        assert (422, ["validation_error"], [pointer]) == (answer.status, answer.codes, answer.pointers)
        assert CANARY not in json.dumps(answer.body)
    assert before == await events(connection)


@pytest.mark.parametrize("route", ROUTES)
async def test_no_response_repeats_a_secret(api: Api, route: str) -> None:
    body = {**ROUTES[route][2], "nickname": 1, "password": CANARY, "password_hash": CANARY}

    answer = await send(api, route, json.dumps(body))

    assert (422, False) == (answer.status, CANARY in json.dumps(answer.body))


@pytest.mark.parametrize("route", ROUTES)
async def test_invalid_json_is_malformed(api: Api, connection: "asyncpg.Connection[Any]", route: str) -> None:
    before = await events(connection)

    answers = {flaw: await send(api, route, raw) for flaw, raw in BROKEN.items()}

    assert dict.fromkeys(BROKEN, (400, ["malformed_request"])) == {
        flaw: (answer.status, answer.codes) for flaw, answer in answers.items()
    }
    assert before == await events(connection)


@pytest.mark.parametrize(
    "raw", ['{"username": "\\ud800"}', '{"\\udfff": 1}', '{"username": ' + "[" * 900 + "]" * 900 + "}"]
)
async def test_json_that_only_the_standard_library_accepts_is_malformed_with_a_reason(api: Api, raw: str) -> None:
    answer = await send(api, "create user", raw)

    assert (400, ["malformed_request"]) == (answer.status, answer.codes)
    assert "the body is nested too deeply, or has half of a surrogate pair" == answer.body["errors"][0]["reason"]


@pytest.mark.parametrize("route", ROUTES)
async def test_nesting_as_deep_as_a_large_body_allows_is_malformed(
    serve: Serve, settings: Settings, route: str
) -> None:
    api = await serve(settings.model_copy(update={"ledger_body_limit_bytes": 1_000_000}))

    for raw in ("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"created_at":' * 60_000 + "1" + "}" * 60_000):
        answer = await send(api, route, raw)

        assert (400, ["malformed_request"]) == (answer.status, answer.codes)


@pytest.mark.parametrize("route", ROUTES)
async def test_a_body_that_is_not_an_object_is_named_as_a_whole(
    api: Api, connection: "asyncpg.Connection[Any]", route: str
) -> None:
    before = await events(connection)

    answers = [await send(api, route, raw) for raw in NO_OBJECTS]

    assert [(422, ["validation_error"], [""])] * len(NO_OBJECTS) == [
        (answer.status, answer.codes, answer.pointers) for answer in answers
    ]
    assert [] == [answer for answer in answers if CANARY in json.dumps(answer.body)]
    assert before == await events(connection)


@pytest.mark.parametrize("route", ["create user", "open account", "transfer"])
@pytest.mark.parametrize("member", ["id", "created_at"])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "a-key"}], ids=["without a key", "with a key"])
async def test_non_json_numbers_are_malformed_even_in_ignored_members(
    api: Api, connection: "asyncpg.Connection[Any]", route: str, member: str, headers: dict[str, str]
) -> None:
    """RFC 8259, section 6, has no NaN or Infinity, and 1e999 would become one."""
    before = await events(connection)
    values = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"]

    answers = {value: await send(api, route, body_with(route, member, value), **headers) for value in values}

    assert dict.fromkeys(values, 400) == {value: answer.status for value, answer in answers.items()}
    assert [["malformed_request"]] * len(values) == [answer.codes for answer in answers.values()]
    assert before == await events(connection)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "a-key"}], ids=["without a key", "with a key"])
@pytest.mark.parametrize("value", ['"\\u0000"', "9" * 400, "1e300", "[[[[[[]]]]]]", '{"a": {"b": null}}', '"x\\ny"'])
async def test_ignored_members_can_have_any_other_value(api: Api, headers: dict[str, str], value: str) -> None:
    answer = await send(api, "create user", body_with("create user", "created_at", value), **headers)

    assert 201 == answer.status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, path) for path in ("/v1/users", "/v1/accounts") for method in ("GET", "PUT", "DELETE")),
        ("GET", "/v1/transactions"),
    ],
)
async def test_a_malformed_id_in_the_path_is_refused(api: Api, method: str, path: str) -> None:
    codes = ["7", CANARY, NOBODY[:-1], NOBODY + "0", NOBODY.replace("-", "", 1)]  # of accounts
    none = [f"{NOBODY}%00", f"{NOBODY}%0A", "%F0%9F%98%80", "%ff", "%20", "..%2F"]

    for id_ in none if path == "/v1/accounts" else [*none, *codes]:
        answer = await api.call(method, f"{path}/{id_}", {} if method == "PUT" else None)

        assert (422, ["validation_error"], ["path id"]) == (answer.status, answer.codes, answer.parameters)
        assert CANARY not in answer.body["errors"][0]["message"]


async def test_all_invalid_members_are_reported_together(api: Api) -> None:
    body = {"username": 7, "email": "nowhere", "password": "short", "roles": "root", "nickname": "c"}

    answer = await send(api, "create user", json.dumps(body))

    assert 422 == answer.status
    assert {"/username", "/email", "/password", "/roles", "/nickname"} == set(answer.pointers)
    assert 5 == len(answer.body["errors"])


async def test_ids_are_accepted_in_every_form_of_rfc_9562_and_returned_in_canonical_form(api: Api) -> None:
    """In bodies, paths and parameters, because libraries of some languages write only one of these forms."""
    user_id = str(new_id())
    forms = [user_id, user_id.upper(), user_id.replace("-", ""), f"urn:uuid:{user_id}", f"URN:UUID:{user_id.upper()}"]
    created = await api.new_user(id=forms[3])
    accounts = [await api.new_account(user_id=form) for form in forms]

    by_path = [await api.get(f"/v1/users/{form}") for form in forms]
    by_parameter = [await api.get("/v1/accounts", params={"user_id": form}) for form in forms]

    assert user_id == created["id"]
    assert [user_id] * len(forms) == [answer.body["id"] for answer in by_path]
    assert [user_id] * len(forms) == [account["user_id"] for account in accounts]
    assert [[account["id"] for account in reversed(accounts)]] * len(forms) == [
        [account["id"] for account in answer.body] for answer in by_parameter
    ]
