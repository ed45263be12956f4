"""The part of the catalogue about assets and the limits of balances."""

from web.http.error_type import ErrorType

BOOKS = {
    "asset_already_exists": ErrorType(
        409,
        "conflict",
        "Asset already exists",
        "The code belongs to another asset, or to a currency of ISO 4217.",
        "Choose another code, or use the asset that exists.",
    ),
    "account_limit_exceeded": ErrorType(
        422,
        "validation_error",
        "Limit of the balance exceeded",
        "The account has a `max_balance_cents`, which the credit would exceed. What pending holds will pay to the "
        "account counts as if it were there.",
        "Send a smaller amount, or wait until the account has room. An admin can raise or remove the limit.",
    ),
}
