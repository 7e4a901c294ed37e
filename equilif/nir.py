"""Networks as NIR files, for other frameworks and from them.

NIR is the Neuromorphic intermediate representation (Pedersen et al. 2024): a graph of layers in a file.

    Input ──► Affine W, b ──► IF ──► Affine W', b' ──► IF ──► Output
                              ▲                        │
                              └────── Linear W'^T ◄────┘

``b`` is the synapse from the constant population, and ``Linear W'^T`` the way back of a symmetric synapse.
Maps are layers of (maps, height, width), joined by Conv2d.  That has no transpose: a network with feedback
between maps is written as one without maps, each kernel as a matrix.
Neurons without a leak are IF, neurons with one LIF: a membrane that loses v 2**-leak each step has
tau = dt 2**leak, and r = tau / dt makes a weight what a spike adds.  Inputs are held for the whole phase; 255
means 255/256.  NIR says neither how a step is made nor how a threshold is crossed.  What it leaves open, and
what it cannot say, is in ``OPEN``.

On the way here every neuron is scaled to this network's threshold and its weights are rounded;
:class:`Moved` says by how much.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from equilif.convolutions import channels_first, from_kernel, patch_of, rolled, to_kernel, unrolled
from equilif.data.base.reading import content_of, message_of, most_bytes, reading
from equilif.nir_layers import REAL, Reader, parameter
from equilif.training.storage.records import record
from equilif_golden import files
from equilif_golden import network as networks
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.blocks.synapse import scaled
from equilif_golden.extras import needs
from equilif_golden.fixed import DEFAULT, Numerics, Raw, check_float, check_int
from equilif_golden.network import MAX_NEURONS, ONE, Input, Lif, Network, Population, Shape, Synapse, Weights
from equilif_golden.schedule import Schedule
from equilif_golden.synapses import FEEDBACK_SCALES

with needs("nir"):
    import h5py
    import nir

DT = 1e-4  #: seconds a step, as snnTorch has it; norse has 1e-3
OWN = "equilif"  #: metadata of a graph: what NIR has no place for, as JSON
BIAS = "bias"  #: name of the constant population, where the file does not say
BACK = "-back"  #: ends the name of a symmetric synapse's way back
STEPS = (1e-12, 1e6)  #: seconds that a step may take
MAX_ENTRIES = 100_000  #: of a file, counted along every path
DEEPEST = 32  #: groups within groups
OPEN = (
    "reset by subtraction: v_reset is left out, and its default of 0 means that too, where a framework asks",
    "a membrane begins at half its threshold and is cut at -1 and +2 thresholds each step",
    "populations are updated one after the other, each from the newest spikes of its neighbours",
    "each product of an input and a weight is rounded down to the weight's last bit, a leak as well",
)


@dataclass(frozen=True)
class Moved:
    """Rounding error of the parameters of one name.

    Changes are in thresholds; those of a leak are in parts of the membrane a step.
    """

    name: str
    count: int
    moved: int
    largest: float
    mean: float
    clipped: int

    @classmethod
    def of(cls, name: str, before: REAL, after: REAL, clipped: int = 0) -> Moved:
        change = np.abs(after - before)
        # single precision is what files hold: a change that it cannot show is none
        return cls(
            name,
            change.size,
            int((change > 1e-6 * np.abs(before)).sum()),
            float(change.max(initial=0)),
            float(change.mean()),
            clipped,
        )


@dataclass(frozen=True)
class Imported:
    """A network that was read, its raw weights, what rounding did, and the data that it belongs to."""

    network: Network
    weights: Weights
    moved: tuple[Moved, ...]
    about: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"network": self.network.to_dict(), "parameters": [asdict(m) for m in self.moved]}


# -- export ----------------------------------------------------------------------------------------
def to_graph(
    network: Network, weights: Mapping[str, Raw], *, dt: float = DT, about: Mapping[str, Any] | None = None
) -> nir.NIRGraph:
    """The network as NIR has it; ValueError names what NIR cannot say.

    ``dt``: seconds a step.  ``about``: the data it belongs to, as equilif_golden.network.about reads it.
    """
    check_float(dt, "dt", *STEPS)
    weights = network.check_weights(weights)
    for p in network.populations:
        if p.kind in ("attention", "relay", "self_attention"):
            raise ValueError(
                f"population {p.name!r}: NIR has no {p.kind} neurons; "
                "a network with attention layers cannot be exported"
            )
        if p.kind == "constant" and p.size > 1:
            raise ValueError(
                f"population {p.name!r}: NIR has one bias a neuron, {p.size} constants cannot be exported"
            )
    metadata = {
        "dt": dt,
        "populations": [p.name for p in network.populations],
        "constant": [p.name for p in network.populations if p.kind == "constant"],
        "synapses": {s.name: s.learning_rate_scale for s in network.synapses},
        "schedule": asdict(network.schedule),
        "numerics": asdict(network.numerics),
        "open": OPEN,
        **_described(network),
        **({} if about is None else {networks.ABOUT: about}),
    }
    if any(s.feedback and network[s.pre].shape for s in network.synapses if s.pre in network.neurons):
        network, weights = unrolled(network, weights)  # NIR has no transposed convolution
    schedule = network.schedule
    one = float(network.numerics.one)
    nodes: dict[str, Any] = {p.name: nir.Input(input_type=_values(p)) for p in network.inputs}
    edges: list[tuple[str, str]] = []
    for p in network.lif:
        v = np.full(_values(p), schedule.threshold)
        if schedule.leak:
            r = np.full(v.shape, 2.0**schedule.leak)
            nodes[p.name] = nir.LIF(tau=dt * r, r=r, v_leak=0 * v, v_threshold=v)
        else:
            nodes[p.name] = nir.IF(r=np.ones(v.shape), v_threshold=v)
        biases = [s for s in network.synapses if s.post == p.name and network[s.pre].kind == "constant"]
        if any(s.per_position for s in biases):
            raise ValueError(f"population {p.name!r}: NIR has no bias for each position of maps")
        if len(biases) > 1:
            raise ValueError(
                f"population {p.name!r}: NIR has one bias a neuron, "
                f"it has {' and '.join(s.name for s in biases)}"
            )
        forward = [(s.name, s.pre, s) for s in network.synapses if s.post == p.name and s not in biases]
        back = [(s.name + BACK, s.post, s) for s in network.synapses if s.pre == p.name and s.feedback]
        if biases and not forward + back:
            raise ValueError(
                f"population {p.name!r} has a bias and no other synapse: NIR has no place for it"
            )
        # exact in single precision: 16 bits, and 24 with a bias's 255/256
        bias = (weights[biases[0].name][0] * (ONE / 256 / one)).astype(np.float32) if biases else None
        for name, source, s in forward + back:
            is_back = name.endswith(BACK) and source == s.post
            w = (scaled(weights[s.name], s.feedback_shift * is_back) / one).astype(np.float32)
            nodes[name] = _node(network, s, w, bias, back=is_back)
            at = source
            if network[s.pre].shape and s.kernel is None:
                at = f"{name}-flat"
                nodes[at] = nir.Flatten({"input": np.array(_values(network[s.pre]))}, start_dim=0)
                edges.append((source, at))
            edges += [(at, name), (name, p.name)]
            bias = None
    out = f"{network.output}-out"
    nodes[out] = nir.Output(output_type=[network.n_outputs])
    edges.append((network.output, out))
    return nir.NIRGraph(nodes, edges, metadata={OWN: json.dumps(metadata)})


def _forward(
    found: Mapping[tuple[str, str], tuple[str, Raw]], order: Sequence[str]
) -> dict[tuple[str, str], int | None]:
    """Pairs of layers without those that are the way back of another pair, and the shift of the feedback
    scale; None for a pair without feedback.  ``found``: name and codes of each pair.
    """
    forward = {}
    for (s, t), (name, codes) in found.items():
        other, back = found.get((t, s), ("", None))
        shift = None if back is None else _feedback_shift(codes, back)
        is_back = back is not None and _feedback_shift(back, codes) is not None
        later = name.endswith(BACK) or not other.endswith(BACK) and order.index(s) > order.index(t)
        if not (is_back and (shift is None or later)):
            forward[s, t] = shift
    return forward


def _feedback_shift(forward: Raw, back: Raw) -> int | None:
    """Shift of the feedback scale with which ``back`` is the way back of ``forward``; None if it is not."""
    shifts = range(len(FEEDBACK_SCALES))
    return next((k for k in shifts if np.array_equal(scaled(forward, k).T, back)), None)


def _values(p: Population) -> list[int]:
    """Shape of a node of NIR: that of the image, or of maps, channels first."""
    shape = p.image if isinstance(p, Input) else p.shape
    return [p.size] if shape is None else [shape.maps, shape.height, shape.width]


def _node(network: Network, s: Synapse, w: Any, bias: Any, *, back: bool) -> Any:
    """A synapse as a node; ``back``: its way back."""
    pre = network[s.pre]
    geometry = network.geometry(s)
    if geometry is None:
        matrix = w if back else w[channels_first(pre)].T
        return nir.Linear(weight=matrix) if bias is None else nir.Affine(weight=matrix, bias=bias)
    patch = pre.patch if isinstance(pre, Input) else 1
    kernel = to_kernel(w, geometry, patch)
    return nir.Conv2d(
        input_shape=(geometry.pre.height * patch, geometry.pre.width * patch),
        weight=kernel,
        stride=geometry.stride * patch,
        padding=0,
        dilation=1,
        groups=1,
        bias=np.zeros(len(kernel), np.float32) if bias is None else bias,
    )


def _described(network: Network) -> dict[str, dict[str, list[int]]]:
    """Metadata of maps; empty for a network without maps."""
    if not network.maps:
        return {}
    return {
        "shapes": {p.name: list(p.shape) for p in network.maps if p.shape},
        "patches": {p.name: [p.patch] for p in network.inputs if p.shape},
        "channels_first": {p.name: [1] for p in network.inputs if p.channels_first},
        "kernels": {s.name: [s.kernel, s.stride] for s in network.synapses if s.kernel},
    }


def save(
    path: str | Path,
    network: Network,
    weights: Mapping[str, Raw],
    *,
    dt: float = DT,
    about: Mapping[str, Any] | None = None,
) -> None:
    """A NIR file, written whole or not at all; options as in :func:`to_graph`."""
    buffer = io.BytesIO()
    nir.write(buffer, to_graph(network, weights, dt=dt, about=about))
    with h5py.File(buffer, "r+") as file:
        # 0 where a file does not say; nir up to 1.0.4, which sinabs needs, refuses a node that has it
        for node in file["node/nodes"].values():
            node.pop("v_reset", None)
    files.write(path, buffer.getvalue())


# -- import ----------------------------------------------------------------------------------------
def load(
    path: str | Path,
    *,
    dt: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    fraction: int | None = None,
) -> Imported:
    """The network of a NIR file.

    dt          seconds a step
    schedule    fields of the schedule
    fraction    fraction bits of the weights

    Each is taken from the file where it is not given, and is a default where the file does not say.

    ValueError names the node that this network cannot have, or the file when it is not NIR.
    """
    path = Path(path)
    content = content_of(path)
    with reading(path, "a NIR file"):
        with h5py.File(io.BytesIO(content), "r") as file:
            _check_size(file, most_bytes(path))
        # frameworks write scalars for whole layers
        graph = nir.read(io.BytesIO(content), type_check=False)
    with reading(path):
        return from_graph(graph, dt=dt, schedule=schedule, fraction=fraction)


def _check_size(file: Any, most: int) -> None:
    """ValueError when reading all of a HDF5 file would take more memory than it may, or other files.

    Its arrays may be declared of any size, and its groups may contain each other.
    """
    entries = 0
    left = most

    def visit(group: Any, depth: int) -> None:
        nonlocal entries, left
        if depth > DEEPEST:
            raise ValueError(f"it has groups within groups, more than {DEEPEST} deep")
        for name in group:
            entries += 1
            if entries > MAX_ENTRIES:
                raise ValueError(f"it has more than {MAX_ENTRIES:,} entries")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name!r} is a link to another place")
            item = group[name]
            if isinstance(item, h5py.Group):
                visit(item, depth + 1)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ValueError(f"{name!r} lies in another file")
                left -= item.nbytes
                if left < 0:
                    raise ValueError(
                        f"its arrays would take more than {most:,} bytes, the most for a file of its size"
                    )

    visit(file, 0)


@dataclass(frozen=True)
class _Neurons:
    """A layer as this network has it, each (n,).

    gain    of its input, in thresholds
    drive   constant, in thresholds
    loss    part of the membrane that is lost each step
    """

    gain: REAL
    drive: REAL
    loss: REAL


def _neurons(name: str, node: Any, n: int, dt: float, shape: tuple[int, ...] | None = None) -> _Neurons:
    """``shape`` of maps: (channels, height, width), which a parameter can have, or (channels, 1, 1)."""

    def full(which: str) -> REAL:
        array = parameter(name, which, getattr(node, which))
        if shape is not None and array.shape == (shape[0], 1, 1):
            array = np.broadcast_to(array, shape)
        array = array.ravel()
        if array.size not in (1, n):
            raise ValueError(f"node {name!r} has parameters for {array.size} neurons and weights for {n}")
        return np.broadcast_to(array, n).copy()

    def time(which: str) -> REAL:
        seconds = full(which)
        if (seconds <= 0).any():
            raise ValueError(f"node {name!r}: {which} must be above 0 s, not {seconds.min():g}")
        return seconds

    def neurons(gain: REAL, drive: REAL, loss: REAL) -> _Neurons:
        with np.errstate(over="ignore"):  # what a float does not hold is found
            return _Neurons(
                parameter(name, "the gain of its input", gain / threshold),
                parameter(name, "its drive", drive / threshold),
                loss,
            )

    threshold = full("v_threshold")
    if (threshold <= 0).any():
        raise ValueError(f"node {name!r}: thresholds must be above 0, not {threshold.min():g}")
    reset = full("v_reset")
    if reset.any():
        raise ValueError(
            f"node {name!r}: neurons here reset to 0, or by their threshold, not to {reset[reset != 0][0]:g}"
        )
    if isinstance(node, nir.IF):
        return neurons(full("r"), np.zeros(n), np.zeros(n))
    tau = time("tau_mem" if isinstance(node, nir.CubaLIF) else "tau")
    if (dt > tau).any():
        raise ValueError(
            f"node {name!r}: tau = {tau.min():g} s is shorter than a step of {dt:g} s; "
            "give the time step it was made for (--dt)"
        )
    loss = dt / tau
    gain = full("r") * loss
    drive = full("v_leak") * loss
    if isinstance(node, nir.CubaLIF):
        if np.abs(1 - dt / time("tau_syn")).max() > 1e-3:
            raise ValueError(
                f"node {name!r}: synapses here have no current that lasts, "
                f"and its tau_syn is not one step of {dt:g} s"
            )
        gain = gain * full("w_in")
    return neurons(gain, drive, loss)


def from_graph(
    graph: Any,
    *,
    dt: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    fraction: int | None = None,
) -> Imported:
    """See :func:`load`."""
    read = Reader(graph)
    metadata = _Metadata.of(graph)
    dt = check_float(metadata.dt if dt is None else dt, "dt", *STEPS)
    order = _as_listed(read.order(), metadata.populations)
    sizes = read.sizes()
    numerics = metadata.numerics
    if fraction is not None:
        numerics = replace(numerics, fraction=fraction)
    maps = read.maps()
    places = {name: _place(name, read, sizes[name], maps, metadata) for name in order}
    layers = {
        name: _neurons(name, read.nodes[name], sizes[name], dt, read.shapes.get(name))
        for name in order
        if name not in read.inputs
    }
    leak, lost = _leak(layers)
    settings = Schedule(**{**metadata.schedule, "leak": leak, **(schedule or {})})
    threshold = settings.raw(numerics).threshold / numerics.one
    one = numerics.one
    moved: list[Moved] = []

    def rounded(name: str, real: REAL) -> Raw:
        """Codes of values in thresholds."""
        codes = numerics.weight.quantize(real * threshold)
        clipped = int(
            (
                (real * threshold * one > numerics.weight.hi + 0.5)
                | (real * threshold * one < numerics.weight.lo - 0.5)
            ).sum()
        )
        moved.append(Moved.of(name, real, codes / (one * threshold), clipped))
        return codes

    found: dict[tuple[str, str], tuple[str, Raw]] = {}
    kernels: dict[tuple[str, str], tuple[int, int]] = {}
    for way, layer in read.layers.items():
        s, t = way.source, way.target
        if (s, t) in found:
            raise ValueError(
                f"nodes {found[s, t][0]!r} and {way.name!r} both join {s!r} to {t!r}: add their weights"
            )
        gain = layers[t].gain
        if layer.stride is None:
            real = np.empty(layer.weight.shape[::-1])
            real[places[s].order] = _scaled(way.name, gain[:, None], layer.weight).T
            if t in maps:
                raise ValueError(
                    f"node {way.name!r} joins {s!r} to the maps of {t!r}: only kernels lead to maps here"
                )
        else:
            patch = places[s].patch
            each = _of_maps(t, gain, maps[t])[:, None, None, None]
            real = from_kernel(_scaled(way.name, each, layer.weight), patch)
            kernels[s, t] = layer.weight.shape[2] // patch, layer.stride // patch
        found[s, t] = way.name, rounded(f"weights {way.name}", real)
    synapses = []
    weights = {}
    for (s, t), shift in _forward(found, order).items():
        kernel, stride = kernels.get((s, t), (None, 1))
        synapse = Synapse(
            _name(s),
            _name(t),
            feedback=shift is not None or s in read.inputs,
            kernel=kernel,
            stride=stride,
            feedback_scale=FEEDBACK_SCALES[shift or 0],
        )
        synapses.append(synapse)
        weights[synapse.name] = found[s, t][1]
    for name, neurons in layers.items():
        gain = neurons.gain
        drive = neurons.drive
        if name in maps:
            gain = _of_maps(name, gain, maps[name])
            drive = _of_maps(name, drive, maps[name])
        biases = [_scaled(name, gain, b) for b in read.biases(name)]
        drive = drive + sum(biases, np.zeros(len(drive)))
        synapse = Synapse(metadata.bias, _name(name))
        if biases or drive.any() or synapse.name in metadata.synapses:
            synapses.append(synapse)
            weights[synapse.name] = rounded(f"bias {name}", drive * (256 / ONE))[None]
    moved.append(Moved.of("leak", lost, np.full(lost.shape, 2.0**-settings.leak if settings.leak else 0.0)))
    populations: list[Population] = [places[n].population for n in order]
    if any(s.pre == metadata.bias for s in synapses):
        populations.append(Population(metadata.bias, 1, "constant"))
    listed = _as_listed([p.name for p in populations], metadata.populations)
    known = list(metadata.synapses)
    parts = (
        tuple(sorted(populations, key=lambda p: listed.index(p.name))),
        tuple(
            replace(s, learning_rate_scale=metadata.synapses.get(s.name, 1.0))
            for s in sorted(synapses, key=lambda s: known.index(s.name) if s.name in known else len(known))
        ),
        _name(read.output),
        settings,
    )
    if metadata.kernels and not maps:  # maps that were written as matrices
        network, weights = metadata.rolled(parts, weights, numerics)
    else:
        given = None if numerics == DEFAULT else numerics
        network = Network.with_numerics(*parts, given)
    return Imported(network, network.check_weights(weights), tuple(moved), metadata.about)


@dataclass(frozen=True)
class _Place:
    """A layer or an input as a population.  ``order``: its neuron for each value of the node."""

    population: Population
    order: Raw
    patch: int = 1


def _place(name: str, read: Reader, size: int, maps: Mapping[str, Shape], metadata: _Metadata) -> _Place:
    """An image is folded into patches where all its synapses are convolutions."""
    kind = Input if name in read.inputs else Lif
    node = read.shapes.get(name)
    if name not in maps:
        order = np.arange(size)
        image = node if kind is Input and name not in metadata.channels_first else None
        if image is not None and math.prod(image) == size:
            # an image that is flattened: the colours of a pixel are side by side here
            order = order.reshape(*image[1:], image[0]).transpose(2, 0, 1).ravel()
        return _Place(kind(_name(name), size), order)
    shape = maps[name]
    patch = 1
    if kind is Input:
        ways = {w: layer for w, layer in read.layers.items() if w.source == name}
        sides = [(x.weight.shape[2], x.stride) for x in ways.values() if x.stride is not None]
        most = patch_of(shape, sides)
        patch = metadata.patches.get(name, [most if len(sides) == len(ways) else 1])[0]
        if most % patch:
            raise ValueError(
                f"node {name!r}: its image and the kernels over it have no patches of {patch}x{patch}"
            )
    if patch == 1:
        options = {"channels_first": True} if name in metadata.channels_first else {}
        population: Population = kind.of_shape(_name(name), shape, **options)
    else:
        folded = (shape.height // patch, shape.width // patch, shape.maps * patch**2)
        population = Input.of_shape(_name(name), folded, patch=patch)
    return _Place(population, channels_first(population), patch)


def _of_maps(name: str, values: REAL, shape: Shape) -> REAL:
    """Parameters (neurons,) by map; ValueError unless all positions have the same."""
    by_map = values.reshape(shape.maps, -1)
    if (by_map != by_map[:, :1]).any():
        raise ValueError(
            f"node {name!r}: the positions of a map share their weights, so their r, v_leak and v_threshold "
            "must be equal"
        )
    return np.asarray(by_map[:, 0])


def _scaled(name: str, gain: REAL, values: REAL) -> REAL:
    """Parameters of a node in thresholds."""
    with np.errstate(over="ignore"):  # what a float does not hold is found
        return parameter(name, "what it adds in thresholds", gain * values)


def _numbers(n: int) -> Any:
    return field(default_factory=dict, metadata={"numbers": n})


@dataclass(frozen=True)
class _Metadata:
    """Metadata of :func:`to_graph`; defaults for files of other programs.

    synapses : relative learning rates, by name
    shapes, patches, channels_first : of maps and inputs, by population
    kernels : size and stride of synapses that were written as matrices
    about : the data that the network belongs to
    """

    dt: float = DT
    populations: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()
    synapses: Mapping[str, float] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    numerics: Numerics = Numerics()
    shapes: Mapping[str, Sequence[int]] = _numbers(3)
    patches: Mapping[str, Sequence[int]] = _numbers(1)
    channels_first: Mapping[str, Sequence[int]] = _numbers(1)
    kernels: Mapping[str, Sequence[int]] = _numbers(2)
    about: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_float(self.dt, "dt", *STEPS)
        Schedule(**self.schedule).raw(self.numerics)
        for name, scale in self.synapses.items():
            check_float(scale, ("synapses", name), 0, 1e6, "learning_rate_scale")
        for f in fields(self):
            for key, values in getattr(self, f.name).items() if f.metadata else ():
                if not isinstance(values, list) or len(values) != f.metadata["numbers"]:
                    raise ValueError(f"{f.name} of {key} must be {f.metadata['numbers']} numbers")
                for value in values:
                    check_int(value, (f.name, key), 1, MAX_NEURONS)

    @classmethod
    def of(cls, graph: Any) -> _Metadata:
        """ValueError when it was damaged: then nothing of it is believed."""
        if OWN not in graph.metadata:
            return cls()
        try:
            found = json.loads(graph.metadata[OWN])
            if isinstance(found, Mapping):
                found = {f.name: found[f.name] for f in fields(cls) if f.name in found}
            return record(cls, found)
        except Exception as e:  # whatever damaged metadata lead to
            raise ValueError(
                f"the graph's metadata {OWN!r} cannot be read ({message_of(e)}): without it the rest can"
            ) from e

    @property
    def bias(self) -> str:
        """Name of the constant population."""
        return self.constant[0] if self.constant else BIAS

    def rolled(self, parts: tuple[Any, ...], weights: Weights, numerics: Numerics) -> tuple[Network, Weights]:
        """Restore the maps of a network whose kernels were written as matrices."""
        populations, synapses, output, schedule = parts
        shaped = []
        for p in populations:
            options: dict[str, Any] = {}
            if p.name in self.shapes:
                options["shape"] = Shape(*self.shapes[p.name])
            if p.name in self.patches:
                options["patch"] = self.patches[p.name][0]
                options["channels_first"] = p.name in self.channels_first
            shaped.append(replace(p, **options))
        joined = []
        for s in synapses:
            kernel, stride = self.kernels.get(s.name, (None, 1))
            joined.append(replace(s, kernel=kernel, stride=stride))
        network = Network(tuple(shaped), tuple(joined), output, schedule, numerics)
        return network, rolled(network, weights)


def _name(node: str) -> str:
    """A node's name as a population's."""
    return "".join(c if c.isalnum() or c in "_." else "_" for c in node)


def _as_listed(names: list[str], wanted: Sequence[str]) -> list[str]:
    """``names`` in the order of ``wanted``; where it does not name them all, as they are."""
    return sorted(names, key=wanted.index) if set(names) <= set(wanted) else names


def _leak(layers: Mapping[str, _Neurons]) -> tuple[int, REAL]:
    """The one leak that is nearest to all neurons', and theirs."""
    lost = np.concatenate([layer.loss for layer in layers.values()])
    return min(LEAKS, key=lambda k: float(np.abs(lost - (2.0**-k if k else 0.0)).mean())), lost


def convert(
    source: str | Path,
    target: str | Path,
    *,
    dt: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    fraction: int | None = None,
) -> Imported | None:
    """Convert .npz to .nir, or .nir to .npz, with the effect of rounding.

    The target's folder is made.  Whether it can be written is tried first.
    """
    source = Path(source)
    target = Path(target)
    match source.suffix, target.suffix:
        case ".npz", ".nir":
            given = [*(schedule or {}), *(["fraction"] if fraction is not None else [])]
            if given:
                raise ValueError(f"{source} determines phases and formats: leave out --{', --'.join(given)}")
            files.check(target)
            network, weights = networks.load(source)
            about = networks.about(source)
            save(target, network, weights, dt=DT if dt is None else dt, about=about)
            return None
        case ".nir", ".npz":
            files.check(target)
            found = load(source, dt=dt, schedule=schedule, fraction=fraction)
            networks.save(target, found.network, found.weights, found.about)
            return found
    raise ValueError(f"one file must end in .npz, the other in .nir, not {source.name} and {target.name}")
