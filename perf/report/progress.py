"""The progress of a run, on the terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from measuring.scenarios import Scenario
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """A bar for the scenarios and one for the samples of the current one, on standard error."""

    def __init__(self, scenarios: int) -> None:
        self.console = Console(stderr=True)
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}"),
            console=self.console,
            refresh_per_second=2,  # it takes CPU time from what is measured
        )
        self.all = self.bars.add_task("scenarios", total=scenarios, what="")
        self.one = self.bars.add_task("", total=None, what="")
        self.begun = False

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self.bars.update(self.all, advance=1)
        self.bars.stop()

    def scenario(self, scenario: Scenario, steps: int) -> None:
        """A scenario begins."""
        self.bars.update(self.all, advance=1 if self.begun else 0)
        self.begun = True
        self.bars.reset(self.one, total=steps, description=scenario.name, what="")

    def step(self, what: str) -> None:
        """A sample was taken."""
        self.bars.update(self.one, advance=1, what=what)
        if not self.console.is_terminal:
            self.console.print(f"{self.bars.tasks[1].description}: {what}", highlight=False)

    def say(self, text: str) -> None:
        """Show a message."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
