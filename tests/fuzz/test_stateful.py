"""After any commands in any order, the service and a model in plain Python have the same books."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.controls import NOBODY, Api, new_id, user_body
from tests.support.model import Ledger, RefusedError
from web.http.catalogue import CATALOGUE

EXAMPLES = int(os.environ.get("LEDGER_FUZZ_SECONDS", "10"))
STEPS = 30

MAX_ACCOUNTS = 6

# The newest, or one of the first; if there are fewer, one that does not exist.
any_of = st.integers(min_value=-1, max_value=3)
cents = st.sampled_from([1, 10, 50, 99, 100, 101, 1000])


class Books(RuleBasedStateMachine):
    """Send each request to the service and to the model; `client` is the admin's."""

    client: httpx.Client

    def __init__(self) -> None:
        super().__init__()
        self.model = Ledger()
        self.users: list[str] = []

    @initialize()
    def begin(self) -> None:
        for _ in range(2):
            self.create_user()
        for user, balance in ((0, 100), (0, 0), (1, 1000)):
            self.open_account(user, "USD", balance)

    @precondition(lambda self: len(self.users) < 4)
    @rule()
    def create_user(self) -> None:
        user = self.client.post("/users", json=user_body()).json()["id"]
        self.users.append(user)
        self.model.users.add(user)

    @rule(user=any_of)
    def delete_user(self, user: int) -> None:
        name = chosen(self.users, user)
        self.both(lambda: self.model.delete_user(name), "DELETE", f"/users/{name}")

    @precondition(lambda self: len(self.model.accounts) < MAX_ACCOUNTS)
    @rule(user=any_of, currency=st.sampled_from(["USD", "USD", "EUR"]), balance=st.sampled_from([0, 100, 5000]))
    def open_account(self, user: int, currency: str, balance: int) -> None:
        name, owner = str(new_id()), chosen(self.users, user)
        body = {"id": name, "user_id": owner, "currency": currency, "balance_cents": balance}
        self.both(lambda: self.model.open(name, owner, currency, balance), "POST", "/accounts", body)

    @rule(account=any_of, balance=st.sampled_from([-50, 0, 100, 1000]))
    def adjust(self, account: int, balance: int) -> None:
        name = self.account(account)
        self.both(lambda: self.model.adjust(name, balance), "PUT", f"/accounts/{name}", {"balance_cents": balance})

    @rule(
        account=any_of,
        owner=st.none() | any_of,
        limit=st.none() | st.sampled_from([0, 50, 1000]),
        frozen=st.none() | st.sampled_from(["none", "none", "debits", "all"]),
    )
    def change(self, account: int, owner: int | None, limit: int | None, frozen: str | None) -> None:
        name, user = self.account(account), None if owner is None else chosen(self.users, owner)
        body = {"user_id": user, "overdraft_limit_cents": limit, "frozen": frozen}
        self.both(lambda: self.model.change(name, user, limit, frozen), "PUT", f"/accounts/{name}", body)

    @rule(account=any_of)
    def close(self, account: int) -> None:
        name = self.account(account)
        self.both(lambda: self.model.close(name), "DELETE", f"/accounts/{name}")

    @rule(source=any_of, destination=any_of, amount=cents, hold=st.booleans())
    def transfer(self, source: int, destination: int, amount: int, hold: bool) -> None:
        number, names = str(new_id()), (self.account(source), self.account(destination))
        body = {"id": number, "amount_cents": amount, "source_account_id": names[0], "destination_account_id": names[1]}
        path = "/transactions/hold" if hold else "/transactions/transfer"
        self.both(lambda: self.model.transfer(number, *names, amount, hold=hold), "POST", path, body)

    @rule(legs=st.lists(st.tuples(any_of, cents, st.booleans()), min_size=2, max_size=4), balanced=st.integers(0, 4))
    def post_entry(self, legs: list[tuple[int, int, bool]], balanced: int) -> None:
        amounts = {self.account(account): amount if gets else -amount for account, amount, gets in legs}
        last = next(reversed(amounts))
        if balanced:  # mostly
            amounts[last] -= sum(amounts.values())
        if len(amounts) < 2 or not all(amounts.values()):
            return
        number, postings = (
            str(new_id()),
            [{"account_id": name, "amount_cents": cents} for name, cents in amounts.items()],
        )
        body = {"id": number, "postings": postings}
        self.both(lambda: self.model.post(number, [*amounts.items()]), "POST", "/transactions", body)

    @precondition(lambda self: self.model.transactions)
    @rule(transaction=any_of, amount=st.none() | cents)
    def capture(self, transaction: int, amount: int | None) -> None:
        number = chosen([*self.model.transactions], transaction)
        body = {"amount_cents": amount}
        self.both(lambda: self.model.capture(number, amount), "POST", f"/transactions/{number}/capture", body)

    @precondition(lambda self: self.model.transactions)
    @rule(transaction=any_of)
    def void(self, transaction: int) -> None:
        number = chosen([*self.model.transactions], transaction)
        self.both(lambda: self.model.void(number), "POST", f"/transactions/{number}/void")

    @precondition(lambda self: self.model.transactions)
    @rule(transaction=any_of, force=st.booleans())
    def reverse(self, transaction: int, force: bool) -> None:
        number, reversal = chosen([*self.model.transactions], transaction), str(new_id())
        body = {"id": reversal, "force": force}
        self.both(
            lambda: self.model.reverse(number, reversal, force=force), "POST", f"/transactions/{number}/reverse", body
        )

    @invariant()
    def accounts_are_the_same(self) -> None:
        listed = self.client.get("/accounts", params={"limit": 20}).raise_for_status().json()
        shown = {account["id"]: account for account in listed if account["id"] in self.model.accounts}
        assert {
            name: {
                "user_id": account.owner,
                "currency": account.currency,
                "balance_cents": account.balance,
                "held_cents": account.held,
                "available_cents": account.available,
                "overdraft_limit_cents": account.limit,
                "frozen": account.frozen,
                "status": "closed" if account.closed else "open",
            }
            for name, account in self.model.accounts.items()
        } == {name: {m: v for m, v in account.items() if m not in UNCOMPARED} for name, account in shown.items()}

    def teardown(self) -> None:
        for number, transaction in self.model.transactions.items():
            shown = self.client.get(f"/transactions/{number}").raise_for_status().json()
            assert (transaction.status, transaction.reversed_by) == (shown["status"], shown.get("reversed_by"))
        assert self.client.get("/ledger/trial-balance").raise_for_status().json()["balanced"]

    def account(self, index: int) -> str:
        return chosen([*self.model.accounts], index)

    def both(self, change: Callable[[], None], method: str, path: str, body: Any = None) -> None:
        """Change both the model and the service, or neither for the same reasons."""
        try:
            change()
            expected: list[str] = []
        except RefusedError as refused:
            expected = refused.codes
        answer = self.client.request(method, path, json=body)
        errors = answer.json()["errors"] if answer.status_code >= 400 else []
        assert expected == [reason["code"] for reason in errors]
        assert answer.status_code in ({CATALOGUE[expected[0]].status} if expected else {200, 201})


UNCOMPARED = {"id", "created_at", "updated_at"}


def chosen(names: list[str], index: int) -> str:
    return names[index] if names and index < len(names) else NOBODY


async def test_the_service_and_a_model_in_plain_python_have_the_same_books(api: Api) -> None:
    url = str(api.client.make_url("/v1"))
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {api.token}"}, timeout=60) as client:
        machine = type("BooksOfThisService", (Books,), {"client": client})
        config = settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="LEDGER_FUZZ_SECONDS" not in os.environ,
            database=None,
            phases=[Phase.generate],  # shrinking takes longer than reading a long example
            suppress_health_check=list(HealthCheck),
        )
        await asyncio.to_thread(run_state_machine_as_test, machine, settings=config)
