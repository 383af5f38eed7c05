"""Tells the demo as a story: numbered steps, what was seen, progress, a closing table.

Works on a terminal and without one; without one, progress bars become a line at start and end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dutchdoor.cli.frame import safe_text

__all__ = ["StepSummary", "Teller"]

Advance = Callable[[int, int], None]
"""done, total: how far a piece of work has come."""


@dataclass
class StepSummary:
    """One row of the closing table."""

    title: str
    seconds: float = 0.0
    shown: list[str] = field(default_factory=list)


class Teller:
    """Prints a demo's steps and keeps what was shown for the closing table."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[StepSummary] = []

    @contextmanager
    def step(self, title: str, why: str) -> Iterator[None]:
        """One numbered step; its time is kept."""
        number = len(self.steps) + 1
        self.steps.append(StepSummary(title))
        self.console.print(f"\n[bold]{number}. {title}[/bold]")
        self.console.print(f"   [dim]{why}[/dim]")
        started = time.monotonic()
        yield
        self.steps[-1].seconds = time.monotonic() - started

    def seen(self, text: str) -> None:
        """Something that was done or found."""
        self._line("[green]✓[/green]", text)

    def refused(self, text: str) -> None:
        """Something that was refused, as it should be."""
        self._line("[yellow]✋[/yellow]", text)

    def detail(self, text: str) -> None:
        """A line below the last one."""
        self.console.print(f"     {safe_text(text)}", style="dim", markup=False, highlight=False)

    def _line(self, mark: str, text: str) -> None:
        self.steps[-1].shown.append(text)
        self.console.print(f"   {mark} ", end="")
        self.console.print(safe_text(text), markup=False, highlight=False)

    @contextmanager
    def progress(self, text: str) -> Iterator[Advance]:
        """A progress bar; the body calls what it gets with (done, total)."""
        if not self.console.is_terminal:
            self.console.print(f"   … {text}", markup=False)
            yield lambda _done, _total: None
            return
        columns = (TextColumn("   {task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(text, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def summary(self, title: str) -> None:
        """The closing table: each step, its time, and the last thing it showed."""
        table = Table(title=title, title_justify="left", show_lines=False)
        table.add_column("step", no_wrap=True)
        table.add_column("seconds", justify="right")
        table.add_column("shown", overflow="fold")
        for number, step in enumerate(self.steps, 1):
            shown = safe_text(step.shown[-1]) if step.shown else ""
            table.add_row(f"{number}. {step.title}", f"{step.seconds:.1f}", shown)
        self.console.print()
        self.console.print(table)
