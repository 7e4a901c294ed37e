"""Networks as NIR files, for other frameworks and from them.

NIR is the Neuromorphic intermediate representation (Pedersen et al. 2024): a graph of layers in a file.

    Input ──► Affine W, b ──► IF ──► Affine W', b' ──► IF ──► Output
                              ▲                        │
                              └────── Linear W'^T ◄────┘

``b`` is the synapse from the constant population, and ``Linear W'^T`` the way back of a symmetric synapse.
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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.reading import most_bytes, reading, reals, said
from equilif.extras import needs
from equilif_golden import files
from equilif_golden import network as networks
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.fixed import Numerics, Raw, finite, shown
from equilif_golden.network import ONE, Network, Population, Synapse, Weights
from equilif_golden.schedule import Schedule

with needs("nir"):
    import h5py
    import nir

DT = 1e-4  #: seconds a step, as snnTorch has it; norse has 1e-3
OWN = "equilif"  #: metadata of a graph: what NIR has no place for, as JSON
BIAS = "bias"  #: name of the constant population, where the file does not say
BACK = "-back"  #: ends the name of a symmetric synapse's way back
STEPS = (1e-12, 1e6)  #: seconds that a step may take
MOST_ENTRIES = 100_000  #: of a file, counted along every path
DEEPEST = 32  #: groups within groups
OPEN = (
    "reset by subtraction: NIR's v_reset = 0 means that too, where a framework asks",
    "a membrane begins at half its threshold and is cut at -1 and +2 thresholds each step",
    "populations are updated one after the other, each from the newest spikes of its neighbours",
    "each product of an input and a weight is rounded down to the weight's last bit, a leak as well",
)
REAL = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moved:
    """What rounding did to the parameters of one name.

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
    """A network that was read, its raw weights, and what rounding did."""

    network: Network
    weights: Weights
    moved: tuple[Moved, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"network": self.network.to_dict(), "parameters": [asdict(m) for m in self.moved]}


# -- export ----------------------------------------------------------------------------------------
def to_graph(network: Network, weights: Mapping[str, Raw], *, dt: float = DT) -> nir.NIRGraph:
    """The network as NIR has it; ValueError names what NIR cannot say.  ``dt``: seconds a step."""
    finite(dt, "dt", *STEPS)
    weights = network.check_weights(weights)
    for p in network.populations:
        if p.kind in ("softmax", "relay"):
            raise ValueError(
                f"population {p.name!r}: NIR has no {p.kind} neurons; "
                "a network with a memory cannot be exported"
            )
        if p.kind == "constant" and p.size > 1:
            raise ValueError(
                f"population {p.name!r}: NIR has one bias a neuron, {p.size} constants cannot be exported"
            )
    networks.require_flat(network, "an export to NIR")
    schedule = network.schedule
    one = float(network.numerics.one)
    nodes: dict[str, Any] = {p.name: nir.Input(input_type=[p.size]) for p in network.inputs}
    edges: list[tuple[str, str]] = []
    for p in network.lif:
        v = np.full(p.size, schedule.threshold)
        if schedule.leak:
            r = np.full(p.size, 2.0**schedule.leak)
            nodes[p.name] = nir.LIF(tau=dt * r, r=r, v_leak=0 * v, v_threshold=v, v_reset=0 * v)
        else:
            nodes[p.name] = nir.IF(r=np.ones(p.size), v_threshold=v, v_reset=0 * v)
        biases = [s for s in network.synapses if s.post == p.name and network[s.pre].kind == "constant"]
        if len(biases) > 1:
            raise ValueError(
                f"population {p.name!r}: NIR has one bias a neuron, "
                f"it has {' and '.join(s.name for s in biases)}"
            )
        forward = [
            (s.name, s.pre, weights[s.name].T)
            for s in network.synapses
            if s.post == p.name and s not in biases
        ]
        back = [
            (s.name + BACK, s.post, weights[s.name])
            for s in network.synapses
            if s.pre == p.name and s.feedback
        ]
        if biases and not forward + back:
            raise ValueError(
                f"population {p.name!r} has a bias and no other synapse: NIR has no place for it"
            )
        bias = weights[biases[0].name][0] * (ONE / 256 / one) if biases else None
        for name, source, w in forward + back:
            w = (w / one).astype(np.float32)  # exact: 16 bits, and 24 with a bias's 255/256
            nodes[name] = (
                nir.Linear(weight=w) if bias is None else nir.Affine(weight=w, bias=bias.astype(np.float32))
            )
            edges += [(source, name), (name, p.name)]
            bias = None
    out = f"{network.output}-out"
    nodes[out] = nir.Output(output_type=[network.n_outputs])
    edges.append((network.output, out))
    own = {
        "dt": dt,
        "populations": [p.name for p in network.populations],
        "constant": [p.name for p in network.populations if p.kind == "constant"],
        "synapses": {s.name: s.rate_scale for s in network.synapses},
        "schedule": asdict(network.schedule),
        "numerics": asdict(network.numerics),
        "open": OPEN,
    }
    return nir.NIRGraph(nodes, edges, metadata={OWN: json.dumps(own)})


def save(path: str | Path, network: Network, weights: Mapping[str, Raw], *, dt: float = DT) -> None:
    """A NIR file, written whole or not at all."""
    buffer = io.BytesIO()
    nir.write(buffer, to_graph(network, weights, dt=dt))
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
    content = path.read_bytes()
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
            if entries > MOST_ENTRIES:
                raise ValueError(f"it has more than {MOST_ENTRIES:,} entries")
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


def _real(name: str, what: str, values: Any) -> REAL:
    """Parameters of a node in double precision; ValueError names the node when they are no real numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"node {name!r}: {what} must be real numbers, not {array.dtype}")
    return reals(array, f"node {name!r}: {what}")


def _neurons(name: str, node: Any, n: int, dt: float) -> _Neurons:
    def full(parameter: str) -> REAL:
        array = _real(name, parameter, getattr(node, parameter)).ravel()
        if array.size not in (1, n):
            raise ValueError(f"node {name!r} has parameters for {array.size} neurons and weights for {n}")
        return np.broadcast_to(array, n).copy()

    def time(parameter: str) -> REAL:
        seconds = full(parameter)
        if (seconds <= 0).any():
            raise ValueError(f"node {name!r}: {parameter} must be above 0 s, not {seconds.min():g}")
        return seconds

    def neurons(gain: REAL, drive: REAL, loss: REAL) -> _Neurons:
        with np.errstate(over="ignore"):  # what a float does not hold is found
            return _Neurons(
                _real(name, "the gain of its input", gain / threshold),
                _real(name, "its drive", drive / threshold),
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


class _Reader:
    """The graph's layers and the matrices between them.

    ValueError names a node that has no counterpart here.
    """

    def __init__(self, graph: Any):
        self.nodes: dict[str, Any] = dict(graph.nodes)
        self.edges: list[tuple[str, str]] = sorted(set(graph.edges))
        for name, node in self.nodes.items():
            if not isinstance(
                node,
                (nir.Input, nir.Output, nir.Linear, nir.Affine, nir.IF, nir.LIF, nir.CubaLIF, nir.Flatten),
            ):
                raise ValueError(
                    f"node {name!r} is a {type(node).__name__}: networks here are Linear and Affine layers "
                    "of IF, LIF and CubaLIF neurons"
                )
        for edge in self.edges:
            for name in edge:
                if name not in self.nodes:
                    raise ValueError(f"an edge leads from {edge[0]!r} to {edge[1]!r}, there is no {name!r}")
        self.inputs = [n for n, node in self.nodes.items() if isinstance(node, nir.Input)]
        outputs = [n for n, node in self.nodes.items() if isinstance(node, nir.Output)]
        sources = {s for n in outputs for s in self._sources(n)}
        if len(sources) != 1 or not self._spikes(next(iter(sources))):
            raise ValueError(
                "a network here has one output layer of neurons, "
                f"this graph has {', '.join(sorted(sources)) or 'none'}"
            )
        self.output = sources.pop()
        #: layers of weights: where each comes from, its name and where it leads to
        self.dense = [
            (s, d, t)
            for d, node in self.nodes.items()
            if isinstance(node, (nir.Linear, nir.Affine))
            for s in self._sources(d)
            for t in self._targets(d)
        ]
        self.weights: dict[str, REAL] = {}
        for s, d, t in self.dense:
            if not self._spikes(t) or not self._spikes(s) and s not in self.inputs:
                raise ValueError(
                    f"node {d!r} joins {s!r} to {t!r}: a layer of weights here has neurons behind it, "
                    "and neurons or an input before it"
                )
            self.weights[d] = _real(d, "weights", self.nodes[d].weight)
            if self.weights[d].ndim != 2:
                raise ValueError(f"node {d!r} has weights of {self.weights[d].ndim} dimensions, not 2")
        for a, b in self.edges:
            if self._spikes(b) and not any(a == d for _, d, _ in self.dense):
                raise ValueError(f"node {b!r} gets {a!r} without weights: put a Linear layer between them")

    def _spikes(self, name: str) -> bool:
        return isinstance(self.nodes[name], (nir.IF, nir.LIF, nir.CubaLIF))

    def _sources(self, name: str) -> list[str]:
        """What feeds a node.  Flatten changes a shape only: what feeds it does."""
        found: list[str] = []
        waiting = [name]
        seen = set(waiting)
        while waiting:
            behind = waiting.pop()
            for a in (a for a, b in self.edges if b == behind):
                if not isinstance(self.nodes[a], nir.Flatten):
                    found.append(a)
                elif a not in seen:
                    seen.add(a)
                    waiting.append(a)
        return found

    def _targets(self, name: str) -> list[str]:
        return [b for a, b in self.edges if a == name]

    def biases(self, name: str) -> list[REAL]:
        """Those of the layers of weights before a layer of neurons, each once."""
        before = dict.fromkeys(d for _, d, t in self.dense if t == name)
        found = []
        for d in before:
            if isinstance(self.nodes[d], nir.Affine):
                bias = _real(d, "bias", self.nodes[d].bias).ravel()
                n = len(self.weights[d])
                if bias.size not in (1, n):
                    raise ValueError(f"node {d!r} has {bias.size} biases and weights for {n} neurons")
                found.append(np.broadcast_to(bias, n))
        return found

    def sizes(self) -> dict[str, int]:
        """Neurons of every layer and values of every input."""
        found: dict[str, int] = {}
        for s, d, t in self.dense:
            for name, n in zip((t, s), self.weights[d].shape, strict=True):
                if found.setdefault(name, n) != n:
                    raise ValueError(f"node {name!r} has weights for {found[name]} and, in {d!r}, for {n}")
        return found

    def order(self) -> list[str]:
        """Layers by distance from the input, then by name."""
        distance = dict.fromkeys(self.inputs, 0)
        frontier = list(self.inputs)
        while frontier:
            near = [(s, t) for s in frontier for s2, _, t in self.dense if s2 == s and t not in distance]
            for s, t in near:
                distance[t] = distance[s] + 1
            frontier = sorted({t for _, t in near})
        for name in {*self.inputs, *(t for _, _, t in self.dense), self.output}:
            if name not in distance or not any(name in (s, t) for s, _, t in self.dense):
                raise ValueError(f"node {name!r} is not connected")
        return sorted(distance, key=lambda name: (distance[name], name))


def from_graph(
    graph: Any,
    *,
    dt: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    fraction: int | None = None,
) -> Imported:
    """See :func:`load`."""
    read = _Reader(graph)
    own = _Own.of(graph)
    dt = finite(own.dt if dt is None else dt, "dt", *STEPS)
    order = _as_listed(read.order(), own.populations)
    sizes = read.sizes()
    numerics = own.numerics
    if fraction is not None:
        numerics = replace(numerics, fraction=fraction)
    layers = {
        name: _neurons(name, read.nodes[name], sizes[name], dt) for name in order if name not in read.inputs
    }
    leak, lost = _leak(layers)
    settings = Schedule(**{**own.schedule, "leak": leak, **(schedule or {})})
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
    for s, d, t in read.dense:
        if (s, t) in found:
            raise ValueError(
                f"nodes {found[s, t][0]!r} and {d!r} both join {s!r} to {t!r}: add their weights"
            )
        found[s, t] = (
            d,
            rounded(f"weights {d}", _scaled(d, layers[t].gain[:, None], read.weights[d])).T,
        )
    synapses = []
    weights = {}
    for (s, t), (d, codes) in found.items():
        other, back = found.get((t, s), ("", None))
        same = back is not None and np.array_equal(back.T, codes)
        if same and (d.endswith(BACK) or not other.endswith(BACK) and order.index(s) > order.index(t)):
            continue  # it is the other one's way back
        synapse = Synapse(_name(s), _name(t), feedback=same or s in read.inputs)
        synapses.append(synapse)
        weights[synapse.name] = codes
    for name, layer in layers.items():
        biases = [_scaled(name, layer.gain, b) for b in read.biases(name)]
        drive = layer.drive + sum(biases, np.zeros(sizes[name]))
        if biases or drive.any():
            synapse = Synapse(own.constant, _name(name))
            synapses.append(synapse)
            weights[synapse.name] = rounded(f"bias {name}", drive * (256 / ONE))[None]
    moved.append(Moved.of("leak", lost, np.full(lost.shape, 2.0**-settings.leak if settings.leak else 0.0)))
    populations = [Population(_name(n), sizes[n], "input" if n in read.inputs else "lif") for n in order]
    if any(s.pre == own.constant for s in synapses):
        populations.append(Population(own.constant, 1, "constant"))
    places = _as_listed([p.name for p in populations], own.populations)
    known = list(own.scales)
    network = Network(
        tuple(sorted(populations, key=lambda p: places.index(p.name))),
        tuple(
            replace(s, rate_scale=own.scales.get(s.name, 1.0))
            for s in sorted(synapses, key=lambda s: known.index(s.name) if s.name in known else len(known))
        ),
        _name(read.output),
        settings,
        numerics,
    )
    return Imported(network, network.check_weights(weights), tuple(moved))


def _scaled(name: str, gain: REAL, values: REAL) -> REAL:
    """Parameters of a node in thresholds."""
    with np.errstate(over="ignore"):  # what a float does not hold is found
        return _real(name, "what it adds in thresholds", gain * values)


@dataclass(frozen=True)
class _Own:
    """What :func:`to_graph` left in the metadata; the defaults where another wrote the file."""

    dt: float = DT
    populations: list[str] = field(default_factory=list)
    constant: str = BIAS
    scales: dict[str, float] = field(default_factory=dict)  #: of synapses, by name
    schedule: dict[str, Any] = field(default_factory=dict)
    numerics: Numerics = Numerics()

    @classmethod
    def of(cls, graph: Any) -> _Own:
        """ValueError when it was damaged: then nothing of it is believed."""
        if OWN not in graph.metadata:
            return cls()
        try:
            own = _typed(json.loads(graph.metadata[OWN]), dict, "it")
            numerics = Numerics(**_typed(own.get("numerics", {}), dict, "numerics"))
            schedule = _typed(own.get("schedule", {}), dict, "schedule")
            Schedule(**schedule).raw(numerics)
            constant = _names(own.get("constant", []), "constant")
            scales = _typed(own.get("synapses", {}), dict, "synapses")
            return cls(
                finite(own.get("dt", DT), "dt", *STEPS),
                _names(own.get("populations", []), "populations"),
                constant[0] if constant else BIAS,
                {name: finite(s, f"rate_scale of {name}", 0, 1e6) for name, s in scales.items()},
                schedule,
                numerics,
            )
        except Exception as e:  # whatever damaged metadata lead to
            raise ValueError(
                f"the graph's metadata {OWN!r} cannot be read ({said(e)}): without it the rest can"
            ) from e


def _typed(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, not {shown(value)}")
    return value


def _names(value: Any, name: str) -> list[str]:
    return [_typed(v, str, f"each of {name}") for v in _typed(value, list, name)]


def _name(node: str) -> str:
    """A node's name as a population's."""
    return "".join(c if c.isalnum() or c in "_." else "_" for c in node)


def _as_listed(names: list[str], wanted: list[str]) -> list[str]:
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
    """From .npz to .nir, or from .nir to .npz: then with what rounding did.

    The target's folder is made.  Whether it can be written is tried first.
    """
    source = Path(source)
    target = Path(target)
    match source.suffix, target.suffix:
        case ".npz", ".nir":
            given = [*(schedule or {}), *(["fraction"] if fraction is not None else [])]
            if given:
                raise ValueError(
                    f"{source} has phases and formats of its own: leave out --{', --'.join(given)}"
                )
            files.check(target)
            network, weights = networks.load(source)
            save(target, network, weights, dt=DT if dt is None else dt)
            return None
        case ".nir", ".npz":
            files.check(target)
            found = load(source, dt=dt, schedule=schedule, fraction=fraction)
            networks.save(target, found.network, found.weights)
            return found
    raise ValueError(f"one file must end in .npz, the other in .nir, not {source.name} and {target.name}")
