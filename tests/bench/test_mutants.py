"""Benches detect mutants of their blocks."""

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
N = 10
#: of them may live without a proof: an explained one, or one that no proof was found for
MAX_OPEN = 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", TARGETS)
def test_mutants_are_killed_or_equivalent(name):
    target = mutants.TARGETS[name]
    found = mutants.run(target, N, seed=1)
    text, _, _ = mutants.design(target)
    alive = [v.mutant for v in found if not v.killed]
    assert len(found) == N and len(alive) < N / 2
    left = [m.name for m in alive if not mutants.equivalent(text, m, 10, mutants.CONTRACTS)]
    assert len(left) <= MAX_OPEN, left


@pytest.mark.parametrize(
    "name", ["lif", *(pytest.param(x, marks=pytest.mark.regress) for x in ("weights", "checker"))]
)
def test_killed_mutants_are_not_equivalent(name):
    target = mutants.TARGETS[name]
    killed = [v.mutant for v in mutants.run(target, 4, seed=2) if v.killed]
    text, _, _ = mutants.design(target)
    assert not mutants.equivalent(text, random.Random(2).choice(killed), 2, mutants.CONTRACTS)


def test_contract_is_what_makes_a_mutant_equivalent():
    """A shift of the leak that no valid leak has."""
    text, top, _ = mutants.design(mutants.TARGETS["lif"])
    found = mutants.mutants(text, top, mutants.PACKAGE)
    change = "cnot1 -module lif -cell $58 -port Y -portbit 1 -ctrlbit 4"
    mutant = next(m for m in found if change in m.change)
    assert not mutants.equivalent(text, mutant, 2)
    assert mutants.equivalent(text, mutant, 2, mutants.CONTRACTS).endswith("with its contract")


def test_mutant_name_has_no_cell_number():
    change = r"-mode cnot0 -module lif -cell $34 -port \B -portbit 2 -ctrlbit 10 -wire v -wirebit 2"
    mutant = mutants.Mutant(change, "blocks/lif.py:89")
    assert mutant.name == "blocks/lif.py:89 cnot0 B[2] by 10"
    other = mutants.Mutant(change.replace("$34", "$35"), "blocks/lif.py:89")
    assert other.name == mutant.name and other != mutant


def test_summary_lists_surviving_mutants():
    change = "-mode inv -module lif -cell $1 -port A -portbit {}"
    verdicts = [
        mutants.MutantVerdict(change.format(0), "blocks/lif.py:1", True),
        mutants.MutantVerdict(change.format(1), "blocks/lif.py:1", False, "free registers"),
        mutants.MutantVerdict(change.format(2), "blocks/lif.py:1", False, ""),
    ]
    counts, survivor = mutants.summary("lif", mutants.Found(1, 2.4, verdicts)).splitlines()
    assert "3 mutants, 1 killed, 1 equivalent" in counts and survivor.strip() == "blocks/lif.py:1 inv A[2]"


def test_record_round_trip(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "TABLE", tmp_path / "records" / "mutants.json")
    assert mutants.read() == {}
    found = {
        "lif": mutants.Found(
            3,
            7.0,
            [mutants.MutantVerdict("-mode inv", "blocks/lif.py:1", False, "")],
        )
    }
    mutants.write(found)
    assert mutants.read() == found
