"""Networks of one's own: written as a file, checked and drawn."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import (
    DATA_HELP,
    MADE,
    ChangeOptions,
    Data,
    Folder,
    Hidden,
    OwnOptions,
    panel,
    resolved,
)
from equilif.commands.options import DEFAULTS, INPUT, OUTPUT, STREAM, FileUse
from equilif.show import console
from equilif.show import network as show_network
from equilif.training.names import HISTORY
from equilif.training.storage.pretrained import Card, model_path
from equilif_golden import files
from equilif_golden.extras import MissingExtra
from equilif_golden.lazy import lazy

with lazy():
    from equilif import results
    from equilif.data.encoding import about
    from equilif.hardware import boards as known_boards
    from equilif.hardware import resources
    from equilif.training import options, resolve
    from equilif.training.settings import description, netfile, patches
    from equilif.training.storage import history, records, saved

command = panel("Networks")
#: tables of the network's shape
SHAPE = ("population", "synapse", "phases", "numbers")


@command
def init(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help=f"{DATA_HELP} Or the folder of a run."), INPUT
    ] = "digits",
    out: Annotated[
        Path, typer.Option(help="Output file."), FileUse("output", unless=("keys", "schema"))
    ] = Path("net.toml"),
    hidden: Hidden = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Print all keys of --set with meaning, default and range instead.")
    ] = False,
    schema: Annotated[
        Path | None,
        typer.Option(
            help="Write the JSON Schema of network files, for editors, instead; - is standard output.",
            metavar="FILE",
            show_default=False,
        ),
        STREAM,
    ] = None,
    given: ChangeOptions = DEFAULTS,
    folder: Folder = None,
) -> dict[str, Any]:
    """Write a network file (TOML): the preset of a data set, the default for your own data, or the network
    of a run.

    Edit the file, draw it with `equilif show`, and train it with `equilif train --config FILE`.  To change
    single keys, `equilif train --set KEY=VALUE` needs no file.

    Example:  [bold]equilif init wine.csv --label kind --hidden 48 --out net.toml[/]
    """
    if keys:
        listed = options.key_list()
        show_network.keys(listed)
        return {"keys": [key._asdict() for key in listed]}
    if schema is not None:
        return _schema(schema)
    if out.suffix != netfile.SUFFIX:
        raise ValueError(f"--out must end in {netfile.SUFFIX}, not be {str(out)!r}")
    files.check(out)
    changes = options.changes(**given, hidden=hidden, run=())
    found, words = _suggested(data, folder, changes, hidden)
    file = str(out)
    train = ["equilif", found.command, *words, "--config", file]
    heading = [
        "docs/how_to/own_networks.md explains every key.",
        f"  {shlex.join(['equilif', 'show', file])}",
        f"  {shlex.join(train)}",
    ]
    files.write(out, netfile.written(found, heading=heading).encode())
    console.console.print(
        f"wrote {console.literal(out)}; look at it with  equilif show {console.literal(out)}  and train it "
        f"with  {console.literal(shlex.join(train))}"
    )
    return {"data": data, "out": out, "network": list(found.population)}


def _schema(out: Path) -> dict[str, Any]:
    """Write the JSON Schema of network files."""
    if str(out) == "-":
        print(json.dumps(description.schema(), indent=2))
    else:
        results.write_json(out, description.schema())
        console.console.print(f"wrote {console.literal(out)}")
    return {"out": out}


def _suggested(
    data: str, folder: Path | None, changes: options.Changes, hidden: list[str] | None
) -> tuple[description.Description, list[str]]:
    """Default network for data, or that of a run, and the data as typed.  Only convolutions and own data need
    the samples.
    """
    convolutions, sizes = resolve.layers(hidden or None)
    data_options = changes.data_options
    request: dict[str, Any] = {"folder": folder, "hidden": hidden or None, "changes": changes.network}
    if data in set(Data):
        data_options.refuse(data)
        if not convolutions and folder is None:
            base = resolve.default(None, Data(data))
            return resolve.adapted(base, resolve.Request(changes=changes.network), sizes), [data]
        preset = resolved(data, **request).description
        return preset, [data, *([] if folder is None else ["--data", str(folder)])]
    if (Path(data) / HISTORY).is_file():
        data_options.refuse(f"the run in {data}")
        if convolutions or folder is not None:
            raise ValueError(f"conv: and --data are for data, {data} is a run: name its data")
        run = history.read_history(Path(data) / HISTORY)
        # the options of its data are left out
        known = run.about
        own = [known.path, "..."] if isinstance(known, about.About) else ["..."]
        words = [run.data] if known is None else own
        return patches.patched(run.preset.changed(hidden=sizes), changes.network), words
    found = resolved(data, data_options, **request)
    others = {name: table for name, table in found.description.content().items() if name not in SHAPE}
    sized = description.Description.of_network(found.network, found.description.data, sized=True, **others)
    return sized, [data, *data_options.words]


@command
def show(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="Network file, network.npz, folder of a run, pretrained network by name, or name of a data "
            "set (its preset).",
        ),
        INPUT,
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Data set (name or path) that determines the sizes which the file leaves open.",
            show_default="none",
        ),
        INPUT,
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Output file (.md) of a diagram of the network in Mermaid.", show_default="none"),
        OUTPUT,
    ] = None,
    data_options: OwnOptions = MADE,
    folder: Folder = None,
) -> dict[str, Any]:
    """Show the populations, synapses, time steps and weight memory of a network, and the boards that fit it.

    Checks the network file; trains nothing.

    Example:  [bold]equilif show net.toml digits --out net.md[/]
    """
    if out is not None:
        if out.suffix.lower() != ".md":
            raise ValueError(f"--out must end in .md, not be {str(out)!r}")
        files.check(out)
    given = [*data_options.flags, *(["--data"] if folder is not None else [])]
    if given and data is None and (network not in set(Data) or data_options.flags):
        raise ValueError(f"{', '.join(given)} is for DATA: name the data, or leave it out")
    found = _resources(network, data, folder, data_options)
    show_network.network(found)
    if out is not None:
        files.write(out, files.printable(show_network.diagram(found)).encode())
        console.console.print(f"wrote {console.literal(out)}")
    return {**found.to_dict(), "data": data, "out": out}


def _resources(
    network: str, data: str | None, folder: Path | None, data_options: options.DataOptions
) -> resources.NetworkResources:
    """A network file, a saved network or a preset, with the sizes of ``data``."""
    of = resources.NetworkResources.of
    if network in set(Data):
        if data is not None:
            raise ValueError(f"{network} names its data: leave {data} out, or give a network file")
        preset = resolved(network, folder=folder)
        return of(network, preset.description, preset.network)
    path = model_path(network)
    if path.suffix != netfile.SUFFIX:
        if data is not None:
            raise ValueError(f"{path} has all its sizes: leave {data} out")
        found = netfile.network_of(path)
        identity = records.read_identity(path)
        encoding = identity.encoding if isinstance(identity, about.About) else None
        return of(network, description.Description.of_network(found, sized=True), found, encoding)
    file = netfile.read(path)
    if data is None:
        return of(network, file.description)
    learns = path if file.description.learning else None
    samples = resolved(data, data_options, folder=folder, config=learns).data
    return of(network, file.description, file.network(samples), samples.encoding)


@command
def models() -> dict[str, Any]:
    """List the pretrained networks: accuracy, how each was trained, and which boards hold it.

    Every command that takes a network.npz takes their names.

    Example:  [bold]equilif evaluate digits-64[/]
    """
    without = None
    try:
        fits = known_boards.fits
    except MissingExtra as e:
        without = e
    rows: dict[str, Any] = {}
    found: dict[str, list[known_boards.Fit]] = {}
    for name, card in Card.all().items():
        model = saved.read(model_path(name))
        if not without:
            found[name] = fits(model.network, model.encoding)
        boards = None if without else [fit.build for fit in found[name] if not fit.short]
        rows[name] = {
            **card._asdict(),
            "learned_by": model.network.schedule.learned_by,
            "weights": model.network.n_weights,
            "boards": boards,
        }
    table = [
        (name, r["network"], r["learned_by"], r["command"], f"{r['accuracy']:.2%}", f"{r['weights']:,}")
        for name, r in rows.items()
    ]
    columns = ("name", "network", "learned by", "command", "test accuracy", "weights")
    console.console.print(console.table("Pretrained networks", columns, table, left=4))
    if without:
        console.console.print(f"[yellow]without boards: {console.literal(without)}[/]")
    else:
        lines = [[name, show_network.builds(listed)] for name, listed in found.items()]
        title = "\nboards that hold them"
        console.console.print(console.table(title, ["name", "build"], lines, left=2))
    return {"models": rows}
