"""Two roles of PostgreSQL: the owner migrates and rebuilds, and the serving role writes.

The serving role may append to the log, the command log and the seals, and change nothing there. All that it may do
follows from the catalog: a table with the trigger `append_only` is such a table. Its name is that of `DATABASE_URL`;
that of the owner is in `LEDGER_OWNER_DATABASE_URL`.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import structlog

from ledger.errors import DatabaseError
from ledger.settings import Settings
from ledger.store.catalog import Catalog, list_tables, load_catalog
from ledger.store.connections import Connection, Reader
from ledger.store.locks import Lock
from ledger.store.pool import connect
from ledger.store.sql import quote_name

READ_ONLY = frozenset({"alembic_version", "ledger_identity", "rebuilds"})
SCRAM_ITERATIONS = 4096  # PostgreSQL's own number, so few that the password must be long enough not to be guessed
MIN_PASSWORD_LENGTH = 22  # of 128 random bits in base64

log = structlog.get_logger(__name__)


class ServingRole(NamedTuple):
    """The role with which the service connects, and the reasons why it may change history."""

    name: str
    reasons: tuple[str, ...]

    def text(self) -> str:
        """Return a sentence about what the role may do to the log, the command log and the seals."""
        if not self.reasons:
            return f"the role {self.name} of DATABASE_URL may not change history: it may only append to it"
        return f"the role {self.name} of DATABASE_URL may change history: it {', and '.join(self.reasons)}"


def list_append_only(catalog: Catalog) -> list[str]:
    """Return the tables to which rows are only appended."""
    return [table for table in list_tables(catalog) if f"trigger {table}.append_only" in catalog]


def list_privileges(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Return the privileges that the serving role needs, by table or view."""
    append_only = list_append_only(catalog)
    privileges: dict[str, tuple[str, ...]] = {}
    for name, kind in list_tables(catalog).items():
        if kind == "view" or name in READ_ONLY:
            privileges[name] = ("SELECT",)
        elif name in append_only:
            privileges[name] = ("SELECT", "INSERT")
        else:
            privileges[name] = ("SELECT", "INSERT", "UPDATE", "DELETE")
    return privileges


async def grant_to_serving_role(settings: Settings) -> None:
    """Grant what the serving role needs and revoke the rest, as the owner, unless that has been done."""
    serving = await connect(settings)
    try:
        role: str = await serving.fetchval("SELECT current_user")
    finally:
        await serving.close()
    owner = await connect(settings.as_owner())
    try:
        async with owner.transaction():
            if await _has_other_privileges(owner, role):
                await owner.execute(f"SELECT pg_advisory_xact_lock({Lock.GRANT})")
                await owner.execute(_grant_sql(settings.ledger_schema, role))
                log.info("privileges granted", role=role)
    finally:
        await owner.close()


async def create_serving_role(settings: Settings) -> bool:
    """Create the role of `DATABASE_URL` as the owner, with its password; return whether it was missing.

    Raises `DatabaseError`.
    """
    name, password = _read_credentials(settings.database_dsn())
    if not name:
        return False
    owner = await connect(settings.as_owner())
    try:
        if await owner.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name):
            return False
        _check_password(name, password)
        secret = f" PASSWORD '{compute_verifier(password, secrets.token_bytes(16))}'" if password else ""
        await owner.execute(f"CREATE ROLE {quote_name(name)} LOGIN{secret}")
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):  # another start was faster
        return True
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseError(
            f"the role {name} of DATABASE_URL does not exist, and the owner may not create it"
        ) from error
    finally:
        await owner.close()
    log.info("role created", role=name)
    return True


async def describe_serving_role(connection: Connection, schema: str) -> ServingRole:
    """Return whether the role of a connection may change history, and why."""
    rows = await connection.fetch(_MAY_CHANGE, schema, list_append_only(load_catalog()))
    role, is_superuser = rows[0]["role"], rows[0]["is_superuser"]
    if is_superuser:
        return ServingRole(role, ("is a superuser",))
    owned = [row["table"] for row in rows if row["is_owner"]]
    if owned:
        return ServingRole(role, (f"owns {', '.join(owned)}",))
    return ServingRole(role, tuple(f"may {row['privileges']} {row['table']}" for row in rows if row["privileges"]))


async def owns_tables(reader: Reader) -> bool:
    """Return whether the role of a connection may replace the read tables."""
    return bool(
        await reader.fetchval("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'rebuilds'::regclass")
    )


async def _has_other_privileges(owner: Connection, role: str) -> bool:
    """Return whether a role lacks what it needs or, unless it shares the owner's rights, may do more."""
    privileges = list_privileges(load_catalog())
    needed = [(table, one) for table, listed in privileges.items() for one in listed]
    others = [(table, one) for table in list_append_only(load_catalog()) for one in ("UPDATE", "DELETE", "TRUNCATE")]
    lacks = await owner.fetchval(_LACKS_ANY, role, [table for table, _ in needed], [one for _, one in needed], SEQUENCE)
    exceeds = await owner.fetchval(_HAS_ANY, role, [table for table, _ in others], [one for _, one in others])
    return bool(lacks or exceeds)


def _grant_sql(schema: str, role: str) -> str:
    grantee = quote_name(role)
    statements = [f'GRANT USAGE ON SCHEMA "{schema}" TO {grantee}', f"GRANT ALL ON SEQUENCE {SEQUENCE} TO {grantee}"]
    for table, privileges in list_privileges(load_catalog()).items():
        statements.append(f"REVOKE ALL ON {table} FROM {grantee}")
        statements.append(f"GRANT {', '.join(privileges)} ON {table} TO {grantee}")
    return ";".join(statements)


def _read_credentials(dsn: str) -> tuple[str, str]:
    """Return the user and the password that a URL names; an empty text for one that it does not name."""
    parts = urlsplit(dsn)
    query: Mapping[str, list[str]] = parse_qs(parts.query)
    user = query.get("user", [unquote(parts.username or "")])[-1]
    return user, query.get("password", [unquote(parts.password or "")])[-1]


def _check_password(role: str, password: str) -> None:
    """Raise `DatabaseError` for a password that can be guessed. A role without one authenticates itself otherwise."""
    if password and len(password) < MIN_PASSWORD_LENGTH:
        raise DatabaseError(
            f"the role {role} of DATABASE_URL does not exist, and its password must have at least "
            f"{MIN_PASSWORD_LENGTH} random characters: make one with `openssl rand -hex 32`"
        )


def compute_verifier(password: str, salt: bytes) -> str:
    """Return what PostgreSQL stores of a password (RFC 5803), so that no log of statements has the password."""
    salted = hashlib.pbkdf2_hmac("sha256", normalize("NFKC", password).encode(), salt, SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


SEQUENCE = "stored_events_notification_id_seq"
_LACKS_ANY = """
SELECT NOT has_schema_privilege($1::name, current_schema(), 'USAGE')
    OR NOT has_sequence_privilege($1::name, $4, 'UPDATE')
    OR EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS needed(relation, privilege)
               WHERE NOT has_table_privilege($1::name, relation, privilege))"""
_HAS_ANY = """
SELECT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS other(relation, privilege)
               JOIN pg_class ON pg_class.oid = relation::regclass
               WHERE has_table_privilege($1::name, relation, privilege)
                 AND NOT pg_has_role($1::name, relowner, 'MEMBER'))"""
_MAY_CHANGE = """
SELECT current_user AS role, rolsuper AS is_superuser, relname AS table,
       pg_has_role(relowner, 'MEMBER') AS is_owner,
       (SELECT string_agg(privilege, ', ' ORDER BY number)
        FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) WITH ORDINALITY AS one(privilege, number)
        WHERE has_table_privilege(pg_class.oid, privilege)
           OR privilege = 'UPDATE' AND has_any_column_privilege(pg_class.oid, privilege)) AS privileges
FROM pg_roles, pg_class
WHERE rolname = current_user AND relnamespace = to_regnamespace($1) AND relname = ANY($2::text[]) ORDER BY relname"""
