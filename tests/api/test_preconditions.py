"""Preconditions: an unchanged resource is not sent again, and a change applies only to the version that was read."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ledger.commands.command import Decision
from ledger.commands.transfers import TransferMoney
from ledger.errors import Refused
from ledger.events.accounts import Account
from ledger.store.heads import Head
from ledger.write.group import CommitGroup
from tests.support.controls import NOBODY, Api, Response, new_id, transfer_body

FAILED = (412, ["precondition_failed"])


@pytest.fixture
async def account(api: Api) -> dict[str, Any]:
    return await api.new_account(balance_cents=100)


@pytest.fixture
async def sink(api: Api) -> dict[str, Any]:
    return await api.new_account()


def path_of(account: Mapping[str, Any]) -> str:
    return f"/v1/accounts/{account['id']}"


def codes(answer: Response) -> tuple[int, list[str]]:
    return answer.status, answer.codes


async def tag(api: Api, path: str) -> str:
    answer = await api.get(path)
    assert 200 == answer.status, answer
    return str(answer.headers["ETag"])


async def test_every_resource_has_the_version_of_its_stream_as_its_tag(
    api: Api, account: dict[str, Any], sink: dict[str, Any], connection: "asyncpg.Connection[Any]"
) -> None:
    hold = await api.post("/v1/transactions/hold", transfer_body(account, sink, 1))
    await api.post(f"/v1/transactions/{hold.body['id']}/void", {})
    paid = await api.transfer(account, sink, 1)

    for name, body in (("users", {"id": account["user_id"]}), ("accounts", account), ("transactions", hold.body)):
        version = await connection.fetchval(
            "SELECT max(originator_version) FROM stored_events WHERE originator_id = $1", body["id"]
        )
        assert f'"{version}"' == await tag(api, f"/v1/{name}/{body['id']}")
    assert '"1"' == await tag(api, f"/v1/transactions/{paid.body['id']}")
    assert '"1"' == await tag(api, f"{path_of(account)}?at_version=1")


async def test_a_current_representation_is_not_sent_again(
    api: Api, account: dict[str, Any], sink: dict[str, Any]
) -> None:
    path = path_of(account)
    one = await tag(api, path)

    for known in (one, f"W/{one}", f'"x", {one}', "*", f'"a,b" ,{one}'):
        answer = await api.get(path, headers={"If-None-Match": known})
        assert (304, "", one) == (answer.status, answer.body, answer.headers["ETag"]), known
    for other in ('"x"', '""', '"999"'):
        assert 200 == (await api.get(path, headers={"If-None-Match": other})).status
    await api.transfer(account, sink, 1)
    answer = await api.get(path, headers={"If-None-Match": one})
    assert (200, 99) == (answer.status, answer.body["balance_cents"])
    assert one != answer.headers["ETag"]


async def test_tags_reveal_nothing_to_unauthorized_callers(api: Api, account: dict[str, Any]) -> None:
    """Lesson 35."""
    customer = await api.as_new_user("customer")

    for known in ("*", await tag(api, path_of(account))):
        assert 404 == (await customer.get(path_of(account), headers={"If-None-Match": known})).status
        own = await api.new_account(customer.user_id)
        body = transfer_body(account, own, 1)
        refused = await customer.post("/v1/transactions/transfer", body, headers={"If-Match": known})
        assert (422, ["transfer_source_account_not_found"]) == codes(refused)
        refused = await customer.post("/v1/transactions/transfer", {**body, "source_version": 1})
        assert (422, ["transfer_source_account_not_found"]) == codes(refused)


async def test_a_partial_view_of_a_journal_entry_has_its_own_tag(api: Api, account: dict[str, Any]) -> None:
    customers = [await api.as_new_user("customer") for _ in range(2)]
    first, second = [await api.new_account(customer.user_id) for customer in customers]
    legs = [{"account_id": one["id"], "amount_cents": cents} for one, cents in ((account, -3), (first, 1), (second, 2))]
    entry = await api.post("/v1/transactions", {"postings": legs})
    path = f"/v1/transactions/{entry.body['id']}"

    views = {await tag(client, path) for client in (*customers, api)}

    assert ('"1"', 3) == (await tag(api, path), len(views))


@pytest.mark.parametrize("name", ["users", "accounts"])
async def test_a_change_applies_only_to_the_version_that_was_read(api: Api, name: str) -> None:
    account = await api.new_account()
    path = path_of(account) if name == "accounts" else f"/v1/users/{account['user_id']}"
    body = (await api.get(path)).body
    seen = await tag(api, path)
    change = {"overdraft_limit_cents": 5} if name == "accounts" else {"email": f"{new_id()}@example.com"}
    changed = await api.put(path, {**body, **change}, headers={"If-Match": seen})
    assert 200 == changed.status
    now = await tag(api, path)
    assert now == changed.headers["ETag"] != seen

    for stale in (seen, f"W/{now}", '"x"', f'{seen}, "999"', f'"0{now[1:]}'):
        for refused in (
            await api.put(path, body, headers={"If-Match": stale}),
            await api.delete(path, headers={"If-Match": stale}),
        ):
            assert FAILED == codes(refused), stale
            assert {"version": now.strip('"')} == refused.body["errors"][0]["detail"]
            assert "Ledger-Position" not in refused.headers
    assert now == await tag(api, path)
    again = {**changed.body, "overdraft_limit_cents": 0} if name == "accounts" else changed.body
    assert 200 == (await api.put(path, again, headers={"If-Match": f'"x", {now}'})).status
    assert 200 == (await api.put(path, again, headers={"If-Match": "*"})).status
    assert 200 == (await api.delete(path, headers={"If-Match": await tag(api, path)})).status


async def test_an_unknown_resource_is_not_found_despite_preconditions(api: Api) -> None:
    """RFC 9110, section 13.2.1: other refusals take precedence over preconditions."""
    for expected in ("*", '"1"'):
        for path in (f"/v1/users/{NOBODY}", f"/v1/accounts/{NOBODY}"):
            assert 404 == (await api.delete(path, headers={"If-Match": expected})).status


@pytest.mark.parametrize("given", ["1", "x", '"1', '1"', '"1" "2"', '*, "1"', '"1",', "", '"' * 999])
async def test_a_malformed_tag_matches_nothing(api: Api, account: dict[str, Any], given: str) -> None:
    given = given.replace("1", (await tag(api, path_of(account))).strip('"'))

    assert 200 == (await api.get(path_of(account), headers={"If-None-Match": given})).status
    assert FAILED == codes(await api.put(path_of(account), {}, headers={"If-Match": given}))


async def test_a_transfer_can_expect_a_version_of_its_source(
    api: Api, account: dict[str, Any], sink: dict[str, Any]
) -> None:
    version = int((await tag(api, path_of(account))).strip('"'))
    body = transfer_body(account, sink, 1)

    async def sent(version: int | None, match: str | None = None, **more: Any) -> Response:
        return await api.post(
            "/v1/transactions/transfer",
            {**body, **({} if version is None else {"source_version": version}), **more},
            headers={} if match is None else {"If-Match": match},
        )

    assert FAILED == codes(await sent(version - 1))
    assert FAILED == codes(await sent(None, f'"{version + 1}"'))
    assert FAILED == codes(await sent(version, '"999"'))
    assert FAILED == codes(await sent(version, 'W/"1"'))
    assert FAILED == codes(await sent(version - 1, amount_cents=10_000)), "also with insufficient funds"
    assert 100 == await api.balance(account)
    assert 200 == (await sent(version)).status
    assert FAILED == codes(await sent(version))
    assert 200 == (await sent(None, f'"{version + 1}"')).status
    assert 200 == (await sent(version + 2, f'"7", "{version + 2}"')).status
    assert 200 == (await sent(version + 3, "*")).status
    assert 96 == await api.balance(account)


async def test_only_one_of_many_changes_to_the_same_version_succeeds(
    api: Api, account: dict[str, Any], sink: dict[str, Any]
) -> None:
    body = {**transfer_body(account, sink, 1), "source_version": int((await tag(api, path_of(account))).strip('"'))}

    answers = await asyncio.gather(*(api.post("/v1/transactions/transfer", body) for _ in range(20)))

    assert [200] + [412] * 19 == sorted(answer.status for answer in answers)
    assert 99 == await api.balance(account)


async def test_a_transfer_can_require_an_available_amount(
    api: Api, account: dict[str, Any], sink: dict[str, Any]
) -> None:
    async def sent(minimum: int) -> Response:
        conditions = {"source_available_min_cents": minimum}
        return await api.post(
            "/v1/transactions/transfer", {**transfer_body(account, sink, 1), "conditions": conditions}
        )

    refused = await sent(101)
    assert (412, ["condition_not_met"]) == codes(refused)
    assert ["/conditions/source_available_min_cents"] == refused.pointers
    assert 200 == (await sent(100)).status
    assert 412 == (await sent(100)).status
    assert 200 == (await api.post("/v1/transactions/hold", transfer_body(account, sink, 50))).status
    assert [412, 200] == [(await sent(50)).status, (await sent(49)).status]


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"source_version": 0}, "/source_version"),
        ({"source_version": "1"}, "/source_version"),
        ({"conditions": {}}, "/conditions/source_available_min_cents"),
        ({"conditions": {"source_available_min_cents": 1.0}}, "/conditions/source_available_min_cents"),
        ({"conditions": {"source_available_min_cents": 1, "more": 1}}, "/conditions/more"),
    ],
)
async def test_impossible_preconditions_are_refused(
    api: Api, account: dict[str, Any], sink: dict[str, Any], more: dict[str, Any], pointer: str
) -> None:
    refused = await api.post("/v1/transactions/transfer", {**transfer_body(account, sink, 1), **more})

    assert (422, [pointer]) == (refused.status, refused.pointers)


async def test_a_repeated_request_gets_the_first_response_despite_later_changes(
    api: Api, account: dict[str, Any], sink: dict[str, Any]
) -> None:
    one = {"Idempotency-Key": "one", "If-Match": await tag(api, path_of(account))}
    first = await api.transfer(account, sink, 1, headers=one)
    again = await api.transfer(account, sink, 1, headers=one)
    other = await api.transfer(account, sink, 1, headers={**one, "If-Match": "*"})

    assert (200, first.body) == (again.status, again.body)
    assert (422, ["idempotency_key_reused"]) == codes(other)


def test_an_expected_version_includes_earlier_commands_of_the_group() -> None:
    ids = [new_id() for _ in range(3)]
    source, sink, owner = ids
    batch = CommitGroup({source: Head(3, Account(owner, "USD", 10)), sink: Head(1, Account(owner, "USD"))})

    def transfer(version: int) -> Any:
        return batch.decide(
            TransferMoney(
                transaction_id=new_id(),
                source_account_id=source,
                destination_account_id=sink,
                amount_cents=1,
                expected=frozenset({version}),
            ),
            UUID(int=1),
        )

    assert [Refused, Decision, Refused, Decision] == [type(transfer(version)) for version in (2, 3, 3, 4)]


async def test_the_headers_are_the_same_over_http_1_0(api: Api, account: dict[str, Any], sink: dict[str, Any]) -> None:
    """Over HTTP/1.0 the response takes another code path."""
    head = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    body = json.dumps(transfer_body(account, sink, 1)).encode()

    async def raw(version: str, request: str, body: bytes = b"") -> set[str]:
        reader, writer = await asyncio.open_connection(api.client.host, api.client.port)
        fields = {**head, "Host": "ledger", "Content-Length": len(body), "Connection": "close"}
        if version == "1.1":
            del fields["Connection"]
        lines = [f"{request} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return {line.partition(":")[0].title() for line in answer.decode().split("\r\n")[1:] if line} - {"Connection"}

    for request, content, name in (
        ("POST /v1/transactions/transfer", body, "Ledger-Position"),
        (f"GET {path_of(account)}", b"", "Etag"),
    ):
        whole, other = [await raw(version, request, content) for version in ("1.1", "1.0")]
        assert whole == other
        assert name in whole
