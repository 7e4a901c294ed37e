"""How a run goes on, and what a trained network became."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from equilif.show.console import bar, console, literal, plots_for, table

if TYPE_CHECKING:
    from equilif.training.deploy import Deployment
    from equilif.training.rates import RateTraining
    from equilif.training.tensorboard import Board
    from equilif.training.train import EpochRecord, Training
    from equilif_golden.schedule import Schedule


def describe(run: Training, *others: Training) -> None:
    """A run, or several that differ in their seeds."""
    d = run.data
    seeds = ", ".join(str(r.seed) for r in (run, *others))
    console.print(
        f"[bold]{literal(d.name)}[/] {run.sizes}, {len(d.x_train):,} training and {len(d.x_test):,} test "
        f"samples, seed{'s' * bool(others)} {seeds}; {run.network.schedule}"
    )


def train(run: Training, out: Path, *, every: float = 30.0, board: Board | None = None) -> None:
    """What is left, saved every so many seconds and after each epoch; ``board``: TensorBoard's."""
    from equilif.training.train import Progress as Done

    with console.status("compiling the kernel (only the first time takes long)"):
        run.learner.train(
            run.data.x_train, run.data.y_train, run.data.y_train[:0], tokens=run.data.tokens_train
        )
    if run.history or run.marks:
        within = f", {run.marks[-1].samples:,} samples into the next" if run.marks else ""
        console.print(f"resuming after epoch {len(run.history)}{within}")
    n = len(run.data.x_train)
    epochs = run.preset.epochs
    with bar() as progress:
        task = progress.add_task("", total=n * epochs, completed=n * len(run.history), note="")

        def show(p: Done) -> None:
            note = f"running {p.accuracy:.1%}, {p.samples_per_second:,.0f} samples/s"
            done = n * len(run.history) + p.samples
            progress.update(task, completed=done, note="test samples" if p.samples == n else note)

        while not run.done:
            progress.update(task, description=f"epoch {len(run.history) + 1:2}/{epochs}")
            record = run.epoch(show, folder=out, every=every)
            if board:
                board.epoch(record, run.network, run.weights)
            _epoch(record, run.network.schedule)


def train_together(runs: Mapping[Path, Training], *, every: float, boards: Mapping[Path, Board]) -> None:
    """The same of several runs side by side: a bar for each that is under way, a line for each that is done.

    ``boards``: TensorBoard's, by folder; empty: none.
    """
    from equilif.training import together
    from equilif.training.train import EpochRecord as Record
    from equilif.training.train import Progress as Done

    first = next(iter(runs.values()))
    with console.status("compiling the kernel (only the first time takes long)"):
        first.learner.train(
            first.data.x_train, first.data.y_train, first.data.y_train[:0], tokens=first.data.tokens_train
        )
    n = len(first.data.x_train)
    folders = {run.seed: folder for folder, run in runs.items()}
    with bar() as progress:
        tasks = {
            run.seed: progress.add_task("", total=n * run.preset.epochs, note="", visible=False, start=False)
            for run in runs.values()
        }

        def show(run: Training, p: Done) -> None:
            task = tasks[run.seed]
            progress.start_task(task)
            progress.update(
                task,
                visible=True,
                description=f"seed {run.seed}, epoch {len(run.history) + 1:2}/{run.preset.epochs}",
                completed=n * len(run.history) + p.samples,
                note=f"running {p.accuracy:.1%}, {p.samples_per_second:,.0f} samples/s",
            )

        def epoch(run: Training, record: Record) -> None:
            if board := boards.get(folders[run.seed]):
                board.epoch(record, run.network, run.weights)

        def done(folder: Path, run: Training) -> None:
            progress.update(tasks[run.seed], visible=False)
            last = run.history[-1]
            console.print(
                f"seed {run.seed}  {len(run.history)} epochs  running {last.train_accuracy:6.2%}  test "
                f"[bold]{last.test_accuracy:6.2%}[/]  {last.spikes_per_sample:5,.0f} spikes  "
                f"{last.samples_per_second:,.0f} samples/s  {literal(folder)}",
                soft_wrap=True,
            )

        together.train(runs, every=every, progress=show, epoch=epoch, done=done)


def _epoch(record: EpochRecord, schedule: Schedule) -> None:
    """The line of an epoch."""
    steps = (
        f"{record.steps_per_sample:4.1f} free steps  "
        if record.steps_per_sample and not schedule.fixed
        else ""
    )
    console.print(
        f"epoch {record.epoch:2}  eta {record.eta:.4f}  running {record.train_accuracy:6.2%}  test "
        f"[bold]{record.test_accuracy:6.2%}[/]  {record.spikes_per_sample:5,.0f} spikes  {steps}"
        f"{record.samples_per_second:,.0f} samples/s",
        soft_wrap=True,
    )


def train_rates(run: RateTraining, out: Path, board: Board | None = None) -> list[str]:
    """What is left, saved after each epoch; names of the files.  ``board``: TensorBoard's."""
    s = run.settings
    processes = f"{run.distributed.world} process{'es' * (run.distributed.world > 1)}"
    console.print(
        f"[bold]{s.data}[/] {run.sizes}{'' if s.feedback else ', feed-forward'}, "
        f"{len(run.data.x_test):,} test samples, batch {s.batch}, seed {run.seed}; "
        f"{processes} on {run.trainer.device}"
    )
    if run.history:
        console.print(f"resuming after epoch {len(run.history)}")
    files = run.save(out)
    n = run.samples
    with bar() as progress:
        task = progress.add_task("", total=n * s.epochs, completed=n * len(run.history), note="")

        def step(samples: int, loss: float) -> None:
            done = n * len(run.history) + samples
            note = "test samples" if samples >= n else f"loss {loss:.4f}"
            progress.update(task, completed=done, note=note)

        while not run.done:
            progress.update(task, description=f"epoch {len(run.history) + 1:2}/{s.epochs}")
            r = run.epoch(step)
            files = run.save(out)
            if board:
                board.epoch(r, *run.deployed)
            console.print(
                f"epoch {r.epoch:2}  lr {r.lr:.5f}  loss {r.loss:.4f}  running {r.train_accuracy:6.2%}  "
                f"test [bold]{r.test_accuracy:6.2%}[/]  {r.there:4.1f} and {r.back:4.1f} sweeps, "
                f"{r.settled:.2%} settled  {r.samples_per_second:,.0f} samples/s",
                soft_wrap=True,
            )
    return files if run.distributed.rank else [*files, *learning_curve(run, out)]


def deployment(found: Deployment, title: str, out: Path) -> list[str]:
    """Tables, and the picture where matplotlib is installed."""
    rows = [
        ["real numbers", f"{found.real:.2%}", "", ""],
        ["fixed-point weights, exact rates", f"{found.rates:.2%}", f"{found.parted:,}", ""],
    ]
    rows += [
        [f"spikes, {s.steps} steps", f"{s.accuracy:.2%}", f"{s.parted:,}", f"{s.spikes_per_sample:,.0f}"]
        for s in found.spiking
    ]
    console.print(
        table(f"{title}, {found.samples:,} test samples", ["", "right", "part", "spikes a sample"], rows)
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
                for q in found.quantisation
            ],
        )
    )
    console.print(
        "[dim]part: predictions that differ, of the rates from the real numbers', of the spikes from the "
        "rates'[/]"
    )
    if c := found.convergence:
        console.print(
            f"\naverage rates of {c.samples} samples: error ~ T^[bold]{c.slope:.3f}[/] without a leak, "
            f"{c.errors[0][0]:.1e} at T = {c.times[0]} to {c.errors[0][-1]:.1e} at {c.times[-1]:,}; "
            "floor with a leak "
            + ", ".join(f"of 1/{1 << leak}: {e:.4f}" for leak, e in sorted(c.floors.items()))
        )
    if g := found.gradients:
        console.print(
            f"gradient of {g['samples']} training samples: cosine of implicit differentiation with "
            f"{g['steps']} unrolled sweeps {_number(g['all']['unrolled'])}, with EP at beta {g['beta']:g} "
            f"{_number(g['all']['ep'])} ({_number(g['ep_all'])} with the {g['crossed']} samples where the "
            f"nudge crosses an edge of the clip; {g['elsewhere']} settle elsewhere)"
        )
    plots = plots_for("picture")
    if plots is None:
        return []
    plots.deployment(found, title, out / plots.DEPLOYMENT)
    return [plots.DEPLOYMENT]


def _number(cosine: float | None) -> str:
    return "-" if cosine is None else f"{cosine:.6f}"


def learning_curve(run: Training | RateTraining, out: Path) -> list[str]:
    """Its file, where matplotlib is installed."""
    plots = plots_for("learning curve")
    if plots is None:
        return []
    plots.learning_curve(run.history, f"{run.data.name}, {run.sizes}", out / plots.CURVE)
    return [plots.CURVE]
