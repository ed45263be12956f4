"""The results of an import, line by line: their counts are right at any time, also after an interruption."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Fate = Literal["made", "replayed", "refused"]
LISTED_ERRORS = 1000  # the counts include all


class Result(NamedTuple):
    """The fate of a line: made now, made before (`replayed`), or refused for these reasons."""

    line: int
    fate: Fate
    status: int = 200
    errors: tuple[Mapping[str, Any], ...] = ()


@dataclass
class Tally:
    """The results so far, and the number of lines that were sent and whose result is not known.

    A dry run of many lines has several `parts`, each of which begins with the present state.
    """

    counts: dict[Fate, int] = field(default_factory=lambda: {"made": 0, "replayed": 0, "refused": 0})
    errors: list[dict[str, Any]] = field(default_factory=list)
    unconfirmed: int = 0
    parts: int = 1

    def add(self, result: Result) -> None:
        """Count another line, and list the reasons for a refusal."""
        self.counts[result.fate] += 1
        for error in result.errors[: LISTED_ERRORS - len(self.errors)]:
            known = {name: error[name] for name in ("code", "message", "detail") if name in error}
            self.errors.append({"line": result.line, "status": result.status, **known})
