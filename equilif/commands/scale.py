"""Large networks: trained in floating point, deployed, exchanged, compared."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from equilif.commands import (
    MADE,
    Epochs,
    Folder,
    Hidden,
    Label,
    OwnOptions,
    Resume,
    Set,
    network_argument,
    panel,
)
from equilif.commands.options import INPUT, OUTPUT
from equilif.commands.training import TrainingData, out_folder, trained
from equilif.show import console as show
from equilif.show import sweep as show_sweep
from equilif.show import training as show_training
from equilif_golden import files
from equilif_golden.lazy import execute, lazy

with lazy():
    import equilif.data.own as own_data
    from equilif import nir
    from equilif.bench import sweep as sweeping
    from equilif.training import options
    from equilif.training import run as runs
    from equilif.training.analysis import deploy as deploying
    from equilif.training.backends import rates
    from equilif.training.storage import folder as folders

command = panel("Scale")


RatesOut = Annotated[
    Path | None, typer.Option(help="Output folder.", show_default="results/rates-<data set>"), OUTPUT
]


@command
def train_rates(
    data: TrainingData = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    patches: Set = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the weights and the sample order.", show_default="0")
    ] = None,
    label: Label = None,
    folder: Folder = None,
    out: RatesOut = None,
    resume: Resume = None,
) -> dict[str, Any]:
    """Train the mean firing rates of a network by implicit differentiation in floating point, and save the
    quantised spiking network.

    Uses a GPU if there is one.  The preset of the data set gives all settings; --set changes one, e.g.
    rates.learning_rate=0.001 (`equilif init --keys` lists them).  An existing run is replaced only with
    --overwrite.

    Several GPUs or machines:  [bold]torchrun --nproc-per-node 4 -m equilif train-rates mnist[/]

    Example:  [bold]equilif train-rates mnist --data DIR --hidden 512 --epochs 20[/]
    """
    source = None if data is None else own_data.chosen(data)
    given = options.changes(
        patches,
        label=label,
        hidden=hidden,
        seed=seed,
        epochs=epochs,
        data=options.RATES_DATA,
        run=(),
    )
    show.console.quiet = not rates.leads()
    return trained(
        source,
        given,
        out or out_folder(source, "rates-"),
        seed=seed,
        resume=resume,
        hidden=hidden,
        epochs=epochs,
        folder=folder,
        fixed={"hidden": hidden or None, "seed": seed, **given.fixed},
        rates=True,
        leads=rates.leads(),
    )


@command
def deploy(
    run: Annotated[Path, typer.Argument(help="Folder of `equilif train-rates`."), INPUT],
    steps: Annotated[
        list[int] | None,
        typer.Option(help="Time steps of the free phase; repeat for more.", min=2, show_default="4 to 64"),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Samples of the convergence and gradient checks.", min=1)
    ] = 100,
    folder: Folder = None,
) -> dict[str, Any]:
    """Compare the accuracy of floating-point rates, quantised weights and spikes, for a run of `equilif
    train-rates`.

    Also prints the quantisation errors, the convergence of the firing rates and a gradient check.

    Example:  [bold]equilif deploy results/rates-mnist --data DIR[/]
    """
    execute(deploying)  # a missing package is said before anything is read
    files.check(run / folders.DEPLOYMENT)
    with show.console.status("reading the run"):
        saved = runs.Run.resume(run, folder)
        model = deploying.trained_model(saved)
    step_counts = steps or deploying.STEPS
    with show.stages("deploy", len(step_counts) + 4) as begin:
        found = deploying.deploy(model, saved.data, steps=step_counts, samples=samples, progress=begin)
    plotted = show_training.deployment(found, f"{saved.data.name} {saved.sizes}", run)
    if plotted:
        show.console.print(f"saved {', '.join(plotted)} in {show.literal(run)}")
    return {"data": saved.data.name, "sizes": saved.sizes, **found.to_dict(), "files": plotted}


@command
def convert(
    source: Annotated[
        Path,
        network_argument(
            help="network.npz of `equilif train`, pretrained network by name, or .nir file of another "
            "framework."
        ),
        INPUT,
    ],
    target: Annotated[Path, typer.Argument(help="Output file: .nir or .npz."), OUTPUT],
    dt: Annotated[
        float | None,
        typer.Option(
            help="Duration of a time step in seconds (snnTorch 1e-4, norse 1e-3).",
            show_default="the file's, or 1e-4",
        ),
    ] = None,
    free: Annotated[
        int | None, typer.Option(help="Time steps of the free phase.", show_default="the file's, or 24")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="Time steps over which rates are measured.", show_default="the file's, or 8"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Firing threshold after scaling, weights included: 0.5 allows weights twice as large.",
            show_default="the file's, or 1",
        ),
    ] = None,
    fraction: Annotated[
        int | None,
        typer.Option(help="Fraction bits of the weights (boards: 12).", show_default="the file's, or 12"),
    ] = None,
) -> dict[str, Any]:
    """Convert a network to or from NIR, the exchange format of snnTorch, norse and others.

    The file names give the direction.  Import prints the rounding error of the parameters.  An imported
    network without feedback learns from errors only.  Attention layers cannot be exported.

    Example:  [bold]equilif convert results/digits/network.npz digits.nir[/]  and back  [bold]equilif
    convert digits.nir digits.npz[/]
    """
    files.check(target)
    phases = {
        k: v for k, v in {"free": free, "window": window, "threshold": threshold}.items() if v is not None
    }
    found = nir.convert(source, target, dt=dt, schedule=phases, fraction=fraction)
    if found is None:
        show.console.print(
            f"{show.literal(source)} is now in {show.literal(target)}.  What NIR leaves open, or cannot say:"
        )
        show.console.print("\n".join(f"  {line}" for line in nir.OPEN))
        return {"source": source, "target": target, "open": nir.OPEN}
    show.console.print(
        show.table(
            "rounded; changes in thresholds",
            ["", "parameters", "moved", "largest", "mean", "clipped"],
            [
                [
                    m.name,
                    f"{m.count:,}",
                    f"{m.moved:,}",
                    f"{m.largest:.3g}",
                    f"{m.mean:.3g}",
                    Text(f"{m.clipped:,}", "red" if m.clipped else ""),
                ]
                for m in found.moved
            ],
        )
    )
    net = found.network
    populations = ", ".join(f"{p.name} {p.size}" for p in net.populations)
    kind = "some without feedback" if net.feedforward else "symmetric"
    show.console.print(
        f"{show.literal(target)}: {show.literal(populations)}; {net.n_weights:,} weights, {kind}"
    )
    if net.untrainable:
        show.console.print(f"It runs and can be verified; to train it: {show.literal(net.untrainable)}")
    return {"source": source, "target": target, "trainable": net.trainable, **found.to_dict()}


class Against(StrEnum):
    """Cost axis of a sweep's plot: cycles of a training or an inference sample, or time of a
    training sample where f_max is known.
    """

    training = "training"
    inference = "inference"
    time = "time"


@command
def sweep(
    grid: Annotated[
        Path | None,
        typer.Argument(help="TOML file: name = value or list of values.", show_default="none"),
        INPUT,
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--grid", help="Swept parameter: name=value,value,...; repeat for more.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder: points, table, plot."), OUTPUT] = Path(
        "results/sweep"
    ),
    workers: Annotated[
        int | None, typer.Option(help="Local worker processes.", min=1, show_default="2")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler; its cluster does the work.",
            show_default="none",
            metavar="ADDRESS",
        ),
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Build the bitstreams that are missing, for f_max.")
    ] = False,
    builds: Annotated[Path, typer.Option(help="Folder with the builds of `equilif build`."), INPUT] = Path(
        "build"
    ),
    retry: Annotated[bool, typer.Option("--retry", help="Repeat failed points.")] = False,
    against: Annotated[Against, typer.Option(help="Cost axis of the plot.")] = Against.training,
    data_options: OwnOptions = MADE,
    folder: Folder = None,
) -> dict[str, Any]:
    """Sweep parameters of network, training and engine: accuracy, cycles, memory and f_max of every
    combination, and the Pareto front.

    Every point is trained on the golden model; RTL simulation of a few samples then gives its cycles.
    Parameters: data, hidden (64 or 64x32), width (bits of a weight), epochs, learning_rate, decay, free,
    nudged, window, beta, leak, seed, samples (in RTL, 20), lanes, board.  Networks with several hidden layers
    learn from errors; on a board that cannot, or where nudged or beta is given, in nudged phases.  Finished
    points are reused, so an interrupted or extended sweep continues.

    Example:  [bold]equilif sweep --grid hidden=32,64,64x32 --grid lanes=4,16 --grid board=icebreaker
    --grid epochs=5[/]
    """
    if scheduler is not None and workers is not None:
        raise ValueError("--workers and --scheduler exclude each other: leave one out")
    points = sweeping.points(sweeping.read_grid(grid, option or ()), data_options.reading)
    boards = list(dict.fromkeys(p.board for p in points if p.board))
    for given, name in ((build, "--build"), (against is Against.time, "--against time")):
        if given and not boards:
            raise ValueError(f"{name} is about boards, the grid has none: add --grid board=NAME")
    with folders.RunFolder(out) as place:
        place.require_no_run()
        place.check(sweeping.TABLE, sweeping.RECORDS, folders.PARETO)
        run = sweeping.Sweep(points, out, folder)
        missing = (
            [b for b in boards if sweeping.f_max(b, [out / sweeping.BUILDS, builds]) is None] if build else []
        )
        left = run.left(retry=retry)
        begin = f"{len(points):,} points: {len(points) - len(left):,} done before, {len(left):,} to go"
        if not left and not missing:
            show.console.print(begin)
        else:
            with sweeping.cluster(workers or 2, scheduler) as client, show.bar() as bar:
                show.console.print(begin)
                task = bar.add_task("points", total=len(left) + len(missing), note="")
                run.run(
                    client,
                    retry=retry,
                    builds=missing,
                    progress=lambda p: bar.update(
                        task, completed=p.done, note=f"{p.failed} failed" if p.failed else ""
                    ),
                )
        rows = run.rows(builds)
        cost = {
            Against.training: "training cycles",
            Against.inference: "inference cycles",
            Against.time: "training_us",
        }[against]
        plotted = show_sweep.sweep(run, rows, cost)
    return {
        "out": out,
        "points": rows,
        "failed": [{"point": dataclasses.asdict(p), "error": e} for p, e in run.failed],
        "files": plotted,
        "done_before": len(points) - len(left),
        "pareto": [rows[k]["key"] for k in sweeping.front(rows, cost)],
        "ok": not run.failed,
    }
