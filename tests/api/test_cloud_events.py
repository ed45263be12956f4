"""Events over HTTP in the form of CloudEvents 1.0: a batch, a single one, and the data of a live feed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat

from ledger.events.cloud import BATCH_MEDIA_TYPE, MEDIA_TYPE
from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.events.users import email_streams, username_streams
from ledger.values.timestamps import rfc3339
from tests.support.canaries import new_canary
from tests.support.controls import PASSWORD, Api, Response
from tests.support.feeds import open_feed
from tests.support.paging import all_items, next_path

BATCH, SINGLE = {"Accept": BATCH_MEDIA_TYPE}, {"Accept": MEDIA_TYPE}
FEED = "text/event-stream"
JSON = "application/json"


async def get_raw(api: Api, path: str, accept: str, **headers: str) -> bytes:
    """Return a body as it was sent."""
    sent = {"Authorization": f"Bearer {api.token}", "Accept": accept, **headers}
    async with api.client.get(path, headers=sent) as response:
        assert 200 == response.status
        return bytes(await response.read())


async def leaving(api: Api, query: str = "") -> list[dict[str, Any]]:
    """Return the stored events that may leave the ledger."""
    return [event for event in (await api.get(f"/v1/events{query}")).body if event["topic"] in DISCLOSED_TOPICS]


def positions(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["position"]) for event in events]


async def test_a_batch_has_every_event_that_leaves_in_order(api: Api) -> None:
    account = await api.new_account(balance_cents=500)
    stored = await leaving(api)

    answer = await api.get("/v1/events", headers=BATCH)

    assert BATCH_MEDIA_TYPE == answer.headers["Content-Type"]
    assert "Accept, Accept-Encoding" == answer.headers["Vary"]
    assert positions(stored) == positions(answer.body)
    assert [event["stream_id"] for event in stored] == [event["subject"] for event in answer.body]
    assert [event["recorded_at"] for event in stored] == [event["time"] for event in answer.body]
    opened = next(event for event in answer.body if event["type"] == "ledger.AccountOpened.v1")
    assert {"owner_id": account["user_id"], "currency": account["currency"]} in [
        event["data"] for event in answer.body if event["type"] == opened["type"]
    ]


async def test_the_sdk_reads_each_event_of_a_batch(api: Api) -> None:
    await api.new_account(balance_cents=500)
    for event in (await api.get("/v1/events", headers=BATCH)).body:
        read = from_structured(HTTPMessage({"content-type": MEDIA_TYPE}, json.dumps(event).encode()), JSONFormat())
        assert event["id"] == read.get_id()
        assert event["data"] == read.get_data()
        assert str(event["position"]) == read.get_id().partition(":")[2] == read.get_extension("position")


async def test_pages_of_batches_have_each_event_once(api: Api) -> None:
    await api.new_account(balance_cents=500)
    assert positions(await leaving(api)) == positions(await all_items(api, "/v1/events?limit=3", headers=BATCH))


async def test_a_batch_is_chosen_by_topic_and_stream_like_a_list(api: Api) -> None:
    account = await api.new_account(balance_cents=500)
    for query in (f"?stream={account['id']}", "?topic=AccountOpened", "?after=4"):
        answer = await api.get(f"/v1/events{query}", headers=BATCH)
        assert positions(await leaving(api, query)) == positions(answer.body) != []


async def test_a_single_event_is_the_next_one_that_leaves(api: Api) -> None:
    await api.new_account(balance_cents=500)
    stored, found, after = await leaving(api), [], 0
    for _ in stored:
        answer = await api.get(f"/v1/events?after={after}", headers=SINGLE)
        assert MEDIA_TYPE == answer.headers["Content-Type"]
        assert "Accept, Accept-Encoding" == answer.headers["Vary"]
        after = int(answer.body["position"])
        found.append(answer.body)

    assert positions(stored) == positions(found)
    assert (await api.get("/v1/events", headers=BATCH)).body == found
    last = await api.get(f"/v1/events?after={after}", headers=SINGLE)
    assert (404, ["resource_not_found"]) == (last.status, last.codes)


async def test_the_sdk_reads_a_single_event(api: Api) -> None:
    body = await get_raw(api, "/v1/events?topic=UserCreated", MEDIA_TYPE)
    read = from_structured(HTTPMessage({"content-type": MEDIA_TYPE}, body), JSONFormat())
    assert "ledger.UserCreated.v1" == read.get_type()
    assert {"active": True, "roles": ["admin"]} == read.get_data()


async def test_a_link_leads_from_one_event_to_the_next(api: Api) -> None:
    await api.new_account(balance_cents=500)
    found, path = [], next_path(await api.get("/v1/events", headers=SINGLE))
    while path is not None and (answer := await api.get(path, headers=SINGLE)).status == 200:
        found.append(answer.body)
        path = next_path(answer)

    assert positions(await leaving(api))[1:] == positions(found)


async def test_a_single_event_is_found_behind_many_that_do_not_leave(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.handlers.events.FEW", 1)
    monkeypatch.setattr("web.handlers.events.MANY", 2)
    end = (await api.get("/v1/ledger/trial-balance")).body["position"]
    for _ in range(6):
        await api.logged_in("admin", "the-admin's-password")
    user = await api.new_user()

    answer = await api.get(f"/v1/events?after={end}", headers=SINGLE)

    assert user["id"] == answer.body["subject"]


@pytest.mark.parametrize("limit", [0, 2, 1000])
async def test_a_single_event_takes_no_other_limit(api: Api, limit: int) -> None:
    answer = await api.get(f"/v1/events?limit={limit}", headers=SINGLE)
    assert (422, ["query limit"]) == (answer.status, answer.parameters)
    assert 200 == (await api.get("/v1/events?limit=1", headers=SINGLE)).status


@pytest.mark.parametrize("accept", [BATCH_MEDIA_TYPE, MEDIA_TYPE, f"{FEED}, {MEDIA_TYPE}"])
async def test_a_topic_that_does_not_leave_is_refused_by_name(api: Api, accept: str) -> None:
    answer = await api.get("/v1/events?topic=NameClaimed", headers={"Accept": accept})
    assert (422, ["query topic"]) == (answer.status, answer.parameters)
    assert 200 == (await api.get("/v1/events?topic=NameClaimed")).status


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/html", JSON),
        (f"{BATCH_MEDIA_TYPE}, */*", BATCH_MEDIA_TYPE),
        (f"{BATCH_MEDIA_TYPE};q=0", JSON),
        (f"{MEDIA_TYPE};q=0.2, {BATCH_MEDIA_TYPE};q=0.5", BATCH_MEDIA_TYPE),
        (f"{MEDIA_TYPE}, {BATCH_MEDIA_TYPE};q=0.9", MEDIA_TYPE),
        (f"{BATCH_MEDIA_TYPE};q=0.9, {JSON}", JSON),
        (f"{JSON};q=0.9, {BATCH_MEDIA_TYPE}", BATCH_MEDIA_TYPE),
        (f"{FEED};q=0.1, {BATCH_MEDIA_TYPE}", BATCH_MEDIA_TYPE),
        (f"{MEDIA_TYPE.upper()}; charset=utf-8", MEDIA_TYPE),
    ],
)
async def test_accept_chooses_the_form(api: Api, accept: str, chosen: str) -> None:
    answer = await api.get("/v1/events", headers={"Accept": accept})
    assert (200, chosen) == (answer.status, answer.headers["Content-Type"].partition(";")[0])
    assert "Accept" in answer.headers["Vary"]


@pytest.mark.parametrize("accept", [BATCH_MEDIA_TYPE, MEDIA_TYPE])
async def test_head_has_the_headers_of_get(api: Api, accept: str) -> None:
    got, asked = [await api.call(method, "/v1/events", headers={"Accept": accept}) for method in ("GET", "HEAD")]
    names = ("Content-Type", "Content-Length", "Vary", "Link")
    assert [got.headers.get(name) for name in names] == [asked.headers.get(name) for name in names]
    assert (200, None) == (asked.status, asked.body)


async def test_a_position_has_the_same_bytes_in_every_form(api: Api) -> None:
    user = await api.new_user()
    path = f"/v1/events?topic=UserCreated&stream={user['id']}"
    single = await get_raw(api, path, MEDIA_TYPE)

    assert b"[%b]" % single == await get_raw(api, path, BATCH_MEDIA_TYPE, **{"Accept-Encoding": "identity"})
    assert single == await get_raw(api, path, MEDIA_TYPE)
    async with open_feed(api, path.removeprefix("/v1/events"), Accept=f"{FEED}, {MEDIA_TYPE}") as feed:
        assert json.loads(single) == (await feed.take(1))[0].data


async def test_a_feed_sends_cloud_events_and_resumes_behind_the_last_one(api: Api) -> None:
    await api.new_account(balance_cents=500)
    stored = (await api.get("/v1/events", headers=BATCH)).body
    accept = f"{FEED}, {MEDIA_TYPE}"
    async with open_feed(api, Accept=accept) as feed:
        assert FEED == feed.response.headers["Content-Type"]
        assert "Accept" == feed.response.headers["Vary"]
        messages = await feed.take(len(stored))
        assert stored == [message.data for message in messages]
        assert [(event["position"], event["type"]) for event in stored] == [(m.id, m.event) for m in messages]
        user = await api.new_user()
        live = await feed.take(1)
        assert user["id"] == live[0].data["subject"]
    async with open_feed(api, Accept=accept, **{"Last-Event-ID": str(stored[1]["position"])}) as feed:
        assert stored[2:] == [message.data for message in await feed.take(len(stored) - 2)]


async def test_cloud_events_need_the_same_rights_as_the_log(api: Api) -> None:
    customer = await api.as_new_user("customer")
    for headers in (BATCH, SINGLE):
        assert 403 == (await customer.get("/v1/events", headers=headers)).status
        assert 401 == (await api.nobody.get("/v1/events", headers=headers)).status


async def test_no_personal_data_leaves_a_ledger_full_of_it(api: Api) -> None:
    names = [new_canary(kind)[:60] for kind in ("user", "other", "renamed")]
    texts = [new_canary("text") for _ in range(12)]
    emails = [f"{name}@example.com" for name in names]
    streams = {stream for name in names for stream in username_streams(name)}
    streams |= {stream for email in emails for stream in email_streams(email)}

    await fill_with_personal_data(api, names, emails, texts)

    stored = await get_raw(api, "/v1/events", JSON)
    assert [] == [text for text in (*names, *texts) if text.encode() not in stored], "the canaries must be in the log"
    batch = await get_raw(api, "/v1/events", BATCH_MEDIA_TYPE)
    assert [] == [text for text in (*names, *texts) if text.encode() in batch]
    assert set() == streams & {UUID(event["subject"]) for event in json.loads(batch)}
    assert len(json.loads(batch)) > 20


async def fill_with_personal_data(api: Api, names: list[str], emails: list[str], texts: list[str]) -> None:
    """Write names, addresses and texts about people wherever a client may write a text, except in references."""
    unused = iter(texts)

    def text() -> str:
        return next(unused)

    users = [await api.new_user(username=name, email=email) for name, email in zip(names[:2], emails, strict=False)]
    await api.logged_in(names[0], PASSWORD)
    renamed = {"username": names[2], "email": emails[2]}
    ok(await api.patch(f"/v1/users/{users[0]['id']}", renamed))
    source, destination = [
        await api.new_account(user["id"], 10_000, name=text(), metadata={"owner": text()}) for user in users
    ]
    details = {"description": text(), "metadata": {"tenant": text()}}
    between = {"source_account_id": source["id"], "destination_account_id": destination["id"], "amount_cents": 5}
    made = ok(await api.post("/v1/transactions/transfer", {**between, **details}))
    ok(await api.patch(f"/v1/transactions/{made['id']}", {"description": text(), "metadata": {"tenant": text()}}))
    ok(await api.post("/v1/transactions/hold", {**between, "description": text()}))
    later = {"execute_at": rfc3339(datetime.now(UTC) + timedelta(days=1)), "description": text()}
    ok(await api.post("/v1/transactions/transfer", {**between, **later}))
    postings = [{"account_id": source["id"], "amount_cents": -5}, {"account_id": destination["id"], "amount_cents": 5}]
    ok(await api.post("/v1/transactions", {"postings": postings, "description": text()}))
    ok(await api.post("/v1/clients", {"name": text(), "roles": "auditor", "scope": "events:read"}))


def ok(answer: Response) -> Any:
    """Return the body of a successful response."""
    assert answer.status in {200, 201, 202}, answer
    return answer.body
