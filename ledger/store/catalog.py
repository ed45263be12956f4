"""The catalog of a ledger's schema: what the migrations make, what a database has, and how the two differ.

`catalog.json` has what the migrations make, and a test holds it to them on each major version of PostgreSQL. An object
is named by its kind and name, such as `trigger stored_events.append_only`, and described by one line. Sources of
functions are digests. `catalog_on_citus.json` has what distribution changes. There, `local` views hide the shards.

Tables, views and plain indexes that an operator has added are no difference: they change nothing that the ledger
writes or reads. A function, trigger, rule, policy, constraint or column that was added may.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import asyncpg

from ledger.store.citus import list_shards, local_schema, read_place
from ledger.store.connections import Reader
from ledger.values.derived import text_digest

FILE = Path(__file__).with_name("catalog.json")
ON_CITUS = FILE.with_name("catalog_on_citus.json")  # null for what is missing there
ATTEMPTS = 3  # to read a catalog while a rebuild swaps tables

Catalog: TypeAlias = Mapping[str, str]


class CatalogObject(NamedTuple):
    """An object of a catalog. If it `matters`, it may not be there unless the migrations make it."""

    name: str
    relation: str | None
    definition: str
    matters: bool


class CatalogDifference(NamedTuple):
    """An object that differs from what the migrations make. None: there is no such object, or should be none."""

    name: str
    relation: str | None
    expected: str | None
    found: str | None


def load_catalog(*, on_citus: bool = False) -> Catalog:
    """Return what the migrations make: definitions by the names of objects."""
    made: dict[str, str | None] = json.loads(FILE.read_text())
    changed: dict[str, str | None] = json.loads(ON_CITUS.read_text()) if on_citus else {}
    return {name: definition for name, definition in (made | changed).items() if definition is not None}


def list_tables(catalog: Catalog) -> dict[str, str]:
    """Return the kind, `table` or `view`, of each relation in a catalog, by its name."""
    kinds = (name.split(" ", 1) for name in catalog)
    return {relation: kind for kind, relation in kinds if kind in {"table", "view"}}


async def read_version(reader: Reader) -> str:
    """Return the version of the schema."""
    version: str = await reader.fetchval("SELECT coalesce(string_agg(version_num, ' '), '') FROM alembic_version")
    return version


async def find_differences(reader: Reader) -> list[CatalogDifference]:
    """Return how the catalog differs from what the migrations make.

    A rebuild may swap tables while the catalog is read, so a difference must be found twice.
    """
    differences: list[CatalogDifference] | None = None
    for _ in range(ATTEMPTS):
        try:
            found, expected = await read_catalog(reader)
        except (asyncpg.InternalServerError, asyncpg.UndefinedObjectError):  # an object was dropped after it was listed
            continue
        latest = compare(expected, found)
        if not latest or differences is not None:
            return [one for one in latest if one in (differences or [])]
        differences = latest
    return differences or []


def compare(expected: Catalog, found: Mapping[str, CatalogObject]) -> list[CatalogDifference]:
    """Return the objects that are missing, changed, or added where that matters."""
    own = list_tables(expected)
    changed = [
        CatalogDifference(name, _relation_of(name), definition, found[name].definition if name in found else None)
        for name, definition in expected.items()
        if name not in found or found[name].definition != definition
    ]
    added = [
        CatalogDifference(one.name, one.relation, None, one.definition)
        for one in found.values()
        if one.name not in expected and one.matters and (one.relation is None or one.relation in own)
    ]
    return changed + added


async def read_catalog(reader: Reader) -> tuple[dict[str, CatalogObject], Catalog]:
    """Return the catalog of the schema that a reader sees, by the names of objects, and the expected one."""
    schema, on_citus = await read_place(reader)
    shards = await list_shards(reader, schema) if on_citus else {}
    rows = await reader.fetch(_CATALOG, schema)
    objects = [CatalogObject(*row) for row in rows]
    if shards:
        objects = [one for row in objects for one in _name_without_shard(row, shards)]
        hiding = [CatalogObject(*row) for row in await reader.fetch(_CATALOG, local_schema(schema))]
        objects += [_name_local(row, shards) for row in hiding if not row.name.startswith("setting ")]
    normal = [one._replace(definition=_normalize(one, schema)) for one in objects]
    return {one.name: one for one in normal}, load_catalog(on_citus=bool(shards))


def _name_without_shard(row: CatalogObject, shards: Mapping[str, str]) -> list[CatalogObject]:
    """Return an object of a shard with the names of the table; no object for a table that is not here."""
    if row.relation is None:
        return [row]
    numbers = {shard: shard.rsplit("_", 1)[1] for shard in shards.values()}
    number = numbers.get(row.relation)
    if number is None:
        return [row] if row.name.startswith("view ") else []
    ending = re.compile(rf"_{number}\b")
    name, relation, definition = (ending.sub("", part) for part in (row.name, row.relation, row.definition))
    return [CatalogObject(name, relation, definition, row.matters)]


def _name_local(row: CatalogObject, shards: Mapping[str, str]) -> CatalogObject:
    """Return an object of the schema that comes first in the search path on Citus, where views hide the shards."""
    definition = row.definition
    if shard := shards.get(row.relation or ""):
        definition = re.sub(rf"_?{shard.rsplit('_', 1)[1]}\b", "", definition.replace(f"{shard}.", ""))
    return CatalogObject(f"local {row.name}", None, definition, row.matters)


def _normalize(one: CatalogObject, schema: str) -> str:
    """Return a definition that is the same in each schema and on each version of PostgreSQL."""
    local = local_schema(schema)
    if one.name.startswith(("view ", "local view ")):  # before version 16, columns are qualified
        return re.sub(rf'"?\b{schema}\b"?\.', "", one.definition).replace("stored_events.", "")
    if one.name.startswith("function "):
        head, _, source = one.definition.partition(" source ")
        for name, general in ((local, "{local}"), (schema, "{schema}")):
            head = re.sub(rf'(search_path=.*?)"?\b{name}\b"?', rf"\1{general}", head)
            source = source.replace(f'"{name}"', general)
        return f"{head} source {text_digest(source)}"
    return one.definition


def _relation_of(name: str) -> str | None:
    kind, _, rest = name.partition(" ")
    return None if kind in {"function", "setting", "local"} else rest.partition(".")[0]


# Definitions are pretty-printed: then objects in the search path are not qualified by their schema. Checks for null are
# left out, because version 18 lists them as constraints; the columns have them.
_CATALOG = r"""
SELECT 'table ' || relname AS name, relname::text AS relation,
       concat_ws(', ', CASE relpersistence WHEN 'p' THEN 'permanent' ELSE 'not permanent' END,
                 CASE WHEN relrowsecurity OR relforcerowsecurity THEN 'with row security' END,
                 CASE WHEN EXISTS (SELECT FROM pg_inherits WHERE inhparent = pg_class.oid)
                      THEN 'with tables that inherit it' END) AS definition,
       false AS matters
FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r'
UNION ALL
SELECT 'view ' || relname, relname, regexp_replace(trim(pg_get_viewdef(oid)), '\s+', ' ', 'g'), false
FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'v'
UNION ALL
SELECT format('column %s.%s', relname, attname), relname,
       concat_ws(' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END,
                 'DEFAULT ' || pg_get_expr(adbin, adrelid),
                 CASE WHEN attgenerated <> '' THEN 'GENERATED' WHEN attidentity <> '' THEN 'IDENTITY' END),
       true
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = to_regnamespace($1) AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT format('constraint %s.%s', relname, conname), relname, pg_get_constraintdef(pg_constraint.oid, true), true
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE relnamespace = to_regnamespace($1) AND contype NOT IN ('n', 't')
UNION ALL
SELECT format('index %s.%s', tables.relname, indexes.relname), tables.relname,
       concat_ws(', ', pg_get_indexdef(indexrelid, 0, true), CASE WHEN NOT indisvalid THEN 'not valid' END),
       indisunique OR indexprs IS NOT NULL OR indpred IS NOT NULL
FROM pg_index JOIN pg_class AS tables ON tables.oid = indrelid JOIN pg_class AS indexes ON indexes.oid = indexrelid
WHERE tables.relnamespace = to_regnamespace($1)
UNION ALL
SELECT format('trigger %s.%s', relname, tgname), relname,
       concat_ws(', ', pg_get_triggerdef(pg_trigger.oid, true),
                 CASE tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled for replication only' END),
       true
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = to_regnamespace($1) AND NOT tgisinternal
UNION ALL
SELECT format('rule %s.%s', relname, rulename), relname, pg_get_ruledef(pg_rewrite.oid, true), true
FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
WHERE relnamespace = to_regnamespace($1) AND rulename <> '_RETURN'
UNION ALL
SELECT format('policy %s.%s', relname, polname), relname, 'a policy', true
FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid WHERE relnamespace = to_regnamespace($1)
UNION ALL
SELECT 'sequence ' || relname, relname,
       concat_ws(' ', 'INCREMENT', seqincrement, 'MINVALUE', seqmin, CASE WHEN seqcycle THEN 'CYCLE' END), false
FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid WHERE relnamespace = to_regnamespace($1)
UNION ALL
SELECT format('function %s(%s)', proname, pg_get_function_identity_arguments(pg_proc.oid)), NULL,
       concat_ws(' ', coalesce(pg_get_function_result(pg_proc.oid), 'nothing'), lanname,
                 CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
                 CASE WHEN proisstrict THEN 'strict' END, CASE WHEN prosecdef THEN 'security definer' END,
                 array_to_string(proconfig, ' '), 'source',
                 coalesce(pg_get_function_sqlbody(pg_proc.oid), prosrc)),
       true
FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
WHERE pronamespace = to_regnamespace($1)
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
UNION ALL
SELECT 'setting session_replication_role', NULL, current_setting('session_replication_role'), true
UNION ALL
SELECT format('setting session_replication_role of %s%s',
              CASE setrole WHEN 0 THEN 'all roles' ELSE setrole::regrole::text END,
              CASE setdatabase WHEN 0 THEN '' ELSE ' in this database' END),
       NULL, setting, true
FROM pg_db_role_setting, unnest(setconfig) AS setting
WHERE setting LIKE 'session_replication_role=%'
  AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
