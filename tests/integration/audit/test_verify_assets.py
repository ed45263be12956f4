"""Verification finds changed assets and limits, and accounts in assets that nobody has registered."""

import pytest

from ledger.audit.verify import Sources
from ledger.events.assets import asset_stream
from tests.integration.audit.conftest import check, plant
from tests.support.traffic import HOURS

STREAM = asset_stream("HOURS")
MATCHES = "the read table matches the events"
KNOWN = "every account is in a currency of ISO 4217 or in a registered asset"


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("sql", "rule", "table", "column"),
    [
        (f"UPDATE assets SET digits = 2 WHERE id = '{STREAM}'", MATCHES, "assets", "digits"),
        (f"UPDATE assets SET name = 'days' WHERE id = '{STREAM}'", MATCHES, "assets", "name"),
        (
            f"UPDATE accounts SET max_balance_cents = NULL WHERE id = '{HOURS}'",
            MATCHES,
            "accounts",
            "max_balance_cents",
        ),
        (f"UPDATE accounts SET currency = 'POINTS' WHERE id = '{HOURS}'", KNOWN, "accounts", "currency"),
    ],
)
async def test_a_change_is_found(copied: Sources, sql: str, rule: str, table: str, column: str, fast: bool) -> None:
    await plant(copied.now, sql)
    found = [(finding.rule, finding.table, finding.column) for finding in await check(copied, fast=fast)]
    assert (rule, table, column) in found
