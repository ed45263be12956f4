"""The labels of accounts: one row for each account with labels, and one for each change, to read them at a position."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
from asyncpg import Record

from ledger.events import Recorded, encode
from ledger.events.account_labels import AccountDescribed, Labels
from ledger.events.accounts import DESCRIPTION_EVENTS
from ledger.projections.table import POSITION, TIME, Column, Index, Table, encode_columns, insert, upsert
from ledger.store.connections import Reader
from ledger.store.statements import Statement
from ledger.values.account_codes import Code
from ledger.values.words import NO_WORDS, split_words

HANDLED = frozenset(DESCRIPTION_EVENTS)
_FOUND_WORDS = "array_to_tsvector(string_to_array(words, ' '::text))"

ACCOUNT_LABELS = Table(
    name="account_labels",
    key=("account_id",),
    stream="account_id",
    columns=(
        Column("account_id", "uuid"),
        Column("code", "text", optional=True),
        Column("code_key", "text", optional=True),
        Column("name", "text", optional=True),
        Column("words", "text", optional=True),
        Column("type", "text", optional=True),
        Column("metadata", "jsonb", optional=True),
        Column("changes", "bigint"),
    ),
    indexes=(
        Index("account_labels_code_idx", "(code_key)", where="(code_key IS NOT NULL)"),
        Index("account_labels_type_idx", "(type)", where="(type IS NOT NULL)"),
        Index("account_labels_words_idx", f"({_FOUND_WORDS})", method="gin"),
        Index("account_labels_metadata_idx", "(metadata jsonb_path_ops)", method="gin"),
    ),
    changes="upsert",
)
ACCOUNT_LABEL_HISTORY = Table(
    name="account_label_history",
    key=("account_id", "version"),
    stream="account_id",
    columns=(
        Column("account_id", "uuid"),
        Column("version", "bigint"),
        Column("position", "bigint", POSITION),
        Column("recorded_at", "timestamptz", TIME),
        Column("code", "text", optional=True),
        Column("name", "text", optional=True),
        Column("type", "text", optional=True),
        Column("metadata", "jsonb", optional=True),
    ),
    indexes=(Index("account_label_history_position_idx", '(account_id, "position")'),),
    changes="never",
)
TABLES = (ACCOUNT_LABELS, ACCOUNT_LABEL_HISTORY)


def apply(events: Sequence[Recorded]) -> list[Statement]:
    """Return the upsert of the last labels of each account, and the insert of all of them."""
    rows = [_Row(row) for row in events if type(row.event) in HANDLED]
    if not rows:
        return []
    last = list({row.account_id: row for row in rows}.values())
    return [
        upsert(ACCOUNT_LABELS, encode_columns(ACCOUNT_LABELS, ACCOUNT_LABELS.names, last)),
        insert(ACCOUNT_LABEL_HISTORY, encode_columns(ACCOUNT_LABEL_HISTORY, ACCOUNT_LABEL_HISTORY.names, rows)),
    ]


class _Row:
    """The values of the columns of both tables."""

    __slots__ = (
        *("account_id", "version", "position", "recorded_at"),
        *("code", "code_key", "name", "words", "type", "metadata", "changes"),
    )

    def __init__(self, recorded: Recorded) -> None:
        labels = cast("AccountDescribed", recorded.event)
        self.account_id, self.version, self.position = recorded.stream_id, recorded.version, recorded.position
        self.recorded_at, self.changes = recorded.recorded_at, labels.changes
        self.code, self.name, self.type = labels.code, labels.name, labels.type
        self.code_key = None if labels.code is None else Code(labels.code).key
        self.words = None if labels.name is None else " ".join(split_words(labels.name))
        self.metadata = encode(labels.metadata) if labels.metadata else None


class Known(NamedTuple):
    """The labels that an account has, and how often they have changed."""

    labels: Labels
    changes: int


LABELS = "account_labels.code, account_labels.name, account_labels.type, account_labels.metadata"
WITH_LABELS = "LEFT JOIN account_labels ON account_labels.account_id = accounts.id"


def labels_in(row: Record) -> Labels:
    """Return the labels in a row with the columns `LABELS`."""
    metadata = row["metadata"]
    return Labels(row["code"], row["name"], row["type"], {} if metadata is None else msgspec.json.decode(metadata))


class LabelFilters(NamedTuple):
    """Filters by labels, which all apply: the codes from the first key up to the others, words, a type, and metadata.

    None filters nothing.
    """

    code_keys: tuple[str, str, str] | None = None
    words: str | None = None  # a `tsquery` of lexemes
    type: str | None = None
    metadata: dict[str, str] | None = None

    def terms(self) -> Iterator[tuple[str, object]]:
        """Yield the conditions on accounts, each with the value of its parameter."""
        keys = self.code_keys
        yield CODES, None if keys is None else [*keys]
        yield _HAVING.format(f"{_FOUND_WORDS} @@ {{}}::text::tsquery"), self.words
        yield _HAVING.format("type = {}"), self.type
        yield _HAVING.format("metadata @> {}::jsonb"), None if self.metadata is None else encode(self.metadata).decode()


_HAVING = "accounts.id IN (SELECT account_id FROM account_labels WHERE {})"
_HAS_CODE = "code_key = ({0}::text[])[1] OR (code_key >= ({0}::text[])[2] AND code_key < ({0}::text[])[3])"
CODES = _HAVING.format(_HAS_CODE)  # the condition that an account has a code within the keys `{0}`


def query_words(text: str) -> str:
    """Return the `tsquery` of names with words that begin with those of a text. Raises `ValueError` without words."""
    words = split_words(text)
    if not words:
        raise ValueError(NO_WORDS)
    return " & ".join(f"'{word}':*" for word in words)


async def exceed(reader: Reader, code_keys: tuple[str, str, str], most: int) -> bool:
    """Return whether more than so many accounts have a code within the keys."""
    found = f"SELECT FROM account_labels WHERE {_HAS_CODE.format('$1')} LIMIT $2::bigint + 1"
    return bool(await reader.fetchval(f"SELECT count(*) > $2 FROM ({found}) AS found", [*code_keys], most))


async def find_ids(reader: Reader, keys: Collection[str]) -> dict[str, UUID]:
    """Return the ids of the accounts with these codes, by the keys of the codes; unknown codes are left out."""
    rows = await reader.fetch("SELECT code_key, account_id FROM account_labels WHERE code_key = ANY($1)", keys)
    return {row["code_key"]: row["account_id"] for row in rows}


async def find_known(reader: Reader, account_id: UUID) -> Known:
    """Return the labels of an account, and how often they have changed: never, if it is unknown."""
    row = await reader.fetchrow(f"SELECT {LABELS}, changes FROM account_labels WHERE account_id = $1", account_id)
    return Known(Labels(), 0) if row is None else Known(labels_in(row), row["changes"])


class Described(NamedTuple):
    """The labels of an account at a position, with the version, position and time of their last change."""

    labels: Labels
    version: int
    position: int
    recorded_at: Any


async def read_at(reader: Reader, account_ids: Collection[UUID], position: int) -> dict[UUID, Described]:
    """Return the labels that these accounts had at a position; accounts that never had any are left out."""
    rows = await reader.fetch(
        """SELECT last.* FROM unnest($1::uuid[]) AS id, LATERAL (
               SELECT * FROM account_label_history AS past WHERE past.account_id = id AND past.position <= $2
               ORDER BY past.position DESC LIMIT 1) AS last""",
        account_ids,
        position,
    )
    return {
        row["account_id"]: Described(labels_in(row), row["version"], row["position"], row["recorded_at"])
        for row in rows
    }
