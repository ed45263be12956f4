"""Accounts have codes, names, types and metadata, which admins set and change."""

import asyncio
from typing import Any

import pytest

from tests.support.controls import Api

LABELS: dict[str, Any] = {
    "code": "assets:bank:main",
    "name": "Main account",
    "type": "asset",
    "metadata": {"branch": "042"},
}


def labels_of(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in LABELS if name in body}


async def test_an_account_is_opened_with_its_labels(api: Api) -> None:
    account = await api.new_account(**LABELS)
    assert labels_of(account) == LABELS
    assert labels_of((await api.get(f"/v1/accounts/{account['id']}")).body) == LABELS
    assert labels_of(await api.new_account()) == {}


async def test_a_patch_merges_metadata_and_null_removes(api: Api) -> None:
    path = f"/v1/accounts/{(await api.new_account(**LABELS))['id']}"
    changed = await api.patch(path, {"name": None, "type": "equity", "metadata": {"branch": None, "city": "Bern"}})
    assert (200, {"code": LABELS["code"], "type": "equity", "metadata": {"city": "Bern"}}) == (
        changed.status,
        labels_of(changed.body),
    )
    emptied = await api.patch(path, dict.fromkeys(LABELS))
    assert (200, {}) == (emptied.status, labels_of(emptied.body))


async def test_a_put_leaves_absent_labels_and_replaces_metadata(api: Api) -> None:
    path = f"/v1/accounts/{(await api.new_account(**LABELS))['id']}"
    changed = await api.put(path, {"name": "Second account", "code": None, "metadata": {"city": "Bern"}})
    expected = {**LABELS, "name": "Second account", "metadata": {"city": "Bern"}}
    assert (200, expected) == (changed.status, labels_of(changed.body))
    assert changed.body == (await api.put(path, changed.body)).body


async def test_a_change_of_labels_is_an_event_and_an_unchanged_label_is_none(api: Api) -> None:
    account = await api.new_account(**LABELS)
    path = f"/v1/accounts/{account['id']}"
    before = (await api.get(path)).headers["ETag"]
    again = await api.patch(path, LABELS)
    assert before == again.headers["ETag"]
    changed = await api.patch(path, {"name": "Another"}, headers={"If-Match": before})
    assert 200 == changed.status
    assert before != changed.headers["ETag"]
    assert 412 == (await api.patch(path, {"name": "Late"}, headers={"If-Match": before})).status
    events = (await api.get(f"{path}/events")).body
    assert [LABELS["name"], "Another"] == [
        event["state"]["name"] for event in events if event["topic"] == "AccountDescribed"
    ]


async def test_a_code_belongs_to_one_account_whatever_its_case(api: Api) -> None:
    first, second = await api.new_account(code="assets:cash"), await api.new_account()
    for refused in (
        await api.post("/v1/accounts", {"user_id": first["user_id"], "code": "Assets:CASH"}),
        await api.patch(f"/v1/accounts/{second['id']}", {"code": "assets:Cash"}),
    ):
        assert (409, ["account_already_exists"], ["/code"]) == (refused.status, refused.codes, refused.pointers)
    respelt = await api.patch(f"/v1/accounts/{first['id']}", {"code": "Assets:Cash"})
    assert (200, "Assets:Cash") == (respelt.status, respelt.body["code"])


async def test_a_code_that_was_changed_or_removed_is_free(api: Api) -> None:
    first, second = await api.new_account(code="a:b"), await api.new_account()
    assert 200 == (await api.patch(f"/v1/accounts/{first['id']}", {"code": "a:c"})).status
    assert 200 == (await api.patch(f"/v1/accounts/{second['id']}", {"code": "a:b"})).status
    assert 200 == (await api.patch(f"/v1/accounts/{second['id']}", {"code": None})).status
    assert 200 == (await api.patch(f"/v1/accounts/{first['id']}", {"code": "A:B"})).status


async def test_a_closed_account_can_give_up_its_code(api: Api) -> None:
    account = await api.new_account(code="old")
    path = f"/v1/accounts/{account['id']}"
    await api.delete(path)
    assert 422 == (await api.patch(path, {"code": None, "frozen": "all"})).status
    assert 200 == (await api.patch(path, {"code": None})).status
    assert "old" == (await api.new_account(code="old"))["code"]


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"code": ""}, "/code"),
        ({"code": ":a"}, "/code"),
        ({"code": "a::b"}, "/code"),
        ({"code": "a:-b"}, "/code"),
        ({"code": "a b"}, "/code"),
        ({"code": "é"}, "/code"),
        ({"code": "x" * 65}, "/code"),
        ({"code": ":".join("a" * 17)}, "/code"),
        ({"code": ":".join(["a" * 63] * 4)}, None),
        ({"code": ":".join(["a" * 64] * 4)}, "/code"),
        ({"code": "01890a5d-ac96-774b-bcce-b302099a8057"}, "/code"),
        ({"code": "01890A5DAC96774BBCCEB302099A8057"}, "/code"),
        ({"code": "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057"}, "/code"),
        ({"name": ""}, "/name"),
        ({"name": " a"}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"type": "debt"}, "/type"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
    ],
    ids=str,
)
async def test_labels_have_a_form(api: Api, members: dict[str, Any], pointer: str | None) -> None:
    body = {"user_id": (await api.new_user())["id"], **members}
    response = await api.post("/v1/accounts", body)
    assert (201, None) == (response.status, pointer) or (422, [pointer]) == (response.status, response.pointers)


async def test_merged_metadata_has_as_many_members_as_any(api: Api) -> None:
    path = f"/v1/accounts/{(await api.new_account(metadata={f'k{n}': '' for n in range(50)}))['id']}"
    refused = await api.patch(path, {"metadata": {"one more": ""}})
    assert (422, ["/metadata"]) == (refused.status, refused.pointers)
    assert 200 == (await api.patch(path, {"metadata": {"one more": "", "k1": None}})).status


async def test_concurrent_changes_keep_each_other(api: Api) -> None:
    path = f"/v1/accounts/{(await api.new_account())['id']}"
    await asyncio.gather(*(api.patch(path, {"metadata": {f"k{n}": str(n)}}) for n in range(8)))
    assert {f"k{n}": str(n) for n in range(8)} == (await api.get(path)).body["metadata"]


async def test_labels_are_those_of_the_point_in_time(api: Api) -> None:
    account = await api.new_account(**LABELS)
    path = f"/v1/accounts/{account['id']}"
    first = (await api.get(f"{path}?at_version=99")).body
    changed = await api.patch(path, {"code": "assets:other", "metadata": None})
    now = (await api.get(f"{path}?at_position={changed.headers['Ledger-Position']}")).body
    then = (await api.get(f"{path}?at_position={first['position']}")).body
    assert first == then
    assert {**LABELS, "code": "assets:other"} == labels_of(now) | {"metadata": LABELS["metadata"]}
    assert changed.body == {name: value for name, value in now.items() if name not in {"version", "position"}}
    listed = (await api.get(f"/v1/accounts?at_position={first['position']}")).body
    assert [LABELS] == [labels_of(one) for one in listed]
