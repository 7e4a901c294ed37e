"""The ``equilif`` command: options in, tables out.  The work is done in the other modules, imported when a command needs them."""
from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

try:
    import typer

    from equilif import console as show
except ModuleNotFoundError as e:
    sys.exit(f"error: {e.name} is not installed: pip install 'equilif[cli]'")

from equilif.extras import MissingExtra, needs

if TYPE_CHECKING:
    from equilif.presets import Preset
    from golden.data import DataSet
    from golden.isa import EngineConfig
    from golden.network import Network, Weights

app = typer.Typer(name="equilif", add_completion=False, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False, help="""
Spiking networks that learn by Equilibrium Propagation, bit for bit the same in Python, in RTL and on an FPGA.

[bold]equilif demo[/] shows all of it in a few minutes.
""")

BAD_INPUT, INTERRUPTED = 2, 130


class Data(StrEnum):
    """golden.data.NAMES and golden.sequences.NAMES, without importing NumPy for --help."""

    digits = "digits"
    mnist = "mnist"
    fashion = "fashion"
    snippets = "snippets"
    imdb = "imdb"
    spoken = "spoken"
    vowels = "vowels"


class Watched(StrEnum):
    """golden.schedule.Schedule.watch."""

    all = "all"
    output = "output"


class Against(StrEnum):
    """What a sweep's accuracy is plotted against: cycles of a training or an inference sample, or time of a training sample where f_max is known."""

    training = "training"
    inference = "inference"
    time = "time"


class Images(StrEnum):
    digits = "digits"
    mnist = "mnist"
    fashion = "fashion"


class Trainable(StrEnum):
    """equilif.rates.SETTINGS."""

    digits = "digits"
    mnist = "mnist"
    fashion = "fashion"
    spoken = "spoken"
    vowels = "vowels"


DataArgument = Annotated[Data, typer.Argument(help="Data set. The 8x8 digits come with scikit-learn; missing ones say what they need.")]
Folder = Annotated[Path | None, typer.Option("--data", help="Folder of the data set (images in torchvision's layout).", show_default="./data")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write what is printed to this file, as JSON.", metavar="FILE")]
Port = Annotated[str | None, typer.Option("--port", help="Serial port of a board: on its engine, in place of the golden model.",
                                          show_default="none", metavar="PORT")]
OnPort = Annotated[str | None, typer.Option("--port", help="Serial port of the board.", show_default="the only one that answers", metavar="PORT")]
Baud = Annotated[int | None, typer.Option(help="Rate of the serial port.", show_default="the usual ones, in turn")]
Early = Annotated[int | None, typer.Option(help="Let the free phase end when no watched rate moves by more than this, in 1/256, from window to "
                                                "window.", min=0, max=255, show_default="never")]
Watch = Annotated[Watched | None, typer.Option(help="With --early: rates that must settle.", show_default="all")]
BOARDS_PANEL = "Boards"
BoardName = Annotated[str, typer.Argument(help="Name of the board; `equilif boards` lists them.")]
EarlyEnds = Annotated[bool | None, typer.Option("--early-ends/--no-early-ends", help="With loops that end when rates have settled, or without.",
                                                show_default="as the board's engine has it")]
OtherLanes = Annotated[int | None, typer.Option(help="Another number of lanes, the memories staying as large.", show_default=False)]
OtherWeights = Annotated[int | None, typer.Option(help="Another capacity of weights.", show_default=False)]
Seed = Annotated[int | None, typer.Option(help="Seed of weights and sample order.", show_default="the preset's first")]

P = ParamSpec("P")


def command(**keywords: Any) -> Callable[[Callable[P, Any]], Callable[P, None]]:
    """A command whose expected errors are one line and exit code 2; ``--json`` gets what it returns."""
    def decorate(function: Callable[P, Any]) -> Callable[P, None]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            from equilif import results
            from sim.verilator import MissingVerilator
            try:
                found = function(*args, **kwargs)
                path = kwargs.get("json")
                if isinstance(path, Path):
                    results.write_json(path, {"command": function.__name__.rstrip("_"), "version": results.version(), **found})
                ok = found.get("ok", True)
            except FileNotFoundError as e:
                show.fail(f"there is no {e.filename}" if e.filename else str(e))
                raise typer.Exit(BAD_INPUT) from None
            except (ValueError, OSError, MissingExtra, results.ToolFailed, MissingVerilator) as e:
                show.fail(str(e))
                raise typer.Exit(BAD_INPUT) from None
            except KeyboardInterrupt:
                show.fail("interrupted")
                raise typer.Exit(INTERRUPTED) from None
            if not ok:
                raise typer.Exit(1)
        app.command(**keywords)(run)
        return run
    return decorate


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        from equilif import results
        show.console.print(f"equilif {results.version()}")
        raise typer.Exit


# -- train ----------------------------------------------------------------------------------------------------------------
@command()
def train(
    data: DataArgument = Data.digits,
    hidden: Annotated[list[int] | None, typer.Option(help="Size of a hidden population; repeat for more of them.", min=1,
                                                     show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, show_default=False)] = None,
    eta: Annotated[float | None, typer.Option(help="Learning rate of the first epoch.", show_default=False)] = None,
    decay: Annotated[float | None, typer.Option(help="Of the learning rate: factor of an epoch; for a linear preset, part left in the last one.",
                                                show_default=False)] = None,
    shift: Annotated[float | None, typer.Option(help="Part of the training images moved by a pixel, anew each epoch.", min=0, max=1,
                                                show_default=False)] = None,
    beta: Annotated[float | None, typer.Option(help="Strength of the nudge.", show_default=False)] = None,
    free: Annotated[int | None, typer.Option(help="Time steps of the free phase.", show_default=False)] = None,
    nudged: Annotated[int | None, typer.Option(help="Time steps of each nudged phase.", show_default=False)] = None,
    window: Annotated[int | None, typer.Option(help="Time steps over which rates are measured.", show_default=False)] = None,
    leak: Annotated[int | None, typer.Option(help="The membrane loses v / 2**leak a step; 0: nothing.", show_default=False)] = None,
    early: Early = None,
    watch: Watch = None,
    seed: Seed = None,
    folder: Folder = None,
    out: Annotated[Path | None, typer.Option(help="Folder for network.npz, history.json and the learning curve.",
                                             show_default="results/<data set>")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, to the same bits as without the break; "
                                                         "--epochs may lengthen it.")] = False,
    port: Port = None,
    baud: Baud = None,
    every: Annotated[float, typer.Option(help="Seconds between two checkpoints within an epoch.", min=0)] = 30.0,
    json: Json = None,
) -> dict[str, Any]:
    """Train a network on the golden model, or with --port on a board: to the same bits.

    Options that are not given come from the preset of the data set.  Everything is saved after every epoch and every --every seconds; a run
    that was cut off at any moment goes on with --resume, on a board or on the golden model.

    Example:  [bold]equilif train digits --hidden 64 --hidden 32 --epochs 20 --out results/deep[/]
    """
    from equilif.presets import PRESETS
    from equilif.train import HISTORY, NETWORK, Training
    out = out or Path("results") / data
    given = {"hidden": tuple(hidden) if hidden else None, "eta": eta, "decay": decay, "shift": shift, "beta": beta, "free": free, "nudged": nudged,
             "window": window, "leak": leak, "early": early, "watch": watch and watch.value}
    if resume:
        fixed = [f"--{name}" for name, value in {**given, "seed": seed}.items() if value is not None]
        if fixed:
            raise ValueError(f"a resumed run keeps its settings: leave out {', '.join(fixed)}")
        if not (out / NETWORK).exists():
            raise ValueError(f"there is no run to resume in {out}: it has no {NETWORK}")
        run = Training.resume(out, folder, epochs=epochs, make=_learner(port, baud))
    else:
        preset = _changed(PRESETS[data], epochs=epochs, **given)
        run = Training.start(preset, preset.load(folder), preset.seeds[0] if seed is None else seed, _learner(port, baud))
    show.describe(run)
    show.train(run, out, every=every)
    plotted = show.learning_curve(run, out)
    show.console.print(f"test accuracy [bold]{run.history[-1].test_accuracy:.2%}[/] after {len(run.history)} epochs; "
                  f"saved {', '.join([NETWORK, HISTORY, *plotted])} in {out}")
    return {**run.to_dict(), "accuracy": run.history[-1].test_accuracy, "out": out, "files": [NETWORK, HISTORY, *plotted]}


def _learner(port: str | None, baud: int | None) -> Callable[..., Any]:
    """What makes a learner of a network: the golden kernel, or the engine at a port."""
    from golden.kernel import Kernel
    if port is None:
        return Kernel
    from equilif.ports import connect, summary
    from equilif.session import Session
    client = connect(port, baud)
    show.console.print(f"[bold]{port}[/]: " + ", ".join(f"{k} {v}" for k, v in summary(client.identity).items()))
    return functools.partial(Session, client)


def _changed(preset: Preset, **options: Any) -> Preset:
    """The preset with the options that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    phases = {f.name for f in dataclasses.fields(preset.schedule)}
    schedule = dataclasses.replace(preset.schedule, **{k: v for k, v in given.items() if k in phases})
    changed = dataclasses.replace(preset, schedule=schedule, **{k: v for k, v in given.items() if k not in phases})
    if len(changed.hidden) != len(preset.hidden):              # they belong to the layers of the preset
        changed = dataclasses.replace(changed, rate_scales=())
    return changed



# -- evaluate -------------------------------------------------------------------------------------------------------------
@command()
def evaluate(
    network: Annotated[Path, typer.Argument(help="A network.npz of `equilif train`.")],
    data: Annotated[Data | None, typer.Argument(help="Data set.", show_default="the one it was trained on")] = None,
    free: Annotated[int | None, typer.Option(help="Time steps of the free phase, at most.", show_default="the network's")] = None,
    window: Annotated[int | None, typer.Option(help="Time steps over which rates are measured.", show_default="the network's")] = None,
    early: Early = None,
    watch: Watch = None,
    folder: Folder = None,
    port: Port = None,
    baud: Baud = None,
    json: Json = None,
) -> dict[str, Any]:
    """Accuracy, confusion matrix and spikes of a trained network on a test set, on the golden model or with --port on a board.

    With --early also the steps that samples took until their rates had settled.

    Example:  [bold]equilif evaluate results/digits/network.npz[/]
    """
    from equilif.evaluate import evaluate as run
    from equilif.presets import PRESETS
    net, weights, preset = _trained(network)
    net = _scheduled(net, free=free, window=window, early=early, watch=watch and watch.value)
    if data and data != preset.data:
        preset = PRESETS[data]
    name, samples = preset.data, preset.load(folder)
    found = run(net, weights, samples.x_test, samples.y_test, tokens=samples.tokens_test, make=_learner(port, baud))
    show.console.print(show.confusion(found))
    show.console.print(f"\n{name}: [bold]{found.accuracy:.2%}[/] of {len(samples.x_test):,} test samples, {found.spikes_per_sample:,.0f} spikes a "
                  "sample (free phase)")
    if net.schedule.early is not None and found.saving is not None:
        show.console.print(f"{found.steps_per_sample:.1f} steps a sample of at most {found.most}: [bold]{found.saving:.1%}[/] saved "
                           f"({', '.join(f'{c:,} took {k}' for k, c in found.steps.items())})")
    for population in found.silent:
        show.console.print(f"{population}: {found.silent[population]:.1%} of the rates at 0, {found.full[population]:.1%} at their maximum")
    return {"network": network, "data": name, **found.to_dict()}


def _trained(path: Path) -> tuple[Network, Weights, Preset]:
    """A saved network, and the preset it was trained by: that of the history beside it, else the one of the digits."""
    from equilif.presets import PRESETS
    from equilif.train import HISTORY, RATES, read_history
    from golden import network as networks
    beside, by_rates = path.with_name(HISTORY), path.with_name(RATES)
    if by_rates.exists() and not beside.exists():
        import json
        return *networks.load(path), PRESETS[json.loads(by_rates.read_text())["data"]]
    return *networks.load(path), read_history(beside)[0] if beside.exists() else PRESETS[Data.digits]


# -- verify ---------------------------------------------------------------------------------------------------------------
@command()
def verify(
    data: DataArgument = Data.digits,
    network: Annotated[Path | None, typer.Option(help="Start from this network.npz.", show_default="an untrained network")] = None,
    samples: Annotated[int, typer.Option(help="Training samples, and at most as many test samples.", min=1)] = 200,
    everything: Annotated[bool, typer.Option("--all", help="Every training sample once, and every test sample.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The whole training run of the preset, all epochs, and every test sample.")] = False,
    lanes: Annotated[int, typer.Option(help="Lanes of the engine: 2, 4, 8, 16 or 32.")] = 4,
    board: Annotated[str | None, typer.Option(help="Take the engine of this board instead.", show_default="none")] = None,
    eta: Annotated[float | None, typer.Option(help="Learning rate.", show_default=False)] = None,
    free: Annotated[int | None, typer.Option(help="Time steps of the free phase, at most.", show_default="the network's")] = None,
    window: Annotated[int | None, typer.Option(help="Time steps over which rates are measured.", show_default="the network's")] = None,
    early: Early = None,
    watch: Watch = None,
    seed: Seed = None,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """Train on the golden model and on the RTL side by side, and compare every number.

    Verilator compiles the engine (half a minute, once for each engine).  Predictions, spike counts and rates are compared after every
    sample, all weights at checkpoints and at the end.  Exit code 1 and the first difference when there is one.

    Example:  [bold]equilif verify digits --samples 500 --lanes 8[/]
    """
    from equilif.presets import PRESETS
    from equilif.train import inputs, order
    from equilif.verify import Plan
    preset = _changed(PRESETS[data], eta=eta)
    loaded = preset.load(folder)
    seed = preset.seeds[0] if seed is None else seed
    net, weights = _network(network, preset, loaded, seed)
    net = _scheduled(net, free=free, window=window, early=early, watch=watch and watch.value)
    n, epochs = len(loaded.x_train), 0 if net.forward else preset.epochs if full else 1      # without feedback it is run, not taught
    count = n if everything or full else min(samples, n)
    plan = Plan([(preset.rate(e), order(seed, e, n)[:count], functools.partial(inputs, loaded, preset, seed, e)) for e in range(epochs)],
                len(loaded.x_test) if everything or full else min(samples, len(loaded.x_test)))
    report = show.compare("RTL = golden", net, weights, _engine(net, lanes, board), loaded, plan)
    show.verdict(report)
    show.costs(report)
    return {"data": data, "seed": seed, "ok": report.mismatch is None, **report.to_dict()}


def _network(path: Path | None, preset: Preset, data: DataSet, seed: int) -> tuple[Network, Weights]:
    """A saved network that fits the data, or without ``path`` the untrained one of the preset."""
    from golden import network as networks
    if path is None:
        net = preset.network(data)
        return net, preset.initial_weights(net, seed)
    net, weights = networks.load(path)
    if net.n_inputs != data.n_features or net.n_outputs < data.n_classes:
        raise ValueError(f"{path} has {net.n_inputs} inputs and {net.n_outputs} outputs, {data.name} needs {data.n_features} and {data.n_classes}")
    return net, weights


def _scheduled(network: Network, **options: Any) -> Network:
    """The network with the phases that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    return dataclasses.replace(network, schedule=dataclasses.replace(network.schedule, **given))


def _engine(network: Network, lanes: int, board: str | None) -> EngineConfig:
    from equilif.verify import engine_for
    if board is None:
        return engine_for(network, lanes=lanes)
    from equilif.boards import find
    return find(board).config


# -- energy ---------------------------------------------------------------------------------------------------------------
@command()
def energy(
    data: DataArgument = Data.digits,
    network: Annotated[Path | None, typer.Option(help="A network.npz of `equilif train`.", show_default="an untrained network")] = None,
    samples: Annotated[int, typer.Option(help="Test and training samples, from the first.", min=1)] = 20,
    lanes: Annotated[int, typer.Option(help="Lanes of the engine: 2, 4, 8, 16 or 32.")] = 4,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """Synaptic operations, memory accesses and spikes a sample, counted by RTL and golden model, and an estimate of their energy.

    45 nm figures (Horowitz, ISSCC 2014) of arithmetic and memories alone: no clock, control, wires, leakage or link, and no FPGA.

    Example:  [bold]equilif energy digits --network results/digits/network.npz[/]
    """
    from equilif import energy as module
    from equilif.presets import PRESETS
    from equilif.verify import engine_for
    preset = PRESETS[data]
    loaded = preset.load(folder)
    net, weights = _network(network, preset, loaded, preset.seeds[0])
    config = dataclasses.replace(engine_for(net, lanes=lanes), counters=True)
    with show.console.status("RTL and golden model count"):
        found = module.measure(net, weights, config, loaded, samples=samples, eta=preset.eta)
    kinds = list(found)
    title = f"{data}, {net.n_weights:,} weights, {lanes} lanes, mean of {found[kinds[0]].samples} samples"
    show.console.print(show.table(title, ["words of P lanes a sample", *kinds], [
        ["cycles", *(f"{found[k].cycles:,.0f}" for k in kinds)],
        ["synaptic operations (one by one)", *(f"{lanes * (found[k].counts['accesses'] + found[k].counts['weight_writes']):,.0f}" for k in kinds)],
        *([name.replace("_", " ").replace("accesses", "weight reads"), *(f"{found[k].counts[name]:,.0f}" for k in kinds)]
          for name in module.COUNTS)]))
    totals = {k: sum(found[k].energy.values()) for k in kinds}
    show.console.print(show.table("\nestimated energy a sample, 45 nm", ["nJ", *kinds], [
        *([name, *(f"{found[k].energy[name] / 1000:,.1f}" for k in kinds)] for name in found[kinds[0]].energy),
        ["sum", *(f"{totals[k] / 1000:,.1f}" for k in kinds)]]))
    show.console.print("An estimate: arithmetic and memories alone, at Horowitz's figures (ISSCC 2014); see docs/energy.md for what it leaves out.")
    return {"data": data, "engine": dataclasses.asdict(config), "network": network, "counts_equal": True, "pj_per_sample": totals,
            **{k: dataclasses.asdict(v) for k, v in found.items()}}


# -- recall ---------------------------------------------------------------------------------------------------------------
@command()
def recall(
    data: Annotated[Images, typer.Argument(help="Images to store. The 8x8 digits come with scikit-learn; missing ones say what they need.")]
    = Images.digits,
    stored: Annotated[int, typer.Option(help="Images to store, and to ask for.", min=2)] = 1000,
    blank: Annotated[float, typer.Option(help="Part of each image, from below, that its cue lacks.", min=0, max=0.99)] = 0.5,
    sharpness: Annotated[int, typer.Option(help="Inverse temperature in octaves.")] = 5,
    steps: Annotated[int | None, typer.Option(help="Updates.", show_default="until nothing changes", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Which images.")] = 0,
    folder: Folder = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the picture.", show_default="results/recall-<data set>")] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Store images in a modern Hopfield memory and recall each from a part of it, in fixed point.

    Beside it the same with real numbers, and the classical (Hebbian) Hopfield network.

    Example:  [bold]equilif recall digits --stored 200 --blank 0.3[/]
    """
    from equilif import recall as module
    from golden import data as images
    out = out or Path("results") / f"recall-{data}"
    loaded = images.load(data, folder)
    with show.bar() as progress:
        task = progress.add_task("recall", total=stored, note="")
        found = module.run(loaded, stored, blank=blank, sharpness=sharpness, steps=steps, seed=seed,
                           progress=lambda done: progress.update(task, completed=done))
    names = {"fixed": "fixed point", "real": "real numbers", "hebb": "classical, Hebb's rule"}
    show.console.print(show.table(
        f"{found.stored:,} images of {data}, the lower {blank:.0%} of each cue blank", ["", "nearest is the one", "exact", "error"],
        [[title, f"{s.nearest:.1%}", f"{s.exact:.1%}", f"{s.error:.3f}"] for name, title in names.items() for s in (getattr(found, name),)]))
    plotted = show.recall(found, out)
    show.console.print(f"{found.steps:.1f} updates a cue; error: |state - image|^2 / |image|^2"
                       + (f"; saved {', '.join(plotted)} in {out}" if plotted else ""))
    return {**found.to_dict(), "out": out, "files": plotted}


# -- attend ---------------------------------------------------------------------------------------------------------------
@command()
def attend(
    network: Annotated[Path, typer.Argument(help="A network.npz of `equilif train`, with a memory.")],
    sample: Annotated[list[int] | None, typer.Option(help="Test sample; repeat for more of them.", min=0, show_default="the first two")] = None,
    folder: Folder = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the picture.", show_default="that of the network")] = None,
    json: Json = None,
) -> dict[str, Any]:
    """What the queries of a memory look at: the softmax of every head over the tokens of a test sample.

    Example:  [bold]equilif attend results/snippets/network.npz --sample 3 --sample 8[/]
    """
    from equilif.attention import look
    net, weights, preset = _trained(network)
    found = look(net, weights, preset.load(folder), sample or [0, 1])
    out = out or network.parent
    plotted = show.attention(found, f"{preset.data}: what {found[0].p.shape[0]} queries look at", out)
    if plotted:
        show.console.print(f"saved {', '.join(plotted)} in {out}")
    return {"network": network, "data": preset.data, "samples": [a.to_dict() for a in found], "out": out, "files": plotted}


# -- gradient -------------------------------------------------------------------------------------------------------------
@command()
def gradient(
    data: DataArgument = Data.digits,
    network: Annotated[Path | None, typer.Option(help="Report on this network.npz only.",
                                                 show_default="the preset, untrained and trained")] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of the trained network.", min=1)] = 3,
    samples: Annotated[int, typer.Option(help="Training samples to take.", min=1)] = 1437,
    seed: Seed = None,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """Compare the integer weight updates with Equilibrium Propagation in real numbers, and with the true gradient.

    Cosines of the updates summed over the samples, for every synapse; 1 is the same direction.

    Example:  [bold]equilif gradient digits --epochs 3[/]
    """
    from equilif.presets import PRESETS
    from equilif.train import Training
    from golden import network as networks
    with needs("torch"):
        from golden.torch_twin import gradient_report
    if PRESETS[data].memory:
        raise ValueError(f"gradient needs a network without a memory, {data} has one")
    loaded = PRESETS[data].load(folder)
    cases: dict[str, tuple[Network, Any]] = {}
    if network:
        cases[network.name] = networks.load(network)
    else:
        preset = PRESETS[data]
        run = Training.start(preset, loaded, preset.seeds[0] if seed is None else seed)
        cases["untrained"] = run.network, run.weights
        for _ in range(epochs):
            run.epoch()
        cases[f"{epochs} epoch{'s' * (epochs > 1)}"] = run.network, run.weights
    x, y = loaded.x_train[:samples], loaded.y_train[:samples]
    reports = {name: gradient_report(net, weights, x, y) for name, (net, weights) in cases.items()}
    pairs = ("integer_gradient", "integer_ep", "ep_gradient")
    rows = [[name, synapse, *(_cosine(found[pair]["sum"]) for pair in pairs), _cosine(found["integer_gradient"]["each"]["mean"])]
            for name, report in reports.items() for synapse, found in report["synapses"].items()]
    show.console.print(show.table(f"cosines on {len(x):,} training samples of {data}", ["network", "synapse", *(p.replace("_", " : ") for p in pairs),
                                                                               "integer : gradient, each"], rows, left=2))
    for name, report in reports.items():
        g = report["gradients"]
        show.console.print(f"{name}: accuracy {report['accuracy']:.1%}; gradient strong on {g['strong']:,}, weak on {g['weak']:,} and zero on "
                      f"{g['zero']:,} samples; {report['elsewhere']} settle at another fixed point than the real numbers")
    return {"data": data, "reports": reports}


def _cosine(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


# -- build ----------------------------------------------------------------------------------------------------------------
# -- boards ---------------------------------------------------------------------------------------------------------------
@command(rich_help_panel=BOARDS_PANEL)
def boards(
    network: Annotated[str | None, typer.Option(help="Sizes of a chain, for example 784-64-10: which boards hold it?", show_default=False)] = None,
    json: Json = None,
) -> dict[str, Any]:
    """All boards: what their builds came to, what fits them, samples a second.

    Example:  [bold]equilif boards --network 784-128-10[/]
    """
    from equilif.boards import report, sizes
    rows = report(sizes(network) if network else None)
    show.boards(rows, network)
    return {"boards": rows}


@command(rich_help_panel=BOARDS_PANEL)
def build(
    board: BoardName,
    out: Annotated[Path | None, typer.Option(help="Folder of the build.", show_default="build/BOARD")] = None,
    seed: Annotated[int, typer.Option(help="First seed of place and route.")] = 1,
    retries: Annotated[int, typer.Option(help="Seeds to try until the clock is met.", min=1)] = 8,
    lanes: OtherLanes = None,
    weights: OtherWeights = None,
    memories: Annotated[bool | None, typer.Option("--memories/--no-memories", help="With softmax and relay, or without.",
                                                  show_default="as the board's engine has it")] = None,
    early: EarlyEnds = None,
    clock: Annotated[float | None, typer.Option(help="MHz.", show_default="the board's")] = None,
    network: Annotated[str | None, typer.Option(help="Sizes of a chain that is to fit, for example 784-64-10; refused before anything is built "
                                                     "when it does not.", show_default=False)] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Build the bitstream of a board with Yosys and nextpnr, and print utilisation, f_max and samples a second.

    An engine that a device cannot hold is refused before synthesis, with what it would need.

    Example:  [bold]equilif build icebreaker[/]
    """
    from equilif import boards as known
    from equilif.results import ToolFailed
    chosen = known.find(board).resized(lanes=lanes, weights=weights, softmax=memories, early=early)
    if clock:
        chosen = dataclasses.replace(chosen, clock_hz=1e6 * clock)
    if network and (short := known.capacity(chosen, known.sizes(network))):
        raise ValueError(f"{chosen.title}: {short}")
    from boards.build import BuildError
    from boards.build import build as run
    try:
        with show.console.status("") as status:
            result = run(chosen, out or Path("build") / board, seed=seed, retries=retries, progress=status.update)
    except BuildError as e:
        raise ToolFailed(str(e)) from e
    found = result.as_dict()
    entry = known.measured().get(board)
    if entry and known.same_engine(chosen, entry["config"]):
        found |= {"network": "-".join(map(str, chosen.network)), "samples_per_second": known.speed(chosen, entry)}
    show.bitstream(found)
    show.console.print(f"{found['bitstream']}")
    return found


@command(rich_help_panel=BOARDS_PANEL)
def flash(
    board: BoardName,
    bitstream: Annotated[Path | None, typer.Option(help="The bitstream.", show_default="what `equilif build` left in build/BOARD")] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Program the configuration flash of a board with openFPGALoader: once, whatever it is to learn.

    Example:  [bold]equilif flash icebreaker[/]
    """
    from equilif import flash as module
    from equilif.boards import find
    chosen = find(board)
    path = bitstream or module.bitstream_of(chosen)
    module.flash(chosen, path)
    show.console.print(f"{chosen.title} runs {path} from now on; see it with  equilif ports")
    return {"board": board, "bitstream": path}


@command(rich_help_panel=BOARDS_PANEL)
def simulate(
    board: Annotated[str, typer.Argument(help="Whose design is simulated; `equilif boards` lists them.")] = "icebreaker",
    lanes: OtherLanes = None,
    weights: OtherWeights = None,
    early: EarlyEnds = None,
    baud: Annotated[int | None, typer.Option(help="Rate of the UART in simulated time.", show_default="the fastest, a bit in 4 clock cycles")] = None,
    link: Annotated[Path | None, typer.Option(help="Make this a symbolic link to the port.", show_default="none")] = None,
    json: Json = None,
) -> dict[str, Any]:
    """A board without a board: its whole design in simulation, UART included, behind a serial port.  Ctrl-C ends it.

    Verilator compiles the design (a minute, once).  What runs on a board runs on this, to the same bits; nothing can tell it but its speed.

    Example:  [bold]equilif simulate icebreaker --link /tmp/board[/]  and elsewhere  [bold]equilif train digits --port /tmp/board[/]
    """
    from equilif import simulate as module
    from equilif.boards import find
    chosen = find(board).resized(lanes=lanes, weights=weights, early=early)
    with show.console.status("compiling the design (only the first time takes long)"):
        simulated = module.Simulated(chosen, baud)
    show.console.print(f"{chosen.title}, simulated: {chosen.config.lanes} lanes, {chosen.config.n_weights:,} weights, {simulated.clock_hz / 1e6:g} "
                       f"MHz, {simulated.clock_hz / simulated.divisor / 1e6:.3g} Mbaud, build {simulated.build_id:08x}")
    found = simulated.serve(link, lambda path: show.console.print(f"[bold]{path}[/]", soft_wrap=True))
    show.console.print(f"{found['cycles']:,} cycles, {found['board_seconds']:.2f} s of a board")
    return {"board": board, **found}


@command(rich_help_panel=BOARDS_PANEL)
def ports(baud: Baud = None, json: Json = None) -> dict[str, Any]:
    """Find the serial ports of this machine, and the boards behind them.

    Example:  [bold]equilif ports[/]
    """
    from equilif.ports import scan, summary
    found = list(scan(baud))
    for f in found:
        says = ", ".join(f"{k} {v}" for k, v in summary(f.identity).items()) + f", {f.baud:,} baud" if f.identity else f.problem
        show.console.print(f"{show.YES if f.identity else show.NO} [bold]{f.path}[/] ({f.description}): {says}")
    if not found:
        show.console.print("no USB serial port here; equilif simulate starts a board without one")
    return {"ports": [{"path": f.path, "description": f.description, "baud": f.baud, "problem": f.problem,
                       "device": summary(f.identity) if f.identity else None} for f in found]}


@command(rich_help_panel=BOARDS_PANEL)
def identify(port: OnPort = None, baud: Baud = None, json: Json = None) -> dict[str, Any]:
    """What a board says of itself: lanes, memories, build; and which build of this folder that is.

    Example:  [bold]equilif identify --port /dev/ttyUSB1[/]
    """
    from equilif.ports import manifest_of, summary, the_one
    client = the_one(port, baud)
    says, manifest = summary(client.identity), manifest_of(client.identity.build_id)
    show.console.print(show.table("", ["", "device"], [[k, f"{v:,}" if isinstance(v, int) else v] for k, v in says.items()]))
    show.console.print(f"built by {manifest}" if manifest else "[dim]not a build below build/[/]")
    return {"device": says, "manifest": manifest}


@command(rich_help_panel=BOARDS_PANEL)
def save(
    out: Annotated[Path, typer.Argument(help="File for the network, as `equilif train` writes it.")],
    like: Annotated[Path, typer.Option(help="A network.npz of the same shape: a board holds weights, not what they connect.")],
    port: OnPort = None,
    baud: Baud = None,
    json: Json = None,
) -> dict[str, Any]:
    """Read the weights of a board into a file.

    Example:  [bold]equilif save learnt.npz --like results/digits/network.npz[/]
    """
    from equilif.ports import the_one
    from equilif.session import read_weights
    from equilif.train import digest
    from golden import network as networks
    net, _ = networks.load(like)
    weights = read_weights(the_one(port, baud), net)
    networks.save(out, net, weights)
    show.console.print(f"{net.n_weights:,} weights in {out}, SHA-256 {digest(weights)[:16]}")
    return {"network": out, "weights": net.n_weights, "sha256": digest(weights)}


@command(rich_help_panel=BOARDS_PANEL)
def restore(
    network: Annotated[Path, typer.Argument(help="A network.npz of `equilif train` or `equilif save`.")],
    port: OnPort = None,
    baud: Baud = None,
    json: Json = None,
) -> dict[str, Any]:
    """Load a network into a board: program, constants and weights.

    Example:  [bold]equilif restore results/digits/network.npz[/]
    """
    from equilif.ports import the_one
    from equilif.session import Session
    from equilif.train import digest
    from golden import network as networks
    net, weights = networks.load(network)
    Session(the_one(port, baud), net, weights)
    show.console.print(f"{net.n_weights:,} weights of {network} are in the board, SHA-256 {digest(weights)[:16]}")
    return {"network": network, "weights": net.n_weights, "sha256": digest(weights)}


# -- export ---------------------------------------------------------------------------------------------------------------
class Bus(StrEnum):
    """equilif.export.Bus, without importing Amaranth for --help."""

    axi = "axi"
    none = "none"


@command()
def export(
    out: Annotated[Path, typer.Argument(help="Folder for the files.")],
    bus: Annotated[Bus, typer.Option(help="AXI4-Lite and AXI4-Stream around the engine, or its bare host port.")] = Bus.axi,
    name: Annotated[str, typer.Option(help="Of the top module and the files.")] = "equilif",
    board: Annotated[str | None, typer.Option(help="Take the engine of this board; the options below then say nothing.", show_default="none")] = None,
    lanes: Annotated[int, typer.Option(help="2, 4, 8, 16 or 32.")] = 4,
    tiles: Annotated[int, typer.Option(help="Of lanes x lanes weights.")] = 4096,
    value_groups: Annotated[int, typer.Option(help="Groups of so many neurons as there are lanes, inputs and targets included.")] = 256,
    state_groups: Annotated[int, typer.Option(help="Groups of LIF neurons.")] = 128,
    program_words: Annotated[int, typer.Option(help="32-bit words of program memory.")] = 256,
    single_port: Annotated[bool, typer.Option("--single-port", help="Weights in single-port memories.")] = False,
    weight_stages: Annotated[int, typer.Option(help="Registers around large weight memories, 0 to 2.")] = 0,
    without_memories: Annotated[bool, typer.Option("--without-memories", help="Leave out SOFTMAX and RELAY.")] = False,
    early: Annotated[bool, typer.Option("--early-ends", help="Loops that end when rates have settled.")] = False,
    counters: Annotated[bool, typer.Option("--counters", help="Count memory accesses and arithmetic of every run.")] = False,
    build_id: Annotated[int, typer.Option(help="What the register BUILD reads.", min=0, max=(1 << 32) - 1)] = 0,
    json: Json = None,
) -> dict[str, Any]:
    """Write the engine for other designs: Verilog, a FuseSoC core, lint waivers, a C header and its register map.

    The ports are those of hdl.bus.AxiEngine (or hdl.engine.Engine); programs and weight words come from golden.compiler.

    Example:  [bold]equilif export build/export --lanes 8 --tiles 1024[/]
    """
    from equilif import export as module
    from golden.isa import EngineConfig
    if board is not None:
        from equilif.boards import find
        config = find(board).config
    else:
        config = EngineConfig(lanes=lanes, tiles=tiles, value_groups=value_groups, state_groups=state_groups, program_words=program_words,
                              single_port=single_port, weight_stages=weight_stages, softmax=not without_memories,
                              early=early, counters=counters)
    with show.console.status("Yosys writes Verilog"):
        files = module.export(out, config, module.Bus(bus), name=name, build_id=build_id)
    show.console.print(f"{config.lanes} lanes, {config.n_weights:,} weights: wrote {', '.join(f.name for f in files)} in {out}")
    return {"engine": dataclasses.asdict(config), "bus": bus, "files": files}


# -- info -----------------------------------------------------------------------------------------------------------------
@command()
def info(json: Json = None) -> dict[str, Any]:
    """Versions of the tools found, and the engine of every board: put this into bug reports.

    Example:  [bold]equilif info --json info.json[/]
    """
    from equilif import info as module
    found = module.collect()
    show.console.print(", ".join(f"{k} {v}" for k, v in found["machine"].items()))
    missing = "[yellow]missing[/]"
    show.console.print(show.table("\ntools", ["", "version", "needed for"], [[n, v or missing, module.TOOLS[n][1]]
                                                                         for n, v in found["tools"].items()], left=3))
    show.console.print(show.table("\npackages", ["", "version"], [[n, v or missing] for n, v in found["packages"].items()], left=2))
    columns = ("lanes", "tiles", "value_groups", "state_groups", "program_words", "single_port", "forwarding")
    show.console.print(show.table("\nengines of the boards", ["board", "MHz", *(c.replace("_", " ") for c in columns)],
                                  [[n, f"{b['clock_hz'] / 1e6:g}", *(str(b["engine"][c]) for c in columns)]
                                   for n, b in found["boards"].items()]))
    return found


# -- rates ----------------------------------------------------------------------------------------------------------------
@command()
def rates(
    data: Annotated[Trainable, typer.Argument(help="Data set.")] = Trainable.digits,
    hidden: Annotated[list[int] | None, typer.Option(help="Size of a hidden population; repeat for more of them.", min=1, show_default=False)] = None,
    conv: Annotated[list[int] | None, typer.Option(help="In their place, channels of a convolution with average pooling, in real numbers only; "
                                                        "repeat for more of them.", min=1, show_default=False)] = None,
    feedback: Annotated[bool | None, typer.Option("--feedback/--feed-forward", help="Symmetric synapses, or forward ones only.",
                                                  show_default="the data set's")] = None,
    epochs: Annotated[int | None, typer.Option(show_default=False)] = None,
    batch: Annotated[int | None, typer.Option(help="Samples a step, of all processes together.", show_default=False)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of AdamW; falls to zero as a cosine.", show_default=False)] = None,
    weight_decay: Annotated[float | None, typer.Option(show_default=False)] = None,
    dropout: Annotated[float | None, typer.Option(help="Part of the hidden neurons that a sample does without.", show_default=False)] = None,
    shift: Annotated[float | None, typer.Option(help="Part of the training images moved by a pixel.", show_default=False)] = None,
    flip: Annotated[float | None, typer.Option(help="Part of the training images mirrored.", show_default=False)] = None,
    without: Annotated[list[int] | None, typer.Option(help="A class to hold back; repeat for more of them.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and sample order.", show_default="0")] = None,
    folder: Folder = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the files.", show_default="results/rates-<data set>")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out; --epochs may lengthen it.")] = False,
    json: Json = None,
) -> dict[str, Any]:
    """Train the fixed point of a network's mean rates by implicit differentiation, on a GPU where there is one; save it as spiking network.

    Several GPUs or machines:  [bold]torchrun --nproc-per-node 4 -m equilif rates mnist[/]

    Example:  [bold]equilif rates mnist --data DIR --hidden 512 --epochs 20[/]
    """
    from equilif import rates as module
    out = out or Path("results") / f"rates-{data}"
    options = {"hidden": hidden and tuple(hidden), "channels": conv and tuple(conv), "feedback": feedback, "batch": batch, "lr": lr,
               "weight_decay": weight_decay, "dropout": dropout, "shift": shift, "flip": flip, "without": without and tuple(without), "seed": seed}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if resume:
        if given:
            raise ValueError(f"a resumed run keeps its settings: leave out {', '.join(f'--{name}' for name in given)}")
        run = module.Training.resume(out, folder, epochs=epochs)
    else:
        settings = dataclasses.replace(module.SETTINGS[data], **given)
        run = module.Training.start(dataclasses.replace(settings, epochs=epochs or settings.epochs), folder)
    show.console.quiet = run.distributed.rank > 0
    files = show.train_rates(run, out)
    run.distributed.leave()
    last = run.history[-1]
    show.console.print(f"test accuracy [bold]{last.test_accuracy:.2%}[/] in real numbers after {last.epoch} epochs; "
                       f"saved {', '.join(files)} in {out}")
    return {**run.to_dict(), "accuracy": last.test_accuracy, "out": out, "files": files}


@command()
def deploy(
    run: Annotated[Path, typer.Argument(help="Folder of `equilif rates`.")],
    steps: Annotated[list[int] | None, typer.Option(help="Time steps; repeat for more of them.", min=2, show_default="4 to 64")] = None,
    samples: Annotated[int, typer.Option(help="Samples for average rates and gradients.", min=1)] = 100,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """From real numbers to spikes: accuracy at each step of the way, what rounding did, how fast average rates settle.

    Example:  [bold]equilif deploy results/rates-mnist --data DIR[/]
    """
    from equilif import deploy as module
    from equilif import rates as training
    trained = training.Training.resume(run, folder)
    model = trained.trainer.model
    if trained.deployed is None:
        raise ValueError(f"{run} holds convolutions: they run in real numbers only")
    with show.console.status("") as status:
        found = module.deploy(model, trained.data, steps=steps or module.STEPS, samples=samples, progress=status.update)
    files = show.deployment(found, f"{trained.data.name} {trained.sizes}", run)
    show.console.print(f"saved {', '.join(files)} in {run}" if files else "")
    return {"data": trained.data.name, "sizes": trained.sizes, **found.to_dict(), "files": files}


# -- demo -----------------------------------------------------------------------------------------------------------------
@command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that comes out.")] = Path("results"),
    epochs: Annotated[int | None, typer.Option(help="Epochs of training.", min=1, show_default="the preset's")] = None,
    samples: Annotated[int | None, typer.Option(help="Training samples to run in RTL, from the first.", min=1,
                                                show_default="the whole run")] = None,
    board: Annotated[str, typer.Option(help="Board whose engine is simulated and built.")] = "icebreaker",
    skip_bitstream: Annotated[bool, typer.Option("--skip-bitstream", help="No Yosys and nextpnr.")] = False,
    seed: Seed = None,
    json: Json = None,
) -> dict[str, Any]:
    """Everything at once, in a few minutes: train on the golden model, train the RTL to the same bits, build the bitstream.

    Writes results.json, network.npz, history.json, the pictures and the bitstream.  Exit code 0 only if all of it was done and equal.

    Example:  [bold]equilif demo --out results[/]
    """
    from equilif.demo import Demo
    from equilif.presets import PRESETS
    preset = _changed(PRESETS[Data.digits], epochs=epochs)
    return Demo(preset, preset.seeds[0] if seed is None else seed, out, board=board, samples=samples,
                bitstream=not skip_bitstream).run()


# -- interchange ----------------------------------------------------------------------------------------------------------
@command()
def convert(
    source: Annotated[Path, typer.Argument(help="A network.npz of `equilif train`, or a .nir file of any framework.")],
    target: Annotated[Path, typer.Argument(help="The other kind of file.")],
    dt: Annotated[float | None, typer.Option(help="Seconds a time step: snnTorch has 1e-4, norse 1e-3.", show_default="the file's, or 1e-4")] = None,
    free: Annotated[int | None, typer.Option(help="Time steps of the free phase.", show_default="the file's, or 24")] = None,
    window: Annotated[int | None, typer.Option(help="Time steps over which rates are measured.", show_default="the file's, or 8")] = None,
    threshold: Annotated[float | None, typer.Option(help="What thresholds are scaled to, weights with them: 0.5 leaves room for weights twice as "
                                                        "large.", show_default="the file's, or 1")] = None,
    fraction: Annotated[int | None, typer.Option(help="Fraction bits of weights; boards have 12.", show_default="the file's, or 12")] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Write a network as NIR, or read one from NIR, by the names of the files.

    NIR is the format in which snnTorch, norse and others exchange spiking networks.  Reading one, every parameter that rounding moves is
    printed.  A network without feedback can be run and verified here, not taught; networks with memories cannot be written.

    Example:  [bold]equilif convert results/digits/network.npz digits.nir[/]  and back  [bold]equilif convert digits.nir digits.npz[/]
    """
    from equilif import nir
    phases = {k: v for k, v in {"free": free, "window": window, "threshold": threshold}.items() if v is not None}
    found = nir.convert(source, target, dt=dt, schedule=phases, fraction=fraction)
    if found is None:
        show.console.print(f"{source} is now in {target}.  What NIR leaves open, or cannot say:")
        show.console.print("\n".join(f"  {line}" for line in nir.OPEN))
        return {"source": source, "target": target, "open": nir.OPEN}
    show.console.print(show.table("rounded; changes in thresholds", ["", "parameters", "moved", "largest", "mean", "clipped"], [
        [m.name, f"{m.count:,}", f"{m.moved:,}", f"{m.largest:.3g}", f"{m.mean:.3g}", f"[red]{m.clipped:,}[/]" if m.clipped else "0"]
        for m in found.moved]))
    net = found.network
    show.console.print(f"{target}: {', '.join(f'{p.name} {p.size}' for p in net.populations)}; {net.n_weights:,} weights, "
                       + ("symmetric" if all(s.feedback for s in net.synapses) else "some without feedback, so it cannot be taught"))
    return {"source": source, "target": target, **found.to_dict()}


# -- sweep ----------------------------------------------------------------------------------------------------------------
@command()
def sweep(
    grid: Annotated[Path | None, typer.Argument(help="TOML file: a value, or a list of them, for each name.", show_default="none")] = None,
    option: Annotated[list[str] | None, typer.Option("--grid", help="name=value,value: another axis, or other values for one of the file; repeat.",
                                                     show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Folder for the points, the table and the plot.")] = Path("results/sweep"),
    workers: Annotated[int, typer.Option(help="Processes on this machine.", min=1)] = 2,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, to work on its cluster.", show_default="none",
                                                  metavar="ADDRESS")] = None,
    build: Annotated[bool, typer.Option("--build", help="Build the bitstreams of the boards that have no manifest yet.")] = False,
    builds: Annotated[Path, typer.Option(help="Where the manifests of `equilif build` lie.")] = Path("build"),
    retry: Annotated[bool, typer.Option("--retry", help="Do points that failed once more.")] = False,
    against: Annotated[Against, typer.Option(help="What the plot has accuracy against.")] = Against.training,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """Accuracy, cycles, memory and f_max over networks, formats, phases and engines: a table, and which of them none beats.

    Every combination is trained on the golden model; then samples are trained and inferred in RTL beside it, equal to the bit, and their cycles
    counted.  Names: data, hidden (64, or 64x32), width, epochs, eta, decay, free, nudged, window, beta, leak, seed, samples; lanes and board are
    engines.  Finished points are kept: run the same again after an interruption, or with more values.

    Example:  [bold]equilif sweep --grid hidden=32,64,64x32 --grid lanes=4,16 --grid board=icebreaker --grid epochs=5[/]
    """
    from equilif import sweep as module
    wanted = module.points(module.read_grid(grid, option or ()))
    run = module.Sweep(wanted, out)
    boards = list(dict.fromkeys(p.board for p in wanted if p.board))
    missing = [b for b in boards if module.f_max(b, [out / module.BUILDS, builds]) is None] if build else []
    left = run.left(retry=retry)
    begin = f"{len(wanted):,} points: {len(wanted) - len(left):,} done before, {len(left):,} to go"
    if not left and not missing:
        show.console.print(begin)
    else:
        with module.cluster(workers, scheduler) as client, show.bar() as bar:
            show.console.print(begin)
            task = bar.add_task("points", total=len(left) + len(missing), note="")
            run.run(client, folder and folder.resolve(), retry=retry, builds=missing,
                    progress=lambda p: bar.update(task, completed=p.done, note=f"{p.failed} failed" if p.failed else ""))
    rows = run.rows(builds)
    cost = {Against.training: "training cycles", Against.inference: "inference cycles", Against.time: "training_us"}[against]
    files = show.sweep(run, rows, cost)
    return {"out": out, "points": rows, "failed": [{"point": dataclasses.asdict(p), "error": e} for p, e in run.failed], "files": files,
            "done_before": len(wanted) - len(left), "pareto": [rows[k]["key"] for k in module.front(rows, cost)], "ok": not run.failed}


def main() -> None:
    app()
