"""Progress of training, and deployment tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from equilif.show.console import bar, console, drawn, literal, table
from equilif.training.observer import Observer

if TYPE_CHECKING:
    from equilif.training.analysis.deploy import Deployment
    from equilif.training.run import Run
    from equilif.training.storage.history import EpochRecord, Progress


def describe(run: Run, *others: Run) -> None:
    """A run, or several that differ in their seeds."""
    b = run.backend
    seeds = ", ".join(str(r.seed) for r in (run, *others))
    console.print(
        f"[bold]{literal(run.data.name)}[/] {run.sizes}, {b.samples:,} training and {b.test_samples:,} test "
        "samples, "
        f"seed{'s' * bool(others)} {seeds}; {run.network.schedule}"
        + "".join(f"; {name} {value}" for name, value in b.machine.items())
    )
    if not others and (run.history or run.marks):
        within = f", {run.marks[-1].samples:,} samples into the next" if run.marks else ""
        console.print(f"resuming after epoch {len(run.history)}{within}")


class TrainingProgress(Observer):
    """A bar for each run; a line for each epoch of a single run, or for each of several that is done."""

    def __init__(self, runs: Mapping[Path, Run]):
        self.single = len(runs) == 1
        self.bars = bar()
        self.tasks = {
            folder: self.bars.add_task(
                "",
                total=run.backend.samples * run.plan.epochs,
                completed=run.backend.samples * len(run.history),
                note="",
                visible=self.single,
                start=self.single,
            )
            for folder, run in runs.items()
        }

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def progress(self, folder: Path, run: Run, state: Progress) -> None:
        n = run.backend.samples
        self.bars.start_task(self.tasks[folder])
        seed = "" if self.single else f"seed {run.seed}, "
        self.bars.update(
            self.tasks[folder],
            visible=True,
            description=f"{seed}epoch {len(run.history) + 1:2}/{run.plan.epochs}",
            completed=n * len(run.history) + state.samples,
            note="test samples" if state.samples == n else _note(state),
        )

    def epoch(self, folder: Path, run: Run, record: EpochRecord) -> None:
        if self.single:
            console.print(f"epoch {_line(record, run)}", soft_wrap=True)

    def done(self, folder: Path, run: Run) -> None:
        if not self.single:
            self.bars.update(self.tasks[folder], visible=False)
            line = _line(run.history[-1], run)
            console.print(f"seed {run.seed}  epoch {line}  {literal(folder)}", soft_wrap=True)


def _note(p: Progress) -> str:
    """Progress within an epoch, as text."""
    online = "" if p.accuracy is None else f"online accuracy {p.accuracy:.1%}, "
    loss = "" if p.loss is None else f"loss {p.loss:.4f}, "
    return f"{online}{loss}{p.samples_per_second:,.0f} samples/s"


def _line(record: EpochRecord, run: Run) -> str:
    """An epoch as a line."""
    r = record
    parts = [f"{r.epoch:2}", f"learning rate {r.learning_rate:.5f}"]
    if r.loss is not None:
        parts.append(f"loss {r.loss:.4f}")
    if r.test_loss is not None:
        parts.append(f"test loss {r.test_loss:.4f}")
    parts.append(f"online accuracy {r.train_accuracy:6.2%}  test accuracy [bold]{r.test_accuracy:6.2%}[/]")
    if r.spikes_per_sample is not None:
        parts.append(f"{r.spikes_per_sample:5,.0f} spikes/sample")
    if r.steps_per_sample and not run.network.schedule.fixed:
        parts.append(f"{r.steps_per_sample:4.1f} free steps/sample")
    if r.converged is not None:
        parts.append(
            f"{r.forward_iterations:4.1f} forward and {r.backward_iterations:4.1f} backward iterations"
        )
        parts.append(f"{r.converged:.2%} converged")
    return "  ".join([*parts, f"{r.samples_per_second:,.0f} samples/s"])


def deployment(result: Deployment, title: str, out: Path) -> list[str]:
    """Tables, and the picture where matplotlib is installed."""
    rows = [
        ["floating point", f"{result.real:.2%}", "", ""],
        ["fixed-point weights, exact rates", f"{result.rates:.2%}", f"{result.parted:,}", ""],
    ]
    rows += [
        [f"spikes, {s.steps} steps", f"{s.accuracy:.2%}", f"{s.parted:,}", f"{s.spikes_per_sample:,.0f}"]
        for s in result.spiking
    ]
    console.print(
        table(
            f"{title}, {result.samples:,} test samples",
            ["", "accuracy", "changed", "spikes per sample"],
            rows,
        )
    )
    console.print(
        table(
            "\nquantisation, in thresholds",
            ["synapse", "weights", "largest", "step", "largest error", "rms error", "saturated"],
            [
                [
                    q.synapse,
                    f"{q.weights:,}",
                    f"{q.largest:.3f}",
                    f"{q.step:.2g}",
                    f"{q.error:.2g}",
                    f"{q.rms:.2g}",
                    f"{q.saturated:,}",
                ]
                for q in result.quantisation
            ],
        )
    )
    console.print(
        "[dim]changed: predictions that differ from floating point (rates) or from the rates (spikes)[/]"
    )
    if c := result.convergence:
        console.print(
            f"\nfiring rates of {c.samples} samples: error ~ T^[bold]{c.slope:.3f}[/] without a leak, "
            f"{c.errors[0][0]:.1e} at T = {c.times[0]} to {c.errors[0][-1]:.1e} at {c.times[-1]:,}; "
            "floor with a leak "
            + ", ".join(f"of 1/{1 << leak}: {e:.4f}" for leak, e in sorted(c.floors.items()))
        )
    if g := result.gradients:
        console.print(
            f"gradient of {g['samples']} training samples: cosine of implicit differentiation with "
            f"{g['steps']} unrolled sweeps {_number(g['all']['unrolled'])}, with EP at beta {g['beta']:g} "
            f"{_number(g['all']['ep'])} ({_number(g['ep_all'])} with the {g['crossed']} samples where the "
            f"nudge crosses an edge of the clip; {g['elsewhere']} settle elsewhere)"
        )
    return drawn("deployment", out, result, title)


def _number(cosine: float | None) -> str:
    return "-" if cosine is None else f"{cosine:.6f}"


def learning_curve(run: Run, out: Path) -> list[str]:
    """The file of the learning curve, if matplotlib is installed."""
    title = f"{run.data.name}, {run.sizes}"
    return drawn("learning_curve", out, run.history, title, what="learning curve")
