"""How operations ended last, as the log has it: whether a request or a command line has started them."""

from collections.abc import Mapping
from typing import NamedTuple

from ledger.events.operations import VERIFICATIONS, RebuildEnded, Rebuilds, VerificationEnded, Verifications
from ledger.events.operations import projection_stream as stream_of
from ledger.projections import INLINE
from ledger.store.connections import Reader
from ledger.store.heads import read_heads
from ledger.store.outbox import Backlog, read_backlog


class Ended(NamedTuple):
    """The last rebuild of each projection, the last verification of each extent, and what is not recorded yet."""

    rebuilds: Mapping[str, RebuildEnded]
    verifications: tuple[VerificationEnded, ...]
    backlog: Backlog


async def read_last_rebuilds(reader: Reader) -> dict[str, RebuildEnded]:
    """Return the last rebuild of each projection that had one, by the name of the projection."""
    heads = await read_heads(reader, [stream_of(one.name) for one in INLINE])
    states = (head.state for head in heads.values())
    return {state.last.projection: state.last for state in states if isinstance(state, Rebuilds)}


async def read_ended(reader: Reader) -> Ended:
    """Return how all operations ended last."""
    head = (await read_heads(reader, [VERIFICATIONS])).get(VERIFICATIONS)
    known = head.state if head is not None and isinstance(head.state, Verifications) else Verifications(0)
    verifications = tuple(one for one in (known.whole, known.fast, known.since) if one is not None)
    return Ended(await read_last_rebuilds(reader), verifications, await read_backlog(reader))
