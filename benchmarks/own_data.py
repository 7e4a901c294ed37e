"""Own data from file to trained network, by the commands of a user.

Writes files of eight formats from data of scikit-learn and aeon (pip install scikit-learn aeon), then runs
`equilif inspect`, `train` for every seed, `evaluate`, and `verify` with 20 samples.  Baselines on the same
samples with standardised inputs: logistic regression and an MLP with 128 hidden neurons from scikit-learn.

Generated sets: `keys` (tones of telephone keys, ITU-T Q.23, in noise) and `docstrings` (first words of
docstrings of the installed scipy; class: subpackage).
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import inspect
import json
import re
import statistics
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.registry import Seeds, choose
from equilif import cli
from equilif.data import own
from equilif.data.formats import Columns, Series, find
from equilif.data.sets.recordings import AEON

HIDDEN = 128  #: hidden neurons of the MLP, as suggested by `equilif train`
VERIFIED = 20
#: subpackages of scipy
PARTS = ("stats", "signal", "optimize", "linalg", "ndimage", "sparse", "interpolate", "fft")
MAX_TEXT_WORDS = 60  #: words
LOW = (697, 770, 852, 941)  #: Hz, rows of telephone keys
HIGH = (1209, 1336, 1477)  #: and columns
KEYS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "star", "0", "hash")
RATE = 8000
RECORDINGS = 40  #: of each key


# -- files -----------------------------------------------------------------------------------------
def table(path: Path, set_: Any, delimiter: str = ",") -> Path:
    """A data set of scikit-learn as a table with header and class names."""
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, delimiter=delimiter)
        writer.writerow([*set_.feature_names, "kind"])
        for row, k in zip(set_.data.tolist(), set_.target, strict=True):
            writer.writerow([*row, set_.target_names[k]])
    return path


def wine(folder: Path) -> Path:
    return table(folder / "wine.csv", datasets.load_wine())


def breast_cancer(folder: Path) -> Path:
    import pyarrow
    from pyarrow import parquet

    found = datasets.load_breast_cancer()
    columns = {name: found.data[:, k] for k, name in enumerate(found.feature_names)}
    path = folder / "breast_cancer.parquet"
    parquet.write_table(pyarrow.table({**columns, "kind": found.target_names[found.target]}), path)
    return path


def iris(folder: Path) -> Path:
    found = datasets.load_iris()
    np.savez(folder / "iris.npz", x=found.data, y=found.target_names[found.target])
    return folder / "iris.npz"


def digits(folder: Path) -> Path:
    from PIL import Image

    found = datasets.load_digits()
    for k, (image, label) in enumerate(zip(found.images, found.target, strict=True)):
        path = folder / "digits" / str(label) / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(path)
    return folder / "digits"


def bundled(name: str) -> Path:
    """Training part of a set bundled with aeon."""
    spec = importlib.util.find_spec("aeon")
    if spec is None or spec.origin is None:
        raise SystemExit("aeon bundles the series: pip install aeon")
    return Path(spec.origin).parent.parent / AEON / name / f"{name}_TRAIN.ts"


def series(name: str) -> Callable[[Path], Path]:
    """Training and test part of a set of aeon."""

    def write(folder: Path) -> Path:
        train = bundled(name)
        for part in (train, train.with_name(f"{name}_TEST.ts")):
            (folder / part.name).write_bytes(part.read_bytes())
        return folder / train.name

    return write


def vowels(folder: Path) -> Path:
    """JapaneseVowels (7 to 29 steps) as arrays with offsets."""
    train = bundled("JapaneseVowels")
    content = find(train).read(train, Columns())
    arrays: dict[str, Any] = {}
    for name, part in zip(("train", "test"), content.parts, strict=True):
        assert isinstance(part.x, Series)
        arrays |= {f"x_{name}": part.x.frames, f"offsets_{name}": part.x.off, f"y_{name}": part.labels}
    np.savez(folder / "vowels.npz", **arrays)
    return folder / "vowels.npz"


def keys(folder: Path) -> Path:
    """Tones of 40 to 120 ms, up to 1.5 % off their frequencies, 0 to 20 dB above noise."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(KEYS):
        (folder / "keys" / name).mkdir(parents=True, exist_ok=True)
        for i in range(RECORDINGS):
            t = np.arange(rng.integers(RATE // 25, RATE * 3 // 25)) / RATE
            pair = np.array([LOW[k // 3], HIGH[k % 3]]) * rng.uniform(0.985, 1.015, 2)
            tone = np.sin(2 * np.pi * pair[:, None] * t + rng.uniform(0, 6, (2, 1))).sum(axis=0)
            sound = tone + rng.normal(0, 10 ** (-rng.uniform(0, 20) / 20), len(t))
            sound *= rng.uniform(0.2, 0.9) / np.abs(sound).max()
            with wave.open(str(folder / "keys" / name / f"{i}.wav"), "wb") as w:
                w.setparams((1, 2, RATE, 0, "NONE", ""))
                w.writeframes((sound * 32767).astype("<i2").tobytes())
    return folder / "keys"


def docstrings(folder: Path) -> Path:
    """First words of docstrings of scipy, without the names of functions and classes."""
    rows = []
    for part in PARTS:
        module = importlib.import_module(f"scipy.{part}")
        for name in sorted(module.__all__):
            text = inspect.getdoc(getattr(module, name)) or ""
            prose = re.sub(re.escape(name), "", re.split(r"\n\s*(?:Parameters|Methods)\n", text)[0])
            words = re.sub(r"^[^\n]*\([^\n]*\)\n", "", prose.strip()).split()[:MAX_TEXT_WORDS]
            if len(words) > 5:
                rows.append([" ".join(words).replace('"', "'"), part])
    path = folder / "docstrings.tsv"
    with path.open("w", newline="", encoding="utf-8") as f:
        csv.writer(f, delimiter="\t").writerows([["text", "part"], *rows])
    return path


@dataclass(frozen=True)
class Set:
    """Writer of a file, and its options."""

    write: Callable[[Path], Path]
    options: tuple[str, ...] = ()
    reading: tuple[tuple[str, str], ...] = ()


def labelled(write: Callable[[Path], Path], **columns: str) -> Set:
    flags = [part for name, column in columns.items() for part in (f"--{name}", column)]
    return Set(write, tuple(flags), tuple(columns.items()))


SETS = {
    "wine": labelled(wine, label="kind"),
    "breast_cancer": labelled(breast_cancer, label="kind"),
    "iris": Set(iris),
    "digits": Set(digits),
    "docstrings": labelled(docstrings, label="part", text="text"),
    "keys": Set(keys),
    "vowels": Set(vowels),
    **{n: Set(series(n)) for n in ("ItalyPowerDemand", "GunPoint", "ArrowHead", "BasicMotions", "OSULeaf")},
}


# -- commands --------------------------------------------------------------------------------------
def command(folder: Path, *words: str) -> dict[str, Any]:
    """JSON output of a successful command."""
    output = folder / "output.json"
    print("$ equilif", *words, flush=True)
    try:
        cli.app([*words, "--json", str(output)])
    except SystemExit as e:
        if e.code:
            raise
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def measured(name: str, folder: Path, seeds: int) -> dict[str, Any]:
    """Results of a set from file to RTL check, and of the two baselines."""
    set_ = SETS[name]
    path = set_.write(folder)
    seen = command(folder, "inspect", str(path), *set_.options)
    accuracies = []
    for seed in range(seeds):
        run = str(folder / f"{name}-{seed}")
        command(folder, "train", str(path), *set_.options, "--seed", str(seed), "--out", run, "--overwrite")
        accuracies.append(command(folder, "evaluate", f"{run}/network.npz")["accuracy"])
    network = str(folder / f"{name}-0" / "network.npz")
    checked = command(
        folder, "verify", str(path), *set_.options, "--network", network, "--samples", str(VERIFIED)
    )
    regression, mlp = baselines(path, dict(set_.reading), seeds)
    return {
        "file": path.suffix or f"folder of {seen['format']}",
        "training": seen["training"],
        "test": seen["test"],
        "network": "-".join(map(str, seen["network"])),
        "boards": seen["boards"],
        "compared": checked["compared"]["total"],
        "mismatches": checked["mismatches"],
        "equilif": accuracies,
        "regression": regression,
        "mlp": mlp,
    }


def baselines(path: Path, reading: dict[str, Any], seeds: int) -> tuple[float, list[float]]:
    """Test accuracy of logistic regression, and of the MLP for every seed, on the same samples."""
    found = own.read(path, **reading)
    encode = found.about.encoding.rows
    x = encode(found.raw.x).astype(np.float64)
    x_test = encode(found.raw_test.x).astype(np.float64)

    def accuracy(model: Any) -> float:
        fitted = make_pipeline(StandardScaler(), model).fit(x, found.raw.labels)
        return float(fitted.score(x_test, found.raw_test.labels))

    return accuracy(LogisticRegression(max_iter=5000)), [
        accuracy(MLPClassifier((HIDDEN,), max_iter=1000, random_state=seed)) for seed in range(seeds)
    ]


def rows(found: dict[str, dict[str, Any]]) -> list[str]:
    """The results as a table of Markdown."""
    lines = [
        "| data | file | training / test | network | equilif | logistic regression | MLP | boards |",
        "|---|---|---|---|---|---|---|---|",
    ]
    models: dict[str, list[float]] = {"equilif": [], "regression": [], "mlp": []}
    for name, r in found.items():
        for model, all_ in models.items():
            all_.append(statistics.mean(r[model]) if isinstance(r[model], list) else r[model])
        boards = "?" if r["boards"] is None else len(r["boards"])
        accuracies = " | ".join(f"{100 * all_[-1]:.1f} %" for all_ in models.values())
        sizes = f"{r['training']:,} / {r['test']:,}"
        lines.append(f"| {name} | {r['file']} | {sizes} | {r['network']} | {accuracies} | {boards} |")
    means = " | ".join(f"{100 * statistics.mean(all_):.1f} %" for all_ in models.values())
    return [*lines, f"| mean | | | | {means} | |"]


def main(
    sets: Annotated[Sequence[str], "data sets (default: all)"] = (),
    *,
    out: Annotated[Path, "folder for the files"] = Path("results/own_data"),
    seeds: Seeds = 3,
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    found = {name: measured(name, out, seeds) for name in choose(sets, SETS, "data set")}
    print("\n".join(rows(found)))
    return {"seeds": seeds, "sets": found, "mismatches": sum(r["mismatches"] for r in found.values())}
