"""Console output: progress bars and tables of all commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from equilif_golden.extras import MissingExtra
from equilif_golden.files import printable

YES = "[green]✓[/]"
NO = "[red]✗[/]"
ROOM = 60  #: columns of a terminal that has room for a bar


class Screen(Console):
    """The terminal, or the file or pipe in its place; nothing that is printed is cut.

    A terminal wraps text at its width.  Into a file or a pipe every line is as long as it is.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **{"soft_wrap": not self.is_terminal, "crop": False, **options})

    def on_broken_pipe(self) -> None:
        """The error propagates to where all errors are reported."""
        raise


console = Screen(highlight=False)


class WideTable(Table):
    """A table that keeps all of its digits: where the terminal is too narrow for it, its lines run over."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = self.__rich_measure__(console, options.update(width=sys.maxsize)).maximum
        yield from super().__rich_console__(console, options.update(width=max(needed, options.max_width)))


def fail(message: str) -> None:
    """One line on stderr: line ends are folded."""
    line = _visible("; ".join(part.strip() for part in message.splitlines() if part.strip()))
    Screen(stderr=True, highlight=False).print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def literal(value: object) -> str:
    """Text of a user, such as the name of a file, inside of markup: printed as it is, brackets and all."""
    return escape(_visible(str(value)))


def _visible(text: str) -> str:
    """The text, what a terminal would act on written out."""
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in printable(text))
    return "".join(escaped)


def mark(right: bool) -> Text:
    """A cell that says yes or no."""
    return Text.from_markup(YES if right else NO)


def bar() -> Progress:
    """A progress bar whose tasks carry a ``note``; where there is no room for it, numbers or nothing."""
    drawn = [BarColumn(bar_width=30)] if console.width >= ROOM else []
    return Progress(
        TextColumn("{task.description}"),
        *drawn,
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[note]}[/]"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not console.is_terminal or console.width < ROOM // 2,
    )


@contextmanager
def counted(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar over samples; its function takes their number done, and the total if that was open."""
    with bar() as progress:
        task = progress.add_task(what, total=total, note="")
        yield lambda done, total=total: progress.update(task, completed=done, total=total)


@contextmanager
def stages(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar over stages, by name."""
    with bar() as progress:
        task = progress.add_task(what, total=total, note="")
        begun = count()
        yield lambda name: progress.update(task, completed=next(begun), note=name)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Iterable[str | Text]], *, left: int = 1
) -> Table:
    """Rows of text, printed as it is; colour is in a :class:`rich.text.Text`.

    ``left``: number of columns, from the first, that are text; the others are numbers.  Text alone wraps,
    beside numbers it does not.
    """
    kind = Table if left >= len(columns) else WideTable
    t = kind(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for k, column in enumerate(columns):
        t.add_column(
            Text(column), justify="left" if k < left else "right", no_wrap=kind is WideTable, overflow="fold"
        )
    for row in rows:
        t.add_row(*(Text(_visible(cell)) if isinstance(cell, str) else cell for cell in row))
    return t


def plots_for(what: str) -> ModuleType | None:
    """The plotting module, or None without matplotlib: a run must not fail for lack of a figure."""
    try:
        from equilif.show import plots
    except MissingExtra as e:
        console.print(f"[yellow]no {what}: {literal(e)}[/]")
        return None
    return plots


def drawn(name: str, out: Path, *content: Any, what: str = "picture") -> list[str]:
    """Draw NAME.png with the function of this name of equilif.show.plots; its file, if there is one."""
    plots = plots_for(what)
    if plots is None:
        return []
    path = plots.figure_path(out, f"{name}.png")
    getattr(plots, name)(*content, path)
    return [path.name]
