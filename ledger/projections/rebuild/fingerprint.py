"""The fingerprint of all that decides the rows of read tables: a rebuild by other code starts from the beginning."""

import asyncio
import hashlib
from pathlib import Path

from ledger.store.connections import Connection


async def compute_fingerprint(reader: Connection) -> str:
    """Return a digest of all that decides the rows: the code of projections and events, and the schema version."""
    version: str = await reader.fetchval("SELECT version_num FROM alembic_version")
    return await asyncio.to_thread(_digest, version)


def _digest(version: str) -> str:
    digest = hashlib.sha256(version.encode())
    package = Path(__file__).parents[2]
    for folder in (package / "projections", package / "events"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
