"""Sums of balances by group, at a point in time: accounts whose codes begin alike, of one currency and one type.

One query reads them, so they are of one state. It looks at every account, so its time grows with the number of
accounts. An account that has not changed since costs its row alone; any other one a few look-ups by index, however long
its history is. The number of groups is bounded, and accounts without a code are one group of each currency.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from asyncpg import Record

from ledger.errors import LedgerError
from ledger.events.account_labels import TYPES_BY_ROOT, AccountType
from ledger.projections import dated_entries
from ledger.projections.dated_entries import EffectiveTime
from ledger.store.connections import Reader
from ledger.store.sql import time_after
from ledger.values.account_codes import key_range

MAX_GROUPS = 20_000
TOO_MANY_GROUPS = f"there would be more than {MAX_GROUPS} groups: choose a smaller depth"

GroupKind = Literal["coded", "uncoded", "world"]


class TooManyGroupsError(LedgerError):
    """There are more groups than one answer may have."""

    def __init__(self) -> None:
        super().__init__(TOO_MANY_GROUPS)


class Balance(NamedTuple):
    """An amount of each account: its balance at a position, or that of what counts by an effective time."""

    position: int
    effective_at: datetime | None = None


class Change(NamedTuple):
    """An amount of each account: by how much its balance has changed."""

    before: Balance
    after: Balance


Amount: TypeAlias = Balance | Change


class Grouping(NamedTuple):
    """Which accounts are summed up, and which of them together.

    `prefix` is a code, which stands for itself and those below it; with a colon at the end, for those below it. Codes
    count up to `depth` segments after the prefix; None counts whole codes.
    """

    prefix: str = ""
    depth: int | None = None
    currency: str | None = None
    by_type: bool = False
    types: tuple[AccountType, ...] | None = None  # only these, and accounts without a type


class Sums(NamedTuple):
    """The sums of the positive and of the negative amounts of a group, both as positive numbers."""

    positive: int
    negative: int

    @property
    def net(self) -> int:
        """Return the sum of all amounts."""
        return self.positive - self.negative


class Group(NamedTuple):
    """Accounts that are summed up together, with the sums of each amount that was asked for.

    `below` counts the accounts with longer codes. A group of one account has its name.
    """

    kind: GroupKind
    code: str | None
    type: AccountType | None
    currency: str
    name: str | None
    accounts: int
    below: int
    sums: tuple[Sums, ...]


async def read_groups(reader: Reader, position: int, amounts: Sequence[Amount], grouping: Grouping) -> list[Group]:
    """Return the groups of the accounts that existed at a position, with the codes, names and types of then.

    No amount may be of a later position. Raises `TooManyGroupsError`.
    """
    values: list[object] = [position]
    columns = [_amount_sql(amount, values) for amount in amounts]
    rows = await reader.fetch(_groups_sql(columns, grouping, values), *values)
    if len(rows) > MAX_GROUPS:
        raise TooManyGroupsError
    return [_group(row, len(amounts)) for row in rows]


def _group(row: Record, amounts: int) -> Group:
    return Group(
        kind=row["kind"],
        code=row["code"],
        type=row["type"],
        currency=row["currency"],
        name=row["name"],
        accounts=row["accounts"],
        below=row["below"],
        sums=tuple(Sums(int(row[f"positive_{one}"]), int(row[f"negative_{one}"])) for one in range(amounts)),
    )


def _groups_sql(amounts: Sequence[str], grouping: Grouping, values: list[object]) -> str:
    """Return the query; values of its parameters are appended."""
    each = "".join(f", ({amount})::bigint AS amount_{number}" for number, amount in enumerate(amounts))
    sums = "".join(
        f""", coalesce(sum(amount_{number}) FILTER (WHERE amount_{number} > 0), 0) AS positive_{number}
            , coalesce(-sum(amount_{number}) FILTER (WHERE amount_{number} < 0), 0) AS negative_{number}"""
        for number in range(len(amounts))
    )
    segments, depth = "string_to_array(labels.code, ':')", _parameter(values, _absolute_depth(grouping), "int")
    return f"""
        SELECT kind, nullif(min(code COLLATE "C"), '') AS code, type, currency,
               CASE WHEN count(*) = 1 THEN min(name) END AS name,
               count(*) AS accounts, count(*) FILTER (WHERE is_below) AS below {sums}
        FROM (SELECT accounts.currency, labels.kind,
                     array_to_string(({segments})[1:({depth})], ':') AS code,
                     coalesce(cardinality({segments}) > {depth}, false) AS is_below,
                     CASE WHEN cardinality({segments}) <= {depth} OR labels.code IS NULL THEN labels.name END AS name,
                     {"labels.type" if grouping.by_type else "NULL::text"} AS type {each}
              FROM {_LABELLED}
              WHERE accounts.position <= $1 {_where(grouping, values)}) AS accounts
        GROUP BY kind, lower(code), type, currency
        LIMIT {MAX_GROUPS + 1}"""


_DEEPEST = 2**31 - 1


def _absolute_depth(grouping: Grouping) -> int:
    if grouping.depth is None:
        return _DEEPEST
    prefix = grouping.prefix.removesuffix(":")
    return grouping.depth + (prefix.count(":") + 1 if prefix else 0)


def _unchanged_since(position: str) -> str:
    """Return the condition that the row of an account is as it was at a position.

    Times of recording never decrease. Whatever was recorded before the first event after the position is not after it.
    """
    return f"(accounts.updated_at < coalesce({time_after(position)}, 'infinity'))"


# The current labels of accounts that have not changed since the position, and the past ones of all others.
_ROOTS = " ".join(f"WHEN '{root}' THEN '{kind}'" for root, kind in TYPES_BY_ROOT.items())
_TYPE_BY_ROOT = f"CASE lower(split_part(coalesce(present.code, past.code), ':', 1)) {_ROOTS} END"
_LABELLED = f"""accounts
    LEFT JOIN account_labels AS present ON present.account_id = accounts.id AND {_unchanged_since("$1")}
    LEFT JOIN LATERAL (
        SELECT one.code, one.name, one.type FROM account_label_history AS one
        WHERE one.account_id = accounts.id AND one.position <= $1 AND NOT {_unchanged_since("$1")}
        ORDER BY one.position DESC LIMIT 1) AS past ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN user_id IS NOT NULL THEN coalesce(present.code, past.code) END AS code,
               coalesce(present.name, past.name) AS name,
               CASE WHEN user_id IS NULL THEN 'equity'
                    ELSE coalesce(present.type, past.type, {_TYPE_BY_ROOT}) END AS type,
               CASE WHEN user_id IS NULL THEN 'world' WHEN coalesce(present.code, past.code) IS NULL THEN 'uncoded'
                    ELSE 'coded' END AS kind) AS labels"""


def _where(grouping: Grouping, values: list[object]) -> str:
    terms = []
    if grouping.prefix:
        key, first, end = (_parameter(values, bound, "text") for bound in key_range(grouping.prefix))
        code = 'lower(labels.code) COLLATE "C"'
        terms.append(f"({code} = {key} OR ({code} >= {first} AND {code} < {end}))")
    if grouping.currency is not None:
        terms.append(f"accounts.currency = {_parameter(values, grouping.currency, 'text')}")
    if grouping.types is not None:
        terms.append(f"(labels.type = ANY({_parameter(values, grouping.types, 'text[]')}) OR labels.type IS NULL)")
    return "".join(f" AND {term}" for term in terms)


def _amount_sql(amount: Amount, values: list[object]) -> str:
    if isinstance(amount, Change):
        return f"{_balance_sql(amount.after, values)} - {_balance_sql(amount.before, values)}"
    return _balance_sql(amount, values)


def _balance_sql(balance: Balance, values: list[object]) -> str:
    if balance.effective_at is not None:
        values += EffectiveTime.of(balance.effective_at, balance.position)
        return dated_entries.balance_sql("accounts.id", len(values) - len(EffectiveTime._fields) + 1)
    position = _parameter(values, balance.position, "bigint")
    return f"""CASE WHEN {_unchanged_since(position)} THEN accounts.balance_cents ELSE coalesce((
        SELECT entries.balance_cents FROM entries
        WHERE entries.account_id = accounts.id AND entries.version <= (SELECT version_at(accounts.id, {position}))
        ORDER BY entries.version DESC LIMIT 1), 0) END"""


def _parameter(values: list[object], value: object, kind: str) -> str:
    """Append a value, and return the parameter that stands for it."""
    values.append(value)
    return f"${len(values)}::{kind}"
