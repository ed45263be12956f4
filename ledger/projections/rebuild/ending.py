"""The events of the end of a rebuild, as they go into the outbox: one for each of its projections."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from ledger.events.operations import RebuildEnded, RebuildOutcome
from ledger.projections import INLINE
from ledger.store.outbox import Cause, Entry, describe_failure
from ledger.values.derived import derived_id


def describe_ending(
    cause: Cause,
    names: Iterable[str],
    outcome: RebuildOutcome,
    *,
    position: int | None = None,
    differing: Mapping[str, int] | None = None,
    error: BaseException | None = None,
) -> list[Entry]:
    """Return the entries for these projections; `differing` rows are counted by the names of tables.

    An operation ends once: if it is not known whether a swap was committed, its failure has the ids of the swap, and
    the first of both is recorded. What it has compared can be cancelled afterwards.
    """
    ended_at = datetime.now(UTC)
    counts = None if differing is None else count_by_projection(differing)
    kind = "cancelled rebuild" if outcome == "cancelled" else "rebuild"
    return [
        Entry(
            derived_id(kind, f"{cause.operation_id}:{name}"),
            RebuildEnded(
                operation_id=cause.operation_id,
                projection=name,
                outcome=outcome,
                ended_at=ended_at,
                position=position,
                differing=None if counts is None else counts.get(name, 0),
                reason=None if error is None else describe_failure(error),
            ),
            cause.actor_id,
            cause.request_id,
        )
        for name in names
    ]


def count_by_projection(differing: Mapping[str, int]) -> dict[str, int]:
    """Return the number of differing rows of each projection, given those of tables."""
    return {one.name: sum(differing.get(table, 0) for table in one.table_names) for one in INLINE}
