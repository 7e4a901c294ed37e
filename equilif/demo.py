"""Demo: train on the golden model, repeat the run in RTL, compare them, build a bitstream, and report.

A separate process builds the bitstream in parallel.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from equilif import results
from equilif.data.sets.dataset import DataSet
from equilif.show import console as show
from equilif.show import hardware as show_hardware
from equilif.show import training as show_training
from equilif.training import parallel
from equilif.training.analysis import trace
from equilif.training.analysis.evaluate import Evaluation, evaluate
from equilif.training.run import Run
from equilif.training.settings.description import Description
from equilif.training.storage.folder import (
    BITSTREAM,
    CONFUSION,
    CURVE,
    LOG,
    RESULTS,
    SETTLING,
    RunFolder,
    figure_path,
)
from equilif.training.storage.history import HISTORY, NETWORK, digest
from equilif_golden.engine.config import EngineConfig
from equilif_golden.extras import MissingExtra
from equilif_golden.kernel import Kernel
from equilif_golden.lazy import lazy
from equilif_golden.network import Weights
from equilif_sim.tools.verilator import MissingVerilator

with lazy():  # they need packages of their own
    from equilif.hardware import boards, verify

MIN_ACCURACY = 0.9  #: of ten classes; one epoch reaches it


@dataclasses.dataclass(frozen=True)
class SummaryLine:
    """One line of the summary."""

    text: str
    found: str
    holds: bool


class Demo:
    """``samples``: training samples to simulate in RTL, None for the whole run.  ``overwrite``: replace a run
    in ``out`` that no demo wrote.
    """

    def __init__(
        self,
        preset: Description,
        seed: int,
        out: Path,
        *,
        board: str,
        samples: int | None,
        bitstream: bool,
        overwrite: bool = False,
    ):
        self.preset = preset
        self.seed = seed
        self.out = out
        self.board = board
        self.samples = samples
        self.bitstream = bitstream
        self.overwrite = overwrite
        self.claims: list[SummaryLine] = []
        self.seconds: dict[str, float] = {}
        self.record: dict[str, Any] = {}
        self.builder: subprocess.Popen[bytes] | None = None

    def run(self) -> dict[str, Any]:
        """Content of results.json."""
        start = time.perf_counter()
        with suppress(MissingExtra):  # said where it is needed
            self._engine()
        with RunFolder(self.out) as place:
            place.check(HISTORY, NETWORK, RESULTS, BITSTREAM, LOG, CURVE, CONFUSION, SETTLING)
            place.require_free(overwrite=self.overwrite, owner="demo")
            training = Run.start(self.preset, None, self.seed, command="demo")
            place.clear()
            self._steps(training)
            self.seconds["total"] = time.perf_counter() - start
            return self._summary()

    def _steps(self, training: Run) -> None:
        try:
            if self.bitstream:
                self._start_build()
            before = training.weights
            with self._timed("training"):
                self._train(training)
            with self._timed("pictures"):
                self._pictures(training, before)
            with self._timed("rtl"):
                self._rtl(training, before)
            if self.bitstream:
                self._finish_build()
        finally:
            if self.builder and self.builder.poll() is None:
                os.killpg(self.builder.pid, signal.SIGTERM)  # the tools that it started too

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start

    def _claim(self, text: str, found: str, holds: bool = True) -> None:
        self.claims.append(SummaryLine(text, found, holds))

    # -- golden model ------------------------------------------------------------------------------
    def _train(self, training: Run) -> None:
        show.console.rule("[bold]1  training on the golden model", align="left")
        show_training.describe(training)
        runs = {self.out: training}
        with show_training.TrainingProgress(runs) as observer:
            parallel.train(runs, observer=observer)
        last = training.history[-1]
        self._claim(
            "the golden model learns the digits",
            f"{last.test_accuracy:.2%} of {len(training.data.x_test)} test samples right",
            last.test_accuracy > MIN_ACCURACY,
        )
        self.record["training"] = training.to_dict()

    def _pictures(self, training: Run, before: Weights) -> None:
        d = training.data
        found = evaluate(training.network, training.weights, d.x_test, d.y_test)
        self.record["evaluation"] = found.to_dict()
        try:
            from equilif.show import plots
        except MissingExtra as e:
            self._claim("pictures", str(e), False)
            return
        at = self._telling(training, before, found)
        traces = [
            (name, trace.record(training.network, w, d.x_test[at], int(d.y_test[at])))
            for name, w in (("before training", before), ("after training", training.weights))
        ]
        plots.learning_curve(training.history, f"{d.name}, {training.sizes}", figure_path(self.out, CURVE))
        plots.confusion(
            found.confusion,
            f"{d.name}: {found.accuracy:.1%} of {len(d.x_test)} test samples right",
            figure_path(self.out, CONFUSION),
        )
        plots.settling(traces, figure_path(self.out, SETTLING))
        names = [figure_path(self.out, name).name for name in (CURVE, CONFUSION, SETTLING)]
        self.record["pictures"] = names
        show.console.print(f"pictures: {show.literal(', '.join(str(self.out / n) for n in names))}")

    @staticmethod
    def _telling(training: Run, before: Weights, found: Evaluation) -> int:
        """The test sample that training put right with the least to spare: one where the nudges still have
        something to do.
        """
        d = training.data
        net = training.network
        rates = Kernel(net, training.weights).rates(d.x_test)[0][:, 0, -net.n_outputs :]
        best = np.sort(rates, axis=1)
        margin = best[:, -1] - best[:, -2]
        put_right = (found.predictions == d.y_test) & (Kernel(net, before).predict(d.x_test) != d.y_test)
        return int(np.where(put_right, margin, margin.max() + 1).argmin())

    # -- RTL ---------------------------------------------------------------------------------------
    def _rtl(self, training: Run, before: Weights) -> None:
        show.console.rule("[bold]2  the same training in RTL, under Verilator", align="left")
        d = training.data
        whole = len(d.x_train) * self.preset.epochs
        samples = whole if self.samples is None else min(self.samples, whole)
        try:
            plan = self._verification(d, samples)
            report = show_hardware.compare("RTL = golden", training.network, before, self._engine(), d, plan)
        except (MissingExtra, MissingVerilator, results.ToolFailed) as e:
            show.console.print(f"{show.NO} {show.literal(e)}")
            self._claim("RTL = golden", str(e), False)
            return
        show_hardware.verdict(report)
        show_hardware.costs(report)
        self.record["rtl"] = report.to_dict()
        t, i, c = report.training, report.inference, report.compared
        self._claim(
            "RTL = golden, every prediction, spike count, rate and weight",
            f"{t.samples:,} training and {i.samples:,} test samples, {c.rates:,} rates, "
            f"{c.weights:,} weight words",
            report.mismatch is None,
        )
        if samples == whole:
            self._claim(
                "RTL ends with the weights of network.npz",
                f"{training.network.n_weights:,} words after {t.samples:,} updates",
                report.mismatch is None and digest(report.weights) == digest(training.weights),
            )
        self._claim(
            "cycles and spikes per sample",
            f"training {t.cycles / max(1, t.samples):,.0f} and {t.spikes / max(1, t.samples):,.0f}, "
            f"inference {i.cycles / max(1, i.samples):,.0f} and {i.spikes / max(1, i.samples):,.0f}",
            t.cycles > 0 and t.spikes > 0,
        )

    def _verification(self, data: DataSet, samples: int) -> verify.VerificationPlan:
        """The first ``samples`` training samples of the run, then all test samples."""
        n = len(data.x_train)
        plan = verify.VerificationPlan.of(self.preset, data, self.seed, epochs=-(-samples // n), samples=None)
        epochs = [
            (rate, order[: samples - k * n], inputs) for k, (rate, order, inputs) in enumerate(plan.epochs)
        ]
        return verify.VerificationPlan(epochs, plan.n_test)

    def _engine(self) -> EngineConfig:
        return boards.find(self.board).config

    # -- bitstream ---------------------------------------------------------------------------------
    def _start_build(self) -> None:
        (self.out / BITSTREAM).unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "equilif",
            "build",
            self.board,
            "--out",
            str(self.out / "bitstream"),
            "--json",
            str(self.out / BITSTREAM),
        ]
        self._build_began = time.perf_counter()
        with (self.out / LOG).open("wb") as log:
            self.builder = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _finish_build(self) -> None:
        assert self.builder is not None
        show.console.rule(f"[bold]3  bitstream for {self.board}", align="left")
        with show.console.status("Yosys and nextpnr are at work"):
            code = self.builder.wait()
        self.seconds["bitstream (in parallel)"] = time.perf_counter() - self._build_began
        if code:
            lines = (self.out / LOG).read_text(errors="replace").strip().splitlines()
            why = lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
            show.console.print(f"{show.NO} {show.literal(why)}")
            self._claim("bitstream", why, False)
            return
        found = json.loads((self.out / BITSTREAM).read_text())
        show_hardware.bitstream(found)
        t = found["timing"]
        self.record["bitstream"] = found
        self._claim(
            f"bitstream for {self.board}",
            f"f_max {t['f_max']:.1f} MHz, clock {t['constraint']:g} MHz",
            t["f_max"] >= t["constraint"],
        )

    # -- summary -----------------------------------------------------------------------------------
    def _summary(self) -> dict[str, Any]:
        show.console.rule("[bold]summary", align="left")
        speed = self._speed()
        if speed:
            self._claim("on the board, link aside", speed)
        show.console.print(
            show.table("", ["", "", ""], [[show.mark(c.holds), c.text, c.found] for c in self.claims], left=3)
        )
        show.console.print("[dim]" + ", ".join(f"{k} {v:.0f} s" for k, v in self.seconds.items()) + "[/]")
        ok = all(c.holds for c in self.claims)
        content = {
            "ok": ok,
            "claims": [dataclasses.asdict(c) for c in self.claims],
            "seconds": self.seconds,
            **self.record,
            "machine": results.machine(),
        }
        results.write_json(self.out / RESULTS, content)
        files = [RESULTS, NETWORK, *self.record.get("pictures", [])]
        if "bitstream" in self.record:
            files.append("bitstream/")
        show.console.print(f"in {show.literal(self.out)}: {', '.join(files)}")
        return content

    def _speed(self) -> str | None:
        """Samples a second that the board's clock allows."""
        if "bitstream" not in self.record or "rtl" not in self.record:
            return None
        clock = self.record["bitstream"]["board"]["clock_hz"]
        training = self.record["rtl"]["training"]["cycles"]
        inference = self.record["rtl"]["inference"]["cycles"]
        return (
            f"{clock / training:,.0f} training or {clock / inference:,.0f} inference samples a second "
            f"at {clock / 1e6:g} MHz"
        )
