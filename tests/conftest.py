"""Configuration of all tests."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

# Threads of torch and BLAS would occupy a core each while they wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Processes that a shell starts in the background ignore Ctrl-C, and so do their children.  Some tests send it
# to a command.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

with contextlib.suppress(ImportError):  # without Amaranth there are no designs
    from tests import elaboration

    elaboration.install()


#: program that compiles the golden kernel into Numba's cache
COMPILE = """
import numpy as np
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
kernel = Kernel(Network.chain(4, 3, 2))
kernel.set_learning_rate(0.05)
x, y = np.zeros((1, 4), np.uint8), np.zeros(1, np.int64)
kernel.train(x, y, np.arange(1))
kernel.accuracy(x, y)
"""
#: environment variable of the workers: a file that exists once the kernel is compiled
COMPILED = "EQUILIF_TESTS_COMPILED"


@pytest.hookimpl(tryfirst=True)  # before workers start
def pytest_sessionstart(session: pytest.Session) -> None:
    """With several workers: compile the golden kernel once (20 s) while they collect tests."""
    if not getattr(session.config.option, "numprocesses", None) or hasattr(session.config, "workerinput"):
        return
    folder = tempfile.TemporaryDirectory()
    session.config.add_cleanup(folder.cleanup)
    done = Path(folder.name) / "done"
    os.environ[COMPILED] = str(done)

    def compile_kernel() -> None:
        subprocess.run([sys.executable, "-c", COMPILE], check=False)
        with contextlib.suppress(OSError):  # the tests have ended
            done.touch()

    threading.Thread(target=compile_kernel, daemon=True).start()


def pytest_runtestloop(session: pytest.Session) -> None:
    """In a worker: wait for the kernel."""
    if hasattr(session.config, "workerinput"):
        while not Path(os.environ[COMPILED]).exists():
            time.sleep(0.1)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark all but ``n`` cases of a test marked ``sampled(n)`` with ``regress``."""
    tables: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sampled"):
            tables[item.nodeid.partition("[")[0]].append(item)
    for name, cases in tables.items():
        (n,) = cases[0].get_closest_marker("sampled").args
        quick = [case for case in cases if not any(map(case.get_closest_marker, ("long", "regress")))]
        chosen = {id(case) for case in sample(name, quick, n)}
        for case in quick:
            if id(case) not in chosen:
                case.add_marker("regress")


def sample(name: str, cases: Sequence[pytest.Item], n: int) -> list[pytest.Item]:
    """A deterministic choice of ``n`` cases that covers as many parameter values as possible."""
    left = sorted(cases, key=lambda case: case.nodeid)
    random.Random(name).shuffle(left)
    values = {id(case): set(enumerate(case.callspec.id.split("-"))) for case in left}
    chosen: list[pytest.Item] = []
    seen: set[tuple[int, str]] = set()
    while left and len(chosen) < n:
        best = max(left, key=lambda case: len(values[id(case)] - seen))
        left.remove(best)
        chosen.append(best)
        seen |= values[id(best)]
    return chosen


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training run of two epochs, which no test changes."""
    from tests.cli import run

    out = tmp_path_factory.mktemp("digits")
    run("train", "digits", "--epochs", 2, "--out", out, "--json", out / "printed.json")
    return out


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of words by class, and a run that has learned them; no test changes them."""
    from tests.listening import learn_words

    folder = tmp_path_factory.mktemp("words")
    learn_words(folder)
    return folder
