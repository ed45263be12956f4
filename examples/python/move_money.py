"""Move money with a client that was generated from the service's own description."""

import os
from typing import TypeVar
from uuid import uuid4

from ledger_client import AuthenticatedClient, Client
from ledger_client.api.accounts import list_accounts, open_account
from ledger_client.api.auth import log_in
from ledger_client.api.transactions import create_transfer, get_transaction, list_transactions
from ledger_client.api.users import create_user
from ledger_client.models import (
    Account,
    CreateTransferRequest,
    CreateUserRequest,
    LogInRequest,
    OpenAccountRequest,
    Problem,
    Tokens,
    TransactionKind,
    Transfer,
    User,
)

T = TypeVar("T")

URL = os.environ["LEDGER_URL"]
USERNAME = os.environ["LEDGER_USERNAME"]
PASSWORD = os.environ["LEDGER_PASSWORD"]


def expect(kind: type[T], response: object) -> T:
    """Return a response of the expected kind, or stop with the problem that came instead."""
    if not isinstance(response, kind):
        raise SystemExit(f"unexpected response: {response}")
    return response


def main() -> None:
    """Open two accounts, transfer money between them once, and be refused a transfer of too much."""
    credentials = LogInRequest(username=USERNAME, password=PASSWORD)
    tokens = expect(Tokens, log_in.sync(client=Client(URL), body=credentials))
    client = AuthenticatedClient(URL, tokens.access_token)

    run = uuid4().hex[:8]  # user names are unique, so each run of this program has its own
    alice, bob = [
        expect(
            User,
            create_user.sync(
                client=client,
                body=CreateUserRequest(
                    username=f"{name}-{run}",
                    email=f"{name}-{run}@example.com",
                    password="correct horse battery",
                    roles="customer",
                ),
            ),
        )
        for name in ("alice", "bob")
    ]
    source, destination = [
        expect(
            Account,
            open_account.sync(
                client=client,
                body=OpenAccountRequest(user_id=user.id, balance_cents=cents, currency="USD"),
            ),
        )
        for user, cents in ((alice, 10_000), (bob, 5_000))
    ]

    # With an Idempotency-Key, a request can be repeated after a time-out: the money moves once.
    payment = CreateTransferRequest(
        source_account_id=str(source.id),  # or the code of the account
        destination_account_id=str(destination.id),
        amount_cents=2_500,
        description="rent, May",
    )
    key = f"rent-{run}"
    first = expect(Transfer, create_transfer.sync(client=client, body=payment, idempotency_key=key))
    second = expect(Transfer, create_transfer.sync(client=client, body=payment, idempotency_key=key))
    print(f"transferred {first.amount_cents} {first.currency}, {'once' if second.id == first.id else 'twice'}")

    # A transaction is one of several types, which its kind tells apart.
    transaction = expect(Transfer, get_transaction.sync(first.id, client=client))
    print(f"read a {transaction.kind}: {transaction.description}")

    accounts = [
        account for user in (alice, bob) for account in expect(list, list_accounts.sync(client=client, user_id=user.id))
    ]
    print("balances:", *(account.balance_cents for account in accounts))

    transfers = list_transactions.sync(
        client=client, account_id=str(source.id), kind=TransactionKind.TRANSFER, limit=10
    )
    print("transfers of the account:", len(expect(list, transfers)))

    # An error is a problem (RFC 9457), whose codes are stable.
    too_much = CreateTransferRequest(
        source_account_id=str(source.id), destination_account_id=str(destination.id), amount_cents=1_000_000
    )
    problem = expect(Problem, create_transfer.sync(client=client, body=too_much))
    print("refused:", *(error.code for error in problem.errors))


if __name__ == "__main__":
    main()
