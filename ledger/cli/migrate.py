"""`ledger migrate`: apply the migrations of the database's schema."""

import structlog

from ledger.cli.shell import run
from ledger.seals.sealing import begin_chain
from ledger.settings import Settings
from ledger.store import migrate as migrations

log = structlog.get_logger(__name__)


def migrate() -> None:
    """Bring the schema up to date, and grant the serving role its privileges. Redis is not needed."""
    run(migrate_schema)


async def migrate_schema(settings: Settings) -> None:
    """Apply the missing migrations, and log whether there were any. The chain of seals of an empty log begins."""
    changed = await migrations.migrate(settings)
    if settings.ledger_seal_key_file is not None:
        await begin_chain(settings)
    log.info("schema migrated" if changed else "schema is up to date", schema=settings.ledger_schema)
