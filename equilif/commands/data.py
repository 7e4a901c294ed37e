"""Data of one's own: what is understood of them, before anything is trained."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import HoldOut, Json, Label, Missing, MissingValues, TestFile, panel
from equilif.show import console as show

if TYPE_CHECKING:
    from equilif.data.own import Found

command = panel("Learning")
MOST_ROWS = 12  #: columns that are listed one by one


@command
def data(
    path: Annotated[
        Path,
        typer.Argument(
            help="A file or folder: .npz, .csv, .tsv, .parquet, a folder of class folders of images."
        ),
    ],
    label: Label = None,
    hold_out: HoldOut = None,
    test: TestFile = None,
    missing: MissingValues = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a picture of some images.", show_default="no picture")
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """What is understood of data of your own: parts, classes, ranges, scaling, and the boards that hold the
    network that `equilif train` suggests.

    Nothing is trained, and nothing written without --out.

    Example:  [bold]equilif data wine.csv --label kind[/]
    """
    from equilif.data import own
    from equilif.training import presets
    from equilif.training.folder import SAMPLES
    from equilif_golden import files

    if out is not None:
        files.check(out / SAMPLES)
    found = own.read(
        path, label=label, hold_out=hold_out, test=test, missing=(missing or Missing.refuse).value
    )
    preset = presets.own(found.data)
    sizes = (found.data.n_features, *preset.hidden, found.data.n_classes)
    boards = _boards(sizes)
    _show(found, "-".join(map(str, sizes)), preset.epochs, boards)
    plotted = [] if out is None else show.samples(found, out)
    about = found.about
    return {
        "data": found.data.name,
        "digest": found.data.digest,
        "path": about.path,
        "format": found.format,
        "shape": list(about.shape),
        "training": len(found.data.x_train),
        "test": len(found.data.x_test),
        "hold_out": about.hold_out,
        "classes": {name: {"training": a, "test": b} for name, a, b in _counts(found)},
        "columns": [
            {"name": name, "low": low, "high": high, "missing": gone, "becomes": kind}
            for name, low, high, gone, kind in own.ranges(found)
        ],
        "missing": found.missing,
        "clipped": {"training": found.clipped[0], "test": found.clipped[1]},
        "scaling": about.scaling.kind,
        "left_out": list(about.scaling.dropped),
        "inputs": found.data.n_features,
        "notes": list(found.notes),
        "network": list(sizes),
        "epochs": preset.epochs,
        "boards": boards,
        "out": out,
        "files": plotted,
    }


def _counts(found: Found) -> list[tuple[str, int, int]]:
    """Of every class its name, training and test samples."""
    train = Counter(found.data.y_train.tolist())
    test = Counter(found.data.y_test.tolist())
    return [(name, train[k], test[k]) for k, name in enumerate(found.about.labels)]


def _boards(sizes: tuple[int, ...]) -> list[str] | None:
    """Names of the boards that hold a chain, None when it is not known which boards there are."""
    from equilif.extras import MissingExtra
    from equilif_golden.network import Network

    try:
        from equilif.hardware.boards import capacity
        from equilif_boards import BOARDS
    except MissingExtra:
        return None
    network = Network.chain(*sizes)
    return [board.name for board in BOARDS.values() if not capacity(board, network)]


def _show(found: Found, sizes: str, epochs: int, boards: list[str] | None) -> None:
    """The same for people."""
    from equilif.data import own

    d = found.data
    about = found.about
    shape = " x ".join(map(str, about.shape))
    samples = f"{len(d.x_train):,} training and {len(d.x_test):,} test samples"
    show.console.print(
        f"[bold]{show.literal(d.name)}[/] ({found.format}): {samples} of {shape} values"
        + (f", {about.hold_out:.0%} of each class held out" if about.hold_out is not None else "")
    )
    rows = [[name, f"{a:,}", f"{b:,}"] for name, a, b in _counts(found)]
    show.console.print(show.table("\nclasses", ["class", "training", "test"], rows))
    columns = own.ranges(found)
    rows = [_row(*column) for column in columns[:MOST_ROWS]]
    if len(columns) > MOST_ROWS:
        rest = columns[MOST_ROWS:]
        lowest = min(low for _, low, *_ in rest)
        highest = max(high for _, _, high, *_ in rest)
        kinds = sorted({kind for *_, kind in rest})
        gone = sum(n for *_, n, _ in rest)
        rows.append(_row(f"{len(rest):,} more columns", lowest, highest, gone, ", ".join(kinds)))
    heads = ["column", "smallest", "largest", "missing", "becomes"]
    show.console.print(show.table("\ntraining values", heads, rows))
    for note in found.notes:
        show.console.print(show.literal(note))
    show.console.print(
        f"\nthe network gets [bold]{d.n_features:,}[/] inputs; `equilif train` suggests {sizes}, "
        f"{epochs} epochs"
    )
    if boards is not None:
        show.console.print(f"boards that hold it: {', '.join(boards) or 'none; take fewer hidden neurons'}")


def _row(name: str, low: float, high: float, gone: int, kind: str) -> list[str]:
    return [name, f"{low:g}", f"{high:g}", f"{gone:,}", kind]
