"""Progress bars on standard error, with the speed of a command and its elapsed and remaining time."""

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


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


class Progress:
    """Progress bars, shown only if standard error is a terminal. They end before an error is printed."""

    def __init__(self) -> None:
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

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, what: str, rows: int) -> None:
        """Add a bar for the next part of the work."""
        self._task = self._bars.add_task(what, total=rows)

    def advance(self, rows: int) -> None:
        """Move the last bar forward."""
        if self._task is not None:
            self._bars.advance(self._task, rows)

    def update(self, stage: str, done: int, rows: int) -> None:
        """Set the last bar to a stage of the work and the rows done; add a bar if there is none."""
        if self._task is None:
            self._task = self._bars.add_task(stage)
        self._bars.update(self._task, description=stage, completed=done, total=rows)

    def note(self, sentence: str) -> None:
        """Print a line above the bars."""
        console.print(sentence, style="yellow")
