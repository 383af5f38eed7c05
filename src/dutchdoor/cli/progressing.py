"""Progress of long work: a bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from dutchdoor.cli.frame import Output

__all__ = ["Lines", "progressing"]

QUARTERS = 4


class Lines:
    """Says where the work is: each part as it begins, at each quarter, and when it is done."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: dict[str, int] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Hears of each sample; speaks seldom."""
        quarter = done * QUARTERS // total if total else 0
        if quarter > self._told.get(name, -1):
            self._told[name] = quarter
            self._say(f"{name}: {done} of {total}")


@contextmanager
def progressing(output: Output) -> Iterator[Callable[[str, int, int], None]]:
    """Hears (part, done, in all), and shows it on stderr while the block runs."""
    if not output.err.is_terminal:
        yield Lines(output.note)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=output.err, transient=True) as bar:
        task = bar.add_task("beginning", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        yield show
