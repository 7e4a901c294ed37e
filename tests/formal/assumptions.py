"""Assumptions of the proofs, and the tests that check them: see docs/explanation/verification.md.

A wrong assumption invalidates a proof without a failure, so each one has a test: a simulation, or a proof
about the block that drives the signals.
"""

from __future__ import annotations

from typing import NamedTuple


class Assumption(NamedTuple):
    #: description
    text: str
    #: the test that checks it
    checked: str


WATCHED = "tests/formal/test_assumptions.py"
#: without it, results differ from the golden model
COMPARED = "random programs, every memory compared: tests/engine/test_engine.py"
CHECKED = "tests/formal/test_checker.py"
ASSUMPTIONS = {
    "held": Assumption(
        "what a block calls held does not change while something is on its way through the block", COMPARED
    ),
    "threshold": Assumption("a threshold is a power of two, and `neg_threshold` is minus it", COMPARED),
    "leak": Assumption("a leak is one of LEAKS", CHECKED),
    "rate shift": Assumption("the shift of MEASURE is one of RATE_SHIFTS", CHECKED),
    "update shift": Assumption("the shift of LEARN is one of SHIFTS", CHECKED),
    "operands": Assumption(
        "an update's product is gain u v and dither, and its other factors are -gain u and v, of gains and "
        "values that there are",
        COMPARED,
    ),
    "largest": Assumption(
        "no active lane's octave is above the largest one, when exponentials are made", COMPARED
    ),
    "total": Assumption("a sum of exponentials is 0 or at least 128, and held while it is divided", WATCHED),
    "apart": Assumption(
        "no weight is read in the cycle in which it is written; on a single port none at all", WATCHED
    ),
    "step": Assumption(
        "the checker gets no word and no new program while it is busy, and its last word stays",
        "good and bad programs through host and bus: tests/link/test_host.py, tests/link/test_bus.py",
    ),
    "valid is held": Assumption(
        "whoever offers an item on a stream holds it until it is taken",
        "tests/formal/test_slip.py, test_uart.py, test_frame.py: each block promises it of its own output",
    ),
}
