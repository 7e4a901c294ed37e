"""Linear nodes between the neurons of a NIR graph, merged into one matrix or kernel per path.

Linear and Affine are matrices.  Convolutions and pooling are kernels, and several of them one after the other
are one (equilif.convolutions).  Flatten changes a shape only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.convolutions import Conv, filled, window
from equilif.data.base.reading import reals
from equilif_golden.extras import needs
from equilif_golden.fixed import short_repr
from equilif_golden.network import Shape

with needs("nir"):
    import nir

REAL = npt.NDArray[np.float64]
NEURONS = (nir.IF, nir.LIF, nir.CubaLIF)
MATRICES = (nir.Linear, nir.Affine)
WINDOWS = (nir.Conv2d, nir.SumPool2d, nir.AvgPool2d)
MAX_PATH_NODES = 100_000  #: nodes that are visited on all ways from layer to layer
MAX_NUMBERS = 1 << 26  #: of a matrix or a kernel
DEEPEST = 32  #: nodes on a way


def parameter(name: str, what: str, values: Any) -> REAL:
    """Parameters of a node in double precision; ValueError names the node when they are no real numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"node {name!r}: {what} must be real numbers, not {array.dtype}")
    return reals(array, f"node {name!r}: {what}")


class Route(NamedTuple):
    """Path of linear nodes from an input or a layer of neurons to another layer."""

    source: str
    nodes: tuple[str, ...]  #: first to last, without those that change a shape only
    target: str

    @property
    def name(self) -> str:
        return self.nodes[-1]


@dataclass(frozen=True)
class NirLayer:
    """Linear map from values of a source to drives of a target of this ``shape``.

    A convolution ``weight`` (out, in, k, k) of a ``stride``; or without one a matrix (neurons, values).
    """

    weight: REAL
    stride: int | None
    shape: tuple[int, ...]

    def constant(self, values: REAL) -> REAL:
        """Contribution of constant source values (channels,) or (values,): (maps,) or (neurons,)."""
        if self.stride is not None:
            return np.asarray(self.weight.sum(axis=(2, 3)) @ values)
        return np.asarray(self.weight.reshape(len(self.weight), len(values), -1).sum(axis=2) @ values)


class Reader:
    """The graph's layers, and what is linear between them.

    ValueError names a node that has no counterpart here.
    """

    def __init__(self, graph: Any):
        self.nodes: dict[str, Any] = dict(graph.nodes)
        self.edges: list[tuple[str, str]] = sorted(set(graph.edges))
        for name, node in self.nodes.items():
            if not isinstance(node, (nir.Input, nir.Output, nir.Flatten, *NEURONS, *MATRICES, *WINDOWS)):
                raise ValueError(
                    f"node {name!r} is a {type(node).__name__}: networks here are Linear, Affine, Conv2d and "
                    "pooling layers of IF, LIF and CubaLIF neurons"
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
        self.visited = 0
        self.routes: list[Route] = []
        for name in self.nodes:
            if self._spikes(name):
                self._find(name, name, ())
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name in self.inputs:
            shape = self.nodes[name].input_type.get("input")
            if shape is not None and len(shape) == 3:
                self.shapes[name] = tuple(map(int, shape))
        self.layers = self._layers()

    def _spikes(self, name: str) -> bool:
        return isinstance(self.nodes[name], NEURONS)

    def _sources(self, name: str) -> list[str]:
        """Sources of a node, through Flatten nodes, which only change the shape."""
        found: list[str] = []
        waiting = [name]
        seen = set(waiting)
        while waiting:
            after = waiting.pop()
            for a in (a for a, b in self.edges if b == after):
                if not isinstance(self.nodes[a], nir.Flatten):
                    found.append(a)
                elif a not in seen:
                    seen.add(a)
                    waiting.append(a)
        return found

    def _find(self, target: str, at: str, after: tuple[str, ...]) -> None:
        """Every way to a target that goes through ``at`` and then the nodes ``after``."""
        for a in self._sources(at):
            self.visited += 1
            if self.visited > MAX_PATH_NODES:
                raise ValueError(f"the ways from layer to layer have more than {MAX_PATH_NODES:,} nodes")
            if self._spikes(a) or a in self.inputs:
                if not after:
                    raise ValueError(
                        f"node {target!r} gets {a!r} without weights: put a Linear layer between them"
                    )
                self.routes.append(Route(a, after, target))
                continue
            if isinstance(self.nodes[a], MATRICES) and after:
                first = next(iter(self._sources(a)), "nothing")
                raise ValueError(
                    f"node {a!r} joins {first!r} to {after[0]!r}: a layer of weights here has neurons "
                    "behind it, and neurons or an input before it"
                )
            if a in after or len(after) == DEEPEST:
                raise ValueError(f"node {a!r}: there are no neurons on its way, or too far from it")
            self._find(target, a, (a, *after))

    # -- what is linear ----------------------------------------------------------------------------
    def _layers(self) -> dict[Route, NirLayer]:
        """The step of every path, after the shapes of its sources."""
        found: dict[Route, NirLayer] = {}
        waiting = list(self.routes)
        while waiting:
            later = []
            for route in waiting:
                shape = self._shape_before(route)
                if shape is None and isinstance(self.nodes[route.nodes[0]], WINDOWS):
                    later.append(route)
                    continue
                found[route] = layer = self._composed(route.nodes, shape)
                if len(layer.shape) == 3 and self.shapes.setdefault(route.target, layer.shape) != layer.shape:
                    raise ValueError(
                        f"node {route.target!r} has maps of {self.shapes[route.target]} and, in "
                        f"{route.name!r}, of {layer.shape}"
                    )
            if len(later) == len(waiting):
                raise ValueError(
                    f"node {later[0].nodes[0]!r} needs (channels, height, width) of {later[0].source!r}: "
                    "give Input that shape"
                )
            waiting = later
        return {route: found[route] for route in self.routes}

    def _shape_before(self, route: Route) -> tuple[int, ...] | None:
        """Shape of what a way begins with, None when it is not known, or flat."""
        known = self.shapes.get(route.source)
        node = self.nodes[route.nodes[0]]
        size = getattr(node, "input_shape", None)
        if known is None and isinstance(node, nir.Conv2d) and size is not None:
            return (np.shape(node.weight)[1] * int(node.groups), *map(int, size))
        return known

    def _composed(self, nodes: tuple[str, ...], shape: tuple[int, ...] | None) -> NirLayer:
        """Nodes one after the other as one layer; ``shape`` of what they begin with, if it has one."""
        conv: Conv | None = None
        current = shape
        for d in nodes:
            if isinstance(self.nodes[d], MATRICES):
                return self._matrix_after(d, conv, current, shape)
            assert current is not None
            step = self._window(d, current[0])
            sides = [step.positions(side) for side in current[1:]]
            if step.weight.shape[1] != current[0] or min(sides) < 1:
                raise ValueError(
                    f"node {d!r}: a kernel of {step.weight.shape[1]} channels, {step.side}x{step.side}, does "
                    f"not fit {current[0]} channels of {current[1]}x{current[2]}"
                )
            current = (len(step.weight), *sides)
            if conv is not None:
                side = conv.side + conv.stride * (step.side - 1)
                _check_size(d, len(step.weight), conv.weight.shape[1], side, side)
                step = step.after(conv)
            conv = step
        assert conv is not None and shape is not None and current is not None
        for side in shape[1:]:
            if (side - conv.side) % conv.stride:
                raise ValueError(
                    f"node {nodes[-1]!r}: with what lies before it, a kernel of {conv.side}x{conv.side} in "
                    f"steps of {conv.stride} does not end at the edge of {shape[1]}x{shape[2]}: here it must"
                )
        return NirLayer(conv.weight, conv.stride, current)

    def _matrix_after(
        self, d: str, conv: Conv | None, current: tuple[int, ...] | None, shape: tuple[int, ...] | None
    ) -> NirLayer:
        """A matrix of the results of a convolution as one of its inputs."""
        weight = parameter(d, "weights", self.nodes[d].weight)
        if weight.ndim != 2:
            raise ValueError(f"node {d!r} has weights of {weight.ndim} dimensions, not 2")
        if conv is not None and current is not None and shape is not None:
            if weight.shape[1] != math.prod(current):
                raise ValueError(
                    f"node {d!r} has weights for {weight.shape[1]} values and gets {math.prod(current)}"
                )
            _check_size(d, len(weight), *shape)
            of_inputs = conv.under(weight.reshape(len(weight), *current), *shape[1:])
            weight = of_inputs.reshape(len(weight), -1)
        return NirLayer(weight, None, (len(weight),))

    def _window(self, d: str, channels: int) -> Conv:
        """A node of convolution or pooling."""
        node = self.nodes[d]
        stride = _one(d, "stride", node.stride)
        padding = 0 if isinstance(node.padding, str) and node.padding == "valid" else node.padding
        if isinstance(padding, str) or np.any(np.asarray(padding) != 0):
            raise ValueError(
                f"node {d!r} has padding {short_repr(padding)}: a kernel here stays within its maps; train a "
                "network without padding"
            )
        if not isinstance(node, nir.Conv2d):
            side = _one(d, "kernel_size", node.kernel_size)
            _check_size(d, channels, channels, side, side)
            return window(channels, side, stride, mean=isinstance(node, nir.AvgPool2d))
        weight = parameter(d, "weights", node.weight)
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or not weight.size:
            raise ValueError(f"node {d!r} has weights of shape {weight.shape}, not (out, in, k, k)")
        groups = _one(d, "groups", node.groups)
        if len(weight) % groups:
            raise ValueError(f"node {d!r}: {len(weight)} channels are not {groups} groups of one size")
        dilation = _one(d, "dilation", node.dilation)
        side = dilation * (weight.shape[2] - 1) + 1
        _check_size(d, len(weight), weight.shape[1] * groups, side, side)
        return Conv(filled(weight, groups=groups, dilation=dilation), stride)

    def biases(self, name: str) -> list[REAL]:
        """Sum of the biases on the paths to a layer of neurons, each once."""
        found: dict[tuple[str, ...], REAL] = {}
        for route in (w for w in self.routes if w.target == name):
            for k, d in enumerate(route.nodes):
                rest = route.nodes[k:]
                bias = getattr(self.nodes[d], "bias", None)
                if bias is None or rest in found:
                    continue
                values = parameter(d, "bias", bias).ravel()
                layer = self._composed(route.nodes[: k + 1], self._shape_before(route))
                if values.size not in (1, layer.shape[0]):
                    raise ValueError(
                        f"node {d!r} has {values.size} biases and weights for {layer.shape[0]} neurons"
                    )
                values = np.broadcast_to(values, layer.shape[0])
                if rest[1:]:
                    values = self._composed(rest[1:], layer.shape).constant(values)
                found[rest] = values
        # NIR has no Conv2d without a bias
        kinds = {rest: isinstance(self.nodes[rest[0]], nir.Conv2d) for rest in found}
        return [values for rest, values in found.items() if values.any() or not kinds[rest]]

    def sizes(self) -> dict[str, int]:
        """Neurons of every layer and values of every input."""
        found: dict[str, int] = {}
        for route, layer in self.layers.items():
            before = self._shape_before(route)
            values = layer.weight.shape[1] if layer.stride is None else math.prod(before or ())
            for name, n in ((route.target, math.prod(layer.shape)), (route.source, values)):
                if found.setdefault(name, n) != n:
                    raise ValueError(
                        f"node {name!r} has weights for {found[name]} and, in {route.name!r}, for {n}"
                    )
        return found

    def maps(self) -> dict[str, Shape]:
        """Layers and inputs that a kernel joins; others are flat, whatever shape their node has."""
        joined = [w for w, layer in self.layers.items() if layer.stride is not None]
        found = {}
        for name in dict.fromkeys(n for w in joined for n in (w.source, w.target)):
            routes = [w for w in joined if w.source == name]
            shape = self.shapes.get(name) or self._shape_before(routes[0])
            assert shape is not None
            found[name] = Shape(shape[1], shape[2], shape[0])
        return found

    def order(self) -> list[str]:
        """Layers by distance from the input, then by name."""
        distance = dict.fromkeys(self.inputs, 0)
        frontier = list(self.inputs)
        while frontier:
            near = [(s, w.target) for s in frontier for w in self.routes if w.source == s]
            near = [(s, t) for s, t in near if t not in distance]
            for s, t in near:
                distance[t] = distance[s] + 1
            frontier = sorted({t for _, t in near})
        for name in {*self.inputs, *(w.target for w in self.routes), self.output}:
            if name not in distance or not any(name in (w.source, w.target) for w in self.routes):
                raise ValueError(f"node {name!r} is not connected")
        return sorted(distance, key=lambda name: (distance[name], name))


def _one(d: str, what: str, values: Any) -> int:
    """A size that is the same in both directions."""
    array = np.asarray(values).ravel()
    if array.dtype.kind not in "iu" or not array.size or (array != array[0]).any() or array[0] < 1:
        raise ValueError(
            f"node {d!r}: {what} must be one whole number from 1, the same in both directions, not "
            f"{short_repr(values)}"
        )
    return int(array[0])


def _check_size(d: str, *shape: int) -> None:
    """ValueError when an array would be larger than any that a network here needs."""
    if math.prod(shape) > MAX_NUMBERS:
        raise ValueError(
            f"node {d!r} would take {math.prod(shape):,} numbers, more than {MAX_NUMBERS:,}: its sizes are "
            "not those of a network that runs here"
        )
