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


@pytest.mark.sampled(2)
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


#: arithmetic; a memory whose ports have enables
PROVEN = ("lif", "weights")


def verdicts(name):
    """What has become of the mutants of a target that are still there; its text."""
    text, top, _ = mutants.design(mutants.TARGETS[name])
    there = set(mutants.mutants(text, top, mutants.PACKAGE))
    return text, [v for v in mutants.read()[name].verdicts if v.mutant in there]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", PROVEN)
def test_what_is_killed_is_not_proven_equivalent(name):
    text, known = verdicts(name)
    killed = [v.mutant for v in known if v.killed]
    assert not mutants.equivalent(text, random.Random(2).choice(killed), 2, mutants.HELD)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", PROVEN)
def test_what_was_proven_equivalent_is_so_again(name):
    """By every way in which it was."""
    text, known = verdicts(name)
    for how in sorted({v.equivalent for v in known if v.equivalent}):
        mutant = next(v.mutant for v in known if v.equivalent == how)
        assert mutants.equivalent(text, mutant, 20, mutants.HELD) == how
