"""Training runs of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest


class Interrupted(Exception):
    """A training run is interrupted."""


def stop_after(samples: int) -> Callable[[Any], None]:
    """Progress function that interrupts an epoch after this number of samples."""

    def progress(state: Any) -> None:
        if state.samples >= samples:
            raise Interrupted

    return progress


def trained(run: Any, **options: Any) -> Any:
    """A run, trained to its end."""
    while not run.done:
        run.epoch(**options)
    return run


class InProcess:
    """A Dask cluster that runs jobs in this process when they are submitted."""

    def submit(self, work: Callable[..., Any], *arguments: Any, **_: Any) -> Future[Any]:
        job: Future[Any] = Future()
        job.set_result(work(*arguments))
        job.status = "finished"  # type: ignore[attr-defined]
        return job


def sweep_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps run without a cluster."""
    sweep = pytest.importorskip("equilif.bench.sweep", exc_type=ImportError)

    @contextmanager
    def cluster(workers: int, scheduler: str | None = None) -> Iterator[InProcess]:
        if scheduler is not None:
            raise ValueError(f"no Dask scheduler answers at {scheduler}")
        yield InProcess()

    monkeypatch.setattr(sweep, "cluster", cluster)
    monkeypatch.setattr(sweep, "as_completed", iter)
