"""Commands killed at random times and run again give the result of an uninterrupted run.

Each trial forks this process, to save the start of Python and torch, and kills the copy with SIGKILL.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from equilif import cli
from equilif.training.names import CHECKPOINT
from equilif.training.storage.history import digest
from equilif_golden import network as networks
from tests.runs import sweep_in_process

MOMENTS = [2, pytest.param(100, marks=pytest.mark.regress)]


def fork(work: Callable[[], None]) -> int:
    """Fork a process that runs ``work``."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        work()
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    finally:
        os._exit(code)


def finish(process: int) -> int:
    """Wait for a process; its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_runs(line: Callable[[Path], str], folder: Path, moments: int) -> Iterator[Path]:
    """Folders of runs that were killed once and then completed."""

    def run(out: Path) -> Callable[[], None]:
        return lambda: cli.app(line(out).split())

    with pytest.raises(SystemExit) as left:  # here, so that copies have compiled code and imports
        cli.app(line(folder / "whole").split())
    assert not left.value.code
    yield folder / "whole"
    begin = time.monotonic()
    assert finish(fork(run(folder / "timed"))) == 0
    duration = time.monotonic() - begin
    rng = random.Random(moments)
    for k in range(moments):
        out = folder / f"run-{k}"
        moment = rng.uniform(0, duration)
        while not killed_at(moment, run(out)):  # it ended before the kill
            shutil.rmtree(out)
            moment /= 2
        assert finish(fork(run(out))) == 0, f"killed after {moment:.3f} s"
        yield out
        shutil.rmtree(out)


def killed_at(moment: float, work: Callable[[], None]) -> bool:
    """Kill a copy after some seconds of ``work``; false if it ended before."""
    process = fork(work)
    time.sleep(moment)
    os.kill(process, signal.SIGKILL)
    return finish(process) == -signal.SIGKILL


@pytest.mark.parametrize("moments", MOMENTS)
def test_killed_rate_training(moments, tmp_path):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    torch.set_num_threads(1)

    def line(out: Path) -> str:
        if (out / CHECKPOINT).exists():
            return f"train-rates --resume --out {out}"
        return f"train-rates digits --hidden 8 --epochs 3 --out {out} --overwrite"

    found = [digest(networks.load(out / "network.npz")[1]) for out in killed_runs(line, tmp_path, moments)]
    assert len(found) == moments + 1 and len(set(found)) == 1


@pytest.mark.regress
@pytest.mark.parametrize("moments", MOMENTS)
def test_killed_sweeps(moments, tmp_path, monkeypatch):
    sweep_in_process(monkeypatch)

    def line(out: Path) -> str:
        return f"sweep --grid hidden=4,6,8 --grid epochs=1 --grid samples=4 --out {out}"

    tables = []
    for out in killed_runs(line, tmp_path, moments):
        points = json.loads((out / "results.json").read_text())["points"]
        tables.append([{k: v for k, v in p.items() if k != "seconds"} for p in points])
    assert len(tables) == moments + 1 and all(t == tables[0] for t in tables) and len(tables[0]) == 3
