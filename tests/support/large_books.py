"""A large ledger, written through the API: an account with many entries, and a tree of many accounts."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from tests.support.controls import Api

LINES = {"Content-Type": "application/jsonl"}
AT_ONCE = 16  # requests that open accounts
OPENING_CENTS = 1_000_000
WALLET, SHOP = "large:wallet", "large:shop"
BRANCHES, TWIGS = 10, 200  # groups below the root of the tree, and groups of accounts below these


class Size(NamedTuple):
    """How many entries the account has, and how many accounts the tree."""

    entries: int
    accounts: int


def code_of(number: int) -> str:
    """Return the code of an account of the tree."""
    return f"tree:branch-{number % BRANCHES}:twig-{number % TWIGS}:leaf-{number}"


def balance_of(number: int) -> int:
    """Return the balance of an account of the tree, in cents."""
    return number * 7 % 1000


async def write_large(api: Api, size: Size) -> None:
    """Write the books of a ledger."""
    owner = (await api.new_user(username="large"))["id"]
    for code, cents in ((WALLET, OPENING_CENTS), (SHOP, 0)):
        await api.new_account(owner, cents, code=code)
    await _open_accounts(api, owner, size.accounts)
    await _transfer(api, size.entries - 1)


async def _open_accounts(api: Api, owner: str, count: int) -> None:
    """Open the accounts, without a check of each response against the document."""
    numbers = iter(range(count))
    headers = {"Authorization": f"Bearer {api.token}"}

    async def open_some() -> None:
        for number in numbers:
            body = {"user_id": owner, "code": code_of(number), "balance_cents": balance_of(number)}
            async with api.client.post("/v1/accounts", json=body, headers=headers) as answer:
                assert 201 == answer.status, await answer.text()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(open_some())


async def _transfer(api: Api, count: int) -> None:
    """Pay from the wallet in a stream of lines, each of which is accepted."""
    headers = {**LINES, "Authorization": f"Bearer {api.token}"}
    accepted = 0
    async with api.client.post("/v1/transactions/batch", data=_encode(count), headers=headers) as answer:
        async for line in answer.content:
            assert 200 == json.loads(line)["status"], line
            accepted += 1
    assert count == accepted


async def _encode(count: int) -> AsyncIterator[bytes]:
    for lines in _chunks(count):
        yield "".join(lines).encode()


def _chunks(count: int, size: int = 500) -> Iterator[list[str]]:
    for first in range(0, count, size):
        yield [_line(number) for number in range(first, min(first + size, count))]


def _line(number: int) -> str:
    body = {
        "source_account_id": WALLET,
        "destination_account_id": SHOP,
        "amount_cents": 1 + number % 9,
        "description": f"payment {number + 1}",
    }
    return f"{json.dumps(body)}\n"
