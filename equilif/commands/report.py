"""A run as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import panel, reason
from equilif.commands.options import INPUT, OUTPUT
from equilif.show import console as show
from equilif_golden import files
from equilif_golden.extras import MissingExtra
from equilif_golden.lazy import execute, lazy

with lazy():
    from equilif.data.sets import dataset
    from equilif.report import page
    from equilif.report import run as runs
    from equilif.training.storage import folder

command = panel("Learning")


@command
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run (`equilif train`, `train-rates`)."), INPUT
    ],
    out: Annotated[
        Path | None, typer.Option(help="Output file.", show_default="RUN/report.html"), OUTPUT
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder of the named data set, or path of your own data, if they have moved.",
            show_default="as in training",
        ),
        INPUT,
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            help="Index of the test sample to plot.", min=0, show_default="correct with the smallest margin"
        ),
    ] = None,
) -> dict[str, Any]:
    """Write a self-contained HTML report of a training run.

    Contents: learning curve, confusion matrix, worst mistakes, spikes of one sample, receptive fields,
    network statistics, boards that fit it, and the commands that reproduce the run.  Without its data set
    the report omits the sections that need samples.

    Example:  [bold]equilif report results/digits[/]
    """
    execute(page)  # a missing package is said before anything is read
    found = runs.read(run)
    out = run / folder.REPORT if out is None else out
    files.check(out)
    loaded, missing = _samples(found, data)
    if loaded is None and sample is not None:
        raise ValueError(f"--sample is of the test samples, which could not be read: {missing}")
    with show.console.status("reading the run") as status:
        made = page.write(found, loaded, missing=missing, sample=sample, progress=status.update)
    files.write(out, files.printable(made.html).encode())
    show.console.print(
        f"[bold]{made.metrics['accuracy']:.2%}[/] on {show.literal(found.history.data)}; wrote "
        f"{show.literal(out)}, {len(made.html) / 1024:,.0f} KB"
    )
    if missing:
        show.console.print(f"[yellow]without samples: {show.literal(missing)}[/]")
    return {"run": run, **made.metrics, "out": out}


def _samples(run: runs.SavedRun, data: Path | None) -> tuple[dataset.DataSet | None, str]:
    """The samples of a run, or why there are none; where ``data`` says where they are, that is an error."""
    try:
        with show.console.status(f"reading {show.literal(run.history.data)}"):
            return run.history.load(run.folder, data), ""
    except (ValueError, OSError, MissingExtra) as e:
        if data is not None or isinstance(e, FileExistsError):  # they are an output of this command
            raise
        return None, reason(e)
