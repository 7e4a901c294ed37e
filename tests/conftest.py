"""What all tests share."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import defaultdict
from collections.abc import Sequence

import pytest

# Threads of torch and of BLAS wait for those of other tests, at the cost of a core each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background makes them ignore Ctrl-C, and all that they start.
# Some tests send it to a command, which must see it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

with contextlib.suppress(ImportError):  # without Amaranth there are no designs
    from tests import elaboration

    elaboration.install()


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Cases of a test that is marked ``sampled(n)``: all but ``n`` are marked ``regress``."""
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
    """``n`` of the cases, the same ones each time: as many values of the parameters as they can have."""
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
