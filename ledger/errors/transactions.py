"""Refusals of transfers, journal entries, holds and reversals."""

from uuid import UUID

from ledger.errors.refusal import Refusal


def transaction_not_found(transaction_id: UUID) -> Refusal:
    """Refuse the id of a transaction that does not exist or that the caller may not see."""
    detail = {"transaction_id": str(transaction_id)}
    return Refusal("transaction_not_found", f"transaction not found: {transaction_id}", detail=detail)


def transaction_already_exists(transaction_id: UUID) -> Refusal:
    """Refuse the id of another transaction."""
    return Refusal(
        "transaction_already_exists",
        f"transaction already exists: {transaction_id}",
        detail={"transaction_id": str(transaction_id)},
    )


def transaction_id_reused(transaction_id: UUID) -> Refusal:
    """Refuse an item whose id belongs to a different transfer."""
    return Refusal(
        "transaction_id_reused",
        f"the id was used for another transaction: {transaction_id}",
        reason="an id belongs to one transaction",
        detail={"transaction_id": str(transaction_id)},
    )


def reference_already_exists() -> Refusal:
    """Refuse the reference of another transaction."""
    return Refusal(
        "reference_already_exists",
        "a transaction with this reference already exists",
        reason="a reference must be unique",
        detail={"pointer": "/reference"},
    )


def hold_not_pending(transaction_id: UUID, status: str) -> Refusal:
    """Refuse to capture or void a transaction that is not a hold, or a hold that has ended."""
    return Refusal(
        "hold_not_pending",
        f"transaction is not a pending hold: {transaction_id}",
        reason="only a pending hold can be captured or voided",
        detail={"transaction_id": str(transaction_id), "status": status},
    )


def transaction_not_scheduled(transaction_id: UUID, status: str) -> Refusal:
    """Refuse to cancel a scheduled transaction that was executed, has failed or was cancelled."""
    return Refusal(
        "transaction_not_scheduled",
        f"transaction is no longer scheduled: {transaction_id}",
        reason="only a scheduled transaction can be cancelled",
        detail={"transaction_id": str(transaction_id), "status": status},
    )


def transaction_already_reversed(transaction_id: UUID, reversal_id: UUID) -> Refusal:
    """Refuse to reverse a transaction of which everything is reversed."""
    return Refusal(
        "transaction_already_reversed",
        f"transaction is already reversed: {transaction_id}",
        detail={"transaction_id": str(transaction_id), "reversed_by": str(reversal_id)},
    )


def transaction_not_reversible(transaction_id: UUID, reason: str) -> Refusal:
    """Refuse to reverse a reversal, or a hold that is pending or was not captured."""
    return Refusal(
        "transaction_not_reversible",
        f"transaction cannot be reversed: {transaction_id}",
        reason=reason,
        detail={"transaction_id": str(transaction_id)},
    )


def currency_mismatch() -> Refusal:
    """Refuse to move money between accounts of different currencies."""
    return Refusal("currency_mismatch", "the currencies differ", reason="both sides must have the same currency")


def insufficient_funds() -> Refusal:
    """Refuse to debit more than the available funds."""
    return Refusal(
        "transfer_insufficient_funds",
        "source account does not have sufficient funds for the transfer",
        reason="source account balance must be sufficient to cover the transfer amount",
    )


def source_account_not_found(account_id: UUID) -> Refusal:
    """Refuse a source account that does not exist or that the caller may not debit."""
    return Refusal(
        "transfer_source_account_not_found",
        f"source account not found: {account_id}",
        reason="must be an existing account",
        detail={"source_account_id": str(account_id)},
    )


def destination_account_not_found(account_id: UUID) -> Refusal:
    """Refuse a destination account that does not exist."""
    return Refusal(
        "transfer_destination_account_not_found",
        f"destination account not found: {account_id}",
        reason="must be an existing account",
        detail={"destination_account_id": str(account_id)},
    )


def accounts_are_same() -> Refusal:
    """Refuse a transfer from an account to itself."""
    return Refusal(
        "transfer_accounts_are_same",
        "source and destination accounts are the same",
        reason="source and destination accounts must be different",
    )
