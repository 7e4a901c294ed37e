"""Networks that learn on the golden model or on a board."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import (
    MADE,
    AnyData,
    Baud,
    ConfigFile,
    Data,
    Epochs,
    Folder,
    Hidden,
    Label,
    OwnOptions,
    Port,
    Resume,
    Seed,
    Set,
    network_argument,
    network_option,
    panel,
    print_notes,
    resolved,
    scheduled,
)
from equilif.commands.options import DEFAULTS, INPUT, OUTPUT, TrainedPhases
from equilif.commands.training import TrainingData, learner_at, out_folder, trained
from equilif.show import console as show
from equilif.show import evaluation as show_evaluation
from equilif_golden import files
from equilif_golden.files import RESULTS
from equilif_golden.lazy import lazy

with lazy():
    import equilif.data.own as own_data
    from equilif.data.encoding import about
    from equilif.data.sets import images
    from equilif.training import job as jobs
    from equilif.training import options
    from equilif.training import resolve as resolving
    from equilif.training.analysis import attention as attending
    from equilif.training.analysis import evaluate as evaluating
    from equilif.training.analysis import gradient as comparing
    from equilif.training.analysis import neighbours as neighbouring
    from equilif.training.analysis import recall as recalling
    from equilif.training.settings import presets, tables
    from equilif.training.storage import folder as folders
    from equilif.training.storage import saved

command = panel("Learning")

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
    source = None if data is None else own_data.chosen(data)
    given = options.changes(patches, label=label, hidden=hidden, seed=seed, epochs=epochs)
    several = jobs.seeds(seed)
    return trained(
        source,
        given,
        out or out_folder(source, suffix="-seeds" if isinstance(several, range) else ""),
        seed=several,
        resume=resume,
        hidden=hidden,
        epochs=epochs,
        folder=folder,
        fixed={"config": config, "hidden": hidden or None, "seed": seed, **given.fixed},
        config=config,
        port=port,
    )


@command
def evaluate(
    network: Annotated[
        Path,
        network_argument(help="A network.npz of `equilif train`, or a pretrained network by name."),
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
) -> dict[str, Any]:
    """Print accuracy, confusion matrix and spike counts of a trained network on a test set, on the golden
    model or with --port on a board.

    Uses the test split of the training data, or all samples of another file of your own.  With early exit
    it also prints the time steps per sample.

    Example:  [bold]equilif evaluate results/digits/network.npz[/]
    """
    make = learner_at(port, baud)
    source = None if data is None else own_data.chosen(data)
    trained = saved.read(network)
    net = scheduled(trained.network, phases)
    with show.console.status("reading the samples"):
        name, given, notes = trained.test_samples(source, folder, label)
    print_notes(notes)
    with show.counted("evaluate", len(given.x)) as progress:
        found = evaluating.evaluate(
            net, trained.weights, given.x, given.y, tokens=given.tokens, make=make, progress=progress
        )
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
    known = trained.identity.known if isinstance(trained.identity, about.About) else None
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
    data_options: OwnOptions = MADE,
    folder: Folder = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the figure.", show_default="results/recall-<data set>"),
        OUTPUT,
    ] = None,
) -> dict[str, Any]:
    """Store images in a modern Hopfield network and recall each from a partial cue.

    Compares fixed point, floating point and the classical Hopfield network (Hebb's rule).

    Example:  [bold]equilif recall digits --stored 200 --blank 0.3[/]
    """
    source = own_data.chosen(data)
    if isinstance(source, Data) and presets.PRESETS[source].memory:
        raise ValueError(
            f"recall stores images, {source} holds none: give {', '.join(images.NAMES)} or a path"
        )
    name = source if isinstance(source, Data) else source.resolve().stem
    out = out or Path(RESULTS) / f"recall-{name}"
    tables.check_seed(seed)
    files.check(out / folders.RECALL)
    loaded = resolved(source, data_options, folder=folder).data
    recalling.check_images(loaded)
    with show.bar() as progress:
        task = progress.add_task("recall", total=stored, note="")
        found = recalling.run(
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
        Path, network_argument(help="A network.npz or pretrained network with an attention layer."), INPUT
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
) -> dict[str, Any]:
    """Plot the attention weights of every head over the tokens of a test sample.

    For a trained embedding table, also list the nearest neighbours of words before and after training.

    Example:  [bold]equilif attention results/vowels/network.npz --sample 3 --sample 8[/]  and
    [bold]equilif attention results/imdb/network.npz --word boring --data DIR[/]
    """
    out = out or network.parent
    trained = saved.read(network)
    net = trained.network
    weights = trained.weights
    with show.console.status("reading the samples"):
        data = trained.data_set(folder)
    files.check(out / folders.ATTENTION)
    with show.console.status("samples settle"):
        found = attending.look(net, weights, data, sample or [0, 1])
    words = []
    if word or net.table is not None and data.words:
        files.check(out / folders.NEIGHBOURS)
        words = neighbouring.neighbours(net, weights, data, word or ())
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
        network_option(
            help="Analyse this network only: a network.npz, or a pretrained network by name.",
            show_default="the preset, untrained and trained",
        ),
        INPUT,
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Training epochs of the trained network.", min=1, show_default="3")
    ] = None,
    samples: Annotated[int, typer.Option(help="Maximum number of training samples.", min=1)] = 1437,
    hidden: Hidden = None,
    patches: Set = None,
    seed: Seed = None,
    label: Label = None,
    folder: Folder = None,
) -> dict[str, Any]:
    """Compare the integer weight updates with those of other methods of learning, and with the gradient.

    Prints cosine similarities of updates summed over the training samples: per population, with
    backpropagation, predictive coding, nudged phases and errors at the same weights; per synapse of a network
    that learns by nudged phases, with floating-point Equilibrium Propagation and with the gradient of its
    energy.  And of each population, on as many test samples: silent, active and saturated neurons, spectral
    norm of its input weights, steps to settle, drift of its rates without a nudge, effect of the nudge, and
    cosine with the gradient.

    Example:  [bold]equilif gradient digits --epochs 3[/]  and  [bold]equilif gradient digits --hidden 64
    --hidden 32[/]
    """
    given = options.changes(patches, label=label, hidden=hidden, seed=seed, run=())
    request = resolving.Request(
        data=data,
        folder=folder,
        reading=given.data_options.reading,
        network=network,
        hidden=hidden or None,
        changes=given.network,
    )
    stages = 1 if network else 2 + (comparing.EPOCHS if epochs is None else epochs)
    with show.stages("gradient", stages) as begin:
        found = comparing.compare(request, epochs=epochs, samples=samples, seed=seed, progress=begin)
    print_notes(found.notes)
    pairs = ("integer_gradient", "integer_ep", "ep_gradient")
    rows = [
        [
            name,
            synapse,
            *(_cosine(cosines[pair]["sum"]) for pair in pairs),
            _cosine(cosines["integer_gradient"]["each"]["mean"]),
        ]
        for name, report in found.reports.items()
        for synapse, cosines in report["synapses"].items()
    ]
    populations = list(dict.fromkeys(p for layers in found.layers.values() for p in layers))
    show.console.print(
        show.table(
            f"cosines of the integer update on {found.samples:,} training samples of {found.data}",
            ["network", "learned by", "method", *populations],
            [
                [name, report["learned_by"], method, *(_cosine(cosines[p]) for p in populations)]
                for name, report in found.methods.items()
                for method, cosines in report["methods"].items()
            ],
            left=3,
        )
    )
    if rows:
        show.console.print(
            show.table(
                f"cosines of synapses on {found.samples:,} training samples of {found.data}",
                ["network", "synapse", *(p.replace("_", " : ") for p in pairs), "integer : gradient, each"],
                rows,
                left=2,
            )
        )
    show.console.print(
        show.table(
            f"populations on {found.tests:,} test samples of {found.data}",
            ["network", "population", *LAYER_COLUMNS],
            [
                [name, population, *(_layer_value(column, values[column]) for column in LAYER_COLUMNS)]
                for name, report in found.layers.items()
                for population, values in report.items()
            ],
            left=2,
        )
    )
    for name, method in found.methods.items():
        text = f"{show.literal(name)}: accuracy {method['accuracy']:.1%}"
        if report := found.reports.get(name):
            g = report["gradients"]
            text += (
                f"; gradient strong on {g['strong']:,}, weak on {g['weak']:,} and zero on {g['zero']:,} "
                f"samples; {report['elsewhere']} settle at another fixed point than in floating point"
            )
        show.console.print(text)
    return {"data": found.data, "methods": found.methods, "reports": found.reports, "layers": found.layers}


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
