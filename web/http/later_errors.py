"""The part of the catalogue about scheduled transactions and balance monitors."""

from web.http.error_type import ErrorType

LATER_CHANGES = {
    "monitor_already_exists": ErrorType(
        409,
        "conflict",
        "Monitor already exists",
        "The id belongs to another monitor, or to a deleted one.",
        "Leave the id out, or choose a new one.",
    ),
    "transaction_not_scheduled": ErrorType(
        409,
        "conflict",
        "Transaction not scheduled",
        "The transaction was scheduled, but it has been executed, has failed, or was cancelled.",
        "Read the transaction to see its status. Reverse it if it was posted.",
    ),
}
