"""Small runs for reports: images, a table, texts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equilif.data import own
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.report import page as pages
from equilif.report import run as runs
from equilif.training.run import Run
from equilif.training.settings import presets
from equilif.training.settings.description import Description
from equilif.training.settings.patches import patched
from equilif.training.settings.presets import PRESETS
from equilif_golden.network import TokenRows
from tests import runs as whole

#: names that a page must escape
CLASSES = ("<script>alert(1)</script>", "salt & pepper", "$x_1$ \"q\" 'z'")
COLUMNS = ("width", "<b>height</b>", "a & b", "{{ 7 * 7 }}", "ünïcödé 漢字")


@dataclass(frozen=True)
class ReportPage:
    """A report page; ``pictures``: minimum number of pictures."""

    kind: str
    path: Path
    pictures: int


def trained(folder: Path, preset: Description, data: DataSet) -> DataSet:
    """Train a preset and save the run in ``folder``; its data."""
    whole.trained(Run.start(preset, data, 0), folder=folder)
    return data


def digits(folder: Path) -> DataSet:
    """Handwritten digits with a small network."""
    return trained(folder, PRESETS["digits"].changed(hidden=(16,), epochs=2), images.digits())


def table(folder: Path, file: Path | None = None) -> DataSet:
    """A table with names that need escaping; one column separates the classes, with errors."""
    rng = np.random.default_rng(0)
    file = file or folder / "own & <b>.csv"
    with file.open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow([*COLUMNS, "kind"])
        for k in range(120):
            values = rng.normal(0, 1, len(COLUMNS)).round(3)
            writer.writerow([values[0] + 1.5 * (k % 3), *values[1:], CLASSES[k % 3]])
    data = own.load(file, label="kind")
    return trained(folder, presets.own(data).changed(hidden=(8,), epochs=2), data)


def texts(folder: Path) -> DataSet:
    """Sequences of words with random vectors; classes use different words."""
    rng = np.random.default_rng(0)
    words = tuple(f"word{k}" for k in range(18)) + ("<i>", "&amp;")
    vectors = rng.integers(-2000, 2000, (len(words), 8)).astype(np.int16)

    def part(n: int) -> tuple[np.ndarray, TokenRows]:
        labels = np.arange(n) % 2
        rows = [rng.integers(0, 20, 5) // 2 * 2 + label for label in labels]
        return labels.astype(np.int64), TokenRows(
            vectors, np.concatenate(rows).astype(np.int32), np.arange(n + 1, dtype=np.int64) * 5
        )

    y_train, train = part(40)
    y_test, test = part(20)
    data = DataSet(
        "sst2",
        np.zeros((40, 0), np.uint8),
        y_train,
        np.zeros((20, 0), np.uint8),
        y_test,
        train,
        test,
        words,
    )
    preset = PRESETS["sst2"].changed(hidden=(8,), epochs=1)
    preset = patched(preset, {"population.memory.size": "8", "population.query.heads": "2"})
    return trained(folder, preset, data)


KINDS: dict[str, Callable[[Path], DataSet]] = {"digits": digits, "table": table, "texts": texts}


def page(kind: str, folder: Path, *, lost: bool = False) -> ReportPage:
    """Report page of a run; ``lost``: samples are missing."""
    data = KINDS[kind](folder)
    report = pages.write(
        runs.read(folder), None if lost else data, missing="there is no <such> file" if lost else ""
    )
    path = folder / "report.html"
    path.write_text(report.html, encoding="utf-8")
    return ReportPage(kind, path, {"digits": 16 + 12 + 3, "table": 3, "texts": 3}[kind])
