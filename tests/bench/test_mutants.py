"""Mutants that the benches are known to kill are killed: a bench that has gone blind fails here."""

from __future__ import annotations

import random
import shutil

import pytest

from benchmarks import mutants

pytestmark = pytest.mark.skipif(
    not (shutil.which("yosys") and shutil.which("iverilog")), reason="mutants are made with Yosys and Icarus"
)
#: of the quick benches
TARGETS = ("lif", "plasticity", "geometry", "walk")
N = 15


@pytest.mark.parametrize("name", TARGETS)
def test_known_mutants_are_killed(name):
    target = mutants.TARGETS[name]
    text, top, dut = mutants.design(target)
    there = set(mutants.mutants(text, top, mutants.PACKAGE))
    # where the RTL has changed since the campaign, some are gone
    known = [v.mutant for v in mutants.read()[name].verdicts if v.killed and v.mutant in there]
    assert len(known) >= N, f"python -m benchmarks.mutants --block {name}"
    chosen = random.Random(1).sample(known, N)
    alive = [v for v in mutants.judged(target, text, top, dut, chosen) if not v.killed]
    assert not alive


def test_what_is_killed_is_not_proven_equivalent():
    text, top, _ = mutants.design(mutants.TARGETS["lif"])
    there = set(mutants.mutants(text, top, mutants.PACKAGE))
    known = [v.mutant for v in mutants.read()["lif"].verdicts if v.killed and v.mutant in there]
    for mutant in random.Random(2).sample(known, 4):
        assert not mutants.equivalent(text, mutant, 5, mutants.HELD)
