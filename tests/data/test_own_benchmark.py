"""Benchmark of own data: its files and its table."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from benchmarks import own_data
from equilif.data import own


@pytest.mark.parametrize(
    "name, kind, samples, classes",
    [("wine", "csv", 178, 3), ("iris", "npz", 150, 3), ("keys", "sounds", 480, 12)],
)
def test_benchmark_files(name, kind, samples, classes, tmp_path):
    set_ = own_data.SETS[name]
    found = own.read(set_.write(tmp_path), **dict(set_.reading))
    assert found.format == kind and len(found.about.labels) == classes
    assert len(found.data.x_train) + len(found.data.x_test) == samples


@pytest.mark.long
@pytest.mark.parametrize("name", own_data.SETS)
def test_benchmark_sets_through_rtl(name, tmp_path: Path):
    pytest.importorskip("aeon")
    found = own_data.measured(name, tmp_path, 1)
    assert found["mismatches"] == 0 and found["compared"] > 0
    assert found["equilif"][0] > found["mlp"][0] - 0.1


def test_benchmark_table():
    one = {
        "file": ".csv",
        "training": 1437,
        "test": 360,
        "network": "64-128-10",
        "boards": ["a", "b"],
        "equilif": [0.9, 1.0],
        "regression": 0.9,
        "mlp": [0.8, 0.9],
    }
    lines = own_data.rows({"x": one, "y": {**one, "equilif": [0.75, 0.75], "boards": None}})
    assert lines[2] == "| x | .csv | 1,437 / 360 | 64-128-10 | 95.0 % | 90.0 % | 85.0 % | 2 |"
    assert lines[3].endswith("| 75.0 % | 90.0 % | 85.0 % | ? |")
    assert lines[4] == "| mean | | | | 85.0 % | 90.0 % | 85.0 % | |"
