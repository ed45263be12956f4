"""A limit on what a check reports: the first findings in full, and the number of the others by their kind."""

from collections import Counter
from collections.abc import Mapping

MAX_FINDINGS = 1000
MAX_KINDS = 100  # that are counted apart
OTHERS = "other findings"


class Limited:
    """Counts findings, and says which to report. It needs the same memory however many there are."""

    def __init__(self, limit: int | None = MAX_FINDINGS) -> None:
        self._limit = limit
        self._omitted: Counter[str] = Counter()
        self.count = 0

    def admits(self, kind: str) -> bool:
        """Count a finding, and return whether to report it. Without a limit, all are reported."""
        self.count += 1
        if self._limit is None or self.count <= self._limit:
            return True
        is_known = kind in self._omitted or len(self._omitted) < MAX_KINDS
        self._omitted[kind if is_known else OTHERS] += 1
        return False

    @property
    def omitted(self) -> Mapping[str, int]:
        """How many findings were not reported, by kind, the most frequent first."""
        return dict(self._omitted.most_common())
