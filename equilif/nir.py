"""Networks as NIR files, for other frameworks and from them (Pedersen et al., Neuromorphic intermediate
representation, 2024).

    Input ──► Affine W, b ──► IF ──► Affine W', b' ──► IF ──► Output        a bias is a synapse from the constant population
                              ▲                        │
                              └────── Linear W'^T ◄────┘                    the way back of a symmetric
                              synapse

IF without a leak, LIF with one: v -= v 2**-leak each step is  tau = dt 2**leak,  and  r = tau / dt  makes
a weight what a spike adds. Inputs are held for the whole phase, 255 meaning 255/256.  NIR says neither
how a step is made nor how a threshold is crossed; what it leaves open, and what it cannot say, is in
``OPEN``.

In the other direction every neuron is scaled to this network's threshold, its weights are rounded, and
:class:`Moved` says by how much.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.extras import needs
from equilif.results import write_bytes
from equilif_golden import network as networks
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.fixed import Numerics, Raw
from equilif_golden.network import ONE, Network, Population, Synapse, Weights
from equilif_golden.schedule import Schedule

with needs("nir"):
    import nir

DT = 1e-4  #: seconds a step, as snnTorch has it; norse has 1e-3
OWN = "equilif"  #: metadata of a graph: what NIR has no place for, as JSON
BIAS = "bias"  #: name of the constant population, where the file does not say
BACK = "-back"  #: ends the name of a symmetric synapse's way back
OPEN = (
    "reset by subtraction: NIR's v_reset = 0 means that too, where a framework asks",
    "a membrane begins at half its threshold and is cut at -1 and +2 thresholds each step",
    "populations are updated one after the other, each from the newest spikes of its neighbours",
    "each product of an input and a weight is rounded down to the weight's last bit, a leak as well",
)
REAL = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moved:
    """What rounding did to the parameters of one name: changes in thresholds (of a leak: in parts of the
    membrane a step).
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
    """ValueError names what NIR cannot say."""
    weights = network.check_weights(weights)
    for p in network.populations:
        if p.kind in ("softmax", "relay"):
            raise ValueError(
                f"population {p.name!r}: NIR has no {p.kind} neurons; a network with a memory cannot be exported"
            )
        if p.kind == "constant" and p.size > 1:
            raise ValueError(
                f"population {p.name!r}: NIR has one bias a neuron, {p.size} constants cannot be exported"
            )
    schedule, one = network.schedule, float(network.numerics.one)
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
                f"population {p.name!r}: NIR has one bias a neuron, it has {' and '.join(s.name for s in biases)}"
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


def save(path: Path, network: Network, weights: Mapping[str, Raw], *, dt: float = DT) -> None:
    """A NIR file, written whole or not at all."""
    buffer = io.BytesIO()
    nir.write(buffer, to_graph(network, weights, dt=dt))
    write_bytes(path, buffer.getvalue())


# -- import ----------------------------------------------------------------------------------------
def load(
    path: Path,
    *,
    dt: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    fraction: int | None = None,
) -> Imported:
    """``schedule``: fields that replace the file's or the default ones.

    ``dt``: seconds a step, where the file does not say.

    ValueError names the node that this network cannot have, or the file when it is not NIR.
    """
    content = path.read_bytes()
    try:
        # frameworks write scalars for whole layers
        graph = nir.read(io.BytesIO(content), type_check=False)
    except Exception as e:
        raise ValueError(f"{path} is not a NIR file: {e}") from e
    return from_graph(graph, dt=dt, schedule=schedule, fraction=fraction)


@dataclass(frozen=True)
class _Neurons:
    """A layer as this network has it: gain (n,) of its input and constant drive (n,), both in thresholds,
    and the part lost each step (n,).
    """

    gain: REAL
    drive: REAL
    loss: REAL


def _neurons(name: str, node: Any, n: int, dt: float) -> _Neurons:
    def full(value: Any) -> REAL:
        array = np.asarray(value, np.float64).ravel()
        if array.size not in (1, n):
            raise ValueError(f"node {name!r} has parameters for {array.size} neurons and weights for {n}")
        return np.broadcast_to(array, n).copy()

    threshold = full(node.v_threshold)
    if (threshold <= 0).any():
        raise ValueError(f"node {name!r}: thresholds must be above 0, not {threshold.min():g}")
    if np.any(full(node.v_reset)):
        raise ValueError(
            f"node {name!r}: neurons here reset to 0, or by their threshold, not to {full(node.v_reset)[0]:g}"
        )
    if isinstance(node, nir.IF):
        return _Neurons(full(node.r) / threshold, np.zeros(n), np.zeros(n))
    loss = dt / full(node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau)
    if (loss > 1).any():
        raise ValueError(
            f"node {name!r}: tau = {dt / loss.max():g} s is shorter than a step of {dt:g} s; give the time step it was made for (--dt)"
        )
    gain = full(node.r) * loss
    if isinstance(node, nir.CubaLIF):
        filtering = 1 - dt / full(node.tau_syn)
        if np.abs(filtering).max() > 1e-3:
            raise ValueError(
                f"node {name!r}: synapses here have no current that lasts, and its tau_syn is not one step of {dt:g} s"
            )
        gain = gain * full(node.w_in)
    return _Neurons(gain / threshold, full(node.v_leak) * loss / threshold, loss)


class _Reader:
    """The graph's layers and the matrices between them; ValueError names a node that has no counterpart here."""

    def __init__(self, graph: Any):
        self.nodes: dict[str, Any] = dict(graph.nodes)
        self.edges: list[tuple[str, str]] = sorted(set(graph.edges))
        for name, node in self.nodes.items():
            if not isinstance(
                node,
                (nir.Input, nir.Output, nir.Linear, nir.Affine, nir.IF, nir.LIF, nir.CubaLIF, nir.Flatten),
            ):
                raise ValueError(
                    f"node {name!r} is a {type(node).__name__}: networks here are Linear and Affine layers of IF, LIF and CubaLIF "
                    "neurons"
                )
        self.inputs = [n for n, node in self.nodes.items() if isinstance(node, nir.Input)]
        outputs = [n for n, node in self.nodes.items() if isinstance(node, nir.Output)]
        sources = {s for n in outputs for s in self._sources(n)}
        if len(sources) != 1 or not self._spikes(next(iter(sources))):
            raise ValueError(
                f"a network here has one output layer of neurons, this graph has {', '.join(sorted(sources)) or 'none'}"
            )
        self.output = sources.pop()
        self.dense = [
            (s, d, t)
            for d, node in self.nodes.items()
            if isinstance(node, (nir.Linear, nir.Affine))
            for s in self._sources(d)
            for t in self._targets(d)
        ]
        for s, d, t in self.dense:
            if not self._spikes(t) or not self._spikes(s) and s not in self.inputs:
                raise ValueError(
                    f"node {d!r} joins {s!r} to {t!r}: a layer of weights here has neurons behind it, and neurons or an input before it"
                )
            if self.nodes[d].weight.ndim != 2:
                raise ValueError(f"node {d!r} has weights of {self.nodes[d].weight.ndim} dimensions, not 2")
        for a, b in self.edges:
            if self._spikes(b) and not any(a == d for _, d, _ in self.dense):
                raise ValueError(f"node {b!r} gets {a!r} without weights: put a Linear layer between them")

    def _spikes(self, name: str) -> bool:
        return isinstance(self.nodes[name], (nir.IF, nir.LIF, nir.CubaLIF))

    def _sources(self, name: str) -> list[str]:
        """What feeds a node, shapes aside."""
        out = [a for a, b in self.edges if b == name]
        return [s for a in out for s in (self._sources(a) if isinstance(self.nodes[a], nir.Flatten) else [a])]

    def _targets(self, name: str) -> list[str]:
        return [b for a, b in self.edges if a == name]

    def sizes(self) -> dict[str, int]:
        """Neurons of every layer and values of every input."""
        found: dict[str, int] = {}
        for s, d, t in self.dense:
            for name, n in ((t, self.nodes[d].weight.shape[0]), (s, self.nodes[d].weight.shape[1])):
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
    read, own = _Reader(graph), _own(graph)
    dt = own.get("dt", DT) if dt is None else dt
    order = _as_listed(read.order(), own.get("populations", []))
    sizes = read.sizes()
    numerics = Numerics(**own.get("numerics", {}))
    if fraction is not None:
        numerics = replace(numerics, fraction=fraction)
    layers = {
        name: _neurons(name, read.nodes[name], sizes[name], dt) for name in order if name not in read.inputs
    }
    leak, lost = _leak(layers)
    settings = Schedule(**{**own.get("schedule", {}), "leak": leak, **(schedule or {})})
    threshold, one = settings.threshold, numerics.one
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
            rounded(f"weights {d}", layers[t].gain[:, None] * np.asarray(read.nodes[d].weight, np.float64)).T,
        )
    synapses, weights = [], {}
    for (s, t), (d, codes) in found.items():
        other, back = found.get((t, s), ("", None))
        same = back is not None and np.array_equal(back.T, codes)
        if same and (d.endswith(BACK) or not other.endswith(BACK) and order.index(s) > order.index(t)):
            continue  # it is the other one's way back
        synapse = Synapse(_name(s), _name(t), feedback=same or s in read.inputs)
        synapses.append(synapse)
        weights[synapse.name] = codes
    constant = next(iter(own.get("constant", [])), BIAS)
    for name, layer in layers.items():
        affine = [
            np.asarray(read.nodes[d].bias, np.float64)
            for _, d, t in read.dense
            if t == name and isinstance(read.nodes[d], nir.Affine)
        ]
        drive = layer.drive + sum((layer.gain * b for b in affine), np.zeros(sizes[name]))
        if affine or drive.any():
            synapse = Synapse(constant, _name(name))
            synapses.append(synapse)
            weights[synapse.name] = rounded(f"bias {name}", drive * (256 / ONE))[None]
    moved.append(Moved.of("leak", lost, np.full(lost.shape, 2.0**-settings.leak if settings.leak else 0.0)))
    populations = [Population(_name(n), sizes[n], "input" if n in read.inputs else "lif") for n in order]
    if any(s.pre == constant for s in synapses):
        populations.append(Population(constant, 1, "constant"))
    scales: dict[str, float] = own.get("synapses", {})
    listed = _as_listed([p.name for p in populations], own.get("populations", []))
    network = Network(
        tuple(sorted(populations, key=lambda p: listed.index(p.name))),
        tuple(
            replace(s, rate_scale=scales.get(s.name, 1.0))
            for s in sorted(
                synapses, key=lambda s: list(scales).index(s.name) if s.name in scales else len(scales)
            )
        ),
        _name(read.output),
        settings,
        numerics,
    )
    return Imported(network, network.check_weights(weights), tuple(moved))


def _own(graph: Any) -> dict[str, Any]:
    """What :func:`to_graph` left in the metadata; empty where another wrote the file."""
    text = graph.metadata.get(OWN, "{}")
    try:
        own: dict[str, Any] = json.loads(text)
        Schedule(**own.get("schedule", {})).raw(Numerics(**own.get("numerics", {})))
        return own
    except (AttributeError, TypeError, ValueError) as e:
        raise ValueError(f"the graph's metadata {OWN!r} cannot be read ({e}): without it the rest can") from e


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
    source: Path,
    target: Path,
    *,
    dt: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    fraction: int | None = None,
) -> Imported | None:
    """From .npz to .nir, or from .nir to .npz: then with what rounding did."""
    match source.suffix, target.suffix:
        case ".npz", ".nir":
            given = [*(schedule or {}), *(["fraction"] if fraction else [])]
            if given:
                raise ValueError(
                    f"{source} has phases and formats of its own: leave out --{', --'.join(given)}"
                )
            network, weights = networks.load(source)
            save(target, network, weights, dt=DT if dt is None else dt)
            return None
        case ".nir", ".npz":
            found = load(source, dt=dt, schedule=schedule, fraction=fraction)
            networks.save(target, found.network, found.weights)
            return found
    raise ValueError(f"one file must end in .npz, the other in .nir, not {source.name} and {target.name}")
