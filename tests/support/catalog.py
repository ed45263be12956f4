"""Write `ledger/store/catalog.json` from a database that has just been migrated: `make catalog`."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ledger.embedded import embedded_services
from ledger.settings import Settings
from ledger.store.catalog import FILE, ON_CITUS, Catalog, load_catalog, read_catalog
from ledger.store.migrate import migrate
from ledger.store.pool import connect


async def migrate_and_read(settings: Settings) -> Catalog:
    """Migrate a database, and return its catalog."""
    await migrate(settings)
    connection = await connect(settings)
    try:
        found, _ = await read_catalog(connection)
    finally:
        await connection.close()
    return {name: found[name].definition for name in sorted(found)}


def write(path: Path, catalog: Mapping[str, str | None]) -> None:
    """Write definitions, one a line."""
    path.write_text(json.dumps(catalog, indent=1, ensure_ascii=False) + "\n")


async def main(citus_url: str = "") -> None:
    """Write the file; with the URL of a coordinator of Citus, that of what differs there as well."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with embedded_services(Path(folder)) as services:
            write(FILE, await migrate_and_read(Settings(database_url=services.database_url)))
    if citus_url:
        found = await migrate_and_read(Settings(database_url=citus_url))
        expected = load_catalog()
        names = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        write(ON_CITUS, {name: found.get(name) for name in names})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
