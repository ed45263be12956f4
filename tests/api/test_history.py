"""Pages of account statements, account events and the whole log."""

from typing import Any

import pytest

from ledger.events.accounts import world_account_id
from ledger.runtime import Runtime
from ledger.store import reader as event_reader
from ledger.store.reader import EventFilter
from tests.support.controls import NOBODY, Api, Response, transfer_body

WORLD = str(world_account_id("USD"))


async def two_accounts(api: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two accounts, with 100 and with 0."""
    return await api.new_account(balance_cents=100), await api.new_account()


async def send_transfer(api: Api, source: Any, destination: Any, amount_cents: int) -> dict[str, Any]:
    answer = await api.transfer(source, destination, amount_cents)
    assert 200 == answer.status
    body: dict[str, Any] = answer.body
    return body


async def pages(api: Api, path: str) -> list[list[dict[str, Any]]]:
    """Return all pages, following the links."""
    found = []
    answer = await api.get(path)
    while True:
        assert 200 == answer.status, answer
        found.append(answer.body)
        if "Link" not in answer.headers:
            return found
        url, relation = answer.headers["Link"].split("; ")
        assert 'rel="next"' == relation
        answer = await api.get(url.strip("<>"))


async def all_of(api: Api, path: str) -> list[dict[str, Any]]:
    return [item for page in await pages(api, path) for item in page]


# Statements.


async def test_an_entry_has_the_amount_the_balance_and_the_other_account(api: Api) -> None:
    source, destination = await two_accounts(api)
    body = {**transfer_body(source, destination, 30), "reference": "rent"}
    transfer = (await api.post("/v1/transactions/transfer", body)).body
    (line, opening) = (await api.get(f"/v1/accounts/{source['id']}/entries")).body
    assert {
        "account_id": source["id"],
        "version": 3,
        "position": line["position"],
        "transaction_id": transfer["id"],
        "other_account_id": destination["id"],
        "amount_cents": -30,
        "balance_cents": 70,
        "kind": "transfer",
        "reference": "rent",
        "created_at": transfer["created_at"],
    } == line
    assert (WORLD, 100, 100, "opening") == tuple(
        opening[name] for name in ("other_account_id", "amount_cents", "balance_cents", "kind")
    )
    (other,) = (await api.get(f"/v1/accounts/{destination['id']}/entries")).body
    assert (source["id"], 30, 30) == (other["other_account_id"], other["amount_cents"], other["balance_cents"])


async def test_an_entry_has_the_details_of_its_transaction(api: Api) -> None:
    source, destination = await two_accounts(api)
    details = {
        "reference": "rent",
        "description": "May, first floor",
        "metadata": {"flat": "1a", "é": "ü"},
        "effective_at": "2026-05-01T00:00:00.000000Z",
    }
    transfer = (await api.post("/v1/transactions/transfer", {**transfer_body(source, destination, 30), **details})).body
    reversal = (await api.post(f"/v1/transactions/{transfer['id']}/reverse", {"description": "a mistake"})).body
    for account in (source, destination):
        back, line = (await api.get(f"/v1/accounts/{account['id']}/entries?limit=2")).body
        assert details == {name: line[name] for name in details}
        assert ("a mistake", transfer["id"]) == (back["description"], back["reverses"])
        assert reversal["id"] == back["transaction_id"]
        assert not {"metadata", "effective_at"} & back.keys()
        assert "reverses" not in line


async def test_the_running_balance_is_the_sum_of_the_entries(api: Api) -> None:
    source, destination = await two_accounts(api)
    for amount in (1, 2, 3):
        await send_transfer(api, source, destination, amount)
        await send_transfer(api, destination, source, 1)
    lines = await all_of(api, f"/v1/accounts/{source['id']}/entries?order=asc")
    sums = [sum(line["amount_cents"] for line in lines[: number + 1]) for number in range(len(lines))]
    assert sums == [line["balance_cents"] for line in lines]
    assert await api.balance(source) == sums[-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 200])
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_have_every_entry_once_in_order(api: Api, order: str, limit: int) -> None:
    source, destination = await two_accounts(api)
    for _ in range(3):
        await send_transfer(api, source, destination, 1)
    found = await pages(api, f"/v1/accounts/{source['id']}/entries?order={order}&limit={limit}")
    versions = [2, 3, 4, 5] if order == "asc" else [5, 4, 3, 2]
    assert versions == [line["version"] for page in found for line in page]
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


async def test_bounds_of_a_period_are_included(api: Api) -> None:
    source, destination = await two_accounts(api)
    first, second, third = [await send_transfer(api, source, destination, 1) for _ in range(3)]  # versions 3, 4 and 5

    async def versions(**query: Any) -> list[int]:
        answer = await api.get(f"/v1/accounts/{source['id']}/entries", params={"order": "asc", **query})
        assert 200 == answer.status
        return [line["version"] for line in answer.body]

    assert [3, 4] == await versions(from_version=3, to_version=4)
    assert [3, 4] == await versions(from_time=first["created_at"], to_time=second["created_at"])
    assert [4, 5] == await versions(from_time=second["created_at"])
    assert [2, 3] == await versions(to_time=first["created_at"])
    assert [4] == await versions(from_version=4, to_time=second["created_at"])
    assert [4] == await versions(from_time=second["created_at"], to_time=third["created_at"], limit=1)
    assert [] == await versions(to_time="1970-01-01T00:00:00Z")
    assert [] == await versions(from_time="9999-12-31T23:59:59.999999Z")
    assert [2, 3, 4, 5] == await versions(from_time="0001-01-01T00:00:00Z")
    assert [2, 3, 4, 5] == await versions(to_version=2**63 - 1)
    assert [] == await versions(to_version=0)


async def test_a_page_of_a_period_links_to_the_next_of_the_same_period(api: Api) -> None:
    source, destination = await two_accounts(api)
    made = [await send_transfer(api, source, destination, 1) for _ in range(4)]
    path = f"/v1/accounts/{source['id']}/entries?limit=1&to_time={made[2]['created_at']}&from_version=3"
    assert [5, 4, 3] == [line["version"] for line in await all_of(api, path)]


async def test_a_closed_account_keeps_its_statement(api: Api) -> None:
    source, destination = await two_accounts(api)
    await send_transfer(api, source, destination, 100)
    assert 200 == (await api.delete(f"/v1/accounts/{source['id']}")).status
    assert [0, 100] == [line["balance_cents"] for line in await all_of(api, f"/v1/accounts/{source['id']}/entries")]
    assert "AccountClosed" == (await api.get(f"/v1/accounts/{source['id']}/events")).body[-1]["topic"]


# Events.


async def test_the_events_of_an_account_are_its_stored_stream(api: Api) -> None:
    source, destination = await two_accounts(api)
    transfer = await send_transfer(api, source, destination, 30)
    events = (await api.get(f"/v1/accounts/{source['id']}/events")).body
    assert [1, 2, 3] == [event["version"] for event in events]
    assert ["AccountOpened", "AccountCredited", "AccountDebited"] == [event["topic"] for event in events]
    assert {source["id"]} == {event["stream_id"] for event in events}
    assert {"transfer_id": transfer["id"], "amount_cents": 30, "balance_cents": 70} == events[2]["state"]
    assert transfer["created_at"] == events[2]["recorded_at"]
    assert events[2]["command_id"] is not None
    assert sorted(event["position"] for event in events) == [event["position"] for event in events]


async def test_the_log_is_listed_completely_and_in_order(api: Api, runtime: Runtime) -> None:
    """Lesson 9."""
    source, destination = await two_accounts(api)
    await send_transfer(api, source, destination, 1)
    found = await all_of(api, "/v1/events?limit=3")
    rows = await runtime.pool.fetch("SELECT notification_id FROM stored_events ORDER BY 1")
    assert [row[0] for row in rows] == [event["position"] for event in found]


async def test_the_log_can_be_read_after_a_position(api: Api) -> None:
    await two_accounts(api)
    every = await all_of(api, "/v1/events")
    after = every[4]["position"]
    assert every[5:] == await all_of(api, f"/v1/events?after={after}&limit=2")
    assert [] == await all_of(api, f"/v1/events?after={every[-1]['position']}")
    assert [] == await all_of(api, f"/v1/events?after={2**63 - 1}")


@pytest.mark.parametrize("scan", [1, 3, 2000])
@pytest.mark.parametrize("limit", [1, 2, 200])
async def test_filters_by_topic_and_stream_find_every_event(
    api: Api, monkeypatch: pytest.MonkeyPatch, limit: int, scan: int
) -> None:
    """Lesson 11: filtered events do not block the reader."""
    monkeypatch.setattr(event_reader, "SCAN", scan)
    source, destination = await two_accounts(api)
    await api.put(f"/v1/accounts/{source['id']}", {"user_id": (await api.new_user())["id"]})
    for _ in range(3):
        await send_transfer(api, source, destination, 1)
    every = await all_of(api, "/v1/events")
    for topic in ("AccountDebited", "AccountOpened", "AccountOwnerChanged", "MoneyTransferred", "AllTokensRevoked"):
        for stream in (source["id"], destination["id"], NOBODY, None):
            wanted = [e for e in every if e["topic"] == topic and stream in {None, e["stream_id"]}]
            query = f"topic={topic}&limit={limit}" + (f"&stream={stream}" if stream else "")
            assert wanted == await all_of(api, f"/v1/events?{query}")
    wanted = [event for event in every if event["stream_id"] == source["id"]]
    assert wanted == await all_of(api, f"/v1/events?stream={source['id']}&limit={limit}")
    assert wanted[2:] == await all_of(api, f"/v1/events?stream={source['id']}&after={wanted[1]['position']}")


async def test_a_filter_without_matches_reaches_the_end_of_the_log(api: Api, runtime: Runtime) -> None:
    """Lesson 11."""
    await two_accounts(api)
    head = await event_reader.log_end(runtime.pool)
    for chosen in (EventFilter("AllTokensRevoked"), EventFilter("AccountDebited"), EventFilter()):
        stretch = await event_reader.read(runtime.pool, head, limit=10, matching=chosen)
        assert ([], head, True) == (stretch.events, stretch.reached, stretch.is_last)


# Access and invalid requests.


async def test_an_owner_reads_only_own_statements_and_events(api: Api) -> None:
    """Lesson 35."""
    owner, stranger = await api.as_new_user("customer"), await api.as_new_user("customer")
    account = await api.new_account(owner.user_id, 5)
    for path in ("entries", "events"):
        mine = await owner.get(f"/v1/accounts/{account['id']}/{path}")
        assert (await api.get(f"/v1/accounts/{account['id']}/{path}")).body == mine.body
        assert mine.body
        hidden = await stranger.get(f"/v1/accounts/{account['id']}/{path}")
        missing = await stranger.get(f"/v1/accounts/{NOBODY}/{path}")
        assert 404 == hidden.status == missing.status
        assert hidden.body["detail"].replace(account["id"], NOBODY) == missing.body["detail"]


async def test_a_stream_of_another_kind_has_no_account_events(api: Api) -> None:
    """Lesson 35: otherwise a customer could read the stream of a user or a name."""
    customer = await api.as_new_user("customer")
    for caller in (customer, api):
        assert 404 == (await caller.get(f"/v1/accounts/{customer.user_id}/events")).status


@pytest.mark.parametrize("path", [f"/accounts/{WORLD}/entries", f"/accounts/{WORLD}/events", "/events"])
async def test_an_auditor_reads_everything(api: Api, path: str) -> None:
    await api.new_account(balance_cents=1)
    auditor = await api.as_new_user("auditor")
    answer = await auditor.get(f"/v1{path}")
    assert 200 == answer.status
    assert answer.body


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("roles", ["customer", "guest"])
async def test_only_admins_and_auditors_can_read_the_log(api: Api, roles: str, accept: str) -> None:
    caller = await api.as_new_user(roles)
    assert 403 == (await caller.get("/v1/events", headers={"Accept": accept})).status
    assert 401 == (await api.nobody.get("/v1/events", headers={"Accept": accept})).status
    assert 403 == (await caller.get("/v1/ledger/trial-balance")).status


async def test_a_guest_reads_no_account(api: Api) -> None:
    guest = await api.as_new_user("guest")
    for path in ("entries", "events"):
        assert 403 == (await guest.get(f"/v1/accounts/{WORLD}/{path}")).status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in ("0", "1001", "1.0", "", "-1", "one", "\u0661")),
        *(
            (name, value)
            for name in ("after", "before", "from_version", "to_version")
            for value in ("-1", "x", "", "9" * 20)
        ),
        *(
            (name, value)
            for name in ("from_time", "to_time")
            for value in ("", "today", "2026-05", "2026-05-01T12:00:00")
        ),
        ("from_time", "2026-02-30T12:00:00Z"),
        ("from_time", "0001-01-01T00:00:00+01:00"),
        ("from_time", "2026-05-01T12:00:00 01:00"),
        ("order", "up"),
        ("order", ""),
    ],
)
async def test_an_invalid_parameter_of_a_statement_is_named(api: Api, name: str, value: str) -> None:
    """Lesson 33."""
    assert_named(await api.get(f"/v1/accounts/{WORLD}/entries", params={name: value}), name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("after", "-1"),
        ("limit", "1001"),
        ("topic", "NoSuchThing"),
        ("topic", "Account"),
        ("stream", "x"),
        ("stream", ""),
    ],
)
async def test_an_invalid_parameter_of_the_log_is_named(api: Api, name: str, value: str) -> None:
    """Lesson 33."""
    assert_named(await api.get("/v1/events", params={name: value}), name)


async def test_a_parameter_that_is_given_twice_is_refused(api: Api) -> None:
    assert_named(await api.get("/v1/events?after=1&after=2"), "after")


def assert_named(answer: Response, name: str) -> None:
    assert 422 == answer.status
    assert ["validation_error"] == answer.codes
    assert [f"query {name}"] == answer.parameters
