"""Data of one's own: what is understood of them, before anything is trained."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import MADE, OwnOptions, panel
from equilif.commands.options import INPUT, OUTPUT
from equilif.data import FORMATS
from equilif.show import console as show
from equilif.show import evaluation as show_evaluation
from equilif.show import network as show_network
from equilif_golden import files
from equilif_golden.lazy import lazy

with lazy():
    import equilif.data.own as own_data
    from equilif.data import formats
    from equilif.data.own import build
    from equilif.hardware import boards as known_boards
    from equilif.hardware import resources
    from equilif.training import resolve
    from equilif.training.storage import folder

command = panel("Learning")
MAX_ROWS = 12  #: columns that are listed one by one
MAX_TEXTS = 5  #: texts that are shown, one of each class
MAX_CHARACTERS = 150  #: of each


@command
def inspect(
    path: Annotated[Path, typer.Argument(help=f"Your own data: {', '.join(FORMATS.values())}."), INPUT],
    data_options: OwnOptions = MADE,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for a figure of some samples.", show_default="no figure"),
        OUTPUT,
    ] = None,
) -> dict[str, Any]:
    """Show how your own data are read: split, classes, value ranges, scaling, default network, boards that
    fit it.

    Trains nothing; writes files only with --out.

    Example:  [bold]equilif inspect wine.csv --label kind[/]
    """
    if out is not None:
        files.check(out / folder.SAMPLES)
    with show.console.status(f"reading {show.literal(path)}"):
        loaded = own_data.read(path, **data_options.reading)
    preset = resolve.default(loaded.data, None)
    network = preset.network(loaded.data)
    sizes = [p.size for p in network.populations if p.name not in ("bias", "memory")]
    boards = resources.fits(network, loaded.data.encoding)
    _show(loaded, "-".join(map(str, sizes)), preset.epochs, boards)
    plotted = [] if out is None else show_evaluation.samples(loaded, out)
    about = loaded.about
    return {
        "data": loaded.data.name,
        "digest": loaded.data.digest,
        "path": about.path,
        "format": loaded.format,
        "shape": list(about.shape),
        "encoding": dataclasses.asdict(about.encoding),
        "training": len(loaded.data.x_train),
        "test": len(loaded.data.x_test),
        "test_fraction": about.test_fraction,
        "classes": {name: {"training": a, "test": b} for name, a, b in _counts(loaded)},
        "columns": [
            {"name": name, "low": low, "high": high, "missing": gone, "becomes": kind}
            for name, low, high, gone, kind in build.ranges(loaded)
        ],
        "missing": loaded.missing,
        "clipped": {"training": loaded.clipped[0], "test": loaded.clipped[1]},
        "scaling": about.scaling.kind,
        "left_out": list(about.scaling.dropped),
        "inputs": loaded.data.n_features,
        "notes": list(loaded.notes),
        "network": sizes,
        "epochs": preset.epochs,
        "boards": None if boards is None else [fit.build for fit in boards if not fit.short],
        "out": out,
        "files": plotted,
    }


def _counts(loaded: build.LoadedData) -> list[tuple[str, int, int]]:
    """Name, training and test samples of every class."""
    train = Counter(loaded.data.y_train.tolist())
    test = Counter(loaded.data.y_test.tolist())
    return [(name, train[k], test[k]) for k, name in enumerate(loaded.about.labels)]


def _show(
    loaded: build.LoadedData, sizes: str, epochs: int, boards: Sequence[known_boards.Fit] | None
) -> None:
    """The same for people."""
    d = loaded.data
    about = loaded.about
    shape = _sample(loaded)
    samples = f"{len(d.x_train):,} training and {len(d.x_test):,} test samples"
    show.console.print(
        f"[bold]{show.literal(d.name)}[/] ({loaded.format}): {samples}, {shape}"
        + (f", {about.test_fraction:.0%} of each class held out" if about.test_fraction is not None else "")
    )
    rows = [[name, f"{a:,}", f"{b:,}"] for name, a, b in _counts(loaded)]
    show.console.print(show.table("\nclasses", ["class", "training", "test"], rows))
    columns = build.ranges(loaded)
    rows = [_row(*column) for column in columns[:MAX_ROWS]]
    if len(columns) > MAX_ROWS:
        rest = columns[MAX_ROWS:]
        lowest = min(low for _, low, *_ in rest)
        highest = max(high for _, _, high, *_ in rest)
        kinds = sorted({kind for *_, kind in rest})
        gone = sum(n for *_, n, _ in rest)
        rows.append(_row(f"{len(rest):,} more columns", lowest, highest, gone, ", ".join(kinds)))
    heads = ["column", "smallest", "largest", "missing", "becomes"]
    if rows:
        show.console.print(show.table("\ntraining values", heads, rows))
    for line in _texts(loaded):
        show.console.print(show.literal(line))
    for note in loaded.notes:
        show.console.print(show.literal(note))
    gets = f"{d.n_features:,} inputs" if d.tokens_train is None else f"{about.encoding.steps} tokens at most"
    show.console.print(
        f"\nthe network gets [bold]{gets}[/]; `equilif train` suggests {sizes}, {epochs} epochs"
    )
    if boards is not None:
        show.console.print(f"boards that hold it: {show_network.builds(boards)}")
        if all(fit.short for fit in boards):
            show_network.boards(boards)


def _texts(loaded: build.LoadedData) -> Iterator[str]:
    """A text of each class."""
    texts = loaded.raw.x
    if isinstance(texts, formats.Texts):
        for name in loaded.about.labels[:MAX_TEXTS]:
            first = int((loaded.raw.labels == name).argmax())
            yield f"{name}: {' '.join(texts.texts[first][:MAX_CHARACTERS].split())}"


def _sample(loaded: build.LoadedData) -> str:
    """Description of one sample."""
    kind = loaded.about.encoding.kind
    if kind == "texts":
        return "a text each"
    size = " x ".join(map(str, loaded.about.shape))
    return f"series of {size} channels" if kind == "series" else f"{size} values each"


def _row(name: str, low: float, high: float, gone: int, kind: str) -> list[str]:
    return [name, f"{low:g}", f"{high:g}", f"{gone:,}", kind]
