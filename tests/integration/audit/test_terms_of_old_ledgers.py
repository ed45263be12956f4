"""A migration gives the transactions of an old ledger the terms by which searches find them."""

from typing import Any

import pytest
from alembic import command

from ledger.audit.verify import Sources
from ledger.settings import Settings
from ledger.store.migrate import latest_migration, migrate
from tests.integration.audit.conftest import check, plant

COUNT = "SELECT count(*) FROM transaction_terms"
OLD, TERMS = "0027", "0028"


async def test_the_migration_adds_the_terms_that_the_ledger_would_have_added(
    copy: Settings, copied: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later migrations are left out: the copy has their tables."""
    upgrade = command.upgrade

    def upgrade_once(config: Any, _: str) -> None:
        upgrade(config, TERMS)

    monkeypatch.setattr(command, "upgrade", upgrade_once)
    before = await copied.now.fetchval(COUNT)
    await plant(copied.now, f"DROP TABLE transaction_terms; UPDATE alembic_version SET version_num = '{OLD}'")
    assert await migrate(copy)
    await plant(copied.now, f"UPDATE alembic_version SET version_num = '{latest_migration()}'")
    assert 0 < before == await copied.now.fetchval(COUNT)
    assert [] == await check(copied)
