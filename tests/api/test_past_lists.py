"""Lists at a point in time show what the present lists showed then: transactions, pending holds, users and entries."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import pytest

from ledger.audit import transactions_at
from ledger.store import beginnings
from tests.support.controls import Api, new_id
from tests.support.holds import due, hold
from tests.support.paging import all_items
from tests.support.processes import until

Body = dict[str, Any]


async def end(api: Api) -> int:
    """Return the position of the log's end."""
    return int((await api.get("/v1/ledger/trial-balance")).body["position"])


class Diary:
    """Notes what a list showed at positions, to compare it later with the list at each of them."""

    def __init__(self, api: Api, paths: Sequence[str]) -> None:
        self.api, self.paths = api, paths
        self.shown: list[tuple[str, int, list[Body]]] = []

    async def note(self) -> None:
        for path in self.paths:
            self.shown.append((path, await end(self.api), (await self.api.get(path)).body))

    async def compare(self) -> None:
        for path, position, expected in self.shown:
            mark = "&" if "?" in path else "?"
            found = await self.api.get(f"{path}{mark}at_position={position}")
            assert 200 == found.status, (path, found)
            if "pending" in path:  # in the order in which they were placed
                assert sorted(expected, key=itemgetter("id")) == sorted(found.body, key=itemgetter("id"))
            else:
                assert expected == found.body, (path, position)


@pytest.fixture
async def accounts(api: Api) -> tuple[Body, Body]:
    return await api.new_account(balance_cents=1000), await api.new_account(balance_cents=500)


async def record(api: Api, accounts: tuple[Body, Body], diary: Diary) -> None:
    """Make transactions of every kind, and change their states, one step after the other."""
    one, other = accounts
    await diary.note()
    moved = (await api.transfer(one, other, 30)).body
    await diary.note()
    first, second = await hold(api, accounts, 60, reference="stay"), await hold(api, accounts, 50)
    await diary.note()
    await api.post(f"/v1/transactions/{first['id']}/capture", {"amount_cents": 20, "final": False})
    await diary.note()
    await api.post(f"/v1/transactions/{second['id']}/void", {})
    await api.patch(f"/v1/transactions/{moved['id']}", {"description": "lunch", "metadata": {"shop": "corner"}})
    await diary.note()
    postings = [{"account_id": one["id"], "amount_cents": -7}, {"account_id": other["id"], "amount_cents": 7}]
    await api.post("/v1/transactions", {"postings": postings})
    await api.post(f"/v1/transactions/{moved['id']}/reverse", {"amount_cents": 10})
    await diary.note()
    await api.post(f"/v1/transactions/{first['id']}/capture", {"amount_cents": 25, "reference": "minibar"})
    await diary.note()
    await api.post(f"/v1/transactions/{moved['id']}/reverse", {})
    await api.transfer(other, one, 3)
    await diary.note()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?account_id={one}",
        "?kind=journal",
        "?kind=reversal",
        "?kind=opening",
        "?currency=USD&min_amount_cents=20&max_amount_cents=55",
        "?reference=minibar",
        "?reference=stay",
        "?status=posted",
        "?status=pending",
        "?status=pending&kind=hold&account_id={one}",
        "?status=voided",
    ],
)
async def test_transactions_are_those_of_then(api: Api, accounts: tuple[Body, Body], query: str) -> None:
    diary = Diary(api, [f"/v1/transactions{query.format(one=accounts[0]['id'])}"])
    await record(api, accounts, diary)

    await diary.compare()


async def test_single_transactions_are_as_they_were(api: Api, accounts: tuple[Body, Body]) -> None:
    seen = Diary(api, [])
    placed = await hold(api, accounts, 60)
    seen.paths = [f"/v1/transactions/{placed['id']}"]
    await seen.note()
    await api.post(f"/v1/transactions/{placed['id']}/capture", {"amount_cents": 20})
    await seen.note()

    await seen.compare()
    before = await api.get(f"{seen.paths[0]}?at_position={seen.shown[0][1] - 10}")
    assert ["transaction_not_found"] == before.codes


async def test_holds_are_listed_in_the_order_in_which_they_were_placed(api: Api, accounts: tuple[Body, Body]) -> None:
    placed = [await hold(api, accounts, 10) for _ in range(3)]
    await api.post(f"/v1/transactions/{placed[0]['id']}/capture", {})
    found = (await api.get(f"/v1/transactions?kind=hold&at_position={await end(api)}")).body

    assert [one["id"] for one in reversed(placed)] == [one["id"] for one in found]
    assert ["pending", "pending", "captured"] == [one["status"] for one in found]


@pytest.mark.parametrize("most", [1000, 1])
async def test_holds_that_ended_since_were_pending_then(
    api: Api, accounts: tuple[Body, Body], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(transactions_at, "MAX_LATER", most)
    ends = ("capture", "void", "none")
    placed = [await hold(api, accounts, 10) for _ in ends]
    then = await end(api)
    for one, way in zip(placed, ends, strict=True):
        if way != "none":
            await api.post(f"/v1/transactions/{one['id']}/{way}", {})
    later = await hold(api, accounts, 10)

    assert {one["id"] for one in placed} == {
        one["id"] for one in (await api.get(f"/v1/transactions?status=pending&at_position={then}")).body
    }
    assert {placed[2]["id"], later["id"]} == {
        one["id"] for one in (await api.get(f"/v1/transactions?status=pending&at_position={await end(api)}")).body
    }


async def test_an_expiry_counts_once_it_is_recorded(api: Api, accounts: tuple[Body, Body]) -> None:
    placed = await due(api, accounts, 10)

    async def is_recorded() -> bool:
        events = (await api.get(f"/v1/events?stream={placed['id']}")).body
        return bool("HoldExpired" == events[-1]["topic"])

    await until(is_recorded)
    first, last = (await api.get(f"/v1/events?stream={placed['id']}")).body
    path = f"/v1/transactions/{placed['id']}?at_position="
    assert "pending" == (await api.get(path + str(first["position"]))).body["status"]
    assert "expired" == (await api.get(path + str(last["position"]))).body["status"]


@pytest.mark.parametrize("query", ["", "&account_id={one}", "&kind=hold", "&status=posted"])
async def test_pages_are_complete(
    api: Api, accounts: tuple[Body, Body], monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    await record(api, accounts, Diary(api, []))
    path = f"/v1/transactions?at_position={await end(api)}{query.format(one=accounts[0]['id'])}"
    whole = [one["id"] for one in (await api.get(path)).body]
    for name, value in (("SCANNED_EVENTS", 4), ("FOLLOWING", 12)):
        monkeypatch.setattr(beginnings, name, value)
    monkeypatch.setattr(transactions_at, "SCAN", 3)

    found = [one["id"] for one in await all_items(api, f"{path}&limit=1")]
    assert whole == found
    assert len(whole) >= 2


async def test_customers_see_what_was_theirs_then(api: Api, accounts: tuple[Body, Body]) -> None:
    before, after = await api.as_new_user("customer"), await api.as_new_user("customer")
    account = await api.new_account(before.user_id, balance_cents=100)
    moved = (await api.transfer(account, accounts[1], 30)).body
    placed = await hold(api, (account, accounts[1]), 10)
    then = await end(api)
    await api.put(f"/v1/accounts/{account['id']}", {"user_id": after.user_id})
    now = await end(api)

    async def ids(caller: Api, position: int) -> set[str]:
        answer = await caller.get(f"/v1/transactions?kind=transfer&at_position={position}")
        holds = await caller.get(f"/v1/transactions?kind=hold&at_position={position}")
        return {one["id"] for one in (*answer.body, *holds.body)}

    assert {moved["id"], placed["id"]} == await ids(before, then) == await ids(before, now)
    assert set() == await ids(after, then)
    assert {placed["id"]} == await ids(after, now)  # a pending hold belongs to the present owner too
    assert 404 == (await after.get(f"/v1/transactions/{moved['id']}?at_position={now}")).status
    assert 200 == (await before.get(f"/v1/transactions/{moved['id']}?at_position={now}")).status


async def test_of_a_journal_entry_customers_see_own_postings(api: Api, accounts: tuple[Body, Body]) -> None:
    customer = await api.as_new_user("customer")
    own = await api.new_account(customer.user_id)
    postings = [{"account_id": accounts[0]["id"], "amount_cents": -7}, {"account_id": own["id"], "amount_cents": 7}]
    entry = (await api.post("/v1/transactions", {"postings": postings})).body
    found = (await customer.get(f"/v1/transactions?at_position={await end(api)}")).body

    assert [entry["id"]] == [one["id"] for one in found]
    assert [own["id"]] == [one["account_id"] for one in found[0]["postings"]]


async def test_scheduled_transactions_are_what_they_were(api: Api, accounts: tuple[Body, Body]) -> None:
    diary = Diary(api, ["/v1/transactions?status=scheduled", "/v1/transactions?kind=transfer", "/v1/transactions"])
    body = {
        "source_account_id": accounts[0]["id"],
        "destination_account_id": accounts[1]["id"],
        "amount_cents": 5,
        "execute_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    }
    planned = (await api.post("/v1/transactions/transfer", body)).body
    await diary.note()
    await api.post(f"/v1/transactions/{planned['id']}/void", {})
    await diary.note()

    await diary.compare()


@pytest.mark.parametrize("query", ["user_id={id}", "authorized_from=2026-01-01", "authorized_to=2026-01-01"])
async def test_filters_by_the_present_are_refused(api: Api, query: str) -> None:
    answer = await api.get(f"/v1/transactions?at_position=1&{query.format(id=new_id())}")

    assert (422, [f"query {query.partition('=')[0]}"]) == (answer.status, answer.parameters)


async def test_users_are_as_they_were(api: Api) -> None:
    diary = Diary(api, ["/v1/users", "/v1/users?active=true"])
    user, gone = await api.new_user(), await api.new_user()
    await diary.note()
    await api.patch(f"/v1/users/{user['id']}", {"active": False, "roles": "guest", "email": "new@example.com"})
    await diary.note()
    await api.delete(f"/v1/users/{gone['id']}")
    await diary.note()

    await diary.compare()
    path = f"/v1/users/{gone['id']}?at_position="
    assert gone == (await api.get(path + str(diary.shown[0][1]))).body
    assert 404 == (await api.get(path + str(diary.shown[-1][1]))).status
    assert 404 == (await api.get(path + "1")).status
    named = await api.get(f"/v1/users?username={gone['username']}&at_position={diary.shown[0][1]}")
    assert [gone] == named.body


async def test_entries_end_at_the_point_in_time(api: Api, accounts: tuple[Body, Body]) -> None:
    paths = [f"/v1/accounts/{accounts[0]['id']}/entries{order}" for order in ("", "?order=asc")]
    diary = Diary(api, paths)
    await diary.note()
    await api.transfer(*accounts, 5)
    await diary.note()
    await api.transfer(*accounts, 5)

    await diary.compare()
