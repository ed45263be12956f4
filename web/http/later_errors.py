"""The part of the catalogue about scheduled transactions, balance monitors and webhooks."""

from web.http.error_type import ErrorType

LATER_CHANGES = {
    "monitor_already_exists": ErrorType(
        409,
        "conflict",
        "Monitor already exists",
        "The id belongs to another monitor, or to a deleted one.",
        "Leave the id out, or choose a new one.",
    ),
    "webhook_already_exists": ErrorType(
        409,
        "conflict",
        "Webhook already exists",
        "The id belongs to another webhook, or to a deleted one.",
        "Leave the id out, or choose a new one.",
    ),
    "webhook_disabled": ErrorType(
        409,
        "conflict",
        "Webhook disabled",
        "The webhook is disabled, so it sends nothing.",
        "Enable it with `POST /v1/webhooks/{id}/enable`, once its endpoint works.",
    ),
    "webhook_client_revoked": ErrorType(
        409,
        "conflict",
        "Client of the webhook revoked",
        "The machine client that the webhook belongs to was revoked, or has lost the scope `webhooks:write`.",
        "Give the client the scope again, or create another webhook.",
    ),
    "too_many_webhooks": ErrorType(
        409,
        "conflict",
        "Too many webhooks",
        "The ledger, or the machine client, has as many webhooks as it may have.",
        "Delete a webhook that is not needed, or let one serve several receivers.",
    ),
    "transaction_not_scheduled": ErrorType(
        409,
        "conflict",
        "Transaction not scheduled",
        "The transaction was scheduled, but it has been executed, has failed, or was cancelled.",
        "Read the transaction to see its status. Reverse it if it was posted.",
    ),
}
