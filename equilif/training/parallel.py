"""One run, or several in parallel, each bit-identical to a single run.

Compiled code runs without Python's lock, so a thread for each processor is enough.  A run is a folder of its
own, as `equilif train` leaves it, whatever becomes of the others.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from equilif.training.observer import Observer
from equilif.training.run import Run
from equilif.training.storage.history import Progress
from equilif_golden.kernel import Kernel, default_threads


class Stopped(Exception):
    """A run was stopped because another one failed or the user interrupted; it can be resumed."""


def threads_for(runs: int) -> int:
    """Number of parallel runs."""
    return min(runs, default_threads())


def learner(runs: int) -> Callable[..., Kernel]:
    """Factory of kernels that share the processors with the other runs."""
    return functools.partial(Kernel, threads=max(1, default_threads() // threads_for(runs)))


def train(runs: Mapping[Path, Run], *, every: float = 30.0, observer: Observer | None = None) -> None:
    """Train the rest of all runs, by folder; they are saved as by Run.epoch.

    The first error, or Ctrl-C, ends all runs at the next part of their epoch.  A single run needs no thread.
    """
    observer = observer or Observer()
    stop = threading.Event()
    for folder, run in runs.items():
        run.begin(folder)  # whatever happens, every one of them can be resumed

    def report(folder: Path, run: Run, state: Progress) -> None:
        if stop.is_set():
            raise Stopped
        observer.progress(folder, run, state)

    def work(folder: Path, run: Run) -> None:
        while not run.done:
            progress = functools.partial(report, folder, run)
            observer.epoch(folder, run, run.epoch(progress, folder=folder, every=every))

    if len(runs) == 1:
        for folder, run in runs.items():
            work(folder, run)
            observer.done(folder, run)
        return
    with ThreadPoolExecutor(threads_for(len(runs))) as pool:
        jobs = {pool.submit(work, folder, run): folder for folder, run in runs.items()}
        try:
            for job in as_completed(jobs):
                job.result()
                observer.done(jobs[job], runs[jobs[job]])
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
