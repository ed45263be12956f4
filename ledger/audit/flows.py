"""LedgerFlows: how much money moved between accounts, or between groups of accounts by their codes, in a period.

A transfer and a capture move money from one account to another. A journal entry has several payers and payees: in the
order of its postings, each payee gets what the next payers have paid. So sums are exact, and each part of a posting
counts once. What moves within a group is no flow.
"""

from typing import Any, Literal, NamedTuple, TypeAlias

from asyncpg import Record

from ledger.money import format_sums
from ledger.store.beginnings import TRANSFERRED_BETWEEN
from ledger.store.connections import Reader
from ledger.values.account_codes import key_range

MAX_EVENTS = 5_000_000  # of the log that are added up at once
FEW_EVENTS = 200_000  # of which the transfers are looked up one by one; of more, the whole table is read
MAX_FLOWS = 200
Kind: TypeAlias = Literal["group", "account", "uncoded", "world", "outside"]


class Request(NamedTuple):
    """The events to add up, and how: by groups of `depth` segments after the prefix, or by accounts.

    With a prefix, only flows of the account with this code and of those below it are returned; with a colon at the end,
    only of those below it. At most `most` flows are returned.
    """

    after: int
    upto: int
    depth: int
    by_account: bool
    prefix: str | None
    currency: str | None
    most: int


async def read_flows(reader: Reader, request: Request) -> dict[str, list[dict[str, Any]]]:
    """Return the largest flows of each currency, and the sums of the others by currency."""
    prefix = request.prefix
    keys = None if prefix is None else [*key_range(prefix)]
    segments = 0 if prefix is None else len(prefix.removesuffix(":").split(":"))
    few = request.upto - request.after <= FEW_EVENTS
    rows = await reader.fetch(
        _FLOWS.replace(_CHOSEN, f"AND id IN ({TRANSFERRED_BETWEEN})" if few else ""),
        *(request.after, request.upto, request.currency, keys, segments + request.depth),
        *(request.by_account, request.most),
    )
    return {
        "flows": [_format_flow(row) for row in rows if row["source_kind"] is not None],
        "others": [
            {"currency": row["currency"], "flows": row["flows"], **_format_sum(row)}
            for row in rows
            if row["source_kind"] is None
        ],
    }


def _format_flow(row: Record) -> dict[str, Any]:
    return {
        "source": _format_node(row["source_kind"], row["source"]),
        "destination": _format_node(row["destination_kind"], row["destination"]),
        "currency": row["currency"],
        **_format_sum(row),
    }


def _format_node(kind: Kind, name: str | None) -> dict[str, str]:
    match kind:
        case "group":
            return {"kind": kind, "code": name or ""}
        case "account":
            return {"kind": kind, "account_id": name or ""}
        case _:
            return {"kind": kind}


def _format_sum(row: Record) -> dict[str, Any]:
    return {"movements": row["movements"], **format_sums(amount_cents=int(row["cents"]))}


_CHOSEN = "/* the transfers to read, if they are few */"
_POSTINGS = """
    SELECT id, number, (posting ->> 'account_id')::uuid AS account_id, posting ->> 'currency' AS currency,
           abs((posting ->> 'amount_cents')::bigint) AS cents, (posting ->> 'amount_cents')::bigint < 0 AS pays
    FROM transfers, jsonb_array_elements(postings) WITH ORDINALITY AS one(posting, number)
    WHERE postings IS NOT NULL AND coalesce(status, 'posted') = 'posted' AND position > $1 AND position <= $2
      AND ($3::text IS NULL OR posting ->> 'currency' = $3)"""
# The payers' amounts, put end to end, cover those of the payees: a payer pays a payee where both overlap.
_SHARED = "least(payer.ends, payee.ends) - greatest(payer.begins, payee.begins)"
_FLOWS = f"""
WITH lines AS MATERIALIZED (
         SELECT id, account_id, currency, pays, total AS ends, total - cents AS begins FROM (
             SELECT *, sum(cents) OVER (PARTITION BY id, currency, pays ORDER BY number) AS total
             FROM ({_POSTINGS}) AS posted) AS added),
     sums AS (
         SELECT source_account_id AS source, destination_account_id AS destination, currency,
                sum(amount_cents) AS cents, count(*) AS movements
         FROM transfers
         WHERE postings IS NULL AND kind <> 'hold' AND coalesce(status, 'posted') = 'posted'
           AND position > $1 AND position <= $2 AND ($3::text IS NULL OR currency = $3) {_CHOSEN}
         GROUP BY source_account_id, destination_account_id, currency
         UNION ALL
         SELECT source_account_id, destination_account_id, currency, sum(captures.amount_cents), count(*)
         FROM captures JOIN transfers ON transfers.id = transaction_id
         WHERE captures.position > $1 AND captures.position <= $2 AND ($3::text IS NULL OR currency = $3)
         GROUP BY source_account_id, destination_account_id, currency
         UNION ALL
         SELECT payer.account_id, payee.account_id, currency, sum({_SHARED}), count(*)
         FROM lines AS payer JOIN lines AS payee USING (id, currency)
         WHERE payer.pays AND NOT payee.pays AND {_SHARED} > 0
         GROUP BY payer.account_id, payee.account_id, currency),
     pairs AS MATERIALIZED (
         SELECT source, destination, currency, sum(cents) AS cents, sum(movements) AS movements
         FROM sums GROUP BY source, destination, currency),
     named AS MATERIALIZED (
         SELECT accounts.id, user_id IS NULL AS is_world, label.code, lower(label.code) AS key
         FROM (SELECT source AS id FROM pairs UNION SELECT destination FROM pairs) AS used JOIN accounts USING (id)
         LEFT JOIN LATERAL (
             SELECT code FROM account_label_history AS past WHERE past.account_id = accounts.id AND past.position <= $2
             ORDER BY past.position DESC LIMIT 1) AS label ON true),
     nodes AS MATERIALIZED (
         SELECT id, kind,
                CASE kind WHEN 'account' THEN id::text
                          WHEN 'group' THEN array_to_string((string_to_array(code, ':'))[1:$5::int], ':') END AS name
         FROM named, LATERAL (SELECT CASE
             WHEN $4::text[] IS NOT NULL AND NOT coalesce(
                 key = ($4::text[])[1] OR (key >= ($4::text[])[2] AND key < ($4::text[])[3]), false) THEN 'outside'
             WHEN $6::boolean THEN 'account'
             WHEN code IS NOT NULL THEN 'group'
             WHEN is_world THEN 'world' ELSE 'uncoded' END AS kind) AS sort),
     flows AS (
         SELECT payer.kind AS source_kind, min(payer.name) AS source, payee.kind AS destination_kind,
                min(payee.name) AS destination, currency, sum(cents) AS cents, sum(movements)::bigint AS movements
         FROM pairs JOIN nodes AS payer ON payer.id = source JOIN nodes AS payee ON payee.id = destination
         WHERE (payer.kind, coalesce(lower(payer.name), '')) <> (payee.kind, coalesce(lower(payee.name), ''))
         GROUP BY payer.kind, lower(payer.name), payee.kind, lower(payee.name), currency),
     ranked AS MATERIALIZED (
         SELECT *, row_number() OVER (ORDER BY rank, currency) AS place FROM (
             SELECT *, row_number() OVER (PARTITION BY currency ORDER BY cents DESC, source, destination) AS rank
             FROM flows) AS by_currency)
SELECT source_kind, source, destination_kind, destination, currency, cents, movements, 1::bigint AS flows, place
FROM ranked WHERE place <= $7
UNION ALL
SELECT NULL, NULL, NULL, NULL, currency, sum(cents), sum(movements)::bigint, count(*), NULL
FROM ranked WHERE place > $7 GROUP BY currency
ORDER BY place, currency"""
