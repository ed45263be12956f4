"""Progress bars on standard error, with the speed of a command and its elapsed and remaining time."""

import time
from typing import Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from ledger.cli.shell import console

PLAIN_SECONDS = 5  # between two lines where there is no terminal


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


class Progress:
    """Progress bars, shown only if standard error is a terminal. They end before an error is printed.

    With `plain`, a line every few seconds replaces them where there is no terminal.
    """

    def __init__(self, *, plain: bool = False) -> None:
        columns: tuple[Any, ...] = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Bars(*columns, console=console, disable=not console.is_terminal)
        self._task: TaskID | None = None
        self._lines = _Lines() if plain and not console.is_terminal else None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, what: str, rows: int | None) -> None:
        """Add a bar for the next part of the work; None if its length is not known."""
        if self._lines is not None:
            self._lines.begin(what, rows)
        self._task = self._bars.add_task(what, total=rows)

    def advance(self, rows: int) -> None:
        """Move the last bar forward."""
        if self._lines is not None:
            self._lines.advance(rows)
            return
        if self._task is not None:
            self._bars.advance(self._task, rows)

    def update(self, stage: str, done: int, rows: int) -> None:
        """Set the last bar to a stage of the work and the rows done; add a bar if there is none."""
        if self._task is None:
            self._task = self._bars.add_task(stage)
        self._bars.update(self._task, description=stage, completed=done, total=rows)

    def note(self, sentence: str) -> None:
        """Print a line above the bars."""
        console.print(sentence, style="yellow", soft_wrap=True)


class _Lines:
    """Progress as lines for a log."""

    def __init__(self) -> None:
        self.begin("", None)

    def begin(self, what: str, rows: int | None) -> None:
        """Start the next part of the work."""
        self._what, self._rows, self._done = what, rows, 0
        self._began = self._shown = time.monotonic()

    def advance(self, rows: int) -> None:
        """Count rows, and print a line if the last one is some seconds old."""
        self._done += rows
        now = time.monotonic()
        if now - self._shown >= PLAIN_SECONDS:
            self._shown = now
            total = "" if self._rows is None else f" of {self._rows:,}"
            speed = self._done / (now - self._began)
            console.print(f"{self._what}: {self._done:,}{total}, {speed:,.0f}/s", markup=False, soft_wrap=True)
