"""`ledger audit`, as far as it is about seals: making and verifying them, keeping their heads, checking receipts."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import asyncpg
import msgspec
import structlog
import typer

from ledger.cli.audit import audit
from ledger.cli.progress import Progress
from ledger.cli.shell import fail, run
from ledger.errors import DatabaseError
from ledger.followers import follower as followers
from ledger.followers.follower import CannotApplyError
from ledger.identity.keyring import load_sealing_key
from ledger.identity.keys import EDDSA, Key, public_key, public_pem
from ledger.seals import receipts
from ledger.seals import store as table
from ledger.seals.blocks import SignedHeader
from ledger.seals.receipts import InvalidReceiptError, Proof
from ledger.seals.sealing import Sealer
from ledger.seals.verifying import Report
from ledger.seals.verifying import verify as verify_all
from ledger.settings import Settings
from ledger.store.connections import Pool
from ledger.store.identity import read_ledger_id
from ledger.store.pool import UNREACHABLE, connect, open_pool
from ledger.values import strict_json
from ledger.values.strict_json import MalformedJsonError

T = TypeVar("T")
log = structlog.get_logger(__name__)
PAGE = 1000  # heads at a time
PublicKeys = Annotated[list[Path] | None, typer.Option("--public-key", help="A PEM file with a key that may sign.")]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON instead of text.")]


@audit.command("seal")
def seal(as_json: AsJson = False) -> None:
    """Seal, now, all events that are not sealed yet."""
    count = run(_seal)
    sys.stdout.write(json.dumps({"sealed_events": count}) + "\n" if as_json else f"sealed {count} events\n")


@audit.command("seal-status")
def seal_status(as_json: AsJson = False) -> None:
    """Show how far the log is sealed, and by how much that lags behind."""
    status = run(lambda settings: _with_pool(settings, table.status))
    members = {**status._asdict(), "oldest_unsealed_at": _text(status.oldest_unsealed_at)}
    if as_json:
        sys.stdout.write(json.dumps(members) + "\n")
    else:
        sys.stdout.writelines(f"{name.replace('_', ' ')}: {value}\n" for name, value in members.items())


@audit.command("seal-key")
def seal_key(
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON Web Key (RFC 7517).")] = False,
) -> None:
    """Print the public key that seals are signed with, as a PEM file."""
    key = run(_own_key)
    sys.stdout.write(json.dumps(key.public) + "\n" if as_json else public_pem(key))


@audit.command("export-heads")
def export_heads(
    after: Annotated[int, typer.Option(min=0, help="Only those after this block.")] = 0,
) -> None:
    """Print the signed header of every block, one a line, to be kept where nobody can change it."""
    run(lambda settings: _with_pool(settings, lambda pool: _print_heads(pool, after)))


@audit.command("verify-seals")
def verify_seals(
    against: Annotated[Path | None, typer.Option(help="A file of heads that were exported before.")] = None,
    public_keys: PublicKeys = None,
    as_json: AsJson = False,
) -> None:
    """Compute all seals anew from the log; exit with 1 if anything is not as it was sealed."""
    heads = [] if against is None else _heads_in(against)
    keys = [_public_key(path) for path in public_keys or []]
    report = run(lambda settings: _verify(settings, keys, heads))
    _print_report(report, as_json=as_json)
    if report.findings:
        sys.exit(1)


@audit.command("check-receipt")
def check_receipt(
    file: Annotated[Path, typer.Argument(help="The receipt, exactly as the ledger gave it.")],
    public_keys: Annotated[list[Path], typer.Option("--public-key", help="A PEM file with the ledger's key.")],
    as_json: AsJson = False,
) -> None:
    """Check a receipt with nothing but the ledger's public key: no database, no settings."""
    keys = [_public_key(path) for path in public_keys]
    try:
        receipt = receipts.check(_content(file), {key.kid: key for key in keys})
    except InvalidReceiptError as error:
        fail(f"the receipt proves nothing: {error}", 1)
    if as_json:
        sys.stdout.write(
            msgspec.json.encode({"proven": [_proven_members(proof) for proof in receipt.proofs]}).decode() + "\n"
        )
    else:
        sys.stdout.writelines(map(_proven, receipt.proofs))


def tell_if_off(settings: Settings) -> None:
    """Say so, once a start, if the log is not sealed."""
    if settings.ledger_seal_key_file is None:
        log.info("the log is not sealed: set LEDGER_SEAL_KEY_FILE to have changes of history found")


async def _seal(settings: Settings) -> int:
    key = await _own_key(settings)

    async def sealed(pool: Pool) -> int:
        sealer = Sealer(await read_ledger_id(pool), key, limit=settings.ledger_seal_events)
        connection = await connect(settings)
        try:
            count = await sealer.seal(connection)
            await followers.report(connection, "seals", sealer.reached)
            return count
        finally:
            await connection.close(timeout=1)

    return await _with_pool(settings, sealed)


async def _own_key(settings: Settings) -> Key:
    key = load_sealing_key(settings)
    if key is None:
        fail("LEDGER_SEAL_KEY_FILE is not set: there is no key to seal with", 2)
    return key


async def _verify(settings: Settings, keys: list[Key], heads: list[SignedHeader]) -> Report:
    own = load_sealing_key(settings)
    trusted = {key.kid: key for key in (*keys, *([] if own is None else [own]))}
    if not trusted:
        fail("set LEDGER_SEAL_KEY_FILE or give --public-key: whose signatures count, the database must not say", 2)

    async def verified(pool: Pool) -> Report:
        with Progress() as progress:
            progress.begin("the seals", await table.sealed_events(pool))
            return await verify_all(pool, trusted, heads, advance=progress.advance)

    return await _with_pool(settings, verified)


async def _print_heads(pool: Pool, after: int) -> None:
    ledger_id = await read_ledger_id(pool)
    while heads := await table.heads(pool, ledger_id, after_number=after, limit=PAGE):
        sys.stdout.writelines(msgspec.json.encode(head).decode() + "\n" for head in heads)
        after = heads[-1].block.number


async def _with_pool(settings: Settings, work: Callable[[Pool], Awaitable[T]]) -> T:
    async with _opened(settings) as pool:
        return await work(pool)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Pool]:
    pool = await open_pool(settings)
    try:
        yield pool
    except asyncpg.UndefinedTableError as error:
        raise DatabaseError("the schema is not up to date: run `ledger migrate`") from error
    except CannotApplyError as error:
        where = "" if error.position is None else f"the event at position {error.position} cannot be sealed: "
        raise DatabaseError(f"{where}{error}") from error
    except UNREACHABLE as error:
        raise DatabaseError(f"PostgreSQL is gone, or a writer does not end: {type(error).__name__}") from error
    finally:
        await pool.close()


def _print_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({**report._asdict(), "findings": [f._asdict() for f in report.findings]}) + "\n")
        return
    sys.stdout.writelines(f"{finding}\n" for finding in report.findings)
    sys.stdout.write(
        f"{report.events} events in {report.blocks} blocks, {report.heads_compared} of them compared with exported"
        f" heads; {report.unsealed_events} events are not sealed yet; {len(report.findings)} findings\n"
    )


def _proven(proof: Proof) -> str:
    event, block = proof.event, proof.block
    return (
        f"proven: {event.topic}, version {event.originator_version} of stream {event.originator_id}, is recorded at"
        f" position {event.notification_id}, {_text(event.recorded_at)}, and says"
        f" {event.state.decode(errors='replace')}\n"
        f"  It is event {proof.leaf_index + 1} of {block.count} in block {block.number} of ledger {block.ledger}, which"
        f" was sealed {_text(block.sealed_at)} with key {block.key_id}.\n"
        f"  Not proven: that nothing happened since, and that others are shown the same block; for that, compare its"
        f" hash, {block.hash().hex()}, with heads that were exported.\n"
    )


def _proven_members(proof: Proof) -> dict[str, object]:
    """The event, with what it says as JSON if it is, and the block it is in."""
    event, block = proof.event, proof.block
    return {
        **msgspec.structs.asdict(event),
        "state": _decoded(event.state),
        "block": block.number,
        "block_hash": block.hash().hex(),
        "ledger": block.ledger,
        "sealed_at": block.sealed_at,
        "key_id": block.key_id,
    }


def _decoded(state: bytes) -> object:
    """Return what an event says; as text if it is not JSON, for a ledger may seal anything."""
    try:
        return strict_json.decode(state)
    except MalformedJsonError:
        return state.decode(errors="replace")


def _heads_in(path: Path) -> list[SignedHeader]:
    try:
        return [msgspec.convert(strict_json.decode(line), SignedHeader) for line in _content(path).splitlines()]
    except (MalformedJsonError, msgspec.ValidationError) as error:
        fail(f"{path}: not a file of heads: {error}", 2)


def _public_key(path: Path) -> Key:
    try:
        key = public_key(path)
    except ValueError as error:
        fail(f"{path}: {error}", 2)
    if key.algorithm != EDDSA:
        fail(f"{path}: must be an Ed25519 key", 2)
    return key


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror}", 2)


def _text(moment: datetime | None) -> str | None:
    """RFC 3339, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
