"""A machine client that is limited to some accounts learns nothing of others: no reference, id or time of an owner."""

from typing import Any

import pytest

from tests.support.controls import Api, Response, new_id, transfer_body
from tests.support.machines import machine

TRANSFER, BATCH, HOLD, ENTRY = (f"/v1/transactions{end}" for end in ("/transfer", "/batch", "/hold", ""))
RENT = "rent, May"
DOORS = pytest.mark.parametrize("door", [TRANSFER, BATCH, HOLD, ENTRY])
LIMITS = pytest.mark.parametrize("limit", ["account_ids", "user_ids"])


async def limited_to(api: Api, account: dict[str, Any], limit: str, roles: str = "customer") -> Api:
    members: dict[str, Any] = {limit: [account["id" if limit == "account_ids" else "user_id"]]}
    return await machine(api, roles=roles, **members)


async def send(api: Api, door: str, body: dict[str, Any]) -> Response:
    """Send a transfer by one of the doors; a refused item of a batch counts as the response."""
    cents, sides = body["amount_cents"], (body["source_account_id"], body["destination_account_id"])
    if door == ENTRY:
        postings = [
            {"account_id": side, "amount_cents": part} for side, part in zip(sides, (-cents, cents), strict=True)
        ]
        return await api.post(
            door, {"postings": postings, **{key: body[key] for key in ("id", "reference") if key in body}}
        )
    if door != BATCH:
        return await api.post(door, body)
    answer = await api.post(door, {"atomic": False, "items": [body]})
    assert 200 == answer.status, answer
    (item,) = answer.body["results"]
    return Response(item["status"], item, answer.headers)


@DOORS
@LIMITS
@pytest.mark.parametrize("roles", ["customer", "admin"])
async def test_a_client_neither_probes_nor_occupies_the_references_of_others(
    api: Api, door: str, limit: str, roles: str
) -> None:
    """Neither those of admins and customers, nor that of the owner for whom it pays."""
    owner, other = await api.as_new_user("customer"), await api.as_new_user("customer")
    own = await api.new_account(owner.user_id, balance_cents=50)
    theirs, sink = await api.new_account(other.user_id, balance_cents=50), await api.new_account()
    payers = ((api, await api.new_account(balance_cents=50)), (other, theirs), (owner, own))
    for caller, account in payers:
        paid = await caller.post(TRANSFER, {**transfer_body(account, sink, 1), "reference": RENT})
        assert 200 == paid.status
    as_client = await limited_to(api, own, limit, roles)
    body = {**transfer_body(own, sink, 1), "reference": RENT}

    answers = [await send(as_client, door, body) for _ in range(2)]

    assert [200, 409] == [answer.status for answer in answers]
    assert ["reference_already_exists"] == answers[1].codes
    mine = {**transfer_body(own, sink, 1), "reference": "of the client"}
    assert 200 == (await send(as_client, door, mine)).status
    for caller, account in payers:
        paid = await caller.post(TRANSFER, {**transfer_body(account, sink, 1), "reference": "of the client"})
        assert 200 == paid.status


@DOORS
@LIMITS
async def test_a_reference_that_an_admin_gave_a_payment_of_the_client_is_taken(api: Api, door: str, limit: str) -> None:
    own, sink = await api.new_account(balance_cents=50), await api.new_account()
    assert 200 == (await api.post(TRANSFER, {**transfer_body(own, sink, 1), "reference": RENT})).status
    as_client = await limited_to(api, own, limit)

    again = await send(as_client, door, {**transfer_body(own, sink, 1), "reference": RENT})

    assert (409, ["reference_already_exists"]) == (again.status, again.codes)


async def test_a_client_without_limits_shares_the_references_of_admins(api: Api) -> None:
    source, sink = await api.new_account(balance_cents=50), await api.new_account()
    as_client = await machine(api)
    assert 200 == (await as_client.post(TRANSFER, {**transfer_body(source, sink, 1), "reference": RENT})).status

    again = await api.post(TRANSFER, {**transfer_body(source, sink, 1), "reference": RENT})

    assert (409, ["reference_already_exists"]) == (again.status, again.codes)


@LIMITS
async def test_the_reference_of_an_ended_hold_is_free_again_for_the_client(api: Api, limit: str) -> None:
    own, sink = await api.new_account(balance_cents=50), await api.new_account()
    as_client = await limited_to(api, own, limit)
    body = {**transfer_body(own, sink, 1), "reference": RENT}
    held = await as_client.post(HOLD, body)
    assert [200, 409] == [held.status, (await as_client.post(TRANSFER, body)).status]

    assert 200 == (await api.post(f"/v1/transactions/{held.body['id']}/void")).status

    assert 200 == (await as_client.post(TRANSFER, body)).status


@DOORS
@LIMITS
async def test_a_taken_id_of_others_is_an_invalid_id_whatever_has_it(api: Api, door: str, limit: str) -> None:
    own, other = await api.new_account(balance_cents=50), await api.new_account(balance_cents=50)
    as_client = await limited_to(api, own, limit)
    hidden = (await api.transfer(other, await api.new_account(), 1)).body["id"]
    seen = (await api.transfer(other, own, 1)).body["id"]

    for taken in (hidden, other["id"], other["user_id"]):
        probed = await send(as_client, door, {**transfer_body(own, other, 1), "id": taken})
        assert (422, ["validation_error"], ["/id"]) == (probed.status, probed.codes, probed.pointers)
    refused = await send(as_client, door, {**transfer_body(own, other, 1), "id": seen})
    expected = (422, ["transaction_id_reused"]) if door == BATCH else (409, ["transaction_already_exists"])
    assert expected == (refused.status, refused.codes)


@DOORS
async def test_a_source_of_others_tells_nothing_of_ids_and_references(api: Api, door: str) -> None:
    own, other = await api.new_account(balance_cents=50), await api.new_account(balance_cents=50)
    as_client = await limited_to(api, own, "account_ids")
    taken = {"id": str(new_id()), "reference": RENT}
    assert 200 == (await api.post(TRANSFER, {**transfer_body(other, own, 1), **taken})).status

    for probe in ({"id": taken["id"]}, {"reference": RENT}, {"reference": "free"}):
        refused = await send(as_client, door, {**transfer_body(other, own, 1), **probe})
        assert (422, ["transfer_source_account_not_found"]) == (refused.status, refused.codes)


async def read_everything(api: Api, account: str, ids: list[str], positions: list[int]) -> str:
    """Return all that the lists and resources of the API tell a client, as text."""
    texts = []
    paths = [
        "/v1/accounts",
        *(
            f"/v1/accounts/{account}{tail}"
            for tail in ("", "/entries", "/entries?order=asc&limit=1", "/statement", "/events?limit=1")
        ),
        *(f"/v1/accounts{tail}?at_position={at}" for at in positions for tail in ("", f"/{account}")),
        "/v1/transactions?limit=1",
        f"/v1/transactions?account_id={account}",
        *(f"/v1/transactions?reference={name}" for name in ("past", "future")),
        *(f"/v1/transactions/{one}" for one in ids),
    ]
    for path in paths:
        answer: Response | None = await api.get(path)
        while answer is not None:
            assert answer.status in {200, 404}, (path, answer)
            texts.append(str(answer.body) if answer.status == 200 else "")
            links = answer.headers.get("Link", "")
            answer = await api.get(links[1 : links.index(">")]) if links else None
    return "\n".join(texts)


async def test_a_client_of_users_sees_what_they_see_and_one_of_accounts_the_whole_history(api: Api) -> None:
    old, new = await api.as_new_user("customer"), await api.as_new_user("customer")
    account, sink = await api.new_account(old.user_id, balance_cents=100), await api.new_account()
    past = await old.post(TRANSFER, {**transfer_body(account, sink, 1), "reference": "past"})
    changed = await api.put(f"/v1/accounts/{account['id']}", {"user_id": new.user_id})
    future = await new.post(TRANSFER, {**transfer_body(account, sink, 2), "reference": "future"})
    ids = [past.body["id"], future.body["id"]]
    positions = [int(answer.headers["Ledger-Position"]) for answer in (past, changed)]
    limits: dict[str, dict[str, Any]] = {
        "old": {"user_ids": [old.user_id]},
        "new": {"user_ids": [new.user_id]},
        "both": {"user_ids": [old.user_id, new.user_id]},
        "account": {"account_ids": [account["id"]]},
    }
    found, may_pay = {}, {}
    for name, members in limits.items():
        as_client = await machine(api, roles="auditor,customer", **members)
        text = await read_everything(as_client, account["id"], ids, positions)
        found[name] = [one in text for one in ids]
        paths = [f"/v1/accounts/{account['id']}/proof?at_version={version}" for version in (1, 3, 4)]
        paths += [f"/v1/transactions/{one}/proof" for one in ids]
        sealed = [(await as_client.get(path)).codes == ["sealing_inactive"] for path in paths]
        assert [found[name][0], found[name][0], found[name][1], *found[name]] == sealed, name
        may_pay[name] = (await as_client.transfer(account, sink, 1)).status == 200

    assert {"old": [True, False], "new": [False, True], "both": [True, True], "account": [True, True]} == found
    assert {"old": False, "new": True, "both": True, "account": True} == may_pay


@pytest.mark.parametrize("roles", ["auditor", "auditor,customer"])
async def test_a_statement_of_two_owners_in_the_limits_has_no_gap(api: Api, roles: str) -> None:
    old, new = await api.new_user(), await api.new_user()
    account, sink = await api.new_account(old["id"], balance_cents=100), await api.new_account()
    await api.transfer(account, sink, 1)
    await api.patch(f"/v1/accounts/{account['id']}", {"user_id": new["id"]})
    await api.transfer(account, sink, 2)
    clients = [
        await machine(api, roles=roles, user_ids=[old["id"], new["id"]]),
        await machine(api, roles=roles, account_ids=[account["id"]]),
    ]

    for tail in ("entries", "entries?order=asc", "events"):
        path = f"/v1/accounts/{account['id']}/{tail}"
        expected = (await api.get(path)).body
        assert [expected, expected] == [(await as_client.get(path)).body for as_client in clients]
