"""Resolving a request to a network that learns, for command line, Python, boards and sweeps.

    found = resolve(Request(data="digits", hidden=[64, 32]))
    run = Run.start(found.description, found.data, seed=0)

A request names data, a network and settings.  What it leaves open has the defaults of the data: the preset of
a data set with a name, for own data :func:`equilif.training.settings.presets.own`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from equilif.data import Name, own
from equilif.data.sets import characters
from equilif.data.sets.dataset import DataSet
from equilif.training.settings import convolved, netfile, presets
from equilif.training.settings.convolved import ConvSpec
from equilif.training.settings.description import Description
from equilif.training.settings.netfile import NetFile
from equilif.training.settings.patches import NO_CHANGES, Patches, ask_feedback, feedback, patched
from equilif.training.storage import saved
from equilif.training.storage.pretrained import model_path
from equilif.training.storage.saved import Saved
from equilif_golden.fixed import check_int
from equilif_golden.learning import largest_rate
from equilif_golden.network import MAX_NEURONS, Network, Weights
from equilif_golden.places import placed

#: sizes of hidden populations, before them convolutions as conv:MAPS[:KERNEL[:STRIDE]]
Hidden = int | str | Sequence[int | str]
CONVOLUTION = "conv:"
NO_LAYER = "none"  #: inputs joined to the output
#: tables that a saved network has itself
SHAPE = ("population", "synapse", "phases", "numbers", "start")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Data, network and settings; None or nothing: the default.

    data : name of a data set, path of own data, or a data set
    folder : folder with the files of a data set with a name
    reading : options of :func:`equilif.data.own.read`
    config : network file in place of the preset
    network : saved network in place of an untrained one
    hidden : hidden populations in place of the preset's; () or "none" for none
    changes : other values for keys of the network file, such as {"phases.free": "16"}
    settings : other values for keys of [phases], [learning] or [rates], and [start]
    rates : training in floating point by implicit differentiation
    """

    data: str | Path | DataSet = Name.digits
    folder: Path | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    config: Path | None = None
    network: Path | None = None
    hidden: Hidden | None = None
    changes: Patches = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    rates: bool = False


@dataclass(frozen=True)
class Resolved:
    """The data, and the network and settings that learn them; ``notes``: what the user should know.

    ``saved``: network that a file holds; None for an untrained one.
    """

    data: DataSet
    description: Description
    notes: tuple[str, ...] = ()
    saved: Saved | None = None

    @cached_property
    def network(self) -> Network:
        """The network for these data; ValueError where they do not fit."""
        return self.description.network(self.data) if self.saved is None else self.saved.network

    def weights(self, seed: int | None = None) -> Weights:
        """Weights of the saved network, or initial ones of this seed, by default the first of the preset."""
        if self.saved is not None:
            return self.saved.weights
        first = self.description.seeds[0] if seed is None else seed
        return self.description.initial_weights(self.network, first, self.data)


def resolve(request: Request) -> Resolved:
    """Data, network and settings of a request.

    ValueError names what cannot be; settings are checked before a data set with a name is read.
    """
    specs, hidden = layers(request.hidden)
    source = request.data if isinstance(request.data, DataSet) else own.chosen(request.data)
    name = _data_name(source)
    _check(request, source, specs)
    file = None if request.config is None else netfile.read(request.config)
    notes = [file.description.unjoined] if file is not None and file.description.unjoined else []

    def described(data: DataSet | None) -> Description:
        base = default(data, name, file, rates=request.rates)
        if not specs:
            return adapted(base, request, hidden)
        return base if data is None else _convolutions(data, specs, hidden or (), base, request)

    if name is not None and specs:
        convolved.require_images(name)
    early = None if name is None else described(None)
    if isinstance(source, DataSet):
        data = source
    elif early is not None:
        data = early.read(request.folder)
    else:
        loaded = own.read(source, **request.reading)
        data = loaded.data
        notes += loaded.reading_notes
    description = described(data) if early is None or specs else early
    description.check_samples(data.name, images=bool(data.image))
    if file is not None:
        file.network(data)  # says which line does not fit the data
    data = description.selected(data)
    if request.network is None:
        return Resolved(data, description, tuple(notes))
    trained = saved.read(request.network)
    notes += trained.check(data)
    trained.require_sizes(data)
    requested = request.settings.get("learning_rate") or request.changes.get("learning.learning_rate")
    if description.learning and requested is None and trained.network.trainable:
        largest = largest_rate(trained.network)
        if description.learning_rate > largest:
            notes.append(f"learning rate {largest:.4g}, the largest of this network")
            description = description.changed(learning_rate=largest)
    return Resolved(data, description, tuple(notes), trained)


def resolve_text(
    paths: Sequence[Path],
    *,
    pattern: str | None = None,
    config: Path | None = None,
    shape: Mapping[str, int] = MappingProxyType({}),
    changes: Patches = NO_CHANGES,
    **settings: Any,
) -> tuple[characters.Text, Description]:
    """Text and network to learn it: a network file, or a transformer of this ``shape``, its positions and
    arguments of :func:`equilif.training.settings.presets.transformer`.

    ``settings``: other values for keys of [text]; ValueError for what cannot be.
    """
    if config is not None and shape:
        raise ValueError(f"{', '.join(shape)} and config both define the network: give one of them")
    sizes = {name: size for name, size in shape.items() if name != "positions"}
    reading: dict[str, Any] = {"pattern": pattern, "positions": shape.get("positions")}
    reading = {name: value for name, value in reading.items() if value is not None}
    if config is None:
        text = characters.read(paths, **reading)
        base = presets.transformer(text, **sizes)
    else:
        file = netfile.read(config)
        positions, symbols = file.preset("", text=True).sequence
        text = characters.read(paths, **reading, positions=positions, symbols=symbols)
        base = file.preset(text.name, text=True)
        file.network(text)  # says which line does not fit the text
    found = _changed(base.changed(**settings), Request(changes=changes))
    teacher = found.require_text().teacher
    return text, found if teacher is None else found.changed(teacher=str(model_path(teacher).absolute()))


def _check(request: Request, source: Name | Path | DataSet, specs: Sequence[ConvSpec]) -> None:
    """ValueError for parts of a request that exclude each other."""
    if request.config is not None and (specs or request.network is not None):
        other = "hidden with conv:" if specs else "network"
        raise ValueError(f"{other} and config both define the network: give one of them")
    if request.network is not None:
        for key in request.changes:
            if key.partition(".")[0] in SHAPE:
                raise ValueError(
                    f"--set {key} is for a new network, {request.network} is trained: leave it out"
                )
    if not isinstance(source, Path) and request.reading:
        keys = ", ".join(f"data.{key}" for key in request.reading)
        raise ValueError(f"{keys} is only for your own data, not for {_name(source)}: leave it out")
    if not isinstance(source, Name) and request.folder is not None:
        raise ValueError(
            f"the folder (--data) is that of a named data set, {_name(source)} is none: leave it out"
        )


def default(
    data: DataSet | None, name: Name | None, file: NetFile | None = None, *, rates: bool = False
) -> Description:
    """Network and settings where a request names none: of a network file, else of a data set with a name,
    else those of own data.
    """
    if file is not None:
        return file.preset(name or ("" if data is None else data.name))
    if name is not None:
        return (presets.RATES if rates else presets.PRESETS)[name]
    assert data is not None
    return (presets.own_rates if rates else presets.own)(data)


def adapted(base: Description, request: Request, hidden: tuple[int, ...] | None) -> Description:
    """The default of the data with the hidden populations and settings of a request."""
    if request.config is None:
        base = presets.suited(base, hidden, request.changes)
    return _changed(base.changed(hidden=hidden, **request.settings), request)


def _changed(base: Description, request: Request) -> Description:
    """Change the keys that a request names; PlacedError for a phase without effect."""
    found = patched(base, request.changes)
    phases = (key.partition(".") for key in request.changes)
    with placed("phases"):
        found.schedule.check_options([name for table, _, name in phases if table == "phases"])
    return found


def _convolutions(
    data: DataSet, specs: list[ConvSpec], hidden: tuple[int, ...], base: Description, request: Request
) -> Description:
    """Convolutions, hidden populations and the output, with the settings of a request."""
    if not request.rates:
        found = convolved.preset(data, specs, hidden, phases=ask_feedback(request.changes))
    else:
        several = len(specs) + len(hidden) > 1
        back = ask_feedback(request.changes) if several else feedback(base, request.changes)
        found = convolved.rates(data, specs, hidden, base, feedback=back)
    return _changed(found.changed(**request.settings), request)


def layers(hidden: Hidden | None) -> tuple[list[ConvSpec], tuple[int, ...] | None]:
    """Convolutions and sizes of hidden populations; None where no size is given.

    ValueError for something else, and for a convolution after a size.
    """
    if hidden is None:
        return [], None
    if hidden in (NO_LAYER, [NO_LAYER], (NO_LAYER,)):
        return [], ()
    convolutions: list[ConvSpec] = []
    sizes: list[int] = []
    for layer in [hidden] if isinstance(hidden, int | str) or not hasattr(hidden, "__iter__") else hidden:
        if isinstance(layer, str) and layer.startswith(CONVOLUTION):
            if sizes:
                raise ValueError(f"hidden {layer} comes after {sizes[-1]}: give convolutions first")
            convolutions.append(ConvSpec.of(layer.removeprefix(CONVOLUTION)))
        else:
            sizes.append(_size(layer))
    return convolutions, tuple(sizes) if sizes or not convolutions else None


def _size(layer: object) -> int:
    """Neurons of a hidden population, as a number or as typed."""
    number = int(layer) if isinstance(layer, str) and re.fullmatch(r"-?\d+", layer, re.ASCII) else layer
    return check_int(number, "hidden", 1, MAX_NEURONS, "neurons, or conv:MAPS[:KERNEL[:STRIDE]]")


def _name(source: Name | Path | DataSet) -> str:
    return source.name if isinstance(source, DataSet) else str(source)


def _data_name(source: Name | Path | DataSet) -> Name | None:
    """Name of a data set of the table; None for own data."""
    if isinstance(source, DataSet):
        return Name(source.name) if source.about is None and source.name in set(Name) else None
    return source if isinstance(source, Name) else None
