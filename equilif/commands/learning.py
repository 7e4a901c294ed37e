"""Networks that learn on the golden model or on a board."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import (
    AnyData,
    Baud,
    ConfigFile,
    Data,
    Epochs,
    Folder,
    Hidden,
    Json,
    Port,
    Resume,
    Seed,
    panel,
    samples_of,
    saved_network,
    scheduled,
)
from equilif.commands.options import DEFAULTS, INPUT, OUTPUT, TrainedPhases
from equilif.commands.own import NO_OPTIONS, Label, OwnOptions
from equilif.commands.patches import Set, changes
from equilif.commands.training import Job, TrainingData, learner_at, out_folder, trained
from equilif.show import console as show
from equilif.show import evaluation as show_evaluation
from equilif_golden.extras import needs
from equilif_golden.files import RESULTS

if TYPE_CHECKING:
    from equilif.training.run import Run
    from equilif_golden.network import Network

command = panel("Learning")

MAX_SEEDS = 1000


SeedRange = Annotated[
    str | None,
    typer.Option(
        help="Seed of weights and sample order, or a range FIRST-LAST: one run per seed, in parallel.",
        metavar="SEED",
        show_default="the preset's first",
    ),
]
TrainOut = Annotated[
    Path | None,
    typer.Option(
        help="Output folder: network.npz, history.json, learning curve; a subfolder per seed of a range.",
        show_default="results/<data set>, for a seed range results/<data set>-seeds",
    ),
    OUTPUT,
]


@command
def train(
    data: TrainingData = None,
    config: ConfigFile = None,
    hidden: Hidden = None,
    epochs: Epochs = None,
    patches: Set = None,
    seed: SeedRange = None,
    label: Label = None,
    folder: Folder = None,
    out: TrainOut = None,
    resume: Resume = None,
    port: Port = None,
    json: Json = None,
) -> dict[str, Any]:
    """Train a network by Equilibrium Propagation, on the golden model or with --port on a board; the results
    are bit-identical.

    The preset of the data set gives all settings; for your own data it depends on their size (see `equilif
    inspect PATH`).  --set changes a setting, --config replaces network and settings by a network file;
    `equilif init --keys` lists all keys.

    The run is saved after every epoch and every run.every seconds (30).  --resume continues an interrupted
    run exactly, also on another backend.  An existing run is replaced only with --overwrite.

    With a seed range the runs are independent and run in parallel, one per processor.

    Example:  [bold]equilif train digits --hidden 64 --hidden 32 --set phases.free=16 --out results/deep[/]
    and  [bold]equilif train wine.csv --label kind --seed 0-4[/]
    """
    from equilif.data.own import chosen

    source = None if data is None else chosen(data)
    given = changes(patches, label=label, hidden=hidden, seed=seed, epochs=epochs)
    seeds = _seeds(seed)
    several = seeds if isinstance(seeds, range) else None

    def start(number: int, make: Callable[..., Any]) -> list[Run]:
        from equilif.training.run import Run

        found = samples_of(
            source or Data.digits,
            folder,
            given.data_options,
            config=config,
            patches=given.network,
            hidden=hidden,
            epochs=epochs,
        )
        preset = found.description
        first = seeds.start if isinstance(seeds, range) else preset.seeds[0] if seeds is None else seeds
        return [Run.start(preset, found.data, first + k, make) for k in range(number)]

    return trained(
        Job(
            command="train",
            out=out or out_folder(source, suffix="" if several is None else "-seeds"),
            source=source,
            folder=folder,
            epochs=epochs,
            resume=resume,
            fixed={"config": config, "hidden": hidden or None, "seed": seed, **given.fixed},
            seeds=several,
            options=given.run,
            port=port,
            start=start,
        )
    )


def _seeds(text: str | None) -> int | range | None:
    """A seed, or the seeds FIRST-LAST; ValueError for something else."""
    from equilif.training.settings.tables import MAX_SEED, check_seed

    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"seed must be in 0..{MAX_SEED}, or several of them FIRST-LAST, not {text}")
    first = check_seed(int(found[1]))
    if found[2] is None:
        return first
    last = check_seed(int(found[2]))
    if not 0 <= last - first < MAX_SEEDS:
        raise ValueError(f"--seed FIRST-LAST is 1 to {MAX_SEEDS} seeds, not {text}")
    return range(first, last + 1)


@command
def evaluate(
    network: Annotated[
        Path,
        typer.Argument(
            **saved_network(help="A network.npz of `equilif train`, or a pretrained network by name.")
        ),
        INPUT,
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Name of a data set, or path of your own data; scaled as in training.",
            show_default="the training data set",
        ),
        INPUT,
    ] = None,
    phases: TrainedPhases = DEFAULTS,
    label: Label = None,
    folder: Folder = None,
    port: Port = None,
    baud: Baud = None,
    json: Json = None,
) -> dict[str, Any]:
    """Print accuracy, confusion matrix and spike counts of a trained network on a test set, on the golden
    model or with --port on a board.

    Uses the test split of the training data, or all samples of another file of your own.  With early exit
    it also prints the time steps per sample.

    Example:  [bold]equilif evaluate results/digits/network.npz[/]
    """
    from equilif.data.encoding.about import About
    from equilif.data.own import chosen
    from equilif.training.analysis.evaluate import evaluate as run
    from equilif.training.storage import saved

    make = learner_at(port, baud)
    source = None if data is None else chosen(data)
    trained = saved.read(network)
    net = scheduled(trained.network, phases)
    with show.console.status("reading the samples"):
        name, given, notes = trained.test_samples(source, folder, label)
    for note in notes:
        show.console.print(f"[yellow]{show.literal(note)}[/]")
    with show.counted("evaluate", len(given.x)) as progress:
        found = run(net, trained.weights, given.x, given.y, tokens=given.tokens, make=make, progress=progress)
    if trained.identity is not None:
        found = dataclasses.replace(found, names=trained.identity.labels)
    if given.clipped:
        show.console.print(f"[yellow]{given.clipped:,} values are beyond the scale: clipped[/]")
    if given.wordless:
        show.console.print(
            f"[yellow]{given.wordless:,} texts have no word that the network knows: their answers are "
            "guesses[/]"
        )
    show.console.print(show_evaluation.confusion(found))
    show.console.print(
        f"\n{show.literal(name)}: [bold]{found.accuracy:.2%}[/] of {show.literal(given.what)}, "
        f"{found.spikes_per_sample:,.0f} spikes a sample (free phase)"
    )
    if found.saving is not None and not net.schedule.fixed:
        show.console.print(
            f"{found.steps_per_sample:.1f} steps a sample of at most {found.most}: "
            f"[bold]{found.saving:.1%}[/] saved "
            f"({', '.join(f'{c:,} took {k}' for k, c in found.steps.items())})"
        )
    known = trained.identity.known if isinstance(trained.identity, About) else None
    unknown = None if known is None or given.tokens is None else int(known.unknown(given.tokens).sum())
    if unknown is not None:
        show.console.print(
            f"unknown words: {unknown:,} of {len(given.x):,}, which equilif listen does not classify"
        )
    for population in found.silent:
        show.console.print(
            f"{show.literal(population)}: {found.silent[population]:.1%} of the rates at 0, "
            f"{found.full[population]:.1%} at their maximum"
        )
    result = {"network": network, "data": name, **found.to_dict()}
    return result if unknown is None else {**result, "unknown": unknown}


@command
def recall(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Images to store: digits, mnist, fashion, cifar10, or path of your own images.",
        ),
        INPUT,
    ] = "digits",
    stored: Annotated[int, typer.Option(help="Number of images to store and recall.", min=2)] = 1000,
    blank: Annotated[
        float, typer.Option(help="Fraction of each cue that is blanked, from the bottom.", min=0, max=0.99)
    ] = 0.5,
    sharpness: Annotated[int, typer.Option(help="Inverse temperature of the softmax, in octaves.")] = 5,
    steps: Annotated[
        int | None, typer.Option(help="Number of updates.", show_default="until convergence", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of images.")] = 0,
    data_options: OwnOptions = NO_OPTIONS,
    folder: Folder = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the figure.", show_default="results/recall-<data set>"),
        OUTPUT,
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Store images in a modern Hopfield network and recall each from a partial cue.

    Compares fixed point, floating point and the classical Hopfield network (Hebb's rule).

    Example:  [bold]equilif recall digits --stored 200 --blank 0.3[/]
    """
    from equilif.data.own import chosen
    from equilif.data.sets import images
    from equilif.training.analysis import recall as module
    from equilif.training.settings.presets import PRESETS
    from equilif.training.settings.tables import check_seed
    from equilif.training.storage.folder import RECALL
    from equilif_golden import files

    source = chosen(data)
    if isinstance(source, Data) and PRESETS[source].memory:
        raise ValueError(
            f"recall stores images, {source} holds none: give {', '.join(images.NAMES)} or a path"
        )
    name = source if isinstance(source, Data) else source.resolve().stem
    out = out or Path(RESULTS) / f"recall-{name}"
    check_seed(seed)
    files.check(out / RECALL)
    loaded = samples_of(source, folder, data_options).data
    module.check_images(loaded)
    with show.bar() as progress:
        task = progress.add_task("recall", total=stored, note="")
        found = module.run(
            loaded,
            stored,
            blank=blank,
            sharpness=sharpness,
            steps=steps,
            seed=seed,
            progress=lambda done: progress.update(task, completed=done),
        )
    names = {"fixed": "fixed point", "real": "floating point", "hebb": "classical, Hebb's rule"}
    show.console.print(
        show.table(
            f"{found.stored:,} images of {loaded.name}, the lower {blank:.0%} of each cue blank",
            ["", "nearest is the one", "exact", "error"],
            [
                [title, f"{s.nearest:.1%}", f"{s.exact:.1%}", f"{s.error:.3f}"]
                for name, title in names.items()
                for s in (getattr(found, name),)
            ],
        )
    )
    plotted = show_evaluation.recall(found, out)
    show.console.print(
        f"{found.steps:.1f} updates a cue; error: |state - image|^2 / |image|^2"
        + (f"; saved {', '.join(plotted)} in {show.literal(out)}" if plotted else "")
    )
    return {**found.to_dict(), "out": out, "files": plotted}


@command
def attention(
    network: Annotated[
        Path,
        typer.Argument(**saved_network(help="A network.npz or pretrained network with an attention layer.")),
        INPUT,
    ],
    sample: Annotated[
        list[int] | None,
        typer.Option(help="Index of a test sample; repeat for more.", min=0, show_default="0 and 1"),
    ] = None,
    word: Annotated[
        list[str] | None,
        typer.Option(
            help="Word whose nearest neighbours are shown, for a network with a trained embedding table; "
            "repeat for more.",
            show_default="the words that moved most",
        ),
    ] = None,
    folder: Folder = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures.", show_default="the network's"), OUTPUT
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Plot the attention weights of every head over the tokens of a test sample.

    For a trained embedding table, also list the nearest neighbours of words before and after training.

    Example:  [bold]equilif attention results/snippets/network.npz --sample 3 --sample 8[/]  and
    [bold]equilif attention results/imdb/network.npz --word boring --data DIR[/]
    """
    from equilif.training.analysis.attention import look
    from equilif.training.analysis.neighbours import neighbours
    from equilif.training.storage import saved
    from equilif.training.storage.folder import ATTENTION, NEIGHBOURS
    from equilif_golden import files

    out = out or network.parent
    trained = saved.read(network)
    net = trained.network
    weights = trained.weights
    with show.console.status("reading the samples"):
        data = trained.data_set(folder)
    files.check(out / ATTENTION)
    with show.console.status("samples settle"):
        found = look(net, weights, data, sample or [0, 1])
    words = []
    if word or net.table is not None and data.words:
        files.check(out / NEIGHBOURS)
        words = neighbours(net, weights, data, word or ())
    plotted = show_evaluation.attention(
        found, f"{data.name}: what {found[0].p.shape[0]} queries look at", out
    )
    if words:
        plotted += show_evaluation.neighbours(words, f"{data.name}: words that learned", out)
    if plotted:
        show.console.print(f"saved {', '.join(plotted)} in {show.literal(out)}")
    return {
        "network": network,
        "data": data.name,
        "samples": [a.to_dict() for a in found],
        "words": [dataclasses.asdict(w) for w in words],
        "out": out,
        "files": plotted,
    }


@command
def gradient(
    data: AnyData = "digits",
    network: Annotated[
        Path | None,
        typer.Option(
            **saved_network(
                help="Analyse this network only: a network.npz, or a pretrained network by name.",
                show_default="the preset, untrained and trained",
            )
        ),
        INPUT,
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Training epochs of the trained network.", min=1, show_default="3")
    ] = None,
    samples: Annotated[int, typer.Option(help="Maximum number of training samples.", min=1)] = 1437,
    seed: Seed = None,
    data_options: OwnOptions = NO_OPTIONS,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """Compare the integer weight updates with floating-point Equilibrium Propagation and with the gradient.

    Prints the cosine similarity of the updates summed over the training samples, per synapse; from errors,
    that with backpropagation through rates.  And of each population, on as many test samples: silent, active
    and saturated neurons, spectral norm of its input weights, steps to settle, drift of its rates without a
    nudge, effect of the nudge, and cosine with the gradient.

    Example:  [bold]equilif gradient digits --epochs 3[/]
    """
    from equilif.data.own import chosen
    from equilif.training.run import Run
    from equilif.training.settings.presets import PRESETS

    with needs("torch"):
        from equilif_golden.real.layers import error_report, layer_report
        from equilif_golden.real.twin import gradient_report
    source = chosen(data)
    if data_options.attention or isinstance(source, Data) and PRESETS[source].memory:
        raise ValueError(f"gradient does not support attention layers, {data} has one")
    if network and (epochs is not None or seed is not None):
        raise ValueError("--network is not trained: leave out --epochs and --seed")
    found = samples_of(source, folder, data_options, network=network)
    loaded, preset = found.data, found.description
    cases: dict[str, tuple[Network, Any]] = {}
    reports = {}
    layers = {}
    trained = 0 if network else 3 if epochs is None else epochs
    with show.stages("gradient", trained + (1 if network else 2)) as begin:
        if network:
            cases[network.name] = found.network, found.weights()
        else:
            preset = preset.changed(epochs=max(trained, preset.epochs))
            run = Run.start(preset, loaded, seed)
            cases["untrained"] = run.network, run.weights
            for epoch in range(trained):
                begin(f"epoch {epoch + 1}")
                run.epoch()
            cases[f"{trained} epoch{'s' * (trained > 1)}"] = run.network, run.weights
        x = loaded.x_train[:samples]
        y = loaded.y_train[:samples]
        for name, (net, weights) in cases.items():
            begin(f"updates, {name}")
            reports[name] = (error_report if net.schedule.errors else gradient_report)(net, weights, x, y)
            layers[name] = layer_report(net, weights, loaded.x_test[:samples], loaded.y_test[:samples])
    pairs = ("integer_gradient", "integer_ep", "ep_gradient")
    rows = [
        [
            name,
            synapse,
            *(_cosine(found[pair]["sum"] if pair in found else None) for pair in pairs),
            _cosine(found["integer_gradient"].get("each", {"mean": None})["mean"]),
        ]
        for name, report in reports.items()
        for synapse, found in report["synapses"].items()
    ]
    show.console.print(
        show.table(
            f"cosines on {len(x):,} training samples of {loaded.name}",
            ["network", "synapse", *(p.replace("_", " : ") for p in pairs), "integer : gradient, each"],
            rows,
            left=2,
        )
    )
    show.console.print(
        show.table(
            f"populations on {len(loaded.x_test[:samples]):,} test samples of {loaded.name}",
            ["network", "population", *LAYER_COLUMNS],
            [
                [name, population, *(_layer_value(column, found[column]) for column in LAYER_COLUMNS)]
                for name, report in layers.items()
                for population, found in report.items()
            ],
            left=2,
        )
    )
    for name, report in reports.items():
        text = f"{show.literal(name)}: accuracy {report['accuracy']:.1%}"
        if "gradients" in report:
            g = report["gradients"]
            text += (
                f"; gradient strong on {g['strong']:,}, weak on {g['weak']:,} and zero on {g['zero']:,} "
                f"samples; {report['elsewhere']} settle at another fixed point than in floating point"
            )
        show.console.print(text)
    return {"data": loaded.name, "reports": reports, "layers": layers}


#: of equilif_golden.real.layers.layer_report
LAYER_COLUMNS = ("silent", "active", "saturated", "coupling", "steps", "drift", "nudge", "cosine")


def _layer_value(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if column in ("silent", "active", "saturated"):
        return f"{value:.1%}"
    return f"{value:.0f}" if column == "steps" else f"{value:.3g}"


def _cosine(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
