"""Lists in pages: each cursor is good for one caller, one list and one choice of filters, and tells nothing."""

import base64
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from ledger.keys import new_private_pem
from ledger.settings import Settings
from tests.controls import Answer, Api


def next_of(answer: Answer) -> str | None:
    """The path of the next page."""
    link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
    return link and link[1]


def cursor_of(answer: Answer) -> str:
    path = next_of(answer)
    assert path is not None
    return URL(path).query["cursor"]


async def all_of(api: Api, path: str | None) -> list[dict[str, Any]]:
    """Everything in a list, page by page."""
    found: list[dict[str, Any]] = []
    while path is not None:
        answer = await api.get(path)
        assert 200 == answer.status, answer
        found += answer.body
        path = next_of(answer)
    return found


def assert_refused(answer: Answer, pointer: str) -> None:
    assert (422, ["validation_error"], [pointer]) == (answer.status, answer.codes, answer.pointers)


@pytest.fixture
async def account(api: Api) -> dict[str, Any]:
    """An account with three lines, beside another."""
    source, sink = await api.new_account(balance_cents=100), await api.new_account()
    for cents in (1, 2):
        assert 200 == (await api.transfer(source, sink, cents)).status
    return source


@pytest.fixture
def lists(account: dict[str, Any], api: Api) -> list[str]:
    """Every list that has more than one item now."""
    del api
    return [
        "/v1/users?limit=1",
        "/v1/accounts?limit=1",
        "/v1/accounts?limit=1&at_position=100",
        f"/v1/accounts/{account['id']}/entries?limit=1",
        f"/v1/accounts/{account['id']}/entries?limit=1&order=asc",
        f"/v1/accounts/{account['id']}/events?limit=1",
        "/v1/events?limit=1",
        "/v1/events?limit=1&topic=AccountDebited",
    ]


async def test_every_list_is_walked_to_its_end_once(api: Api, lists: list[str]) -> None:
    for path in lists:
        whole = (await api.get(path.replace("limit=1", "limit=200"))).body
        assert len(whole) > 1, path
        assert whole == await all_of(api, path), path


async def test_a_cursor_of_one_list_is_refused_by_every_other(api: Api, lists: list[str]) -> None:
    cursors = {path: cursor_of(await api.get(path)) for path in lists}
    for path in lists:
        for other, cursor in cursors.items():
            answer = await api.get(f"{path}&cursor={cursor}")
            assert (path == other) == (answer.status == 200), (path, other)
            assert path == other or ["/cursor"] == answer.pointers


async def test_a_cursor_of_another_caller_is_refused(api: Api, lists: list[str]) -> None:
    """Lesson 35: not even an admin can go on where another did."""
    other = await api.as_new_user("admin")
    for path in lists:
        assert_refused(await other.get(f"{path}&cursor={cursor_of(await api.get(path))}"), "/cursor")


async def test_a_customer_reads_nothing_by_the_cursor_of_another(api: Api) -> None:
    """Lesson 35."""
    one, other = [await api.as_new_user("customer") for _ in range(2)]
    for owner in (one, other):
        for _ in range(2):
            await api.new_account(owner.user_id)

    cursor = cursor_of(await other.get("/v1/accounts?limit=1"))

    assert_refused(await one.get(f"/v1/accounts?limit=1&cursor={cursor}"), "/cursor")


async def test_a_cursor_goes_on_with_the_filters_that_it_was_made_with(
    api: Api, account: dict[str, Any], lists: list[str]
) -> None:
    del lists
    path = f"/v1/accounts/{account['id']}/entries"
    cursor = cursor_of(await api.get(f"{path}?limit=1&from_version=1"))

    assert 200 == (await api.get(f"{path}?limit=2&from_version=1&cursor={cursor}")).status  # a page may be longer
    assert 200 == (await api.get(f"/v2{path[3:]}?from_version=1&cursor={cursor}")).status  # the same API
    for other in ("", "from_version=2&", "from_version=1&order=asc&", "from_version=1&x=&"):
        assert_refused(await api.get(f"{path}?{other}limit=1&cursor={cursor}"), "/cursor")


async def test_a_cursor_that_was_changed_is_refused(api: Api, lists: list[str]) -> None:
    path = lists[0]
    cursor = cursor_of(await api.get(path))
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = [raw[:16] + b"1", raw[:15] + bytes([raw[15] ^ 1]) + raw[16:], raw[:16], raw[16:], raw + b" ", b""]

    for text in (
        *(base64.urlsafe_b64encode(some).decode().rstrip("=") for some in forged),
        *("", "1", "%00", "ü", "=", "a" * 257, cursor[:-1], cursor + "=", cursor + "&cursor=" + cursor),
    ):
        assert_refused(await api.get(f"{path}&cursor={text}"), "/cursor")


async def test_cursors_need_no_shared_secret(
    serve: Callable[[Settings], Awaitable[Api]], settings: Settings, tmp_path: Path
) -> None:
    """They follow from whatever key signs the tokens: all workers make the same, and one with another key does not."""
    apis = []
    for name in ("one", "one", "another"):
        file = tmp_path / name
        if not file.exists():
            file.write_text(new_private_pem())
        apis.append(await serve(settings.model_copy(update={"ledger_jwt_key_file": file, "jwt_secret": None})))
    for _ in range(2):
        await apis[0].new_user()

    cursor = cursor_of(await apis[0].get("/v1/users?limit=1"))

    assert [200, 200, 422] == [(await api.get(f"/v1/users?limit=1&cursor={cursor}")).status for api in apis]
