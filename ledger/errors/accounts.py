"""Refusals of accounts."""

from uuid import UUID

from ledger.errors.refusal import Refusal


def account_not_found(account_id: UUID) -> Refusal:
    """Refuse the id of an account that does not exist or that the caller may not see."""
    return Refusal("resource_not_found", f"account not found: {account_id}", detail={"account_id": str(account_id)})


def account_already_exists(account_id: UUID) -> Refusal:
    """Refuse the id of an account, open or closed."""
    detail = {"account_id": str(account_id)}
    return Refusal("account_already_exists", f"account already exists: {account_id}", detail=detail)


def account_code_taken() -> Refusal:
    """Refuse the code of another account, in any spelling."""
    return Refusal(
        "account_already_exists",
        "an account with this code already exists",
        reason="code must be unique",
        detail={"pointer": "/code"},
    )


def account_not_empty(account_id: UUID) -> Refusal:
    """Refuse to close an account, or to delete its owner, at a balance other than zero or with a pending hold."""
    return Refusal(
        "account_not_empty",
        f"account is not empty: {account_id}",
        reason="account balance must be zero, and no pending hold may debit or credit the account",
        detail={"account_id": str(account_id)},
    )


def account_frozen(account_id: UUID) -> Refusal:
    """Refuse to move money of an account that an admin has frozen, for debits or for all postings."""
    return Refusal(
        "account_frozen",
        f"account is frozen: {account_id}",
        reason="account must not be frozen",
        detail={"account_id": str(account_id)},
    )


def account_limit_exceeded(account_id: UUID) -> Refusal:
    """Refuse a credit that would raise a balance, with what pending holds will pay to it, above the account's limit."""
    return Refusal(
        "account_limit_exceeded",
        f"the credit would exceed the limit of the account's balance: {account_id}",
        reason="the balance, with what pending holds will pay to the account, must not exceed max_balance_cents",
        detail={"account_id": str(account_id)},
    )


def account_closed(account_id: UUID) -> Refusal:
    """Refuse to use a closed account, whose history stays readable."""
    return Refusal(
        "account_closed",
        f"account is closed: {account_id}",
        reason="account must be open",
        detail={"account_id": str(account_id)},
    )
