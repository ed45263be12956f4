"""Refusals of assets."""

from ledger.errors.refusal import Refusal


def asset_not_found(code: str) -> Refusal:
    """Refuse a code that is neither of ISO 4217 nor of a registered asset."""
    return Refusal("resource_not_found", f"asset not found: {code}", detail={"code": code})


def asset_already_exists(code: str) -> Refusal:
    """Refuse the code of a registered asset, or of a currency of ISO 4217."""
    return Refusal(
        "asset_already_exists",
        f"asset already exists: {code}",
        reason="the code must be of no other asset, and of no currency of ISO 4217",
        detail={"pointer": "/code"},
    )
