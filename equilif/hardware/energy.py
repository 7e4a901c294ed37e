"""Energy of a run: counts of the engine times published energies of operations.

An estimate for arithmetic and memories only.

Figures: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure
1.1.9, 45 nm at 0.9 V: adding 8 and 32 bits 0.03 and 0.1 pJ, multiplying 8 and 32 bits 0.2 and 3.1 pJ, 64
bits from 8 KB, 32 KB and 1 MB of SRAM (a cache) 10, 20 and 100 pJ.  Between them: adders by their width,
multipliers by the product of their widths (which takes 8 bits to 3.2 pJ at 32), memories by the bits that
are read, at the smallest published size that holds them.  A write is taken to cost what a read does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from equilif.data.base.arrays import Bytes
from equilif.data.sets.images import DataSet
from equilif.results import ToolFailed
from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import RunResult
from equilif_golden.extras import needs
from equilif_golden.fixed import Raw
from equilif_golden.network import Network, TokenRows, Weights
from equilif_golden.samples import one_hot

with needs("hdl,sim"):
    from amaranth._toolchain import ToolNotFound
    from amaranth.back.verilog import YosysError

    from equilif_sim.library import BuildFailed
    from equilif_sim.verilated import VerilatedEngine

ADD = 0.1 / 32  #: pJ a bit
MULTIPLY = 0.2 / 8**2  #: pJ a bit by a bit
SRAM = ((8, 10.0), (32, 20.0), (1024, 100.0))  #: KB, pJ of 64 bits
FACTORS = 16, 9  #: bits of a lane's multiplication
COUNTS = ("accesses", *NAMES, "spikes")


class Different(ValueError):
    """Model and RTL count differently."""


def sram(bits: int) -> float:
    """Energy in pJ per bit read from a memory of this size in bits; beyond the largest published size it
    consists of several of that size.
    """
    return next((pj for kb, pj in SRAM if bits <= kb * 1024 * 8), SRAM[-1][1]) / 64


def energy(counts: Mapping[str, float], config: EngineConfig) -> dict[str, float]:
    """pJ of a run, by what spends it.  ``counts``: of COUNTS, in words of P lanes."""
    p = config.lanes
    n = config.numerics
    # P banks, a word of each
    weight = p * n.weight_width * sram(config.tiles * p * n.weight_width)
    # the widest and largest of the state memories stands for all three
    state = p * n.accumulator_width * sram(2 * config.state_groups * p * n.accumulator_width)
    spike = p * sram(2 * config.state_groups * p)
    value = 8 * p * sram(config.value_groups * 8 * p)
    return {
        "weights read": counts["accesses"] * weight,
        "weights written": counts["weight_writes"] * weight,
        "membranes, drives, charges": (counts["state_reads"] + counts["state_writes"]) * state,
        "spikes read and written": (counts["spike_reads"] + counts["spike_writes"]) * spike,
        "values": (counts["value_reads"] + counts["value_writes"]) * value,
        "additions": counts["additions"] * p * n.accumulator_width * ADD,
        "products": counts["products"] * p * FACTORS[0] * FACTORS[1] * MULTIPLY,
    }


@dataclass(frozen=True)
class SampleCounts:
    """Counts a sample, in words of P lanes (spikes one by one), and their energy in pJ."""

    samples: int
    cycles: float
    counts: dict[str, float]
    energy: dict[str, float]


def measure(
    network: Network,
    weights: Weights,
    config: EngineConfig,
    data: DataSet,
    *,
    samples: int,
    learning_rate: float,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, SampleCounts]:
    """Infer the first test samples, then learn the first training samples, on RTL and engine model;
    Different at the first difference in counts.

    ``config`` must have counters.  ``progress`` gets the number of samples done.
    """
    try:
        rtl = Chip(VerilatedEngine(config), network, weights, learning_rate=learning_rate)
    except (BuildFailed, YosysError, ToolNotFound) as e:
        raise ToolFailed(str(e)) from e
    model = Chip(EngineModel(config), network, weights, learning_rate=learning_rate)
    out: dict[str, SampleCounts] = {}
    for kind, cases in (
        ("inference", _cases(data, samples, network, learn=False)),
        ("training", _cases(data, samples, network, learn=True)),
    ):
        total = np.zeros(len(COUNTS))
        cycles = 0
        n = 0
        for x, y, tokens in cases:
            run = rtl.sample(x, y, tokens=tokens)
            want = run_counts(model.sample(x, y, tokens=tokens))
            got = run_counts(run)
            if want != got:
                raise Different(
                    f"{kind} sample {n}: the model counts {dict(zip(COUNTS, want, strict=True))}, "
                    f"the RTL {dict(zip(COUNTS, got, strict=True))}"
                )
            total += want
            cycles += run.cycles
            n += 1
            progress(n + sum(done.samples for done in out.values()))
        counts = dict(zip(COUNTS, (total / n).tolist(), strict=True))
        out[kind] = SampleCounts(n, cycles / n, counts, energy(counts, config))
    return out


def run_counts(run: RunResult) -> tuple[int, ...]:
    """Counts in the order of COUNTS."""
    return run.accesses, *run.activity, run.spikes


def _cases(
    data: DataSet, n: int, network: Network, *, learn: bool
) -> Iterator[tuple[Bytes, Raw | None, TokenRows | None]]:
    """Input, target and patterns of the first samples."""
    xs, tokens = (data.x_train, data.tokens_train) if learn else (data.x_test, data.tokens_test)
    for j in range(min(n, len(xs))):
        y = one_hot(data.y_train[j : j + 1], network.n_outputs)[0] if learn else None
        yield xs[j], y, tokens.take([j]) if tokens else None
