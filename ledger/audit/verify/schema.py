"""Check the schema: its version, its catalog, and that no follower is ahead of the log."""

from collections.abc import AsyncIterator

from ledger.audit.verify.findings import Finding
from ledger.followers import follower
from ledger.store import catalog
from ledger.store.connections import Reader
from ledger.store.migrate import latest_migration

SCHEMA = "the schema is what the migrations make"


async def check_schema(reader: Reader) -> AsyncIterator[Finding]:
    """Yield the findings about the schema. The reader is outside of the snapshot, where a rebuild may swap tables.

    A schema that has not been migrated is not compared.
    """
    version, latest = await catalog.read_version(reader), latest_migration()
    if version != latest:
        rule = "the schema has the version of the last migration"
        yield Finding(rule, latest, version, table="alembic_version", column="version_num")
    if version >= latest:
        for difference in await catalog.find_differences(reader):
            yield Finding(SCHEMA, difference.expected, difference.found, table=difference.relation, row=difference.name)
    for name, position, log_end in await follower.read_positions(reader):
        if position > log_end:
            rule = "no follower is ahead of the log"
            yield Finding(rule, f"at most {log_end}", position, table="followers", row=name, column="position")
