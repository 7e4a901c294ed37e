"""Large networks: trained in real numbers, deployed, exchanged, compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from equilif.commands import (
    Data,
    Epochs,
    Folder,
    Hidden,
    Json,
    Resume,
    panel,
    samples_of,
)
from equilif.commands.own import NOTHING, Label, OwnOptions
from equilif.commands.patches import ROWS, Set, changes, layers, named_by_key
from equilif.commands.training import Job, TrainingData, out_folder, trained
from equilif.show import console as show
from equilif.show import sweep as show_sweep
from equilif.show import training as show_training

if TYPE_CHECKING:
    from equilif.training.run import Run

command = panel("Scale")


RatesOut = Annotated[
    Path | None, typer.Option(help="Folder for the files.", show_default="results/rates-<data set>")
]


@command
def train_rates(
    data: TrainingData = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    patches: Set = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of weights and sample order.", show_default="0")
    ] = None,
    label: Label = None,
    folder: Folder = None,
    out: RatesOut = None,
    resume: Resume = None,
    json: Json = None,
) -> dict[str, Any]:
    """Train the fixed point of a network's mean rates by implicit differentiation, on a GPU where there is
    one; save it as spiking network.

    What is not given is the data set's; --set rates.learning_rate=0.001 and the like change it, and `equilif
    init --keys` lists the keys.  A folder takes one run at a time, and a run that is there stays unless
    --overwrite is given.

    Several GPUs or machines:  [bold]torchrun --nproc-per-node 4 -m equilif train-rates mnist[/]

    Example:  [bold]equilif train-rates mnist --data DIR --hidden 512 --epochs 20[/]
    """
    from equilif.data.own import chosen
    from equilif.training.rates import leads

    channels, sizes = layers(hidden)
    source = None if data is None else chosen(data)
    given = changes(patches, label=label, epochs=epochs, data=ROWS, run=("tensorboard",))

    def start(number: int, make: Callable[..., Any]) -> list[Run]:
        from equilif.training.run import Run

        with named_by_key():
            loaded, settings = samples_of(
                source or Data.digits,
                folder,
                given.own,
                conv=channels,
                patches=given.network,
                rates=True,
                hidden=sizes,
                epochs=epochs,
            )
        return [Run.start(settings, loaded, seed)]

    show.console.quiet = not leads()
    return trained(
        Job(
            command="train-rates",
            out=out or out_folder(source, "rates-"),
            source=source,
            folder=folder,
            epochs=epochs,
            resume=resume,
            fixed={"hidden": hidden or None, "seed": seed, **given.fixed},
            options=given.run,
            start=start,
            leads=leads(),
        )
    )


@command
def deploy(
    run: Annotated[Path, typer.Argument(help="Folder of `equilif train-rates`.")],
    steps: Annotated[
        list[int] | None,
        typer.Option(help="Time steps; repeat for more of them.", min=2, show_default="4 to 64"),
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples for average rates and gradients.", min=1)] = 100,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """From real numbers to spikes: accuracy at each step of the way, what rounding did, how fast average
    rates settle.

    Example:  [bold]equilif deploy results/rates-mnist --data DIR[/]
    """
    from equilif.training import deploy as module
    from equilif.training.folder import DEPLOYMENT
    from equilif.training.run import Run
    from equilif_golden import files as targets

    targets.check(run / DEPLOYMENT)
    with show.console.status("reading the run"):
        saved = Run.resume(run, folder)
        model = module.trained_model(saved)
    step_counts = steps or module.STEPS
    with show.stages("deploy", len(step_counts) + 4) as begin:
        found = module.deploy(model, saved.data, steps=step_counts, samples=samples, progress=begin)
    files = show_training.deployment(found, f"{saved.data.name} {saved.sizes}", run)
    if files:
        show.console.print(f"saved {', '.join(files)} in {show.literal(run)}")
    return {"data": saved.data.name, "sizes": saved.sizes, **found.to_dict(), "files": files}


@command
def convert(
    source: Annotated[
        Path, typer.Argument(help="A network.npz of `equilif train`, or a .nir file of any framework.")
    ],
    target: Annotated[Path, typer.Argument(help="The other kind of file.")],
    dt: Annotated[
        float | None,
        typer.Option(
            help="Seconds a time step: snnTorch has 1e-4, norse 1e-3.", show_default="the file's, or 1e-4"
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
            help="What thresholds are scaled to, weights with them: 0.5 leaves room for weights twice as "
            "large.",
            show_default="the file's, or 1",
        ),
    ] = None,
    fraction: Annotated[
        int | None,
        typer.Option(help="Fraction bits of weights; boards have 12.", show_default="the file's, or 12"),
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Write a network as NIR, or read one from NIR, by the names of the files.

    NIR is the format in which snnTorch, norse and others exchange spiking networks.  Reading one, every
    parameter that rounding moves is printed.  A network without feedback can be run and verified here,
    not taught; networks with memories cannot be written.

    Example:  [bold]equilif convert results/digits/network.npz digits.nir[/]  and back  [bold]equilif
    convert digits.nir digits.npz[/]
    """
    from equilif import nir
    from equilif_golden import files

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
    symmetric = all(s.feedback for s in net.synapses)
    kind = "symmetric" if symmetric else "some without feedback, so it cannot be taught"
    show.console.print(
        f"{show.literal(target)}: {show.literal(populations)}; {net.n_weights:,} weights, {kind}"
    )
    return {"source": source, "target": target, **found.to_dict()}


class Against(StrEnum):
    """What a sweep's accuracy is plotted against: cycles of a training or an inference sample, or time of a
    training sample where f_max is known.
    """

    training = "training"
    inference = "inference"
    time = "time"


@command
def sweep(
    grid: Annotated[
        Path | None,
        typer.Argument(help="TOML file: a value, or a list of them, for each name.", show_default="none"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            help="name=value,value: another axis, or other values for one of the file; repeat.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the points, the table and the plot.")] = Path(
        "results/sweep"
    ),
    workers: Annotated[
        int | None, typer.Option(help="Processes on this machine.", min=1, show_default="2")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler, to work on its cluster.",
            show_default="none",
            metavar="ADDRESS",
        ),
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Build the bitstreams of the boards that have no manifest yet.")
    ] = False,
    builds: Annotated[Path, typer.Option(help="Where the manifests of `equilif build` lie.")] = Path("build"),
    retry: Annotated[bool, typer.Option("--retry", help="Do points that failed once more.")] = False,
    against: Annotated[Against, typer.Option(help="What the plot has accuracy against.")] = Against.training,
    own: OwnOptions = NOTHING,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """Accuracy, cycles, memory and f_max over networks, formats, phases and engines: a table, and which of
    them none beats.

    Every combination is trained on the golden model; then samples are trained and inferred in RTL beside
    it, equal to the bit, and their cycles counted.  Names: data (a name, or a path with its options, as
    --label), hidden (64, or 64x32), width, epochs, learning_rate, decay, free, nudged, window, beta, leak,
    seed, samples; lanes and board are engines.  Finished points are kept: run the same again after an
    interruption, or with more values.  Other data is measured anew.

    Example:  [bold]equilif sweep --grid hidden=32,64,64x32 --grid lanes=4,16 --grid board=icebreaker
    --grid epochs=5[/]
    """
    from equilif.bench import sweep as module
    from equilif.training.folder import PARETO, RunFolder

    if scheduler is not None and workers is not None:
        raise ValueError("--workers are processes on this machine, --scheduler has its own: leave one out")
    wanted = module.points(module.read_grid(grid, option or ()), own.reading)
    boards = list(dict.fromkeys(p.board for p in wanted if p.board))
    for given, name in ((build, "--build"), (against is Against.time, "--against time")):
        if given and not boards:
            raise ValueError(f"{name} is about boards, the grid has none: add --grid board=NAME")
    with RunFolder(out) as place:
        place.require_no_run()
        place.check(module.TABLE, module.RECORDS, PARETO)
        run = module.Sweep(wanted, out, folder)
        missing = (
            [b for b in boards if module.f_max(b, [out / module.BUILDS, builds]) is None] if build else []
        )
        left = run.left(retry=retry)
        begin = f"{len(wanted):,} points: {len(wanted) - len(left):,} done before, {len(left):,} to go"
        if not left and not missing:
            show.console.print(begin)
        else:
            with module.cluster(workers or 2, scheduler) as client, show.bar() as bar:
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
        files = show_sweep.sweep(run, rows, cost)
    return {
        "out": out,
        "points": rows,
        "failed": [{"point": dataclasses.asdict(p), "error": e} for p, e in run.failed],
        "files": files,
        "done_before": len(wanted) - len(left),
        "pareto": [rows[k]["key"] for k in module.front(rows, cost)],
        "ok": not run.failed,
    }
