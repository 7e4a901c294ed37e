"""Long verification within a time limit: tests, netlists, random programs and mutants.

Each command begins if time is left, and ends at the limit.  A line with its result is printed and added to
build/benchmarks/nightly.log, so that a run can be stopped at any time.  What has passed at this commit is not
run again: a second run goes on where the first has ended, with other random programs.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from typing import Annotated

from benchmarks import common

STATE = common.BUILD / "nightly.json"
LOG = common.BUILD / "nightly.log"
COMMANDS = (
    "pytest -q -n auto --dist worksteal -m regress",
    "pytest -q -n auto --dist worksteal tests/formal -m long",
    "pytest -q tests/engine tests/link tests/host -m long",
    "benchmarks coverage",
)
#: for the time that is left, with a new seed each time
RANDOM = "benchmarks campaign --seed {seed} --seconds {seconds:.0f}"
MUTANTS = "benchmarks mutants --count {count}"
SLICE = 900.0  #: seconds of random programs between two rounds of mutants
MUTANTS_PER_ROUND = 10


def run(command: str, seconds: float) -> str:
    """Run a command of Python for some seconds: passed, failed, or out of time."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with LOG.open("a") as log:
        words = [sys.executable, "-m", *shlex.split(command)]
        with subprocess.Popen(
            words, cwd=common.ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        ) as process:
            try:
                result = "failed" if process.wait(seconds) else "passed"
            except subprocess.TimeoutExpired:
                result = "out of time"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        line = f"{result}, {time.monotonic() - begun:.0f} s: {command}"
        print(line, file=log)
    print(line, flush=True)
    return result


def main(*, hours: Annotated[float, "time limit in hours"] = 1.0) -> int:
    ends = time.monotonic() + 3600 * hours
    commit = common.commit()
    state = common.read(STATE)
    if state.get("commit") != commit:
        state = {"commit": commit, "passed": [], "seed": state.get("seed", 0), "mutants": 0}
    failed = 0

    def left() -> float:
        return ends - time.monotonic()

    for command in COMMANDS:
        if command in state["passed"] or left() <= 0:
            continue
        result = run(command, left())
        failed += result == "failed"
        if result == "passed":
            state["passed"].append(command)
            common.write(STATE, state)
    while left() > 60:
        state["seed"] += 1
        state["mutants"] += MUTANTS_PER_ROUND
        common.write(STATE, state)
        seconds = min(SLICE, left()) / 2  # networks and programs have this limit each
        failed += run(RANDOM.format(seed=state["seed"], seconds=seconds), left() + 60) == "failed"
        if left() > 0:
            failed += run(MUTANTS.format(count=state["mutants"]), left()) == "failed"
    return int(failed > 0)
