"""A receipt and the public key prove an event without trust in the ledger, and cannot be forged or changed."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from ledger.events import StoredRow, to_json
from ledger.identity.keys import Key, private_key, public_pem
from ledger.seals import receipts
from ledger.seals.blocks import Block, CommandPeriod
from ledger.seals.receipts import InvalidReceiptError, SealMismatchError
from ledger.seals.sealing import sealing as seal_meanwhile
from ledger.settings import Settings
from ledger.store.command_rows import CommandRow
from ledger.values.ids import new_id
from tests.support.controls import NOBODY, Api
from tests.support.problems import assert_is_problem
from tests.support.processes import Ran, run_ledger, until
from tests.support.sealed import block_of, write_key_file

Serve = Callable[[Settings], Awaitable[Api]]
Commands = dict[UUID | None, CommandRow]
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NO_SERVERS = {"DATABASE_URL": "nonsense", "REDIS_URL": "nonsense", "JWT_SECRET": "x"}  # settings that cannot be read

CHECK = ("audit", "check-receipt", "receipt.json", "--public-key", "key.pem")


@pytest.fixture
def key(key_file: Path) -> Key:
    return private_key(key_file)


def rows(count: int) -> list[StoredRow]:
    return [StoredRow(new_id(), 1, "NameClaimed", b'{"n":1}', 2 * n + 1, NOW, new_id()) for n in range(count)]


def command_of(row: StoredRow) -> CommandRow:
    assert row.command_id is not None
    return CommandRow(row.command_id, "n", new_id(), None, None, None, None, "accepted", None, None, NOW)


def sealed(some: list[StoredRow], key: Key, commands: Commands | None = None) -> Block:
    period = None if commands is None else CommandPeriod((), NOW, NOW)
    return block_of(new_id(), None, some, commands, period=period, sealed_at=NOW, key=key)


def receipt_of(some: list[StoredRow], key: Key, *indices: int, version: int = 2) -> bytes:
    commands: Commands | None = {row.command_id: command_of(row) for row in some} if version == 2 else None
    block = sealed(some, key, commands)
    rows = [some[index] for index in indices]
    proofs = [receipts.prove(block, row, None if commands is None else commands[row.command_id]) for row in rows]
    return msgspec.json.encode(receipts.build(proofs))


def is_valid(raw: bytes, key: Key) -> bool:
    try:
        receipts.check(raw, {key.kid: key})
    except InvalidReceiptError:
        return False
    return True


BOTH_VERSIONS = pytest.mark.parametrize("version", [1, 2])


@BOTH_VERSIONS
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
def test_the_receipt_of_every_event_of_a_block_is_valid(count: int, version: int, key: Key) -> None:
    some = rows(count)
    raw = receipt_of(some, key, *range(count), version=version)
    assert some == [proof.event.row() for proof in receipts.check(raw, {key.kid: key}).proofs]


@BOTH_VERSIONS
def test_a_receipt_with_any_changed_byte_proves_nothing_else(version: int, key: Key) -> None:
    """A change of a byte is found, unless the receipt still says the same, such as a digit of an id in upper case."""
    raw = receipt_of(rows(5), key, 2, version=version)
    assert is_valid(raw, key)
    still_valid = 0
    for index in range(len(raw)):
        for replaced in {raw[index] ^ 1, raw[index] ^ 0x20, ord("0"), ord("A"), ord(" ")} - {raw[index]}:
            changed = raw[:index] + bytes([replaced]) + raw[index + 1 :]
            if is_valid(changed, key):
                still_valid += 1
                assert raw == msgspec.json.encode(receipts.check(changed, {key.kid: key})), (index, replaced)
    assert still_valid < len(raw) / 10


def reorder(value: Any) -> Any:
    match value:
        case dict():
            return {name: reorder(member) for name, member in reversed(value.items())}
        case list():
            return [reorder(item) for item in value]
        case _:
            return value


def test_a_receipt_that_went_through_a_tool_for_json_is_the_same_receipt(key: Key) -> None:
    raw = receipt_of(rows(3), key, 0, 1)
    members = msgspec.json.decode(raw)
    expected = receipts.check(raw, {key.kid: key})
    for other in (
        raw + b"\n",
        b" " + raw,
        json.dumps(members, indent=2).encode(),
        json.dumps(reorder(members), sort_keys=True).encode(),
        json.dumps(reorder(members), indent="\t").encode(),
        raw.replace(b"ledger-receipt-1", rb"ledger\u002dreceipt-1"),
    ):
        assert expected == receipts.check(other, {key.kid: key})


def test_what_a_receipt_does_not_say_is_not_ignored(key: Key) -> None:
    raw = receipt_of(rows(3), key, 1)
    members = msgspec.json.decode(raw)
    twice = raw[:-1] + b',"format":"ledger-receipt-2"}'
    more = msgspec.json.encode({**members, "more": 1})
    fraction = raw.replace(b'"leaf_index":1', b'"leaf_index":1.0')
    for other in (raw[:-1], b"", b"\xff", b"[]", b"[" * 2000, twice, more, fraction, b"\xef\xbb\xbf" + raw):
        assert not is_valid(other, key)
    for member in ("proofs", "format"):
        assert not is_valid(msgspec.json.encode({**members, member: []}), key)


def test_a_receipt_has_the_format_of_its_proofs(key: Key) -> None:
    """A proof of one version cannot pass for that of another."""
    old, new = (receipt_of(rows(2), key, 0, version=version) for version in (1, 2))
    for raw, name, other in ((old, b"receipt-1", b"receipt-2"), (new, b"receipt-2", b"receipt-1")):
        assert is_valid(raw, key)
        assert not is_valid(raw.replace(name, other), key)
    (proof,) = msgspec.json.decode(new)["proofs"]
    without_digest = {name: value for name, value in proof.items() if name != "command_digest"}
    header = {name: value for name, value in proof["block"].items() if name != "commands"}
    for changed in (without_digest, {**proof, "block": header}, {**without_digest, "block": header}):
        for format_ in ("ledger-receipt-1", "ledger-receipt-2"):
            assert not is_valid(msgspec.json.encode({"format": format_, "proofs": [changed]}), key)


def test_a_time_without_a_zone_is_refused(key: Key) -> None:
    raw = receipt_of(rows(3), key, 1)
    assert 4 == raw.count(b"T12:00:00Z")
    assert not is_valid(raw.replace(b"T12:00:00Z", b"T12:00:00", 1), key)
    assert not is_valid(raw.replace(b"T12:00:00Z", b"T12:00:00"), key)


def test_parts_of_two_receipts_cannot_be_combined(key: Key) -> None:
    some = rows(6)
    first, second = (msgspec.json.decode(receipt_of(some, key, index))["proofs"][0] for index in (1, 4))
    for member in first:
        mixed = msgspec.json.encode({"format": "ledger-receipt-2", "proofs": [{**first, member: second[member]}]})
        assert (first[member] == second[member]) == is_valid(mixed, key), member


def test_a_receipt_that_another_key_signed_proves_nothing(key: Key, tmp_path: Path) -> None:
    another = private_key(write_key_file(tmp_path / "another.pem"))
    assert not is_valid(receipt_of(rows(2), another, 0), key)


def test_an_event_that_differs_from_its_seal_gets_no_receipt(key: Key) -> None:
    some = rows(3)
    block = sealed(some, key)
    for wrong, row in ((block, some[1]._replace(state=b"{}")), (block._replace(leaves=block.leaves[:2]), some[1])):
        with pytest.raises(SealMismatchError):
            receipts.prove(wrong, row)


# Over HTTP.


@pytest.fixture
async def sealing(serve: Serve, settings: Settings, key_file: Path) -> AsyncIterator[Api]:
    """Serve a ledger that seals its log without delay."""
    sealed = settings.model_copy(update={"ledger_seal_key_file": key_file, "ledger_seal_seconds": 0.01})
    async with seal_meanwhile(sealed):
        yield await serve(sealed)


async def receipt(api: Api, path: str) -> bytes:
    """Wait for a receipt, and return its bytes."""

    async def given() -> bytes | None:
        async with api.client.get(path, headers={"Authorization": f"Bearer {api.token}"}) as response:
            assert response.status in {200, 409}, await response.text()
            return await response.read() if response.status == 200 else None

    raw: bytes = await until(given)
    return raw


async def test_a_transfer_has_a_receipt_with_its_entries_that_can_be_checked_elsewhere(sealing: Api, key: Key) -> None:
    """This holds for every command that moves money; opening an account can be one."""
    source, destination = await sealing.new_account(balance_cents=100), await sealing.new_account()
    await sealing.transfer(source, destination, 1)
    transfer = (await sealing.transfer(source, destination, 7)).body
    opening = (await sealing.get(f"/v1/accounts/{source['id']}/entries")).body[-1]["transaction_id"]
    for transaction_id, amount, balances in ((transfer["id"], 7, {92, 8}), (opening, 100, {100, -100})):
        raw = await receipt(sealing, f"/v1/transactions/{transaction_id}/proof")
        events = [proof.event for proof in receipts.check(raw, {key.kid: key}).proofs]
        said = {event.topic: msgspec.json.decode(to_json(event.topic, event.state)) for event in events}
        assert {"MoneyTransferred": 1, "AccountDebited": 1, "AccountCredited": 1} == Counter(
            event.topic for event in events
        )
        assert {amount} == {state["amount_cents"] for state in said.values()}
        assert balances == {state["balance_cents"] for state in said.values() if "balance_cents" in state}


async def test_a_customer_gets_no_entry_of_the_other_side(sealing: Api, key: Key) -> None:
    """Lesson 35: it would reveal the other owner's balance."""
    payer, payee = await sealing.as_new_user("customer"), await sealing.as_new_user("customer")
    source = await sealing.new_account(payer.user_id, balance_cents=100)
    destination = await sealing.new_account(payee.user_id)
    path = f"/v1/transactions/{(await payer.transfer(source, destination, 7)).body['id']}/proof"
    for party, account, topic in ((payer, source, "AccountDebited"), (payee, destination, "AccountCredited")):
        proofs = receipts.check(await receipt(party, path), {key.kid: key}).proofs
        assert {"MoneyTransferred", topic} == {proof.event.topic for proof in proofs}
        assert account["id"] in {str(proof.event.originator_id) for proof in proofs}


async def test_a_customer_gets_no_leg_of_others_in_a_journal_entry(sealing: Api, key: Key) -> None:
    """Lesson 35: it would reveal what other owners received."""
    payee, other = await sealing.as_new_user("customer"), await sealing.new_account()
    source, own = await sealing.new_account(balance_cents=100), await sealing.new_account(payee.user_id)
    legs = [{"account_id": one["id"], "amount_cents": cents} for one, cents in ((source, -9), (own, 2), (other, 7))]
    path = f"/v1/transactions/{(await sealing.post('/v1/transactions', {'postings': legs})).body['id']}/proof"
    for party, topics in (
        (payee, ["AccountCredited"]),
        (sealing, ["JournalEntryPosted", "AccountDebited", "AccountCredited", "AccountCredited"]),
    ):
        proofs = receipts.check(await receipt(party, path), {key.kid: key}).proofs
        assert topics == [proof.event.topic for proof in proofs]


async def test_an_account_has_a_receipt_for_each_of_its_versions(sealing: Api, key: Key) -> None:
    account = await sealing.new_account(balance_cents=100)
    await sealing.transfer(account, await sealing.new_account(), 7)
    path = f"/v1/accounts/{account['id']}/proof"
    found = [
        receipts.check(await receipt(sealing, f"{path}{query}"), {key.kid: key}).proofs[0].event
        for query in ("?at_version=1", "?at_version=2", "")
    ]
    assert ["AccountOpened", "AccountCredited", "AccountDebited"] == [event.topic for event in found]
    assert 93 == msgspec.json.decode(to_json(found[2].topic, found[2].state))["balance_cents"]
    assert_is_problem(await sealing.get(f"{path}?at_version=4"), 404, "resource_not_found", "resource_not_found")
    for text in ("0", "-1", "1.0", "x", str(2**63)):
        assert ["query at_version"] == (await sealing.get(f"{path}?at_version={text}")).parameters


async def test_only_callers_who_may_read_an_event_get_its_receipt(sealing: Api) -> None:
    """Lesson 35."""
    payer, stranger = await sealing.as_new_user("customer"), await sealing.as_new_user("customer")
    auditor, guest = await sealing.as_new_user("auditor"), await sealing.as_new_user("guest")
    account = await sealing.new_account(payer.user_id, balance_cents=100)
    transfer = (await payer.transfer(account, await sealing.new_account(), 7)).body
    paths = [f"/v1/transactions/{transfer['id']}/proof", f"/v1/accounts/{account['id']}/proof"]
    for path, code in zip(paths, ("transaction_not_found", "resource_not_found"), strict=True):
        await receipt(sealing, path)
        statuses = [(await api.get(path)).status for api in (payer, auditor, guest)]
        assert [200, 200, 403] == statuses
        assert_is_problem(await stranger.get(path), 404, code, "resource_not_found")
        assert_is_problem(
            await sealing.get(path.replace(transfer["id"], NOBODY).replace(account["id"], NOBODY)),
            404,
            code,
            "resource_not_found",
        )
        assert 401 == (await sealing.nobody.get(path)).status


async def test_a_request_before_the_seal_says_when_to_retry(serve: Serve, settings: Settings, key_file: Path) -> None:
    update = {"ledger_seal_key_file": key_file, "ledger_seal_seconds": 3600}
    api = await serve(settings.model_copy(update=update))
    account = await api.new_account()
    answer = await api.get(f"/v1/accounts/{account['id']}/proof")
    assert_is_problem(answer, 409, "not_sealed_yet", "conflict")
    assert "3600" == answer.headers["Retry-After"]


async def test_a_service_without_seals_does_not_ask_for_a_retry(api: Api) -> None:
    account = await api.new_account()
    answer = await api.get(f"/v1/accounts/{account['id']}/proof")
    assert_is_problem(answer, 409, "sealing_inactive", "conflict")
    assert "Retry-After" not in answer.headers
    assert {"keys": []} == (await api.nobody.get("/.well-known/ledger-seal.json")).body


async def test_the_key_is_public(sealing: Api, key: Key) -> None:
    answer = await sealing.nobody.get("/.well-known/ledger-seal.json")
    (published,) = answer.body["keys"]
    assert {**(key.public or {})} == published
    assert "d" not in published  # RFC 8037, section 2: the private part


async def test_the_published_key_outlives_its_file(sealing: Api, key: Key, key_file: Path) -> None:
    """The key is read once at the start, and no request opens the file."""
    await asyncio.to_thread(key_file.unlink)
    answer = await sealing.nobody.get("/.well-known/ledger-seal.json")
    assert [key.public] == answer.body["keys"]


# On the command line, without servers.


def prepare(folder: Path, raw: bytes, pem: str) -> None:
    folder.mkdir()
    (folder / "receipt.json").write_bytes(raw)
    (folder / "key.pem").write_text(pem)


async def check_receipt(folder: Path, raw: bytes, pem: str) -> Ran:
    """Run `check-receipt` where neither a server nor a setting is of use."""
    prepare(folder, raw, pem)
    return await run_ledger(*CHECK, folder=folder, variables=NO_SERVERS)


async def test_a_receipt_is_checked_without_a_database(tmp_path: Path, key: Key) -> None:
    """Lesson 18: verification that needs the very database it distrusts."""
    some = rows(3)
    raw = receipt_of(some, key, 1)
    status, said, _ = await check_receipt(tmp_path / "good", raw, public_pem(key))
    assert (0, True) == (status, f"NameClaimed, version 1 of stream {some[1].originator_id}" in said)
    assert "Not proven" in said
    said_before = said
    in_json = await run_ledger(*CHECK, "--json", folder=tmp_path / "good", variables=NO_SERVERS)
    assert 0 == in_json.status
    (proven,) = in_json.document["proven"]
    assert ("NameClaimed", {"n": 1}, 1) == (proven["topic"], proven["state"], proven["block"])
    changed = raw.replace(b'"leaf_index":1', b'"leaf_index":2')
    status, said, error = await check_receipt(tmp_path / "bad", changed, public_pem(key))
    assert (1, "") == (status, said)
    assert error == "ledger: the receipt is not valid: the event at position 3 is not in block 1\n"
    key_set = json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, key.public]})
    (tmp_path / "good" / "keys.json").write_text(key_set)
    by_set = (*CHECK[:3], "--jwks", "keys.json")
    assert said_before == (await run_ledger(*by_set, folder=tmp_path / "good", variables=NO_SERVERS)).output
    (tmp_path / "good" / "keys.json").write_text('{"keys": []}')
    nothing = await run_ledger(*by_set, folder=tmp_path / "good", variables=NO_SERVERS)
    assert (2, "ledger: keys.json: has no Ed25519 key\n") == (nothing.status, nothing.error)
    neither = await run_ledger(*CHECK[:3], folder=tmp_path / "good", variables=NO_SERVERS)
    assert (2, True) == (neither.status, "--jwks" in neither.error)
    status, _, error = await check_receipt(tmp_path / "no-key", raw, "nothing")
    assert (2, True) == (status, "key.pem: must be a PEM file" in error)
