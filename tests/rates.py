"""Gradients and processes, for tests of mean rates."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from tests.programs import program

torch = pytest.importorskip("torch")


EXACT = {"dtype": torch.float64, "tolerance": 1e-12, "limit": 1000}


def slope(loss, w, at, h=1e-6):
    """Central difference of ``loss()`` by one weight."""
    with torch.no_grad():
        ends = []
        for sign in (1, -1):
            w[at] += sign * h
            ends.append(float(loss()))
            w[at] -= sign * h
    return (ends[0] - ends[1]) / (2 * h)


def in_one_and_two_processes(text, folder):
    """The file that a program of this text writes, alone and as two processes of torch.distributed."""
    (folder / "two.py").write_text(text)
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = []
    for name, launcher in (
        ("one", []),
        ("two", ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]),
    ):
        program(sys.executable, *launcher, folder / "two.py", folder / name, **environment)
        runs.append(np.load(folder / f"{name}.npz"))
    return runs
