"""Training as a command: the common part of `equilif train`, `train-rates` and `train-text`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import DATA_HELP, board_in
from equilif.commands.options import INPUT
from equilif.commands.patches import RunOptions
from equilif.data import Name
from equilif.show import console as show
from equilif.show import training as show_training
from equilif_golden.files import RESULTS

if TYPE_CHECKING:
    from equilif.training.run import Run

    Make = Callable[..., Any]  #: of a learner, of network, weights, learning_rate and counter

TrainingData = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help=DATA_HELP, show_default="digits, or with --resume that of the run"),
    INPUT,
]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to begin or to go on with, or a run of each of several seeds.

    ``source``: data by name or path, or paths of a text; ``folder`` of a data set with a name.  ``resume``:
    None for a new run, False for one that replaces another.  ``fixed``: options that a resumed run keeps.
    ``seeds``: None for a single run.  ``start``: new runs, their number and what makes a learner given.
    ``port``: of a board.  ``leads``: whether this process writes, of several that make the same run.
    """

    command: str
    out: Path
    source: Name | Path | Sequence[Path] | None
    folder: Path | None = None
    epochs: int | None
    resume: bool | None
    fixed: Mapping[str, Any]
    seeds: range | None = None
    options: RunOptions
    port: str | None = None
    start: Callable[[int, Make], list[Run]]
    leads: bool = True


def out_folder(source: Name | Path | None, prefix: str = "", suffix: str = "") -> Path:
    """Default folder of a run."""
    source = source or Name.digits
    name = source if isinstance(source, Name) else source.resolve().stem
    return Path(RESULTS) / f"{prefix}{name}{suffix}"


def trained(job: Job) -> dict[str, Any]:
    """Train, and print the results."""
    from equilif.training.storage.folder import CURVE, RunFolder, folder_of, seed_folders
    from equilif.training.storage.history import CHECKPOINT, HISTORY, NETWORK

    fixed = [f"--{name}" for name, value in job.fixed.items() if value is not None]
    if job.resume and fixed:
        raise ValueError(f"a resumed run keeps its settings: leave out {', '.join(fixed)}")
    found = seed_folders(job.out) if job.resume else [folder_of(job.out, seed) for seed in job.seeds or ()]
    several = bool(found)
    folders = found or [job.out]
    make = learner_at(job.port, job.options.baud, len(folders))
    state = NETWORK if job.command == "train" else CHECKPOINT
    root = job.options.tensorboard if job.leads else None
    boards = {f: board_in(root and (root / f.name if several else root)) for f in folders}
    if job.resume and not several:
        RunFolder(job.out).require_run(state)
    with ExitStack() as held:
        if several:
            held.enter_context(RunFolder(job.out)).require_no_run()
        places = [held.enter_context(RunFolder(f, leads=job.leads)) for f in folders]
        for place in places:
            place.check(HISTORY, NETWORK, state, CURVE)
        if job.resume:
            runs = _resumed(job, folders, make)
        else:
            for place in places:
                place.require_free(overwrite=job.resume is False)
            runs = job.start(len(folders), make)
            for place in places:
                place.clear()
        by_folder = dict(zip(folders, runs, strict=True))
        show_training.describe(*runs)
        logs = {f: log for f, board in boards.items() if (log := held.enter_context(board))}
        show_training.train(by_folder, every=job.options.every, boards=logs)
        results = [_result(run, f) for f, run in by_folder.items()]
        for run in runs:
            run.backend.close()
    return _several(results, job.out) if several else _single(results[0])


def _resumed(job: Job, folders: Sequence[Path], make: Make) -> list[Run]:
    """The runs of these folders, which are of the same data."""
    from equilif.training.run import Run, read
    from equilif.training.storage.records import other_version

    first = folders[0]
    with show.console.status("reading the run"):
        saved = read(first)
        command = saved.preset.command
        if command != job.command:
            raise ValueError(
                f"the run in {job.out} is one of `equilif {command}`: resume it with that command"
            )
        own = saved.about is not None
        if own and job.folder is not None:
            raise ValueError("--data is the folder of a named data set: give the path of the run's own data")
        moved = None if isinstance(job.source, Name) or not own else job.source
        name = None if moved or job.source is None else str(job.source)
        run = Run.resume(first, moved or job.folder, name=name, epochs=job.epochs, make=make)
        others = [
            Run.resume(f, run.data, name=run.data.name, epochs=job.epochs, make=make) for f in folders[1:]
        ]
    if message := other_version(saved.version):
        show.console.print(f"[yellow]{show.literal(message)}[/]")
    return [run, *others]


def learner_at(port: str | None, baud: int | None, runs: int = 1) -> Make:
    """Factory of learners: golden kernels that share the processors with the other runs, or the engine at a
    port, which is opened then.
    """
    from equilif.training.parallel import learner

    if port is not None and runs > 1:
        raise ValueError("a board trains one network at a time: leave out --port, or train seed by seed")
    if port is None:
        if baud is not None:
            raise ValueError("baud is the rate of a port: give --port too, or leave it out")
        return learner(runs)

    def make(*arguments: Any, **options: Any) -> Any:
        from equilif.commands.boards import show_displaced
        from equilif.host.ports import connect, summary
        from equilif_golden.engine.chip import Chip

        client = connect(port, baud)
        engine = ", ".join(f"{k} {v}" for k, v in summary(client.identity).items())
        show.console.print(f"[bold]{show.literal(port)}[/]: {show.literal(engine)}")
        chip = Chip(client, *arguments, **options)
        show_displaced(client.displaced)
        return chip

    return make


def _result(run: Run, folder: Path) -> dict[str, Any]:
    """Results of a run for --json."""
    from equilif.training.storage.history import HISTORY, NETWORK

    curve = show_training.learning_curve(run, folder) if run.backend.leads else []
    files = [NETWORK, HISTORY, *run.backend.files, *curve]
    return {**run.to_dict(), "accuracy": run.history[-1].test_accuracy, "out": folder, "files": files}


def _single(found: dict[str, Any]) -> dict[str, Any]:
    preset = found["preset"]
    held_out = "text" in preset or preset.get("rates", {}).get("validation_samples")
    bits = found["epochs"][-1].get("test_loss")
    show.console.print(
        f"{'validation' if held_out else 'test'} accuracy [bold]{found['accuracy']:.2%}[/]"
        + ("" if bits is None else f", [bold]{bits:.3f}[/] bits per character")
        + f"{' in floating point' * ('learning' not in preset)} after {len(found['epochs'])} epochs; "
        f"saved {', '.join(found['files'])} in {show.literal(found['out'])}"
    )
    return found


def _several(found: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """The runs of several seeds, and their mean."""
    accuracies = [r["accuracy"] for r in found]
    mean = statistics.fmean(accuracies)
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    show.console.print(
        f"test accuracy [bold]{mean:.2%}[/], mean of {len(found)} seeds, from {min(accuracies):.2%} to "
        f"{max(accuracies):.2%}; saved in {show.literal(out)}"
    )
    return {"accuracy": mean, "deviation": deviation, "runs": found, "out": out}
