"""The filter of an account's entries by whether they are matched with a line of a bank's statement."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ledger.projections import reconciliations
from ledger.store.connections import Reader
from web.http.params import flag_parameter

RECONCILED = flag_parameter("reconciled", "Only entries that are matched with a line of a bank's statement, or are not")


async def choose_entries(
    reader: Reader, account_id: UUID, entries: Sequence[dict[str, Any]], wanted: bool | None
) -> Sequence[dict[str, Any]]:
    """Return the entries of a chunk that are matched, or those that are not; None chooses all."""
    if wanted is None or not entries:
        return entries
    matched = await reconciliations.find_matched(reader, account_id, [entry["version"] for entry in entries])
    return [entry for entry in entries if (entry["version"] in matched) == wanted]
