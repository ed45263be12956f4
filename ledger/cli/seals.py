"""The commands of `ledger audit` for seals: seal the log, verify seals, accept a chain, export block headers."""

import http.client
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
import structlog
import typer

from ledger.audit.limited import MAX_FINDINGS
from ledger.cli.options import AllFindings, AsDryRun, AsJson
from ledger.cli.output import describe_omitted, emit, encode_compact
from ledger.cli.progress import Progress
from ledger.cli.shell import connected, fail, pooled, query_pool, run, run_service
from ledger.commands.seals import AcceptSealHead
from ledger.events import to_json
from ledger.events.seals import SealHeadAccepted
from ledger.followers import follower
from ledger.identity.keyring import load_sealing_key
from ledger.identity.keys import EDDSA, Key, public_key, public_pem, published_keys
from ledger.seals import checkpoints, receipts, store
from ledger.seals.anchoring import open_anchor
from ledger.seals.blocks import SignedHeader
from ledger.seals.chain import BrokenChainError, Chain, read_chain
from ledger.seals.checkpoints import Checkpoint, InvalidCheckpointError
from ledger.seals.head_file import HeadFile
from ledger.seals.receipts import InvalidReceiptError, Proof
from ledger.seals.sealing import Sealer, begin_chain
from ledger.seals.verifying import Report, Witnesses, verify
from ledger.settings import Settings
from ledger.store.connections import Pool
from ledger.store.identity import read_ledger_id
from ledger.values import strict_json
from ledger.values.ids import new_id
from ledger.values.strict_json import MalformedJsonError
from ledger.values.timestamps import rfc3339
from ledger.write.group import Origin

log = structlog.get_logger(__name__)
PAGE = 1000  # block headers read at once
DOWNLOAD_SECONDS, MAX_DOWNLOAD_BYTES = 10, 65_536
REQUEST_ID = "accept-head"  # in the command log
UNSEALED_SECONDS = 300.0  # how long an event may wait for its seal, if LEDGER_READY_LAG_SECONDS does not say


class _Kept(NamedTuple):
    """What `--against` names: exported block headers, and anchored notes by file."""

    headers: list[SignedHeader]
    notes: dict[Path, bytes]


PublicKeys = Annotated[
    list[Path] | None, typer.Option("--public-key", help="PEM file with a trusted public key; may be repeated.")
]


def seal(as_json: AsJson = False) -> None:
    """Seal all events that are not sealed yet."""
    count = run(_seal)
    if as_json:
        emit({"sealed_events": count})
    else:
        sys.stdout.write(f"sealed {count} events\n")


def show_seal_status(as_json: AsJson = False) -> None:
    """Show up to which position the log is sealed, and the number of events that are not sealed yet."""
    status = query_pool(store.read_status)
    oldest = status.oldest_unsealed_at
    members = {**status._asdict(), "oldest_unsealed_at": None if oldest is None else rfc3339(oldest)}
    if as_json:
        emit(members)
    else:
        sys.stdout.writelines(f"{name.replace('_', ' ')}: {value}\n" for name, value in members.items())


def show_seal_key(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON Web Key (RFC 7517).")] = False,
    for_notes: Annotated[
        bool, typer.Option("--note", help="Print the verifier key of the checkpoints (C2SP signed notes).")
    ] = False,
) -> None:
    """Print the public key of the seals as a PEM file."""
    if for_notes:
        sys.stdout.write(run(_describe_note_key) + "\n")
        return
    key = run(_own_key)
    if as_json:
        emit(key.public)
    else:
        sys.stdout.write(public_pem(key))


def export_heads(
    after: Annotated[int, typer.Option(min=0, help="Only blocks after this one.")] = 0,
) -> None:
    """Print the signed header of every block, one per line. Store them where they cannot be changed."""
    query_pool(lambda pool: _print_headers(pool, after))


def accept_head(
    reason: Annotated[str, typer.Option(help="Why the chain is right, such as a restored backup.")],
    dry_run: AsDryRun = False,
    as_json: AsJson = False,
) -> None:
    """Accept the chain of blocks as it is, although the kept head says otherwise. The log records it as an event."""
    accepted = run_service(lambda settings: _accept(settings, reason, dry_run=dry_run))
    if as_json:
        emit({"accepted_block": accepted, **({"dry_run": True} if dry_run else {})})
    else:
        sys.stdout.write(f"{'dry run: would accept' if dry_run else 'accepted'} the chain of {accepted} blocks\n")


def verify_seals(
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of exported block headers or with an anchored checkpoint, or folder of checkpoints; may be"
            " repeated. LEDGER_SEAL_HEAD_FILE always counts as well."
        ),
    ] = None,
    public_keys: PublicKeys = None,
    everything: AllFindings = False,
    as_json: AsJson = False,
) -> None:
    """Recompute all seals from the log; exit with 1 if anything differs from what was sealed, or is sealed too late."""
    kept = _read_kept([file for path in against or [] for file in _list_files(path)])
    keys = [_read_public_key(path) for path in public_keys or []]
    limit = None if everything else MAX_FINDINGS
    report = run(lambda settings: _verify(settings, keys, kept, limit))
    _print_report(report, as_json=as_json)
    if report.total:
        sys.exit(1)


def check_receipt(
    file: Annotated[Path, typer.Argument(help="Receipt.")],
    public_keys: Annotated[
        list[Path] | None, typer.Option("--public-key", help="PEM file with the ledger's public key; may be repeated.")
    ] = None,
    key_set: Annotated[
        str | None, typer.Option("--jwks", help="File or URL of the key set that the ledger publishes (RFC 7517).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a receipt with the ledger's public key alone, without database and settings."""
    if not public_keys and key_set is None:
        fail("give the ledger's public key with --public-key or --jwks", 2)
    published = [] if key_set is None else _read_key_set(key_set)
    keys = {key.kid: key for key in (*map(_read_public_key, public_keys or ()), *published)}
    try:
        receipt = receipts.check(_read_bytes(file), keys)
    except InvalidReceiptError as error:
        fail(f"the receipt is not valid: {error}", 1)
    if as_json:
        sys.stdout.write(encode_compact({"proven": [_proof_members(proof) for proof in receipt.proofs]}) + "\n")
    else:
        sys.stdout.writelines(map(_describe_proof, receipt.proofs))


def log_if_unsealed(settings: Settings) -> None:
    """Log, once at the start of a service, that the log is not sealed."""
    if settings.ledger_seal_key_file is None:
        log.info("the log is not sealed: set LEDGER_SEAL_KEY_FILE to detect tampering with history")


async def _seal(settings: Settings) -> int:
    key = await _own_key(settings)
    async with connected(settings) as connection:
        ledger_id = await begin_chain(settings)
        sealer = Sealer(ledger_id, key, limit=settings.ledger_seal_events, head_file=HeadFile.find(settings))
        count = await sealer.seal(connection)
        await follower.report(connection, "seals", sealer.progress)
    anchor = open_anchor(settings, ledger_id, key)
    if anchor is not None and sealer.chain is not None:
        anchor.announce(sealer.chain)
        await anchor.try_to_send()
    return count


async def _accept(settings: Settings, reason: str, *, dry_run: bool) -> int:
    from ledger.runtime import open_runtime  # noqa: PLC0415 - all of the service, for this command alone
    from ledger.write.dry_run import DryRun  # noqa: PLC0415 - as above

    await _own_key(settings)
    head_file = HeadFile.find(settings)
    assert head_file is not None  # noqa: S101 - there is a key
    async with open_runtime(settings) as runtime, connected(settings) as connection:
        ledger_id = await read_ledger_id(connection)
        chain, kept = await read_chain(connection, Chain(ledger_id, None)), _describe_kept(head_file)
        event = SealHeadAccepted(*chain.describe(), *kept, reason)
        command, origin = AcceptSealHead(accepted=event), Origin(new_id(), request_id=REQUEST_ID)
        if dry_run:
            await DryRun(runtime.pool, schema=settings.ledger_schema).submit(command, origin)
            return chain.size
        await runtime.committer.submit(command, origin)
        await head_file.keep(chain, replaces=True)
        await follower.resume(connection, "seals", request_id=REQUEST_ID)
    return chain.size


def _describe_kept(head_file: HeadFile) -> tuple[int | None, str]:
    try:
        kept = head_file.read()
    except BrokenChainError:
        return None, ""
    return (None, "") if kept is None else kept.describe()


async def _describe_note_key(settings: Settings) -> str:
    key = await _own_key(settings)
    async with connected(settings) as connection:
        return checkpoints.verifier_key(await read_ledger_id(connection), key)


async def _own_key(settings: Settings) -> Key:
    key = load_sealing_key(settings)
    if key is None:
        fail("LEDGER_SEAL_KEY_FILE is not set: there is no key to seal with", 2)
    return key


async def _verify(settings: Settings, keys: list[Key], kept: _Kept, limit: int | None) -> Report:
    own = load_sealing_key(settings)
    trusted = {key.kid: key for key in (*keys, *([] if own is None else [own]))}
    if not trusted:
        fail(
            "set LEDGER_SEAL_KEY_FILE or give --public-key: the database must not decide which keys are trusted",
            2,
        )
    headers = [*kept.headers, *_read_kept_head(settings)]  # before the database, whose chain only grows
    async with pooled(settings) as pool:
        witnesses = Witnesses(headers, _open_notes(kept.notes, await read_ledger_id(pool), trusted))
        with Progress() as progress:
            progress.begin("the seals", await store.count_sealed_events(pool))
            return await verify(
                pool,
                trusted,
                witnesses,
                advance=progress.advance,
                max_unsealed_seconds=settings.ledger_ready_lag_seconds or UNSEALED_SECONDS,
                limit=limit,
            )


async def _print_headers(pool: Pool, after: int) -> None:
    ledger_id = await read_ledger_id(pool)
    while headers := await store.list_headers(pool, ledger_id, after_number=after, limit=PAGE):
        sys.stdout.writelines(encode_compact(header) + "\n" for header in headers)
        after = headers[-1].block.number


def _print_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        emit({**report._asdict(), "findings": [finding._asdict() for finding in report.findings]})
        return
    sys.stdout.writelines(f"{line}\n" for line in (*report.findings, *describe_omitted(report.omitted)))
    sys.stdout.write(
        f"{report.events} events in {report.blocks} blocks, {report.heads_compared} of them compared with exported"
        f" headers; {report.unsealed_events} events are not sealed yet; {report.total} findings\n"
    )


def _describe_proof(proof: Proof) -> str:
    event, block = proof.event, proof.block
    return (
        f"proven: {event.topic}, version {event.originator_version} of stream {event.originator_id}, is recorded at"
        f" position {event.notification_id}, {rfc3339(event.recorded_at)}, with the content"
        f" {event.state.decode(errors='replace')}\n"
        f"  It is event {proof.leaf_index + 1} of {block.count} in block {block.number} of ledger {block.ledger}, which"
        f" was sealed {rfc3339(block.sealed_at)} with key {block.key_id}.\n"
        f"  Not proven: that nothing was recorded since, and that others are shown the same block. For that, compare"
        f" its hash, {block.hash().hex()}, with exported headers.\n"
    )


def _proof_members(proof: Proof) -> Mapping[str, object]:
    """Return the event, its content as JSON where possible, and its block."""
    event, block = proof.event, proof.block
    return {
        **msgspec.structs.asdict(event),
        "state": _decode_state(event.topic, event.state),
        "block": block.number,
        "block_hash": block.hash().hex(),
        "ledger": block.ledger,
        "sealed_at": block.sealed_at,
        "key_id": block.key_id,
    }


def _decode_state(topic: str, state: bytes) -> object:
    """Return an event's content, as text if it cannot be read: a ledger may seal any bytes."""
    try:
        return strict_json.decode(to_json(topic, state))
    except (MalformedJsonError, ValueError):
        return state.decode(errors="replace")


def _read_kept_head(settings: Settings) -> list[SignedHeader]:
    head_file = HeadFile.find(settings)
    try:
        kept = None if head_file is None else head_file.read()
    except BrokenChainError as error:
        fail(str(error), 1)
    return [] if kept is None or kept.head is None else [kept.head]


def _list_files(path: Path) -> list[Path]:
    return sorted(path.glob("*.checkpoint")) if path.is_dir() else [path]


def _read_kept(paths: Iterable[Path]) -> _Kept:
    """Return the block headers and the notes of these files, each of which has either."""
    kept = _Kept([], {})
    for path in paths:
        raw = _read_bytes(path)
        if raw.startswith(f"{checkpoints.ORIGIN}/".encode()):
            kept.notes[path] = raw
        else:
            kept.headers.extend(_decode_headers(path, raw))
    return kept


def _open_notes(notes: Mapping[Path, bytes], ledger_id: UUID, keys: Mapping[str, Key]) -> list[Checkpoint]:
    opened = []
    for path, raw in notes.items():
        try:
            opened.append(checkpoints.open_note(raw, ledger_id, keys.values()))
        except InvalidCheckpointError as error:
            fail(f"{path}: not a checkpoint of this ledger: {error}", 2)
    return opened


def _decode_headers(path: Path, raw: bytes) -> list[SignedHeader]:
    try:
        return [msgspec.convert(strict_json.decode(line), SignedHeader) for line in raw.splitlines()]
    except (MalformedJsonError, msgspec.ValidationError) as error:
        fail(f"{path}: not a file of block headers: {error}", 2)


def _read_public_key(path: Path) -> Key:
    try:
        key = public_key(path)
    except ValueError as error:
        fail(f"{path}: {error}", 2)
    if key.algorithm != EDDSA:
        fail(f"{path}: must be an Ed25519 key", 2)
    return key


def _read_key_set(source: str) -> list[Key]:
    """Return the keys of a published set, which is a file or has a URL."""
    raw = _download(source) if source.startswith(("https://", "http://")) else _read_bytes(Path(source))
    try:
        keys = published_keys(strict_json.decode(raw))
    except ValueError as error:  # also from JSON that is malformed
        fail(f"{source}: {error}", 2)
    return keys or fail(f"{source}: has no Ed25519 key", 2)


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response:  # noqa: S310 - the caller checks the scheme
            raw: bytes = response.read(MAX_DOWNLOAD_BYTES)
    except (OSError, ValueError, http.client.HTTPException) as error:
        fail(f"{url}: {error}", 2)
    return raw


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror}", 2)
