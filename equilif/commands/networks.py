"""Networks of one's own: written as a file, checked and drawn."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import (
    DATA_HELP,
    Data,
    Folder,
    Json,
    panel,
    refuse_own,
    samples_of,
)
from equilif.commands.own import NOTHING, Own, OwnOptions
from equilif.commands.patches import key_list
from equilif.show import console
from equilif.show import network as show_network

if TYPE_CHECKING:
    from equilif.hardware.anatomy import Anatomy
    from equilif.training.preset import Preset
    from equilif.training.sketch import Sketch

command = panel("Networks")
#: what a picture can be
PICTURES = (".png", ".svg", ".pdf")


@command
def new(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help=f"{DATA_HELP} Or the folder of a run: its network.")
    ] = "digits",
    out: Annotated[Path, typer.Option(help="The file.")] = Path("net.toml"),
    hidden: Annotated[
        list[int] | None,
        typer.Option(help="Size of a hidden population; repeat for more of them.", min=1, show_default=False),
    ] = None,
    keys: Annotated[
        bool,
        typer.Option(
            "--keys", help="Print all keys of --set with meaning, default and range; write nothing."
        ),
    ] = False,
    own: OwnOptions = NOTHING,
    json: Json = None,
) -> dict[str, Any]:
    """Write a network file: that of a data set, what is suggested for data of your own, or that of a run.

    Change it with any editor, look at it with `equilif show`, and train it with --net; or change single keys
    with --set of `equilif train`.

    Example:  [bold]equilif new wine.csv --label kind --hidden 48 --out net.toml[/]
    """
    from equilif.training import netfile
    from equilif_golden import files

    if keys:
        found = key_list()
        show_network.keys(found)
        return {"keys": [key._asdict() for key in found]}
    if out.suffix != netfile.SUFFIX:
        raise ValueError(f"--out must end in {netfile.SUFFIX}, not be {str(out)!r}")
    files.check(out)
    preset, sketch, words = _suggested(data, own, tuple(hidden) if hidden else None)
    sketch.check(preset.schedule)
    file = str(out)
    train = ["equilif", "train", *words, "--net", file]
    heading = [
        "docs/own_networks.md explains every key.",
        f"  {shlex.join(['equilif', 'show', file])}",
        f"  {shlex.join(train)}",
    ]
    files.write(out, netfile.written(preset, sketch, heading=heading).encode())
    console.console.print(
        f"wrote {console.literal(out)}; look at it with  equilif show {console.literal(out)}  and train it "
        f"with  {console.literal(shlex.join(train))}"
    )
    return {"data": data, "out": out, "network": [g.name for g in sketch.populations]}


def _suggested(data: str, own: Own, hidden: tuple[int, ...] | None) -> tuple[Preset, Sketch, list[str]]:
    """What is suggested for data, or was trained in a run: how it learns, its network, and the data as they
    are typed.
    """
    from equilif.data.own import chosen
    from equilif.training.history import HISTORY, read_history
    from equilif.training.presets import PRESETS
    from equilif.training.sketch import Sketch

    if data in set(Data):
        refuse_own(data, own)
        preset = PRESETS[data].changed(hidden=hidden)
        return preset, preset.sketch, [data]
    if (Path(data) / HISTORY).is_file():
        refuse_own(f"the run in {data}", own)
        history = read_history(Path(data) / HISTORY)
        if history.preset is None:
            raise ValueError(
                f"{data} is a run of `equilif rates`, which no network file describes: show its network"
            )
        preset = history.preset.changed(hidden=hidden)
        # options of its own data are not said here
        words = [history.data] if history.about is None else [history.about.path, "..."]
        return preset, preset.sketch, words
    loaded, preset = samples_of(chosen(data), None, own, hidden=hidden)
    return preset, Sketch.of(preset.network(loaded)), [data, *own.words]


@command
def show(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="A network file, a network.npz, the folder of a run, or the name of a data set: its preset.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Data that say the sizes which the file leaves open: a name, or a path to your own.",
            show_default="none",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Picture to draw: .png, .svg or .pdf.", show_default="no picture")
    ] = None,
    own: OwnOptions = NOTHING,
    folder: Folder = None,
    json: Json = None,
) -> dict[str, Any]:
    """What a network is made of: populations, synapses, time steps, memory, and which boards hold it.

    Nothing is trained.  A file that is wrong is refused with the line and the key.

    Example:  [bold]equilif show net.toml digits --out net.png[/]
    """
    from equilif_golden import files

    if out is not None:
        if out.suffix.lower() not in PICTURES:
            raise ValueError(f"--out must end in {', '.join(PICTURES)}, not be {str(out)!r}")
        from equilif.show import diagram

        files.check(out)
    given = [*own.flags, *(["--data"] if folder is not None else [])]
    if given and data is None and (network not in set(Data) or own.flags):
        raise ValueError(f"{', '.join(given)} is for DATA: name the data, or leave it out")
    found = _anatomy(network, data, folder, own)
    show_network.network(found)
    if out is not None:
        diagram.draw(found, out)
        console.console.print(f"drew {console.literal(out)}")
    return {**found.to_dict(), "data": data, "out": out}


def _anatomy(network: str, data: str | None, folder: Path | None, own: Own) -> Anatomy:
    """A network file, a saved network or a preset, with the sizes of ``data``."""
    from equilif.data.own import chosen
    from equilif.hardware.anatomy import Anatomy
    from equilif.training import netfile
    from equilif.training.history import NETWORK
    from equilif.training.sketch import Sketch

    if network in set(Data):
        if data is not None:
            raise ValueError(f"{network} names its data: leave {data} out, or give a network file")
        loaded, preset = samples_of(Data(network), folder)
        return Anatomy.of(network, preset.sketch, preset.schedule, preset.network(loaded))
    path = Path(network)
    if path.is_dir():
        path /= NETWORK
    if path.suffix != netfile.SUFFIX:
        if data is not None:
            raise ValueError(f"{path} has all its sizes: leave {data} out")
        saved = netfile.network_of(path)
        return Anatomy.of(network, Sketch.of(saved), saved.schedule, saved)
    file = netfile.read(path)
    sized = None
    if data is not None:
        learns = path if file.learning is not None else None
        loaded, _ = samples_of(chosen(data), folder, own, net=learns)
        sized = file.network(loaded)
    return Anatomy.of(network, file.sketch, file.schedule, sized)
