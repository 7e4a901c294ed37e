"""A run as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import Json, panel
from equilif.extras import needs
from equilif.show import console as show

if TYPE_CHECKING:
    from equilif.data.dataset import DataSet
    from equilif.report.run import Run

command = panel("Learning")


@command
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run (`equilif train`, `train-rates`).")
    ],
    out: Annotated[
        Path | None, typer.Option(help="File for the page.", show_default="report.html in the folder")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Where the samples are now: the folder of a data set with a name, or the file or folder "
            "of your own.",
            show_default="where they were",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(help="Test sample whose spikes are shown.", min=0, show_default="the closest call"),
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Write a run as one HTML page that needs nothing else: to read, to send, to print.

    Learning curve, confusion and the worst mistakes, spikes of a sample, what the hidden neurons look for,
    quantities of the network, the boards that hold it, and how to repeat the run.

    Samples that are not found any more are no error: the page says so, and leaves out what needs them.

    Example:  [bold]equilif report results/digits[/]
    """
    with needs("report"):
        from equilif.report import page
        from equilif.report import run as runs
    from equilif.training.folder import REPORT
    from equilif_golden import files

    found = runs.read(run)
    out = run / REPORT if out is None else out
    files.check(out)
    loaded, missing = _samples(found, data)
    if loaded is None and sample is not None:
        raise ValueError(f"--sample is of the test samples, which could not be read: {missing}")
    with show.console.status("reading the run") as status:
        made = page.write(found, loaded, missing=missing, sample=sample, progress=status.update)
    files.write(out, made.html.encode())
    show.console.print(
        f"[bold]{made.metrics['accuracy']:.2%}[/] on {show.literal(found.history.data)}; wrote "
        f"{show.literal(out)}, {len(made.html) / 1024:,.0f} KB"
    )
    if missing:
        show.console.print(f"[yellow]without samples: {show.literal(missing)}[/]")
    return {"run": run, **made.metrics, "out": out}


def _samples(run: Run, data: Path | None) -> tuple[DataSet | None, str]:
    """The samples of a run, or why there are none; where ``data`` says where they are, that is an error."""
    from equilif.commands import reason
    from equilif.extras import MissingExtra

    try:
        with show.console.status(f"reading {show.literal(run.history.data)}"):
            return run.history.load(run.folder, data), ""
    except (ValueError, OSError, MissingExtra) as e:
        if data is not None:
            raise
        return None, reason(e)
