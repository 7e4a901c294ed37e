"""The cycle model: cycles of a retrieval, and how cycles grow.

test_engine.py compares the model with the RTL.
"""

from __future__ import annotations

import pytest

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.cycles import Flow, Timekeeper
from equilif_golden.engine.isa import SCAN, Groups, Op
from equilif_golden.engine.memories import skips_unchanged
from equilif_golden.engine.recall import recall


def retrieval(patterns, values, lanes, pipeline):
    """Cycles of a step of an associative memory whose values and codes are all non-zero."""
    scores = Groups(0, patterns // lanes)
    state = Groups(scores.n, values // lanes)
    step = recall(scores, state, query=state, retrieval=state, tile=0, shift=4, retrieval_shift=4, plus=True)
    ends = []
    for n in (2, 3):
        time = Timekeeper(EngineConfig(lanes=lanes, pipeline=pipeline))
        for _ in range(n):
            for i in step:
                time.execute(i, [lanes] * i.n_src if i.op in SCAN else [])
            time.pass_by(Flow.JUMPED)
        ends.append(time.halt())
    return ends[1] - ends[0]


@pytest.mark.parametrize(
    ("patterns", "values", "cycles"),
    [
        (16, 16, (224, 166, 133)),
        (32, 32, (626, 366, 233)),
        (48, 32, (898, 500, 300)),
        (64, 64, (2210, 1152, 625)),
    ],
)
def test_cycles_of_a_retrieval(patterns, values, cycles):
    assert cycles == tuple(retrieval(patterns, values, lanes, Pipeline.DEEP) for lanes in (4, 8, 16))


@pytest.mark.parametrize(("op", "cycles"), [(Op.DRIVE, 12), (Op.GATHER, 11)])
def test_first_scan_without_events(op, cycles):
    """The lanes are empty: their number of stages does not matter."""
    for lanes in (8, 32):
        time = Timekeeper(EngineConfig(lanes=lanes))
        time.execute(op(Groups(0, 1), Groups(1, 1), tile=0), [0])
        assert time.halt() == cycles


@pytest.mark.parametrize("pipeline", Pipeline)
def test_cycles_per_group(pipeline):
    """LEARN takes two on single-port weights and where it reads its destination first."""
    config = EngineConfig(pipeline=pipeline, attention=False)
    for op in (Op.MARK, Op.GATHER, Op.LEARN):

        def cycles(n, op=op):
            time = Timekeeper(config)
            kind = {
                Op.MARK: lambda: op(Groups(0, n)),
                Op.GATHER: lambda: op(Groups(0, 1), Groups(1, n), tile=0),
                Op.LEARN: lambda: op(Groups(0, 1), Groups(1, n), tile=0, gain=1, shift=18),
            }
            time.execute(kind[op](), [1] if op in SCAN else [])
            return time.halt()

        for n in range(4, 9):
            twice = op is Op.LEARN and (config.single_port or skips_unchanged(config))
            assert cycles(n + 1) - cycles(n) == 1 + twice
