"""The tables of projections in three sets: live ones, shadows that a rebuild fills, and old ones that it replaced.

A shadow is created exactly like its live table, down to the names of indexes, so the two cannot be told apart after the
swap. Triggers are created at the swap, so they do not fire for old events.

Running services need not know of a swap. It invalidates the plans of their prepared statements, and PostgreSQL looks up
the names again (manual, PREPARE, Notes). The columns are the same, so the types promised to a client still hold.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ledger.errors import LedgerError
from ledger.projections.table import Table
from ledger.store.citus import local_schema, view_on
from ledger.store.connections import Connection
from ledger.store.tables import log_table

SHOWN = 20  # differing rows per table
PATIENCE_SECONDS = 24 * 3600  # comparing or analyzing a table can take long, and blocks no client
_PREFIX_LENGTH = 50  # of a schema's name, to leave room for a suffix: PostgreSQL truncates names after 63


class RebuildError(LedgerError):
    """A rebuild cannot continue; the live tables have not changed. The text is one sentence for the operator."""


class Schemas(NamedTuple):
    """The schemas of the live, the shadow and the old tables.

    On Citus, the live tables are views on the `shards` in the ledger's schema, given by the tables' names.
    """

    ledger: str
    live: str
    shadow: str
    old: str
    shards: Mapping[str, str]

    @classmethod
    def of(cls, schema: str, shards: Mapping[str, str]) -> "Schemas":
        """Return the schemas of the ledger in this schema."""
        live = local_schema(schema) if shards else schema
        return cls(schema, live, f"{schema[:_PREFIX_LENGTH]}_rebuild", f"{schema[:_PREFIX_LENGTH]}_old", shards)


class Difference(NamedTuple):
    """A row that differs: `found` in the live table, `expected` from the log. None means that there is no such row."""

    table: str
    key: tuple[Any, ...]
    found: dict[str, Any] | None
    expected: dict[str, Any] | None


class Tables:
    """Some tables of one ledger. The search path of `connection` is the schema of the shadows alone."""

    def __init__(self, connection: Connection, schemas: Schemas, tables: Sequence[Table]) -> None:
        self._connection = connection
        self._schemas = schemas
        self._names = [table.name for table in tables]
        self._keys = {table.name: table.key for table in tables}
        self._indexed_later = [table.name for table in tables if table.changes == "never"]

    @property
    def are_shards(self) -> bool:
        """Whether the live tables are shards of Citus."""
        return bool(self._schemas.shards)

    @property
    def ledger_schema(self) -> str:
        """The ledger's schema."""
        return self._schemas.ledger

    async def create(self) -> None:
        """Create empty shadows, and drop existing ones."""
        await self._refuse_views()
        await self.drop_shadows()
        await self._connection.execute(f'CREATE SCHEMA "{self._schemas.shadow}"')
        for name in self._names:
            live, options = self._live(name), await self._connection.fetchval(_OPTIONS, self._live(name))
            await self._connection.execute(
                f"""CREATE TABLE {self._shadow(name)} (LIKE {live} INCLUDING ALL EXCLUDING INDEXES)
                    {f"WITH ({options})" if options else ""}"""
            )
            if name not in self._indexed_later:
                await self._execute_all(_INDEXES, live, self._shadow(name))
            await self._execute_all(_GRANTS, live, self._shadow(name))

    async def drop_shadows(self) -> None:
        """Drop the shadows."""
        await self._connection.execute(f'DROP SCHEMA IF EXISTS "{self._schemas.shadow}" CASCADE')

    async def reuse_old(self) -> None:
        """Turn the old tables into shadows."""
        await self._refuse_views()
        await self.drop_shadows()
        await self._connection.execute(f'CREATE SCHEMA "{self._schemas.shadow}"')
        for name in self._names:
            old = f'"{self._schemas.old}"."{name}"'
            if await self._shape(old) != await self._shape(self._live(name)):
                raise RebuildError(
                    f"the columns of the old {name} differ from those of the live one: it cannot be rolled back"
                )
            await self._execute_all(_DROP_TRIGGERS, old)
            await self._execute_all(_GRANTS, self._live(name), old)
            await self._connection.execute(f'ALTER TABLE {old} SET SCHEMA "{self._schemas.shadow}"')

    async def complete_indexes(self) -> None:
        """Create the indexes of tables that are loaded without: to sort once is cheaper than to insert in order."""
        await self._connection.execute("SET maintenance_work_mem = '256MB'")
        for name in self._indexed_later:
            if not await self._connection.fetchval(_HAS_INDEXES, self._shadow(name)):
                async with self._connection.transaction():
                    for statement in await self._generate(_INDEXES, self._live(name), self._shadow(name)):
                        await self._connection.execute(statement, timeout=PATIENCE_SECONDS)

    async def analyze(self) -> None:
        """Collect the statistics that the planner needs once the shadows are live."""
        for name in self._names:
            await self._connection.execute(f"ANALYZE {self._shadow(name)}", timeout=PATIENCE_SECONDS)

    async def watch(self) -> None:
        """Record the keys of rows that change in the shadows from now on; discard those recorded before."""
        for name in self._names:
            shadow, keys = self._shadow(name), ", ".join(self._keys[name])
            await self._connection.execute(
                f"""DROP TABLE IF EXISTS {self._touched(name)};
                    CREATE TABLE {self._touched(name)} AS SELECT {keys} FROM {shadow} WITH NO DATA"""
            )
            for event, rows in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                await self._connection.execute(
                    f"""CREATE OR REPLACE TRIGGER watch_{event} AFTER {event} ON {shadow}
                        REFERENCING {rows} TABLE AS touched FOR EACH STATEMENT
                        EXECUTE FUNCTION "{self._schemas.ledger}".note_touched('{keys}')"""
                )

    async def find_differences(self, *, touched: bool) -> tuple[dict[str, int], list[Difference]]:
        """Count the rows that differ from the log by table, and return some.

        With `touched`, compare only recorded keys.
        """
        scans = "off" if touched else "on"
        await self._connection.execute(f"SET LOCAL work_mem = '128MB'; SET LOCAL enable_seqscan = {scans}")
        counts, shown = dict[str, int](), list[Difference]()
        for name in self._names:
            keys = self._keys[name]
            rows = await self._connection.fetch(
                f"""SELECT to_jsonb(found), to_jsonb(expected), count(*) OVER ()
                    FROM {self._pairs(name, ", ".join(keys), touched=touched)}
                    WHERE found IS DISTINCT FROM expected LIMIT {SHOWN}""",
                timeout=PATIENCE_SECONDS,
            )
            counts[name] = rows[0][2] if rows else 0
            shown += [_parse_difference(name, keys, row[0], row[1]) for row in rows]
        return counts, shown

    def _pairs(self, name: str, keys: str, *, touched: bool) -> str:
        found, expected = f"{self._live(name)} AS found", f"{self._shadow(name)} AS expected"
        if not touched:
            return f"{found} FULL JOIN {expected} USING ({keys})"
        return f"""(SELECT DISTINCT * FROM {self._touched(name)}) AS touched
                   LEFT JOIN {found} USING ({keys}) LEFT JOIN {expected} USING ({keys})"""

    async def pause_autovacuum(self) -> None:
        """Keep autovacuum from all tables that a swap locks. Readers and writers are not affected."""
        tables = [
            log_table(self._schemas.live),
            *map(self._live, self._names),
            *map(self._shadow, self._names),
        ]
        await self._connection.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE UPDATE EXCLUSIVE MODE")

    async def swap_script(self, *, keep: bool) -> str:
        """Return SQL that replaces the live tables by the shadows, with triggers, and keeps or drops the replaced ones.

        It takes one round trip, because readers are blocked while it runs.
        """
        parts = [
            f'CREATE SCHEMA IF NOT EXISTS "{self._schemas.old}"',
            f"LOCK TABLE {', '.join(map(self._live, self._names))}",
        ]
        for name in self._names:
            live, shadow = self._live(name), f'"{self._schemas.shadow}"."{self._schemas.shards.get(name, name)}"'
            old = f'"{self._schemas.old}"."{name}"'
            parts += [
                *await self._generate(_DROP_TRIGGERS, self._shadow(name)),
                *self._point_view_at_shadow(name),
                f"DROP TABLE IF EXISTS {old}",
                f'ALTER TABLE {live} SET SCHEMA "{self._schemas.old}"' if keep else f"DROP TABLE {live}",
                f'ALTER TABLE {shadow} SET SCHEMA "{self._schemas.ledger}"',
                *await self._generate(_TRIGGERS, live),
            ]
        return ";".join([*parts, f'DROP SCHEMA "{self._schemas.shadow}" CASCADE'])

    def _point_view_at_shadow(self, name: str) -> list[str]:
        """Return SQL that gives a shadow the name of the shard it replaces, and lets the view on the shard read it."""
        shard = self._schemas.shards.get(name)
        if shard is None:
            return []
        view = view_on(f'"{self._schemas.shadow}"."{shard}"', shard.rsplit("_", 1)[1], self._schemas.ledger)
        return [
            f'ALTER TABLE {self._shadow(name)} RENAME TO "{shard}"',
            f'CREATE OR REPLACE VIEW "{self._schemas.live}"."{name}" AS {view}',
        ]

    async def has_shadows(self) -> bool:
        """Return whether the shadows are here: Citus moves a ledger without them."""
        return bool(await self._connection.fetchval("SELECT to_regclass($1) IS NOT NULL", self._shadow(self._names[0])))

    def _live(self, name: str) -> str:
        return f'"{self._schemas.ledger}"."{self._schemas.shards.get(name, name)}"'

    def _shadow(self, name: str) -> str:
        return f'"{self._schemas.shadow}"."{name}"'

    def _touched(self, name: str) -> str:
        return f'"{self._schemas.shadow}"."touched_{name}"'

    async def _generate(self, query: str, *values: str) -> list[str]:
        """Return the statements that a query generates."""
        return [row[0] for row in await self._connection.fetch(query, *values)]

    async def _execute_all(self, query: str, *values: str) -> None:
        for statement in await self._generate(query, *values):
            await self._connection.execute(statement)

    async def _shape(self, table: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._connection.fetch(_SHAPE, table)]

    async def _refuse_views(self) -> None:
        """Raise `RebuildError` if a view reads one of the tables: after a swap it would read the replaced one."""
        own = f"{self._schemas.live}." if self._schemas.shards else ""
        for name in self._names:
            view = await self._connection.fetchval(_VIEWS, self._live(name))
            if view and not (own and view.startswith(own)):
                raise RebuildError(f"the view {view} reads {name}: drop it, and create it again after the rebuild")


def format_differences(differences: Iterable[Difference]) -> list[str]:
    """Return one line per difference: the key, and how the row differs from the expected one."""
    return [f"{row.table} {', '.join(map(str, row.key))}: {_contrast(row)}" for row in differences]


def _contrast(row: Difference) -> str:
    if row.found is None:
        return "is missing"
    if row.expected is None:
        return "should not be there"
    other = [name for name, value in row.expected.items() if row.found[name] != value]
    return "; ".join(f"{name} is {row.found[name]!r} and should be {row.expected[name]!r}" for name in other)


def _parse_difference(table: str, keys: Sequence[str], found: str | None, expected: str | None) -> Difference:
    before, after = (None if row is None else json.loads(row) for row in (found, expected))
    return Difference(table, tuple((after or before or {})[key] for key in keys), before, after)


_OPTIONS = "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = $1::text::regclass"
_HAS_INDEXES = "SELECT relhasindex FROM pg_class WHERE oid = $1::text::regclass"
_SHAPE = """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
            WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
# Tables outside the search path are printed with their schemas, so each definition names its table in full.
_INDEXES = """SELECT CASE WHEN pg_constraint.oid IS NULL
                  THEN replace(pg_get_indexdef(indexrelid), ' ON ' || relation || ' ', ' ON ' || shadow || ' ')
                  ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', shadow, conname,
                              pg_get_constraintdef(pg_constraint.oid)) END
              FROM (SELECT pg_class.oid, format('%I.%I', nspname, relname) AS relation,
                           $2::text AS shadow
                    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                    WHERE pg_class.oid = $1::text::regclass) AS live
              JOIN pg_index ON indrelid = live.oid
              LEFT JOIN pg_constraint ON conindid = indexrelid AND contype IN ('p', 'u', 'x')
              ORDER BY indexrelid"""
_GRANTS = """SELECT format('GRANT %s ON %s TO %s%s', privilege_type, $2::text,
                           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                           CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
             FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = $1::text::regclass"""
_TRIGGERS = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = $1::text::regclass AND NOT tgisinternal"
_DROP_TRIGGERS = """SELECT format('DROP TRIGGER %I ON %s', tgname, $1::text) FROM pg_trigger
                    WHERE tgrelid = $1::text::regclass AND NOT tgisinternal"""
_VIEWS = """SELECT ev_class::regclass::text FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
            WHERE classid = 'pg_rewrite'::regclass AND refobjid = $1::text::regclass LIMIT 1"""
