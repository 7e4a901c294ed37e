"""Training that several benchmarks share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.common import ROOT
from equilif.data import Name
from equilif.data.sets.dataset import DataSet
from equilif.training.backends.phases import order
from equilif.training.resolve import Request
from equilif.training.run import Run
from equilif.training.settings.description import Description
from equilif.training.settings.patches import split
from equilif.training.settings.presets import PRESETS
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel

#: preset of the networks of boards
BOARD_PRESET = PRESETS["mnist"]


def after_an_epoch(sizes: Sequence[int], data: DataSet, n: int) -> tuple[Kernel, Raw]:
    """A dense network after one epoch, for representative spike rates, and the next ``n`` samples."""
    return plan_after_an_epoch(BOARD_PRESET.changed(hidden=tuple(sizes[1:-1])), data, n)


def plan_after_an_epoch(plan: Description, data: DataSet, n: int) -> tuple[Kernel, Raw]:
    """The same for the network of a plan."""
    run = Run.start(plan, data, 0)
    run.epoch(test=False)
    learner: Any = run.backend
    return learner.learner, order(0, 1, len(data.x_train))[:n]


OPTIONS = ("--config", "--hidden", "--set", "--epochs")  #: that say how a network learns


def request(command: str, data: DataSet | Name) -> Request:
    """Request of an `equilif train` command, for these data."""
    words = shlex.split(command)
    after = {word: [b for a, b in pairwise(words) if a == word] for word in OPTIONS}
    return Request(
        data=data,
        config=ROOT / after["--config"][0] if after["--config"] else None,
        hidden=tuple(int(h) if h.isdigit() else h for h in after["--hidden"]) or None,
        changes=split(after["--set"]),
        settings={"epochs": int(after["--epochs"][0])} if after["--epochs"] else {},
    )
