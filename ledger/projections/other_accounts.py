"""The accounts on the other side of entries, with the names that a reader may see."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from ledger.projections.account_owners import belonged_to
from ledger.store.connections import Reader
from ledger.store.sql import Party, belongs_to


class OtherAccount(NamedTuple):
    """An account on the other side of an entry; without its code and name if the reader may not see them."""

    id: UUID
    code: str | None = None
    name: str | None = None

    def members(self) -> dict[str, Any]:
        """Return the account as clients see it."""
        return {name: value for name, value in self._asdict().items() if value is not None}


async def find_other_accounts(
    reader: Reader, entries: Sequence[dict[str, Any]], party: Party | None
) -> dict[int, list[OtherAccount]]:
    """Return the other accounts of each entry, by its version; a `party` sees only what belongs to it.

    A transfer has one, whose id is always shown. A journal entry has those of the other postings of which the reader
    sees any: of the other sign and the same currency, if there are some.
    """
    several = [entry for entry in entries if entry["other_account_id"] is None]
    postings = await _read_postings(reader, {entry["transaction_id"] for entry in several}, party)
    sides = {entry["version"]: _other_sides(entry, postings.get(entry["transaction_id"], [])) for entry in entries}
    known = await _read_labels(reader, {side for ids in sides.values() for side in ids}, party)
    return {version: [known.get(side, OtherAccount(side)) for side in ids] for version, ids in sides.items()}


class _Posting(NamedTuple):
    account_id: UUID
    amount_cents: int
    currency: str


def _other_sides(entry: dict[str, Any], postings: Sequence[_Posting]) -> list[UUID]:
    if entry["other_account_id"] is not None:
        return [entry["other_account_id"]]
    own = [one.currency for one in postings if one.account_id == entry["account_id"]]
    others = [one for one in postings if one.account_id != entry["account_id"]]
    opposite = [one for one in others if one.amount_cents * entry["amount_cents"] < 0 and one.currency in own]
    return list(dict.fromkeys(one.account_id for one in opposite or others))


async def _read_postings(
    reader: Reader, transaction_ids: Collection[UUID], party: Party | None
) -> dict[UUID, list[_Posting]]:
    if not transaction_ids:
        return {}
    seen = "$2::uuid IS NULL" if party is None else belonged_to(party, "account_id", "position").format("$2")
    rows = await reader.fetch(
        f"""SELECT id, account_id, amount_cents, currency FROM (
                SELECT id, transfers.position, (posting ->> 'account_id')::uuid AS account_id, number,
                       (posting ->> 'amount_cents')::bigint AS amount_cents, posting ->> 'currency' AS currency
                FROM transfers, jsonb_array_elements(postings) WITH ORDINALITY AS listed (posting, number)
                WHERE id = ANY($1)) AS sides
            WHERE {seen} ORDER BY id, number""",
        transaction_ids,
        party,
    )
    found: dict[UUID, list[_Posting]] = {}
    for transaction_id, *posting in rows:
        found.setdefault(transaction_id, []).append(_Posting(*posting))
    return found


async def _read_labels(reader: Reader, account_ids: Collection[UUID], party: Party | None) -> dict[UUID, OtherAccount]:
    if not account_ids:
        return {}
    seen = "$2::uuid IS NULL" if party is None else belongs_to(party).format("$2")
    rows = await reader.fetch(
        f"""SELECT accounts.id, code, name FROM accounts JOIN account_labels ON account_id = accounts.id
            WHERE accounts.id = ANY($1) AND {seen}""",
        account_ids,
        party,
    )
    return {row["id"]: OtherAccount(*row) for row in rows}
