"""Batches of transfers: atomic or item by item, and never executed twice."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import pytest

from ledger.errors import OverloadedError
from ledger.settings import Settings
from ledger.store.citus import find_table
from tests.support.controls import NOBODY, Api, Response, new_id, transfer_body
from web.handlers import batch
from web.http.wording import MAX_REFUSALS

Serve = Callable[[Settings], Awaitable[Api]]
Connection: TypeAlias = "asyncpg.Connection[Any]"
Item = dict[str, Any]

PATH = "/v1/transactions/batch"
KEY = {"Idempotency-Key": "one-key"}


async def send(api: Api, items: list[Item], *, atomic: bool = False, headers: dict[str, str] | None = None) -> Response:
    body = io.BytesIO(json.dumps({"atomic": atomic, "items": items}).encode())
    return await api.post(PATH, data=body, headers={"Content-Type": "application/json", **(headers or {})})


def statuses(answer: Response) -> list[int]:
    return [result["status"] for result in answer.body["results"]]


def codes(answer: Response) -> list[list[str]]:
    """Return the error codes of each item."""
    return [[error["code"] for error in result.get("errors", ())] for result in answer.body["results"]]


async def accounts(api: Api, *balances: int) -> list[dict[str, Any]]:
    return [await api.new_account(balance_cents=balance) for balance in balances]


async def balances(api: Api, *found: dict[str, Any]) -> list[int]:
    return [await api.balance(account) for account in found]


async def counts(connection: Connection) -> tuple[int, ...]:
    """Return the number of events and of commands that appended them."""
    return tuple(
        [await connection.fetchval(f"SELECT count(*) FROM {table}") for table in ("stored_events", "command_log")]
    )


# Independent items


async def test_each_item_has_its_own_result_and_a_refused_one_fails_no_other(api: Api) -> None:
    """Lesson 5."""
    alice, bob = await accounts(api, 100, 0)

    answer = await send(
        api,
        [
            transfer_body(alice, bob, 60),
            transfer_body(alice, bob, 60),
            transfer_body(alice, NOBODY, 1),
            transfer_body(alice, bob, 40),
        ],
    )

    assert (200, [200, 422, 422, 200]) == (answer.status, statuses(answer))
    assert [[], ["transfer_insufficient_funds"], ["transfer_destination_account_not_found"], []] == codes(answer)
    assert [60, 40] == [answer.body["results"][number]["transaction"]["amount_cents"] for number in (0, 3)]
    assert [0, 100] == await balances(api, alice, bob)


async def test_an_item_can_spend_what_an_earlier_one_brought_in(api: Api) -> None:
    alice, bob, carol = await accounts(api, 10, 0, 0)

    answer = await send(
        api, [transfer_body(bob, carol, 10), transfer_body(alice, bob, 10), transfer_body(bob, carol, 10)]
    )

    assert [422, 200, 200] == statuses(answer)
    assert [0, 0, 10] == await balances(api, alice, bob, carol)


async def test_the_result_of_an_item_equals_the_transaction_read_later(api: Api) -> None:
    alice, bob = await accounts(api, 100, 0)
    said = {
        "reference": "rent",
        "description": "May",
        "metadata": {"flat": "3"},
        "effective_at": "2026-05-01T00:00:00Z",
    }

    answer = await send(api, [{**transfer_body(alice, bob, 1), **said}, transfer_body(alice, bob, 2)], atomic=True)

    for result in answer.body["results"]:
        made = result["transaction"]
        assert (200, made) == (await api.get(f"/v1/transactions/{made['id']}"))[:2]


async def refused_items(api: Api) -> dict[str, Item]:
    """Return one transfer for each reason to refuse it."""
    alice, bob, euros = (
        await api.new_account(balance_cents=5),
        await api.new_account(),
        await api.new_account(currency="EUR"),
    )
    closed, frozen = await api.new_account(), await api.new_account(balance_cents=5, frozen="debits")
    taken = await api.post("/v1/transactions/transfer", {**transfer_body(alice, bob, 1), "reference": "taken"})
    assert 200 == taken.status
    assert 200 == (await api.delete(f"/v1/accounts/{closed['id']}")).status
    return {
        "funds": transfer_body(alice, bob, 5),
        "unknown": transfer_body(NOBODY, str(new_id()), 5),
        "unknown and same": transfer_body(NOBODY, NOBODY, 5),
        "same": transfer_body(alice, alice, 5),
        "currency": transfer_body(alice, euros, 1),
        "closed": transfer_body(alice, closed, 1),
        "frozen": transfer_body(frozen, bob, 1),
        "reference": {**transfer_body(alice, bob, 1), "reference": "taken"},
    }


async def test_an_item_is_refused_for_the_same_reasons_as_a_single_transfer(api: Api) -> None:
    items = await refused_items(api)
    alone = {name: await api.post("/v1/transactions/transfer", item) for name, item in items.items()}

    many = await send(api, list(items.values()))
    atomic = {name: await send(api, [item], atomic=True) for name, item in items.items()}

    assert [answer.codes for answer in alone.values()] == codes(many)
    assert [answer.status for answer in alone.values()] == statuses(many)
    assert {name: (answer.status, answer.codes) for name, answer in alone.items()} == {
        name: (answer.status, answer.codes) for name, answer in atomic.items()
    }


async def test_a_customer_can_pay_only_from_own_accounts(api: Api) -> None:
    """Lesson 35."""
    caller = await api.as_new_user("customer")
    own, (other,) = await api.new_account(caller.user_id, balance_cents=5), await accounts(api, 5)

    answer = await send(
        caller, [transfer_body(own, other, 1), transfer_body(other, own, 1), transfer_body(NOBODY, own, 1)]
    )

    assert [[], *[["transfer_source_account_not_found"]] * 2] == codes(answer)


async def test_a_reference_can_be_used_once_in_a_batch(api: Api) -> None:
    alice, bob = await accounts(api, 5, 0)

    answer = await send(api, [{**transfer_body(alice, bob, 1), "reference": "rent"}] * 2)

    assert ([200, 409], [[], ["reference_already_exists"]]) == (statuses(answer), codes(answer))


# All or nothing


async def test_an_atomic_batch_is_one_database_transaction(api: Api, connection: Connection) -> None:
    alice, bob = await accounts(api, 100, 0)
    before = await counts(connection)

    answer = await send(api, [transfer_body(alice, bob, cents) for cents in range(1, 11)], atomic=True)

    assert [200] * 10 == statuses(answer)
    assert [45, 55] == await balances(api, alice, bob)
    assert (before[0] + 30, before[1] + 1) == await counts(connection)
    transfers = await find_table(connection, "transfers")
    writers = f"SELECT count(DISTINCT xmin::text) FROM {transfers} WHERE kind = 'transfer'"
    assert 1 == await connection.fetchval(writers)


async def test_a_refused_atomic_batch_changes_nothing_and_names_the_first_item(
    api: Api, connection: Connection
) -> None:
    """Lesson 5: no item is executed and undone afterwards."""
    alice, bob = await accounts(api, 100, 0)
    before, _ = await counts(connection)
    items = [transfer_body(alice, bob, 1)] * 17 + [transfer_body(alice, bob, 84), transfer_body(NOBODY, bob, 1)]

    answer = await send(api, items, atomic=True)

    assert (422, ["transfer_insufficient_funds"]) == (answer.status, answer.codes)
    assert ["/items/17"] == answer.pointers
    assert before == (await counts(connection))[0]
    assert [100, 0] == await balances(api, alice, bob)


async def test_all_refusals_of_the_first_refused_item_are_reported(api: Api) -> None:
    alice, bob = await accounts(api, 100, 0)

    answer = await send(api, [transfer_body(alice, bob, 1), transfer_body(NOBODY, NOBODY, 1)], atomic=True)

    assert ["transfer_source_account_not_found", "transfer_accounts_are_same"] == answer.codes
    assert {"source_account_id": NOBODY, "pointer": "/items/1"} == answer.body["errors"][0]["detail"]


async def test_a_balance_beyond_the_maximum_is_refused_at_its_item(api: Api) -> None:
    """Lesson 7."""
    rich, poor = await api.new_account(balance_cents=2**53 - 1), await api.new_account(overdraft_limit_cents=5)

    answer = await send(api, [transfer_body(poor, rich, 1)], atomic=True)

    assert (422, ["/items/0/amount_cents"]) == (answer.status, answer.pointers)


# Repeated items


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_repeated_item_is_executed_once_and_marked_as_a_replay(
    api: Api, connection: Connection, atomic: bool
) -> None:
    """Lesson 4."""
    alice, bob = await accounts(api, 100, 0)
    item = {**transfer_body(alice, bob, 30), "id": str(new_id())}
    single = (await api.post("/v1/transactions/transfer", item)).body
    before, _ = await counts(connection)

    answer = await send(api, [item], atomic=atomic)

    assert [{"status": 200, "replayed": True, "transaction": single}] == answer.body["results"]
    assert before == (await counts(connection))[0]
    assert [70, 30] == await balances(api, alice, bob)


async def test_an_item_twice_in_one_batch_is_executed_once(api: Api) -> None:
    """Lesson 4."""
    alice, bob = await accounts(api, 100, 0)
    item = {**transfer_body(alice, bob, 30), "id": str(new_id()), "reference": "rent", "metadata": {"flat": "3"}}

    first, second = (await send(api, [item, item], atomic=True)).body["results"]

    assert {**first, "replayed": True} == second
    assert [70, 30] == await balances(api, alice, bob)


CHANGES = [{"amount_cents": 31}, {"reference": "other"}, {"description": "other"}, {"metadata": {"flat": "4"}}]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
async def test_an_id_with_another_content_is_refused(api: Api, change: Item) -> None:
    """Lesson 4: the body is compared with the earlier one, in another request or in the same batch."""
    alice, bob = await accounts(api, 100, 0)
    item = {**transfer_body(alice, bob, 30), "id": str(new_id())}

    together = await send(api, [item, {**item, **change}])
    later = await send(api, [{**item, **change}, {**item, "id": str(new_id())}])

    assert ([200, 422], [[], ["transaction_id_reused"]]) == (statuses(together), codes(together))
    assert ([422, 200], [["transaction_id_reused"], []]) == (statuses(later), codes(later))
    assert [40, 60] == await balances(api, alice, bob)


async def test_the_id_of_something_else_is_refused(api: Api) -> None:
    alice, bob = await accounts(api, 100, 0)
    held = await api.post("/v1/transactions/hold", transfer_body(alice, bob, 30))

    answer = await send(
        api,
        [{**transfer_body(alice, bob, 30), "id": held.body["id"]}, {**transfer_body(alice, bob, 30), "id": bob["id"]}],
    )

    assert [["transaction_id_reused"]] * 2 == codes(answer)


async def test_a_customer_is_not_shown_the_transfer_of_another_as_a_replay(api: Api) -> None:
    """Lesson 35."""
    alice, bob = await accounts(api, 100, 0)
    item = {**transfer_body(alice, bob, 30), "id": str(new_id())}
    await send(api, [item])

    answer = await send(await api.as_new_user("customer"), [item])

    assert [["transfer_source_account_not_found"]] == codes(answer)


async def test_concurrent_batches_with_the_same_items_are_executed_once(api: Api) -> None:
    """Lesson 4."""
    alice, bob = await accounts(api, 1000, 0)
    items = [{**transfer_body(alice, bob, 1), "id": str(new_id())} for _ in range(50)]

    answers = await asyncio.gather(*(send(api, items) for _ in range(4)))

    assert [[200] * 50] * 4 == [statuses(answer) for answer in answers]
    assert 150 == sum(result.get("replayed", False) for answer in answers for result in answer.body["results"])
    assert [950, 50] == await balances(api, alice, bob)


# Repeated requests


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_batch_repeated_under_its_key_gets_the_same_response(
    api: Api, connection: Connection, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    """Lesson 4."""
    monkeypatch.setattr(batch, "CHUNK", 3)
    alice, bob = await accounts(api, 100, 0)
    known = {**transfer_body(alice, bob, 1), "id": str(new_id())}
    items = [known, known, *(transfer_body(alice, bob, cents) for cents in range(1, 6))]
    items += [] if atomic else [transfer_body(alice, NOBODY, 1), transfer_body(alice, bob, 100)]

    first = await send(api, items, atomic=atomic, headers=KEY)
    before = await counts(connection)
    again = await send(api, items, atomic=atomic, headers=KEY)

    assert without_times(first) == without_times(again)
    assert (None, "true") == tuple(answer.headers.get("Idempotent-Replayed") for answer in (first, again))
    assert before == await counts(connection)


def without_times(answer: Response) -> Any:
    """Return the results without members that differ from request to request."""
    return [
        {**result, "errors": [(error["code"], error.get("detail")) for error in result.get("errors", ())]}
        for result in answer.body["results"]
    ]


async def test_a_refused_batch_is_refused_again_under_its_key(api: Api) -> None:
    alice, bob = await accounts(api, 1, 0)
    first = await send(api, [transfer_body(alice, bob, 2)], atomic=True, headers=KEY)
    await api.put(f"/v1/accounts/{alice['id']}", {"balance_cents": 100})

    again = await send(api, [transfer_body(alice, bob, 2)], atomic=True, headers=KEY)

    assert [(422, ["/items/0"])] * 2 == [(answer.status, answer.pointers) for answer in (first, again)]
    assert "true" == again.headers["Idempotent-Replayed"]


async def test_a_key_belongs_to_one_batch(api: Api) -> None:
    alice, bob = await accounts(api, 100, 0)
    await send(api, [transfer_body(alice, bob, 1)], headers=KEY)

    answers = [
        await send(api, [transfer_body(alice, bob, 2)], headers=KEY),
        await send(api, [transfer_body(alice, bob, 1)], atomic=True, headers=KEY),
    ]

    assert [(422, ["idempotency_key_reused"])] * 2 == [(answer.status, answer.codes) for answer in answers]


async def test_an_interrupted_batch_resumes_under_its_key(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson 4: executed items are not repeated, and the rest is executed."""
    monkeypatch.setattr(batch, "CHUNK", 2)
    alice, bob = await accounts(api, 100, 0)
    items = [transfer_body(alice, bob, cents) for cents in range(1, 6)]
    real, calls = batch.execute_chunk, iter(range(9))

    async def broken(*arguments: Any) -> Any:
        if next(calls) == 1:
            raise OverloadedError("full")
        return await real(*arguments)

    monkeypatch.setattr(batch, "execute_chunk", broken)

    half = await send(api, items, headers=KEY)
    whole = await send(api, items, headers=KEY)

    assert [200, 200, 503, 503, 503] == statuses(half)
    assert ["overloaded"] == codes(half)[2]
    assert ([200] * 5, half.body["results"][:2]) == (statuses(whole), whole.body["results"][:2])
    assert [85, 15] == await balances(api, alice, bob)


# Invalid batches


@pytest.mark.parametrize("atomic", [True, False])
async def test_one_malformed_item_refuses_the_request_and_is_named(
    api: Api, connection: Connection, atomic: bool
) -> None:
    """Lesson 33: an item is parsed as strictly as the body of a single transfer."""
    alice, bob = await accounts(api, 100, 0)
    before = await counts(connection)
    items: list[Any] = [transfer_body(alice, bob, cents) for cents in (1, 25.0, "25", True, 0)]
    items += [{**items[0], "id": "one"}, {**items[0], "reference": "\0"}, {**items[0], "amount": 1}, 5]

    answer = await send(api, items, atomic=atomic)

    assert (422, {"validation_error"}) == (answer.status, {*answer.codes})
    assert [
        *(f"/items/{number}/amount_cents" for number in range(1, 5)),
        *("/items/5/id", "/items/6/reference", "/items/7/amount", "/items/8"),
    ] == answer.pointers
    assert before == await counts(connection)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"atomic": true, "items": []}', (422, ["/items"])),
        ('{"items": []}', (422, ["/atomic", "/items"])),
        ('{"atomic": 1, "items": {}}', (422, ["/atomic", "/items"])),
        ('{"atomic": true, "items": [5], "more": 1}', (422, ["/items/0", "/more"])),
        ("[]", (422, [""])),
        ('{"atomic": true, "items": [' + ",".join(["5"] * 10_001) + "]}", (422, ["/items"])),
    ],
)
async def test_a_malformed_batch_is_refused_by_name(api: Api, body: str, expected: tuple[int, list[str]]) -> None:
    answer = await api.post(PATH, data=body, headers={"Content-Type": "application/json"})

    assert expected == (answer.status, answer.pointers)


@pytest.mark.parametrize("body", ['{"atomic": true, "items": [', ""])
async def test_what_is_not_json_is_400(api: Api, body: str) -> None:
    answer = await api.post(PATH, data=body, headers={"Content-Type": "application/json"})

    assert (400, ["malformed_request"]) == (answer.status, answer.codes)


async def test_the_number_of_reported_errors_is_bounded(api: Api) -> None:
    """Lesson 36."""
    answers = [await send(api, [{}] * 1000), await api.post(PATH, {"items": [{}] * 1000})]

    assert [(422, MAX_REFUSALS)] * 2 == [(answer.status, len(answer.codes)) for answer in answers]


async def test_a_batch_has_its_own_larger_size_limit(serve: Serve, settings: Settings) -> None:
    """Lesson 36."""
    api = await serve(settings.model_copy(update={"ledger_body_limit_bytes": 1024, "ledger_bulk_limit_bytes": 4096}))
    alice, bob = await accounts(api, 100, 0)

    fits, too_large = [await send(api, [transfer_body(alice, bob, 1)] * number) for number in (20, 40)]

    assert (200, [200] * 20) == (fits.status, statuses(fits))
    assert (413, ["payload_too_large"]) == (too_large.status, too_large.codes)
    assert 80 == await api.balance(alice)


async def test_a_worker_processes_a_bounded_number_of_batches(api: Api) -> None:
    """Lesson 36."""
    alice, bob = await accounts(api, 100, 0)
    limit = api.client.app[batch.BATCH_LIMIT]

    async with AsyncExitStack() as admitted:
        for _ in range(batch.MAX_BATCHES):
            await admitted.enter_async_context(limit.admit(uuid4()))
        answer = await send(api, [transfer_body(alice, bob, 1)])

    assert (503, ["overloaded"], "1") == (answer.status, answer.codes, answer.headers["Retry-After"])


async def test_ten_thousand_transfers_are_one_batch(api: Api, connection: Connection) -> None:
    alice, bob = await accounts(api, 10_000, 0)
    items = [transfer_body(alice, bob, 1)] * 10_000

    atomic = await send(api, items, atomic=True)
    back = await send(api, [transfer_body(bob, alice, 1)] * 10_000)

    assert [[200] * 10_000] * 2 == [statuses(atomic), statuses(back)]
    assert [10_000, 0] == await balances(api, alice, bob)
    assert 1 + 10 == await connection.fetchval("SELECT count(*) FROM command_log WHERE name = 'TransferMany'")


async def test_a_revoked_token_executes_no_batch(api: Api, connection: Connection) -> None:
    caller, (alice, bob) = await api.as_new_user("admin"), await accounts(api, 100, 0)
    await api.post("/v1/auth/revoke-user", {"user_id": caller.user_id})
    before = await counts(connection)

    answer = await send(caller, [transfer_body(alice, bob, 1)])

    assert (401, ["authentication_wrong_credentials"]) == (answer.status, answer.codes)
    assert before == await counts(connection)


async def test_a_batch_is_listed_as_a_command_of_its_caller(api: Api) -> None:
    alice, bob = await accounts(api, 100, 0)
    caller = await api.as_new_user("admin")
    answer = await send(caller, [transfer_body(alice, bob, 1), transfer_body(alice, NOBODY, 1)])

    (command, _) = (await api.get(f"/v1/audit/actors/{caller.user_id}")).body

    made, refused = command["result"]["results"]
    assert ("TransferMany", answer.body["results"][0]["transaction"]["id"]) == (command["name"], made["id"])
    assert ["transfer_destination_account_not_found"] == [refusal["code"] for refusal in refused["refusals"]]


@pytest.mark.parametrize("depth", [190, 500, 900, 990, 1_000, 5_000])
async def test_a_deeply_nested_batch_is_refused_without_a_fault(api: Api, depth: int) -> None:
    """JSON parsers limit nesting at different depths."""
    bodies = (
        '{"atomic": false, "items": [' + "[" * depth + "]" * depth + "]}",
        '{"atomic": false, "items": [' + '{"metadata":' * depth + "1" + "}" * depth + "]}",
        '{"atomic": ' + "[" * depth + "]" * depth + "}",
    )

    answers = [
        await api.post("/v1/transactions/batch", data=body, headers={"Content-Type": "application/json"})
        for body in bodies
    ]

    assert all(answer.status in {400, 422} for answer in answers), answers
