"""A migration gives the transactions of an old ledger the terms by which searches find them."""

from ledger.audit.verify import Sources
from ledger.settings import Settings
from ledger.store.migrate import migrate
from tests.integration.audit.conftest import check, plant

COUNT = "SELECT count(*) FROM transaction_terms"


async def test_the_migration_adds_the_terms_that_the_ledger_would_have_added(copy: Settings, copied: Sources) -> None:
    before = await copied.now.fetchval(COUNT)
    await plant(copied.now, "DROP TABLE transaction_terms; UPDATE alembic_version SET version_num = '0027'")
    assert await migrate(copy)
    assert 0 < before == await copied.now.fetchval(COUNT)
    assert [] == await check(copied)
