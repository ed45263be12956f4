"""A customer can neither probe nor occupy the references and ids of others."""

from typing import Any, NamedTuple
from uuid import UUID

import pytest

from ledger.events.transactions import reference_stream
from tests.support.controls import NOBODY, Api, Response, new_id, transfer_body
from tests.support.token_api import Connection, claims_of

TRANSFER, BATCH, HOLD, ENTRY = (f"/v1/transactions{end}" for end in ("/transfer", "/batch", "/hold", ""))
RENT = "rent, May"


class Party(NamedTuple):
    """A customer with two accounts, of which the first has money."""

    api: Api
    pays: dict[str, Any]
    gets: dict[str, Any]


async def new_party(admin: Api) -> Party:
    api = await admin.as_new_user("customer")
    pays = await admin.new_account(api.user_id, balance_cents=1_000)
    return Party(api, pays, await admin.new_account(api.user_id))


def as_entry(body: dict[str, Any]) -> dict[str, Any]:
    cents = body["amount_cents"]
    postings = [
        {"account_id": body["source_account_id"], "amount_cents": -cents},
        {"account_id": body["destination_account_id"], "amount_cents": cents},
    ]
    return {"postings": postings, **{name: body[name] for name in ("id", "reference") if name in body}}


async def send(api: Api, path: str, body: dict[str, Any]) -> Response:
    """Send a transfer by one of the doors; a refused item of a batch counts as the response."""
    if path == ENTRY:
        return await api.post(path, as_entry(body))
    if path != BATCH:
        return await api.post(path, body)
    answer = await api.post(path, {"atomic": False, "items": [body]})
    assert 200 == answer.status, answer
    (item,) = answer.body["results"]
    return Response(item["status"], item, answer.headers)


DOORS = pytest.mark.parametrize("door", [TRANSFER, BATCH, HOLD, ENTRY])


def facts(answer: Response) -> tuple[int, list[tuple[str, Any]]]:
    """Return what a refusal discloses, without ids of its own request."""
    return answer.status, [(error["code"], error["detail"].get("pointer")) for error in answer.body["errors"]]


@DOORS
async def test_two_customers_use_the_same_reference(api: Api, door: str) -> None:
    alice, eve = await new_party(api), await new_party(api)

    for party in (eve, alice):
        body = {**transfer_body(party.pays, party.gets, 1), "reference": RENT}
        assert 200 == (await send(party.api, door, body)).status
        again = await send(party.api, door, body)
        assert (409, ["reference_already_exists"]) == (again.status, again.codes)


@DOORS
async def test_a_source_of_others_tells_nothing_of_references_and_ids(api: Api, door: str) -> None:
    alice, eve = await new_party(api), await new_party(api)
    taken = {"id": str(new_id()), "reference": RENT}
    assert 200 == (await alice.api.post(TRANSFER, {**transfer_body(alice.pays, alice.gets, 1), **taken})).status

    for source in (NOBODY, alice.pays["id"]):
        free = await send(eve.api, door, {**transfer_body(source, eve.gets, 1), "reference": "free"})
        for probe in ({"reference": RENT}, {"id": taken["id"]}, {"id": alice.pays["id"]}, taken):
            probed = await send(eve.api, door, {**transfer_body(source, eve.gets, 1), **probe})
            assert facts(free) == facts(probed)


@DOORS
async def test_a_taken_id_that_the_caller_may_not_see_is_an_invalid_id_whatever_has_it(api: Api, door: str) -> None:
    alice, eve = await new_party(api), await new_party(api)
    paid = await alice.api.transfer(alice.pays, alice.gets, 1)
    session_id = claims_of(alice.api.token or "")["sid"]

    for taken in (paid.body["id"], alice.pays["id"], alice.api.user_id, session_id):
        probed = await send(eve.api, door, {**transfer_body(eve.pays, eve.gets, 1), "id": taken})
        assert (422, [("validation_error", "/id")]) == facts(probed)


@DOORS
async def test_the_id_of_an_own_transaction_exists_already(api: Api, door: str) -> None:
    alice, bob = await new_party(api), await new_party(api)
    paid = await alice.api.transfer(alice.pays, bob.gets, 1)
    refusal = (422, ["transaction_id_reused"]) if door == BATCH else (409, ["transaction_already_exists"])

    for party in (alice, bob):
        again = await send(party.api, door, {**transfer_body(party.pays, party.gets, 2), "id": paid.body["id"]})
        assert refusal == (again.status, again.codes)


async def test_a_squatter_of_many_references_keeps_nobody_from_paying(api: Api) -> None:
    alice, eve = await new_party(api), await new_party(api)
    sides = ((eve.pays, eve.gets), (eve.gets, eve.pays))
    items = [{**transfer_body(*sides[number % 2], 1), "reference": f"INV-2026-{number:06}"} for number in range(1000)]
    squatted = await eve.api.post(BATCH, {"atomic": True, "items": items})
    assert 200 == squatted.status

    paid = await alice.api.post(TRANSFER, {**transfer_body(alice.pays, eve.gets, 5), "reference": "INV-2026-000777"})
    by_admin = await api.post(TRANSFER, {**transfer_body(alice.pays, eve.gets, 5), "reference": "INV-2026-000777"})

    assert (200, 200) == (paid.status, by_admin.status)


async def store_as_before(connection: Connection, reference: str, owner: Api) -> None:
    """Move a customer's reference to the stream that it had in versions where references had no owners."""
    await connection.execute("SET session_replication_role = replica")
    moved = await connection.execute(
        "UPDATE stored_events SET originator_id = $1 WHERE originator_id = $2",
        reference_stream(reference),
        reference_stream(reference, UUID(owner.user_id)),
    )
    await connection.execute("RESET session_replication_role")
    assert "UPDATE 1" == moved


@DOORS
async def test_a_reference_of_an_old_ledger_is_taken_for_its_payer_alone(
    api: Api, connection: Connection, door: str
) -> None:
    alice, eve = await new_party(api), await new_party(api)
    paid = await alice.api.post(TRANSFER, {**transfer_body(alice.pays, eve.gets, 1), "reference": RENT})
    assert 200 == paid.status
    await store_as_before(connection, RENT, alice.api)

    again = await send(alice.api, door, {**transfer_body(alice.pays, alice.gets, 1), "reference": RENT})
    others = await send(eve.api, door, {**transfer_body(eve.pays, eve.gets, 1), "reference": RENT})

    assert (409, ["reference_already_exists"]) == (again.status, again.codes)
    assert 200 == others.status


async def test_the_reference_of_an_ended_hold_is_free_again_for_its_owner(api: Api) -> None:
    alice = await new_party(api)
    body = {**transfer_body(alice.pays, alice.gets, 1), "reference": RENT}
    held = await alice.api.post(HOLD, body)
    refused = await alice.api.post(TRANSFER, body)
    assert (409, ["reference_already_exists"]) == (refused.status, refused.codes)

    assert 200 == (await api.post(f"/v1/transactions/{held.body['id']}/void")).status

    assert 200 == (await alice.api.post(TRANSFER, body)).status
