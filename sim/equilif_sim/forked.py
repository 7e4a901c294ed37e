"""Runs a bench for every mutant of a design, in forked copies of one process.

The process is forked before the first cycle; each copy simulates one mutant, and ends at its first
difference. So simulator and Python start only once.

As a cocotb module it does this with the bench that is named in the environment.  The original process runs
the bench on the unchanged design.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from equilif_sim.mutate import INPUT

#: environment variables: module of the bench, number of mutants, file of the verdicts, one a line
BENCH, COUNT, VERDICTS = "EQUILIF_MUTANTS_BENCH", "EQUILIF_MUTANTS_COUNT", "EQUILIF_MUTANTS_VERDICTS"
PASSED, FAILED = 0, 1  #: exit statuses of a copy
TIMES = 4  #: CPU time limit of a mutant, relative to that of the unchanged design


def copies(n: int) -> Iterator[tuple[int | None, int]]:
    """Fork copies. In a copy: yields the index of its mutant; the copy ends by os._exit.  In the
    original: None and the
    exit status of every copy, first that of the unchanged design (0).
    """
    limit = resource.RLIM_INFINITY
    gc.freeze()  # copies share memory
    for mutant in range(n + 1):
        pid = os.fork()
        if not pid:
            # a copy that hangs does not block the others
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            yield mutant, 0
            os._exit(FAILED)
        _, status, usage = os.wait4(pid, 0)
        if not mutant:
            limit = 5 + int(TIMES * (usage.ru_utime + usage.ru_stime))
        yield None, os.waitstatus_to_exitcode(status)


def _leave(code: int) -> Any:
    return lambda *_, **__: os._exit(code)


def _at_first_failure(score: Any) -> Any:
    def scored(self: Any, exception: BaseException | None, *more: Any) -> Any:
        if exception is not None:
            os._exit(FAILED)
        return score(self, exception, *more)

    return scored


def _in_cocotb() -> None:
    import cocotb
    from cocotb import regression
    from cocotb.handle import Immediate

    def become(mutant: int) -> None:
        getattr(cocotb.top, INPUT).value = Immediate(mutant)

    bench = vars(import_module(os.environ[BENCH]))
    globals().update({name: value for name, value in bench.items() if not name.startswith("_")})
    verdicts = Path(os.environ[VERDICTS])
    for mutant, code in copies(int(os.environ[COUNT])):
        if mutant is None:
            with verdicts.open("a") as file:
                file.write(f"{code}\n")
            continue
        manager: Any = regression.RegressionManager
        manager._score_test = _at_first_failure(manager._score_test)
        manager._record_test_init_failed = manager._record_test_failed = _leave(FAILED)
        manager._on_sim_end = _leave(FAILED)  # the simulation ended before the bench
        manager._tear_down = _leave(PASSED)
        become(mutant)
        # leave the event loop, and continue the simulation
        return
    become(0)


if BENCH in os.environ:
    _in_cocotb()
