"""Training as a command: the common part of `equilif train`, `train-rates` and `train-text`."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import DATA_HELP, print_notes
from equilif.commands.options import INPUT
from equilif.data import Name
from equilif.show import console as show
from equilif.show import training as show_training
from equilif.training.names import HISTORY, NETWORK
from equilif_golden.files import RESULTS
from equilif_golden.lazy import lazy

with lazy():
    from equilif.host import ports
    from equilif.training import job as jobs
    from equilif.training import options as settings
    from equilif.training import parallel, resolve
    from equilif.training import run as training
    from equilif_golden.engine import chip

Make = Callable[..., Any]  #: of a learner, of network, weights, learning_rate and counter

TrainingData = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help=DATA_HELP, show_default="digits, or with --resume that of the run"),
    INPUT,
]


def out_folder(source: Name | Path | None, prefix: str = "", suffix: str = "") -> Path:
    """Default folder of a run."""
    source = source or Name.digits
    name = source if isinstance(source, Name) else source.resolve().stem
    return Path(RESULTS) / f"{prefix}{name}{suffix}"


def trained(
    source: Name | Path | None,
    given: settings.Changes,
    out: Path,
    *,
    seed: int | range | None,
    hidden: list[str] | None,
    epochs: int | None,
    folder: Path | None,
    config: Path | None = None,
    rates: bool = False,
    port: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train what a request says, and print the results; ``options``: of equilif.training.job.Job."""
    request = resolve.Request(
        data=source or Name.digits,
        folder=folder,
        reading=given.data_options.reading,
        config=config,
        hidden=hidden or None,
        changes=given.network,
        settings={"epochs": epochs},
        rates=rates,
    )
    job = jobs.Job(
        "train-rates" if rates else "train",
        out,
        jobs.started(request, seed, _note),
        seed=seed,
        source=source,
        folder=folder,
        epochs=epochs,
        **options,
    )
    return run_job(job, given.run, port)


def _note(text: str) -> None:
    print_notes([text])


def run_job(job: jobs.Job, options: settings.RunOptions, port: str | None = None) -> dict[str, Any]:
    """Carry out a job, and print the results."""
    make = learner_at(port, options.baud, len(job.folders))
    with ExitStack() as held:
        with show.console.status(f"reading the {'run' if job.resume else 'data'}"):
            runs = held.enter_context(job.runs(make, _note))
        show_training.describe(*runs.values())
        with show.console.status("compiling the kernel (only the first time takes long)"):
            next(iter(runs.values())).backend.prepare()
        with show_training.TrainingProgress(runs) as observer:
            parallel.train(runs, every=options.every, observer=observer)
        results = [_result(run, folder) for folder, run in runs.items()]
    return _several(results, job.out) if job.seed_folders else _single(results[0])


def learner_at(port: str | None, baud: int | None, runs: int = 1) -> Make:
    """Factory of learners: golden kernels that share the processors with the other runs, or the engine at a
    port, which is opened then.
    """
    if port is not None and runs > 1:
        raise ValueError("a board trains one network at a time: leave out --port, or train seed by seed")
    if port is None:
        if baud is not None:
            raise ValueError("baud is the rate of a port: give --port too, or leave it out")
        return parallel.learner(runs)

    def make(network: Any, *arguments: Any, **options: Any) -> Any:
        client = ports.connect(port, baud)
        engine = ", ".join(f"{k} {v}" for k, v in ports.summary(client.identity).items())
        show.console.print(f"[bold]{show.literal(port)}[/]: {show.literal(engine)}")
        with ports.proposing_builds(network):
            learner = chip.Chip(client, network, *arguments, **options)
        show_displaced(client.displaced)
        return learner

    return make


def show_displaced(displaced: bool) -> None:
    """A line when a host's network took the place of one that the board trained itself."""
    if displaced:
        show.console.print(
            "[yellow]the network trained on the board is still in its flash: reload it by  "
            "equilif standalone --boot[/]"
        )


def _result(run: training.Run, folder: Path) -> dict[str, Any]:
    """Results of a run for --json."""
    curve = show_training.learning_curve(run, folder) if run.backend.leads else []
    files = [NETWORK, HISTORY, *run.backend.files, *curve]
    return {**run.to_dict(), "accuracy": run.history[-1].test_accuracy, "out": folder, "files": files}


def _single(result: dict[str, Any]) -> dict[str, Any]:
    """Print the accuracy of one run and the names of its files."""
    preset = result["preset"]
    validation = "text" in preset or preset.get("rates", {}).get("validation_samples")
    bits = result["epochs"][-1].get("test_loss")
    show.console.print(
        f"{'validation' if validation else 'test'} accuracy [bold]{result['accuracy']:.2%}[/]"
        + ("" if bits is None else f", [bold]{bits:.3f}[/] bits per character")
        + f"{' in floating point' * ('learning' not in preset)} after {len(result['epochs'])} epochs; "
        f"saved {', '.join(result['files'])} in {show.literal(result['out'])}"
    )
    return result


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
