"""All of it in one command, and what it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from equilif.commands import Data, Json, Overwrite, OverwriteFiles, Seed, panel, require_absent
from equilif.commands.options import INPUT, OUTPUT
from equilif.show import bench as show_bench
from equilif.show import console as show
from equilif_golden.extras import MissingExtra
from equilif_golden.files import RESULTS

if TYPE_CHECKING:
    from equilif.bench.throughput import Pace
    from equilif.data.sets.dataset import DataSet

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
    json: Json = None,
) -> dict[str, Any]:
    """Train digits on the golden model, repeat the run in RTL, compare them, and build a bitstream.

    Writes results.json, network.npz, history.json, figures and the bitstream.  Exit code 1 when the RTL
    differs or a step fails.  Replaces the output of an earlier demo; replaces another run only with
    --overwrite.

    Example:  [bold]equilif demo --out results[/]
    """
    from equilif.demo import Demo
    from equilif.training.settings.presets import PRESETS

    preset = PRESETS[Data.digits].changed(epochs=epochs)
    return Demo(
        preset,
        preset.seeds[0] if seed is None else seed,
        out,
        board=board,
        samples=samples,
        bitstream=not skip_bitstream,
        overwrite=overwrite,
    ).run()


@command
def info(json: Json = None) -> dict[str, Any]:
    """Print tool and package versions and the engine configuration of every board, for bug reports.

    Example:  [bold]equilif info --json info.json[/]
    """
    from equilif import info as module

    found = module.collect()
    show.console.print(", ".join(f"{k} {v}" for k, v in found["machine"].items()))
    missing = Text("missing", "yellow")
    show.console.print(
        show.table(
            "\ntools",
            ["", "version", "needed for"],
            [[n, v or missing, module.TOOLS[n][1]] for n, v in found["tools"].items()],
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
            "final test accuracy of golden model and backpropagation (half an hour with MNIST).",
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
    out: Annotated[Path, typer.Option(help="Folder for bench.json."), OUTPUT] = Path("results/bench"),
    overwrite: OverwriteFiles = False,
    json: Json = None,
) -> dict[str, Any]:
    """Measure the speed of the golden model and of the RTL engine.

    Training: golden model and PyTorch with the same layers, samples and order, batch size 1, one thread,
    three seeds, until 97 % test accuracy or --seconds of CPU time.  Engine: the ideal count is one cycle
    per P weights for P lanes; Verilator compiles an engine per P, minutes the first time.  Parts whose
    packages are missing are skipped.

    Example:  [bold]equilif bench[/]  and  [bold]equilif bench learning --data DIR[/]
    """
    from equilif import results
    from equilif.data.sets import images
    from equilif_golden import files
    from equilif_golden.fixed import check_float

    check_float(seconds, "seconds", 0, 1e9)
    target = out / "bench.json"
    require_absent([target], overwrite)
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
        found["accuracy"] = _accuracy(sets)
    if BenchPart.engine in parts or not parts:
        with _optional(must=bool(parts)):
            found["engine"] = _engine(sets, samples)
    if BenchPart.others in parts or not parts:
        with _optional(must=bool(parts)):
            from equilif.bench import engines

            rows = engines.rows()
            show_bench.engines(rows)
            found["others"] = [r.to_dict() for r in rows]
    results.write_json(target, {"version": results.version(), **found})
    show.console.print(f"saved {show.literal(target)}")
    return {**found, "out": out, "files": [target.name]}


@contextmanager
def _optional(*, must: bool) -> Iterator[None]:
    """A part whose tools may be missing: a line says so, unless it was asked for."""
    from equilif.results import ToolFailed
    from equilif_sim.tools.verilator import MissingVerilator

    try:
        yield
    except (MissingExtra, ToolFailed, MissingVerilator) as e:
        if must:
            raise
        show.console.print(f"[yellow]left out: {show.literal(e)}[/]")


def _learning(sets: list[DataSet], seconds: float, *, must: bool) -> dict[str, Any]:
    from equilif.bench import throughput
    from equilif_golden.kernel import default_threads

    learners: dict[str, Any] = {"golden": throughput.Golden}
    with _optional(must=must):
        from equilif.bench.backpropagation import Backpropagation

        learners["backpropagation"] = Backpropagation
    found: dict[str, dict[str, Pace]] = {}
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
    threads = default_threads()
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


def _accuracy(sets: list[DataSet]) -> dict[str, dict[str, list[float]]]:
    """Final test accuracy of each seed, by data set and learner."""
    import functools
    import itertools

    from equilif.bench import throughput
    from equilif.bench.backpropagation import Backpropagation
    from equilif.training.settings.presets import PRESETS

    learners: dict[str, Any] = {
        "Equilibrium Propagation": throughput.Golden,
        "backpropagation": functools.partial(Backpropagation, decay=True),
    }
    found: dict[str, dict[str, list[float]]] = {}
    total = sum(PRESETS[data.name].epochs for data in sets) * len(learners) * len(throughput.SEEDS)
    done = itertools.count(1)
    with show.counted("epochs", total) as report:
        for data in sets:
            epochs = PRESETS[data.name].epochs
            for name, learner in learners.items():
                accuracies = throughput.final_accuracy(learner, data, epochs, lambda: report(next(done)))
                found.setdefault(data.name, {})[name] = accuracies
    show_bench.accuracy(found)
    return found


def _engine(sets: list[DataSet], samples: int) -> list[dict[str, Any]]:
    from equilif.bench import cycles

    rows = []
    with show.stages("engine", len(cycles.LANES) * (len(sets) + 1)) as begin:
        for row in cycles.measure(sets, samples, begin):
            rows.append(row)
    show_bench.cycles(rows)
    return [vars(r) for r in rows]
