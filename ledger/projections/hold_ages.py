"""Pending holds by their ages, and overdue ones by how long they are overdue."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ledger.projections.holds import MAX_COUNTED
from ledger.store.connections import Reader

HOUR, DAY = 3600, 86_400
AGES = (HOUR, DAY, 7 * DAY, 30 * DAY)  # seconds, the upper bounds of the ages of pending holds
DELAYS = (60, HOUR, DAY)  # of overdue ones, since they expired


class HoldAges(NamedTuple):
    """The numbers of holds, up to the bound of an age each and beyond the last one, and of how many in all.

    `is_complete` is False if there are more than `MAX_COUNTED` holds; those that expire first are counted.
    """

    pending: Sequence[int]
    overdue: Sequence[int]
    is_complete: bool

    def body(self) -> dict[str, Any]:
        """Return the numbers as a response body."""
        return {
            "pending": sum(self.pending),
            "overdue": sum(self.overdue),
            "complete": self.is_complete,
            "pending_by_age": _format_buckets(AGES, self.pending),
            "overdue_by_delay": _format_buckets(DELAYS, self.overdue),
        }


async def read_hold_ages(reader: Reader) -> HoldAges:
    """Count the holds whose end is not recorded yet: those that have expired are overdue, the others are pending."""
    rows = await reader.fetch(
        """SELECT overdue, width_bucket(extract(epoch FROM now() - since)::float8,
                                        CASE WHEN overdue THEN $2::float8[] ELSE $1::float8[] END) AS bucket, count(*)
           FROM (SELECT expires_at <= now() AS overdue,
                        CASE WHEN expires_at <= now() THEN expires_at ELSE recorded_at END AS since
                 FROM transfers WHERE status = 'pending' ORDER BY expires_at LIMIT $3) AS held GROUP BY 1, 2""",
        *([float(bound) for bound in bounds] for bounds in (AGES, DELAYS)),
        MAX_COUNTED,
    )
    pending, overdue = [0] * (len(AGES) + 1), [0] * (len(DELAYS) + 1)
    for is_overdue, bucket, count in rows:
        (overdue if is_overdue else pending)[bucket] += count
    return HoldAges(pending, overdue, sum(pending) + sum(overdue) < MAX_COUNTED)


def _format_buckets(bounds: Sequence[int], counts: Sequence[int]) -> list[dict[str, int | None]]:
    return [{"below_seconds": bound, "holds": count} for bound, count in zip((*bounds, None), counts, strict=True)]
