"""Schedules of the cycle model keep the order of all accesses, and no two meet at a port.

test_engine.py shows that the RTL has these schedules.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from itertools import combinations, product

import numpy as np
import pytest

from equilif_golden.engine import cycles, hazards
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.cycles import Flow, Timekeeper
from equilif_golden.engine.hazards import CONSTANTS, SCANS, WALKS, accesses, lead, step
from equilif_golden.engine.isa import ON_STATES, SCAN, WALK, Instruction, Op
from equilif_hdl.engine.stages import SUMS, Timing

ENGINE = EngineConfig(lanes=4, tiles=64, value_groups=16, state_groups=8, program_words=96, early_exit=True)
CONFIGS = [dataclasses.replace(ENGINE, lanes=lanes) for lanes in (4, 8, 32)]
#: without SOFTMAX, which waits for empty lanes
OPS = sorted((WALK | SCAN) - {Op.SOFTMAX})
KINDS = [(op, second) for op in OPS for second in (False, True)[: 1 + (op in ON_STATES)]]


class IssueRecorder(Timekeeper):
    """Cycle model that records of each instruction when it was loaded, and the cycles of its commands."""

    def __init__(self, config):
        self.issued = []
        self.log = []
        super().__init__(config)

    @property
    def _last(self):
        return self.issued[-1]

    @_last.setter
    def _last(self, cycle):
        self.issued.append(cycle)

    def execute(self, i, events, *rest):
        known, before = len(self.issued), self._last
        super().execute(i, events, *rest)
        found = [cycle for cycle in self.issued[known:] if cycle > before]
        if i.op in WALK:
            found = range(self._first, self._last + 1)
        self.log.append((i, self._loaded[-1], list(found)))


def instruction(op, second, dst, n_dst, src, n_src):
    scans = {"src": src, "n_src": n_src} if op in SCAN else {"src": src}
    return Instruction(op=op, mode=8 * second, dst=dst, n_dst=n_dst, **scans)


def used(config, i, loaded, issued):
    """Accesses of an instruction: memory, address, cycle, cycle until which reads do not find it, port, and
    whether it writes.
    """
    stages = lead(config)
    for a in accesses(i.op, config, second=i.second):
        if a.fetched:
            for k in range(i.n_src):
                yield a.memory, i.src + k, loaded + a.stage + k, loaded + a.stage + k, a.port, False
            continue
        for k, cycle in enumerate(issued):
            group = i.dst + k % i.n_dst
            if a.memory == "V" and i.op in (Op.NUDGE, Op.RELAY):
                group = i.src + k
            elif a.memory == "Q":
                group = (group + i.second * config.state_groups // 2) % config.state_groups
            elif a.memory == "W":
                group = 0
            end = a.visible if a.writes else a.stage
            yield a.memory, group, cycle + stages + a.stage, cycle + stages + end, a.port, a.writes


def problems(config, sequence):
    """Hazards of a sequence: instructions, their events, and instructions of the sequencer before them."""
    time = IssueRecorder(config)
    for i, events, late in sequence:
        for _ in range(late):
            time.pass_by(Flow.PASSED)
        time.execute(i, events)
    places, ports = defaultdict(list), defaultdict(list)
    for k, (i, loaded, issued) in enumerate(time.log):
        for memory, address, cycle, end, port, writes in used(config, i, loaded, issued):
            places[memory, address].append((k, cycle, end, writes))
            ports[port].append((k, cycle, i.op in SCAN and cycle - loaded <= SCANS - 1))
    for place, found in places.items():
        for (k, cycle, end, writes), (j, later, _, also) in combinations(found, 2):
            if k < j and (writes or also) and (cycle if also else end) >= later:
                yield f"{place}: {k}, {j}"
    for port, found in ports.items():
        for (k, cycle, _), (j, later, fetched) in combinations(found, 2):
            if k < j and (cycle >= later if fetched else cycle == later):
                yield f"port {port}: {k}, {j}"
    for (k, (i, _, first)), (j, (after, loaded, second)) in combinations(enumerate(time.log), 2):
        scans = after.op in SCAN
        if not first or scans and not second:
            continue
        changes = second[0] + 1 if scans else loaded + WALKS
        last = first[-1] + lead(config)
        if i.op in CONSTANTS and last + CONSTANTS[i.op] >= changes:
            yield f"constants: {k}, {j}"
        if i.op == after.op == Op.STEP and last + step(config) > changes:
            yield f"constants of STEP: {k}, {j}"
        if i.op in SUMS and after.op in SUMS and second[0] - first[-1] < 2:
            yield f"a sum of {k} is forwarded to {j}"


def events(rng, op, n_src):
    """None at all, or of some groups."""
    return [int(rng.integers(0, 3)) * int(rng.integers(2)) for _ in range(n_src)] if op in SCAN else []


def sequence(rng, kinds):
    found = []
    for op, second in kinds:
        n_dst, n_src = (int(rng.choice([1, 1, 2, 4])) for _ in range(2))
        dst, src = (int(rng.choice([0, 1, 4])) for _ in range(2))
        i = instruction(op, second, dst, n_dst, src, n_src)
        silent = rng.random() < 0.5
        late = int(rng.integers(0, 7)) * (rng.random() < 0.3)
        found.append((i, [0] * n_src if silent else events(rng, op, n_src), late))
    return found


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"P{config.lanes}")
def test_stages(config):
    timing = Timing(config)
    late = config.registers.state_write
    assert (timing.lead, timing.step, timing.learn) == (lead(config), step(config), hazards.LEARN)
    assert (timing.sum, timing.rate, timing.relay) == (hazards.SUM, hazards.RATE, hazards.RELAY)
    assert (timing.read, late) == (hazards.READ + 1, 1)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"P{config.lanes}")
def test_schedules_have_no_hazards(config):
    """Every pair, also around a loop, and random sequences, as pairs do not tell of older instructions."""
    rng = np.random.default_rng(config.lanes)
    for pair in product(KINDS, repeat=2):
        for _ in range(3):
            found = sequence(rng, pair)
            assert not [*problems(config, found * 2)], found
    for _ in range(2000):
        kinds = [KINDS[k] for k in rng.integers(0, len(KINDS), 6)]
        found = sequence(rng, kinds)
        assert not [*problems(config, found)], found


def measures_early(before, i, config):
    """MEASURE waits until STEP of the other state has left the port of Q, as if they shared no group."""
    if (before.op, i.op) == (Op.STEP, Op.MEASURE) and i.second != before.second:
        return step(config) - lead(config) - 4
    return hazards.threshold(before, i, config)


@pytest.mark.parametrize(
    ("name", "weaker"),
    [
        ("needs_settled", lambda i: () if i.op == Op.NUDGE else hazards.needs_settled(i)),
        ("threshold", measures_early),
        ("distance", lambda *ops, **state: 1),
    ],
)
def test_missing_rules_are_found(monkeypatch, name, weaker):
    monkeypatch.setattr(cycles, name, weaker)
    with pytest.raises(AssertionError):
        test_schedules_have_no_hazards(CONFIGS[-1])
