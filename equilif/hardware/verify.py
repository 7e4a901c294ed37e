"""Golden kernel and RTL side by side, learning included: the same samples, and every number compared.

    after every training sample       prediction, spike count, every rate of the +beta and of the -beta phase
    after every inference sample      prediction, spike count, every free rate
    at every checkpoint and the end   every weight

The RTL is the engine compiled by Verilator (equilif_sim.verilated).  The first difference stops the
comparison.  One in the weights alone is traced back: the RTL starts again from the last checkpoint, and
weights are compared after every sample.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from equilif.data.base.arrays import Bytes
from equilif.data.sets.images import DataSet
from equilif.hardware.waves import WaveRecorder
from equilif.results import ToolFailed
from equilif.training.backends.phases import epoch_plan
from equilif.training.settings.description import Description
from equilif.training.settings.tables import check_seed
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import RunResult
from equilif_golden.extras import needs
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows, Weights
from equilif_golden.samples import one_hot

with needs("hdl,sim"):
    from amaranth._toolchain import ToolNotFound
    from amaranth.back.verilog import YosysError

    from equilif_sim.library import BuildFailed
    from equilif_sim.verilated import VerilatedEngine


class Mismatch(Exception):
    """Golden model and RTL differ."""

    def __init__(self, what: str, where: str, golden: int, rtl: int):
        super().__init__(f"{what} differs at {where}: golden {golden}, RTL {rtl}")
        self.what = what
        self.where = where
        self.golden = golden
        self.rtl = rtl


@dataclass
class Cost:
    """Cost of samples of one kind in RTL."""

    samples: int = 0
    cycles: int = 0
    #: weight words of P lanes touched: the cycles that no engine with P lanes can do without
    accesses: int = 0
    spikes: int = 0
    free_steps: int = 0

    def per_sample(self) -> dict[str, float]:
        n = max(1, self.samples)
        return {
            "samples": self.samples,
            "cycles": self.cycles / n,
            "ideal": self.accesses / n,
            "spikes": self.spikes / n,
            "free_steps": self.free_steps / n,
        }


@dataclass
class Compared:
    """Number of equal values, by kind."""

    predictions: int = 0
    spike_counts: int = 0
    rates: int = 0
    weights: int = 0

    @property
    def total(self) -> int:
        return self.predictions + self.spike_counts + self.rates + self.weights


@dataclass
class VerificationReport:
    """A comparison: complete when ``mismatch`` is None."""

    config: EngineConfig
    training: Cost = field(default_factory=Cost)
    inference: Cost = field(default_factory=Cost)
    compared: Compared = field(default_factory=Compared)
    mismatch: Mismatch | None = None
    weights: Weights = field(default_factory=dict)  #: of the golden model, at the end

    def to_dict(self) -> dict[str, Any]:
        return {
            "engine": dataclasses.asdict(self.config),
            "compared": {**dataclasses.asdict(self.compared), "total": self.compared.total},
            "mismatches": int(self.mismatch is not None),
            "mismatch": str(self.mismatch) if self.mismatch else None,
            "training": self.training.per_sample(),
            "inference": self.inference.per_sample(),
        }


class SideBySide:
    """A network on both.  ``checkpoint``: training samples between two comparisons of all weights;
    ``format`` of waves that the RTL may write.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        config: EngineConfig,
        *,
        learning_rate: float,
        counter: int = 0,
        checkpoint: int = 50,
        format: str = "",
    ):
        self.network = network
        self.checkpoint = checkpoint
        self.learning_rate = learning_rate
        self.golden = Kernel(network, weights, learning_rate=learning_rate, counter=counter)
        self.engine = VerilatedEngine(config, format=format)
        self.rtl = Chip(
            self.engine,
            network,
            weights,
            learning_rate=learning_rate,
            counter=counter,
        )
        self.report = VerificationReport(config)
        self._remember()

    def set_learning_rate(self, learning_rate: float) -> None:
        self.compare_weights()
        self.learning_rate = learning_rate
        self.golden.set_learning_rate(learning_rate)
        self.rtl.set_learning_rate(learning_rate)

    def train(self, x: Bytes, label: int, tokens: TokenRows | None = None) -> None:
        """One sample, and its update on both sides; Mismatch at the first difference."""
        y = one_hot(np.array([label]), self.network.n_outputs)
        rates, spikes, steps = self.golden.settle(x[None], y, tokens=tokens)
        self.golden.train(x[None], np.array([label]), tokens=tokens)
        run = self.rtl.sample(x, y[0], tokens=tokens)
        self._since.append((x, y[0], tokens))
        plus, minus = self.rtl.rates()
        where = f"training sample {self.report.training.samples}"
        try:
            self._same(
                where,
                rates[0],
                spikes[0],
                run.prediction,
                run.spikes,
                {"+beta": (rates[0, 1], plus), "-beta": (rates[0, 2], minus)},
            )
        except Mismatch as e:
            self._trace(self._since[:-1])  # where weights went wrong before, rates only followed
            raise e
        self._count(self.report.training, run, steps[0])
        if len(self._since) >= self.checkpoint:
            self.compare_weights()

    def infer(self, x: Bytes, tokens: TokenRows | None = None) -> None:
        rates, spikes, steps = self.golden.settle(x[None], tokens=tokens)
        run = self.rtl.sample(x, tokens=tokens)
        where = f"inference sample {self.report.inference.samples}"
        self._same(
            where,
            rates[0],
            spikes[0],
            run.prediction,
            run.spikes,
            {"free": (rates[0, 0], self.rtl.rates()[0])},
        )
        self._count(self.report.inference, run, steps[0])

    def compare_weights(self) -> None:
        """Every weight; Mismatch names the first sample, synapse and element that differ."""
        golden, rtl = self.golden.weights, self.rtl.weights
        if any(not np.array_equal(golden[name], rtl[name]) for name in golden):
            self._trace(self._since)
            self._same_weights(golden, rtl, f"{self._first} to {self._first + len(self._since) - 1}")
        self.report.compared.weights += self.network.n_weights
        self._remember()

    # -- comparisons -------------------------------------------------------------------------------
    def _same(
        self,
        where: str,
        rates: Raw,
        spikes: int,
        prediction: int,
        rtl_spikes: int,
        phases: dict[str, tuple[Raw, Raw]],
    ) -> None:
        for phase, (golden, rtl) in phases.items():
            different = np.flatnonzero(golden != rtl)
            if len(different):
                at = int(different[0])
                raise Mismatch(
                    f"rate of the {phase} phase",
                    f"{where}, {self._neuron(at)}",
                    int(golden[at]),
                    int(rtl[at]),
                )
            self.report.compared.rates += len(golden)
        expected = int(rates[0, self.network.neurons[self.network.output]].argmax())
        for what, golden_value, rtl_value in (
            ("prediction", expected, prediction),
            ("number of spikes", int(spikes), rtl_spikes),
        ):
            if golden_value != rtl_value:
                raise Mismatch(what, where, golden_value, rtl_value)
        self.report.compared.predictions += 1
        self.report.compared.spike_counts += 1
        if self.report.config.external and (violated := self.engine.violations):
            rules = f"number of violated SDRAM rules ({', '.join(violated)})"
            raise Mismatch(rules, where, 0, len(violated))

    def _same_weights(self, golden: Weights, rtl: Weights, samples: str) -> None:
        for name, w in golden.items():
            different = np.argwhere(w != rtl[name])
            if len(different):
                row, column = map(int, different[0])
                raise Mismatch(
                    "weight",
                    f"training sample {samples}, synapse {name}, element [{row}, {column}]",
                    int(w[row, column]),
                    int(rtl[name][row, column]),
                )

    def _trace(self, samples: Sequence[tuple[Bytes, Raw, TokenRows | None]]) -> None:
        """Again from the last checkpoint: Mismatch of the first sample whose update differs, if one does."""
        golden = Kernel(self.network, self._weights, learning_rate=self.learning_rate, counter=self._counter)
        config = self.report.config
        self.rtl = Chip(
            VerilatedEngine(config),
            self.network,
            self._weights,
            learning_rate=self.learning_rate,
            counter=self._counter,
        )
        for k, (x, y, tokens) in enumerate(samples):
            golden.train(x[None], np.array([y.argmax()]), tokens=tokens)
            self.rtl.sample(x, y, tokens=tokens)
            self._same_weights(golden.weights, self.rtl.weights, str(self._first + k))

    def _remember(self) -> None:
        self._weights = self.golden.weights
        self._counter = self.golden.counter
        self._first = self.report.training.samples
        self._since: list[tuple[Bytes, Raw, TokenRows | None]] = []

    def _neuron(self, at: int) -> str:
        """Name of a LIF neuron by its number in the network."""
        for name, where in self.network.neurons.items():
            if at < where.stop:
                return f"{name}[{at - where.start}]"
        raise IndexError(at)

    @staticmethod
    def _count(cost: Cost, run: RunResult, steps: int) -> None:
        cost.samples += 1
        cost.cycles += run.cycles
        cost.accesses += run.accesses
        cost.spikes += run.spikes
        cost.free_steps += int(steps)


@dataclass(frozen=True)
class VerificationPlan:
    """Scope of a comparison: epochs (learning rate, sample order, a function that returns inputs and tokens),
    then test samples.
    """

    epochs: Sequence[tuple[float, Raw, Callable[[], tuple[Bytes, TokenRows | None]]]]
    n_test: int

    @classmethod
    def of(
        cls, description: Description, data: DataSet, seed: int, *, epochs: int, samples: int | None
    ) -> Self:
        """The first epochs of a training, and the test samples; of each ``samples``, or all."""
        plans = [epoch_plan(description, data, check_seed(seed), e) for e in range(epochs)]
        shown = [plan._replace(order=plan.order[:samples]) for plan in plans]
        return cls(shown, len(data.x_test[:samples]))

    @property
    def samples(self) -> int:
        return sum(len(order) for _, order, _ in self.epochs) + self.n_test


def compare(
    network: Network,
    weights: Weights,
    config: EngineConfig,
    data: DataSet,
    plan: VerificationPlan,
    *,
    counter: int = 0,
    waves: Path | None = None,
    progress: Callable[[int, VerificationReport], None] = lambda done, report: None,
) -> VerificationReport:
    """Carry out a plan; the report carries the mismatch, if there was one.

    ``waves``: file for those of the first samples.  ``progress`` is called after every sample.
    """
    Compiled(network, config)  # CapacityError before minutes of a compiler
    learning_rate = plan.epochs[0][0] if plan.epochs else 0.0
    format = waves.suffix[1:] if waves else ""
    try:
        pair = SideBySide(
            network, weights, config, learning_rate=learning_rate, counter=counter, format=format
        )
    except (BuildFailed, YosysError, ToolNotFound) as e:
        raise ToolFailed(_advice(str(e), format)) from e
    report = pair.report
    recording = WaveRecorder(pair.rtl, waves) if waves else None

    def report_progress(done: int) -> None:
        if recording:
            recording.sample()
        progress(done, report)

    done = 0
    try:
        for learning_rate, order, samples in plan.epochs:
            pair.set_learning_rate(learning_rate)
            x_train, tokens = samples()
            for j in order:
                pair.train(x_train[j], int(data.y_train[j]), tokens and tokens.take([j]))
                done += 1
                report_progress(done)
        pair.compare_weights()
        for j, x in enumerate(data.x_test[: plan.n_test]):
            pair.infer(x, data.tokens_test and data.tokens_test.take([j]))
            done += 1
            report_progress(done)
    except Mismatch as e:
        e.__context__ = None
        report.mismatch = e.with_traceback(None)  # a report does not keep a simulation alive
    if recording:
        recording.close()
    report.weights = pair.golden.weights
    return report


def _advice(output: str, format: str) -> str:
    """The output of a tool, or advice about a missing library that FST needs."""
    missing = re.search(r"(lz4|zlib)\.h: No such file|cannot find -l(lz4|z)\b", output)
    if format == "fst" and missing:
        return "FST files need liblz4-dev and zlib1g-dev (Debian's names): install them, or write a .vcd file"
    return output
