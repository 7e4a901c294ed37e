"""All of it in one command, and what it runs on."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from equilif.commands import Data, Hidden, Overwrite, OverwriteFiles, Seed, Set, panel
from equilif.commands.options import INPUT, OUTPUT
from equilif.show import bench as show_bench
from equilif.show import console as show
from equilif_golden import files
from equilif_golden.extras import MissingExtra
from equilif_golden.files import RESULTS
from equilif_golden.lazy import lazy

with lazy():
    import equilif_sim.tools.verilator as verilator
    from equilif import demo as demos
    from equilif import info as information
    from equilif import results
    from equilif.bench import backpropagation, cycles, engines, throughput
    from equilif.data.sets import dataset, images
    from equilif.training import options
    from equilif.training import resolve as resolving
    from equilif.training.settings import presets
    from equilif_golden import fixed, kernel

command = panel("Overview")


@command
def demo(
    out: Annotated[Path, typer.Option(help="Output folder."), OUTPUT] = Path(RESULTS),
    epochs: Annotated[
        int | None, typer.Option(help="Training epochs.", min=1, show_default="the preset's")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="First N training samples to simulate in RTL.", min=1, show_default="the whole run"
        ),
    ] = None,
    board: Annotated[str, typer.Option(help="Board to simulate and build."), INPUT] = "icebreaker",
    skip_bitstream: Annotated[
        bool, typer.Option("--skip-bitstream", help="Skip synthesis and place and route.")
    ] = False,
    seed: Seed = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Train digits on the golden model, repeat the run in RTL, compare them, and build a bitstream.

    Writes results.json, network.npz, history.json, figures and the bitstream.  Exit code 1 when the RTL
    differs or a step fails.  Replaces the output of an earlier demo; replaces another run only with
    --overwrite.

    Example:  [bold]equilif demo --out results[/]
    """
    preset = presets.PRESETS[Data.digits].changed(epochs=epochs)
    return demos.Demo(
        preset,
        preset.seeds[0] if seed is None else seed,
        out,
        board=board,
        samples=samples,
        bitstream=not skip_bitstream,
        overwrite=overwrite,
    ).run()


@command
def info() -> dict[str, Any]:
    """Print tool and package versions and the engine configuration of every board, for bug reports.

    Example:  [bold]equilif info --json info.json[/]
    """
    found = information.collect()
    show.console.print(", ".join(f"{k} {v}" for k, v in found["machine"].items()))
    missing = Text("missing", "yellow")
    show.console.print(
        show.table(
            "\ntools",
            ["", "version", "needed for"],
            [[n, v or missing, information.TOOLS[n][1]] for n, v in found["tools"].items()],
            left=3,
        )
    )
    show.console.print(
        show.table(
            "\npackages", ["", "version"], [[n, v or missing] for n, v in found["packages"].items()], left=2
        )
    )
    columns = ("lanes", "tiles", "value_groups", "state_groups", "program_words", "pipeline")
    show.console.print(
        show.table(
            "\nengines of the boards",
            ["board", "MHz", *(c.replace("_", " ") for c in columns)],
            [
                [n, f"{b['clock_hz'] / 1e6:g}", *(str(b["engine"][c]) for c in columns)]
                for n, b in found["boards"].items()
            ],
        )
    )
    return found


class BenchPart(StrEnum):
    """Part of `equilif bench`."""

    learning = "learning"
    accuracy = "accuracy"
    engine = "engine"
    others = "others"


@command
def bench(
    part: Annotated[
        list[BenchPart] | None,
        typer.Argument(
            help="learning: golden model and backpropagation in PyTorch.  engine: cycles in RTL, and the "
            "ideal count, simulated cycles per second.  others: this engine and published ones.  accuracy: "
            "final test accuracy of golden model and backpropagation, also of the layers in --hidden (half "
            "an hour with MNIST).",
            show_default="learning, engine and others",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with the IDX files of MNIST.", show_default="digits only"),
        INPUT,
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Limit of CPU time per training run, in seconds.", min=0.1, max=86400)
    ] = 60.0,
    samples: Annotated[
        int, typer.Option(help="Training samples, and test samples, to simulate in RTL.", min=1, max=360)
    ] = 100,
    hidden: Hidden = None,
    patches: Set = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Runs of each network of `accuracy`, with seeds from 0.", min=2, max=100, show_default="3"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for bench.json."), OUTPUT] = Path("results/bench"),
    overwrite: OverwriteFiles = False,
) -> dict[str, Any]:
    """Measure the speed of the golden model and of the RTL engine.

    Training: golden model and PyTorch with the same layers, samples and order, batch size 1, one thread,
    three seeds, until 97 % test accuracy or --seconds of CPU time.  Engine: the ideal count is one cycle
    per P weights for P lanes; Verilator compiles an engine per P, minutes the first time.  Parts whose
    packages are missing are skipped.

    Example:  [bold]equilif bench[/]  and  [bold]equilif bench learning --data DIR[/]  and  [bold]equilif
    bench accuracy --hidden conv:16 --hidden conv:32 --seeds 5[/]
    """
    given = options.changes(patches, label=None, hidden=hidden, data=(), run=())
    if (hidden or patches or seeds) and part != [BenchPart.accuracy]:
        raise ValueError(
            "--hidden, --set and --seeds are of bench accuracy: name only this part, or omit them"
        )
    fixed.check_float(seconds, "seconds", 0, 1e9)
    target = out / "bench.json"
    files.require_absent([target], overwrite)
    files.check(target)
    sets = [images.load("digits")]
    if folder is not None:
        with show.console.status("reading mnist"):
            sets.append(images.load("mnist", folder))
    parts = part or []
    found: dict[str, Any] = {"machine": results.machine()}
    if BenchPart.learning in parts or not parts:
        found["learning"] = _learning(sets, seconds, must=bool(parts))
    if BenchPart.accuracy in parts:
        found["accuracy"] = _accuracy(sets, hidden, given.network, range(seeds or len(throughput.SEEDS)))
    if BenchPart.engine in parts or not parts:
        with _optional(must=bool(parts)):
            found["engine"] = _engine(sets, samples)
    if BenchPart.others in parts or not parts:
        with _optional(must=bool(parts)):
            rows = engines.rows()
            show_bench.engines(rows)
            found["others"] = [r.to_dict() for r in rows]
    results.write_json(target, {"version": results.version(), **found})
    show.console.print(f"saved {show.literal(target)}")
    return {**found, "out": out, "files": [target.name]}


@contextmanager
def _optional(*, must: bool) -> Iterator[None]:
    """A part whose tools may be missing: a line says so, unless it was asked for."""
    try:
        yield
    except (MissingExtra, results.ToolFailed, verilator.MissingVerilator) as e:
        if must:
            raise
        show.console.print(f"[yellow]left out: {show.literal(e)}[/]")


def _learning(sets: list[dataset.DataSet], seconds: float, *, must: bool) -> dict[str, Any]:
    learners: dict[str, Any] = {"golden": throughput.Golden}
    with _optional(must=must):
        learners["backpropagation"] = backpropagation.Backpropagation
    found: dict[str, dict[str, throughput.Pace]] = {}
    with show.stages("learning", len(sets) * len(learners) + 2) as begin:
        for data in sets:
            for name, learner in learners.items():
                begin(f"{name}, {data.name}")
                found.setdefault(data.name, {})[name] = throughput.pace(learner, data, seconds)
        begin("inference")
        inference = throughput.inference(sets[-1])
        begin("compiling")
        compiling = throughput.compile_seconds()
    show_bench.throughput(found, throughput.TARGET)
    threads = kernel.default_threads()
    show.console.print(
        f"inference of {sets[-1].name}: {inference:,.0f} samples/s on {threads} "
        f"thread{'s' * (threads > 1)}; compiling the kernel: {compiling:.1f} s, once"
    )
    return {
        "target": throughput.TARGET,
        "data": {data: {name: vars(p) for name, p in paces.items()} for data, paces in found.items()},
        "inference": {"data": sets[-1].name, "samples_per_second": inference, "threads": threads},
        "compile_seconds": compiling,
    }


def _accuracy(
    sets: list[dataset.DataSet], hidden: list[str] | None, changes: Mapping[str, str], seeds: range
) -> dict[str, dict[str, Any]]:
    """Network, and final test accuracy of each seed by learner, of each data set."""
    plans = {
        data.name: resolving.resolve(
            resolving.Request(data=data, hidden=hidden or None, changes=changes)
        ).description
        for data in sets
    }
    backward = functools.partial(backpropagation.Backpropagation, decay=True)
    found: dict[str, dict[str, Any]] = {}
    done = itertools.count(1)
    total = 2 * len(seeds) * sum(plan.epochs for plan in plans.values())
    with show.counted("epochs", total) as report:
        for data in sets:
            plan = plans[data.name]
            learners: dict[str, Any] = {plan.learned_by: throughput.Golden, "backpropagation": backward}
            found[data.name] = {
                "network": "-".join(map(str, (data.n_features, *plan.layers, data.n_classes))),
                "learned_by": {
                    name: throughput.final_accuracy(make, data, plan, seeds, lambda: report(next(done)))
                    for name, make in learners.items()
                },
            }
    show_bench.accuracy(found)
    return found


def _engine(sets: list[dataset.DataSet], samples: int) -> list[dict[str, Any]]:
    rows = []
    with show.stages("engine", len(cycles.LANES) * (len(sets) + 1)) as begin:
        for row in cycles.measure(sets, samples, begin):
            rows.append(row)
    show_bench.cycles(rows)
    return [vars(r) for r in rows]
