"""After any commands in any order, the service and a model in plain Python have the same books.

A dry run of each command says what then happens. So does, at the end, one on the state before the command.
"""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

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
from tests.support.dry_runs import Compared
from tests.support.model import Ledger, RefusedError
from web.http.catalogue import CATALOGUE

EXAMPLES = int(os.environ.get("LEDGER_FUZZ_SECONDS", "10"))
STEPS = 30

MAX_ACCOUNTS = 6

# The newest, or one of the first; if there are fewer, one that does not exist.
any_of = st.integers(min_value=-1, max_value=3)
references = st.sampled_from([None, None, None, "rent", "fees", "parcel"])
HOLD_SECONDS = 0.5  # for placing a hold and capturing a part of it
ENDING = "SELECT pg_advisory_lock('stored_events'::regclass::oid::int, 2)"  # the lock of hold expiry
cents = st.sampled_from([1, 10, 50, 99, 100, 101, 1000])


class Sent(NamedTuple):
    """A request, the position of the log before it, and what its response said."""

    position: str
    method: str
    path: str
    body: Any
    described: dict[str, Any]


class Books(RuleBasedStateMachine):
    """Send each request to the service and to the model; `client` is the admin's."""

    client: httpx.Client

    def __init__(self) -> None:
        super().__init__()
        self.model = Ledger()
        self.users: list[str] = []
        self.sent: list[Sent] = []
        self.overdue = False  # a hold that nothing in the log has ended: at a past position, it is not over
        self.compared = Compared()
        self.number = str(new_id())  # for references, because all machines share a ledger

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
        maximum=st.none() | st.none() | st.sampled_from([0, 100, 1000]),
    )
    def change(
        self, account: int, owner: int | None, limit: int | None, frozen: str | None, maximum: int | None
    ) -> None:
        name, user = self.account(account), None if owner is None else chosen(self.users, owner)
        body = {"user_id": user, "overdraft_limit_cents": limit, "frozen": frozen, "max_balance_cents": maximum}
        self.both(lambda: self.model.change(name, user, limit, frozen, maximum), "PUT", f"/accounts/{name}", body)

    @rule(account=any_of)
    def close(self, account: int) -> None:
        name = self.account(account)
        self.both(lambda: self.model.close(name), "DELETE", f"/accounts/{name}")

    @rule(account=any_of)
    def reopen(self, account: int) -> None:
        name = self.account(account)
        self.both(lambda: self.model.reopen(name), "POST", f"/accounts/{name}/reopen")

    @rule(source=any_of, destination=any_of, amount=cents, hold=st.booleans(), reference=references)
    def transfer(self, source: int, destination: int, amount: int, hold: bool, reference: str | None) -> None:
        reference = reference and f"{reference} of {self.number}"
        number, names = str(new_id()), (self.account(source), self.account(destination))
        body = {**between(number, names, amount), "reference": reference}
        path = "/transactions/hold" if hold else "/transactions/transfer"
        self.both(
            lambda: self.model.transfer(number, *names, amount, hold=hold, reference=reference), "POST", path, body
        )

    @rule(source=any_of, destination=any_of, amount=cents, part=st.none() | cents, reference=references)
    def hold_until_overdue(
        self, source: int, destination: int, amount: int, part: int | None, reference: str | None
    ) -> None:
        """Place a hold, capture a part of it, and wait until it is overdue: no task records that."""
        reference = reference and f"{reference} of {self.number}"
        number, names = str(new_id()), (self.account(source), self.account(destination))
        due = datetime.now(UTC) + timedelta(seconds=HOLD_SECONDS)
        body = {**between(number, names, amount), "reference": reference, "expires_at": due.isoformat()}
        self.both(
            lambda: self.model.transfer(number, *names, amount, hold=True, reference=reference),
            "POST",
            "/transactions/hold",
            body,
            tries=False,
        )
        if number not in self.model.transactions:
            return
        if part is not None:
            path, body = f"/transactions/{number}/capture", {"amount_cents": part, "final": False}
            self.both(lambda: self.model.capture(number, part, final=False), "POST", path, body, tries=False)
        if self.model.transactions[number].status == "pending":
            time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
            self.model.expire(number)
            self.overdue = True

    @rule(legs=st.lists(st.tuples(any_of, cents, st.booleans()), min_size=2, max_size=4), balanced=st.integers(0, 4))
    def post_entry(self, legs: list[tuple[int, int, bool]], balanced: int) -> None:
        amounts = [(self.account(account), amount if gets else -amount) for account, amount, gets in legs]
        if balanced:  # mostly
            amounts[-1] = (amounts[-1][0], -sum(amount for _, amount in amounts[:-1]))
        if len({name for name, _ in amounts}) < 2 or not all(amount for _, amount in amounts):
            return
        number = str(new_id())
        postings = [{"account_id": name, "amount_cents": amount} for name, amount in amounts]
        self.both(
            lambda: self.model.post(number, amounts), "POST", "/transactions", {"id": number, "postings": postings}
        )

    @precondition(lambda self: self.model.transactions)
    @rule(transaction=any_of, amount=st.none() | cents, final=st.booleans(), reference=references)
    def capture(self, transaction: int, amount: int | None, final: bool, reference: str | None) -> None:
        reference = reference and f"{reference} of {self.number}"
        number = chosen([*self.model.transactions], transaction)
        body = {"amount_cents": amount, "final": final, "reference": reference}
        self.both(
            lambda: self.model.capture(number, amount, final=final, reference=reference),
            "POST",
            f"/transactions/{number}/capture",
            body,
        )

    @precondition(lambda self: self.model.transactions)
    @rule(transaction=any_of)
    def void(self, transaction: int) -> None:
        number = chosen([*self.model.transactions], transaction)
        self.both(lambda: self.model.void(number), "POST", f"/transactions/{number}/void")

    @precondition(lambda self: self.model.transactions)
    @rule(
        transaction=any_of,
        force=st.booleans(),
        amount=st.none() | cents,
        destination=st.none() | st.none() | any_of,
    )
    def reverse(self, transaction: int, force: bool, amount: int | None, destination: int | None) -> None:
        number, reversal = chosen([*self.model.transactions], transaction), str(new_id())
        name = None if destination is None else self.account(destination)
        body = {"id": reversal, "force": force, "amount_cents": amount, "destination_account_id": name}
        self.both(
            lambda: self.model.reverse(number, reversal, force=force, cents=amount, destination=name),
            "POST",
            f"/transactions/{number}/reverse",
            body,
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
                "max_balance_cents": account.maximum,
                "frozen": account.frozen,
                "status": "closed" if account.closed else "open",
            }
            for name, account in self.model.accounts.items()
        } == {name: {m: v for m, v in account.items() if m not in UNCOMPARED} for name, account in shown.items()}

    def teardown(self) -> None:
        for number, transaction in self.model.transactions.items():
            shown = self.client.get(f"/transactions/{number}").raise_for_status().json()
            assert (transaction.status, transaction.reversed_by) == (shown["status"], shown.get("reversed_by"))
            assert (transaction.captured or None) == shown.get("captured_cents")
            if transaction.reversed_by is None:
                assert (transaction.reversed or None) == shown.get("reversed_cents")
        assert self.client.get("/ledger/trial-balance").raise_for_status().json()["balanced"]

        for position, method, path, body, expected in self.sent:
            assert expected == self.describe(self.try_out(method, path, body, at_position=position))

    def try_out(self, method: str, path: str, body: Any, **params: str) -> httpx.Response:
        return self.client.request(method, path, json=body, params={"dry_run": "true", **params})

    def describe(self, response: httpx.Response) -> dict[str, Any]:
        body = response.json() if response.content else None
        return self.compared.describe(response.status_code, body, response.headers)

    def account(self, index: int) -> str:
        return chosen([*self.model.accounts], index)

    def both(self, change: Callable[[], None], method: str, path: str, body: Any = None, *, tries: bool = True) -> None:
        """Change both the model and the service, or neither for the same reasons.

        Unless time is short, try it out first.
        """
        try:
            change()
            expected: list[str] = []
        except RefusedError as refused:
            expected = refused.codes
        position = str(self.client.get("/ledger/trial-balance").raise_for_status().json()["position"])
        tried = self.try_out(method, path, body) if tries else None
        answer = self.client.request(method, path, json=body)
        if tried is not None:
            assert self.describe(tried) == self.describe(answer)
            if not self.overdue:
                self.sent.append(Sent(position, method, path, body, self.describe(answer)))
        errors = answer.json()["errors"] if answer.status_code >= 400 else []
        assert expected == [reason["code"] for reason in errors]
        assert answer.status_code in ({CATALOGUE[expected[0]].status} if expected else {200, 201})


def between(number: str, names: tuple[str, str], amount: int) -> dict[str, Any]:
    return {
        "id": number,
        "amount_cents": amount,
        "source_account_id": names[0],
        "destination_account_id": names[1],
    }


UNCOMPARED = {"id", "created_at", "updated_at"}


def chosen(names: list[str], index: int) -> str:
    return names[index] if names and index < len(names) else NOBODY


async def test_the_service_and_a_model_in_plain_python_have_the_same_books(api: Api, connection: Any) -> None:
    await connection.execute(ENDING)  # the expiry task does nothing
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
