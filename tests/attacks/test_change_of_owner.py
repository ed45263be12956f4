"""After a change of owner, the account's past is the old owner's, its future the new owner's, by every door."""

from typing import Any, NamedTuple

import pytest

from tests.support.controls import Api, Response, transfer_body

SECRETS = ("the past", "the old hold", "the old entry", "the future")


class Story(NamedTuple):
    """An account of two owners, with what happened in the time of each."""

    admin: Api
    old: Api
    new: Api
    account: str
    before: dict[str, Any]
    entry: dict[str, Any]
    held: dict[str, Any]
    after: dict[str, Any]
    changed_at: int
    version: int


async def pay(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post(f"/v1/transactions{path}", body)
    assert 200 == answer.status, answer
    return {**answer.body, "position": int(answer.headers["Ledger-Position"])}


@pytest.fixture
async def story(api: Api) -> Story:
    old, new = await api.as_new_user("customer"), await api.as_new_user("customer")
    account = (await api.new_account(old.user_id, balance_cents=100))["id"]
    sink = await api.new_account()
    before = await pay(old, "/transfer", {**transfer_body(account, sink, 1), "description": "the past"})
    postings = [{"account_id": account, "amount_cents": -2}, {"account_id": sink["id"], "amount_cents": 2}]
    entry = await pay(old, "", {"postings": postings, "description": "the old entry"})
    held = await pay(old, "/hold", {**transfer_body(account, sink, 3), "description": "the old hold"})
    assert 200 == (await api.post(f"/v1/transactions/{held['id']}/void")).status
    version = len((await api.get(f"/v1/accounts/{account}/events")).body)
    changed = await api.put(f"/v1/accounts/{account}", {"user_id": new.user_id})
    after = await pay(new, "/transfer", {**transfer_body(account, sink, 5), "description": "the future"})
    position = int(changed.headers["Ledger-Position"])
    found = await api.get(f"/v1/accounts/{account}/events")
    owners = [event["position"] for event in found.body if event["topic"] == "AccountOwnerChanged"]
    assert owners[0] <= position
    return Story(api, old, new, account, before, entry, held, after, owners[0], version)


async def read_everything(story: Story, caller: Api) -> str:
    """Return all that the lists and resources of the API tell a caller, as text."""
    account, texts = story.account, []
    paths = [
        "/v1/accounts",
        f"/v1/accounts/{account}",
        f"/v1/accounts/{account}/entries",
        f"/v1/accounts/{account}/entries?order=asc&limit=1",
        f"/v1/accounts/{account}/entries?from_version=1&to_version=4",
        f"/v1/accounts/{account}/statement",
        f"/v1/accounts/{account}/statement?by=effective&format=csv",
        f"/v1/accounts/{account}/events",
        f"/v1/accounts/{account}/events?limit=1",
        "/v1/transactions",
        "/v1/transactions?limit=1",
        f"/v1/transactions?account_id={account}",
        f"/v1/transactions?user_id={story.old.user_id}",
        "/v1/transactions?kind=hold",
        "/v1/transactions?kind=journal",
        "/v1/transactions?authorized_from=2000-01-01",
        *(f"/v1/transactions/{made['id']}" for made in (story.before, story.entry, story.held, story.after)),
        *(f"/v1/accounts/{account}?at_position={position}" for position in (story.changed_at - 1, story.changed_at)),
        *(f"/v1/accounts?at_position={position}" for position in (story.changed_at - 1, story.changed_at)),
        *(f"/v1/accounts/{account}?at_version={version}" for version in (story.version, story.version + 1)),
    ]
    for path in paths:
        answer: Response | None = await caller.get(path)
        while answer is not None:
            assert answer.status in {200, 404}, answer
            texts.append(str(answer.body) if answer.status == 200 else "")
            links = answer.headers.get("Link", "")
            answer = await caller.get(links[1 : links.index(">")]) if links else None
    return "\n".join(texts)


def found_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


async def test_the_new_owner_sees_nothing_of_the_past(story: Story) -> None:
    text = await read_everything(story, story.new)

    assert ["the future"] == found_in(text)
    assert str(story.old.user_id) not in text
    assert not any(made["id"] in text for made in (story.before, story.entry, story.held))


async def test_the_old_owner_keeps_the_past_and_sees_nothing_of_the_future(story: Story) -> None:
    text = await read_everything(story, story.old)

    assert ["the past", "the old hold", "the old entry"] == found_in(text)
    assert str(story.new.user_id) not in text
    assert story.after["id"] not in text


async def test_admins_and_auditors_see_all(story: Story) -> None:
    for caller in (story.admin, await story.admin.as_new_user("auditor")):
        assert [*SECRETS] == found_in(await read_everything(story, caller))


async def test_each_owner_reads_the_account_in_the_own_time_alone(story: Story) -> None:
    account, last = f"/v1/accounts/{story.account}", story.changed_at
    times = [("at_position", last - 1, last), ("at_version", story.version, story.version + 1)]

    for name, before, after in times:
        for caller, expected in ((story.old, (200, 404)), (story.new, (404, 200)), (story.admin, (200, 200))):
            found = tuple([(await caller.get(f"{account}?{name}={point}")).status for point in (before, after)])
            assert expected == found, (name, caller)
    assert (404, 200) == tuple([(await caller.get(account)).status for caller in (story.old, story.new)])
    listed = [
        [row["id"] for row in (await caller.get(f"/v1/accounts?at_position={position}")).body]
        for caller in (story.old, story.new)
        for position in (last - 1, last)
    ]
    assert [[story.account], [], [], [story.account]] == listed


async def test_an_owner_who_gets_an_account_back_sees_both_of_the_own_times(story: Story) -> None:
    assert 200 == (await story.admin.put(f"/v1/accounts/{story.account}", {"user_id": story.old.user_id})).status
    again = await pay(
        story.old, "/transfer", {**transfer_body(story.account, story.before["destination_account_id"], 7)}
    )

    text = await read_everything(story, story.old)
    cents = [row["amount_cents"] for row in (await story.old.get(f"/v1/accounts/{story.account}/entries")).body]

    assert ["the past", "the old hold", "the old entry"] == found_in(text)
    assert again["id"] in text
    assert [-7, -2, -1, 100] == cents


async def test_a_hold_that_is_pending_belongs_to_the_present_owner_too(api: Api) -> None:
    old, new = await api.as_new_user("customer"), await api.as_new_user("customer")
    account, sink = await api.new_account(old.user_id, balance_cents=10), await api.new_account()
    held = await pay(old, "/hold", transfer_body(account, sink, 3))
    await api.put(f"/v1/accounts/{account['id']}", {"user_id": new.user_id})
    path = f"/v1/transactions/{held['id']}"

    assert [200, 200] == [(await caller.get(path)).status for caller in (old, new)]
    assert 200 == (await api.post(f"{path}/capture")).status
    assert [200, 200] == [(await caller.get(path)).status for caller in (old, new)]
    (entry,) = (await new.get(f"/v1/accounts/{account['id']}/entries")).body
    assert (held["id"], -3) == (entry["transaction_id"], entry["amount_cents"])


async def test_receipts_are_those_of_the_own_time(story: Story) -> None:
    """Nothing is sealed here, so a receipt that the caller may have is not found yet (409 or 404 of another code)."""
    account, version = f"/v1/accounts/{story.account}/proof", story.version
    paths = {
        f"{account}?at_version={version}": [True, False],
        f"{account}?at_version={version + 1}": [False, True],
        account: [True, True],
        **{f"/v1/transactions/{made['id']}/proof": [True, False] for made in (story.before, story.entry, story.held)},
        f"/v1/transactions/{story.after['id']}/proof": [False, True],
    }

    for path, expected in paths.items():
        answers = [await caller.get(path) for caller in (story.old, story.new)]
        assert expected == [answer.codes == ["sealing_inactive"] for answer in answers], path
