"""Network description: populations joined by symmetric synapses, nothing else.

    Phi(s) = sum_synapses s_pre^T W s_post  -  sum_lif 1/2 |s|^2
             +  sum_memories (1/k) logsumexp(k X q)  -  beta/2 |y - s_out|^2

Populations are *clamped* (inputs, and the constant one that carries biases) or *lif*.  A bias is a
synapse from the constant population: the learning rule has no special case for it.

A *memory* is a softmax population joined to a relay by the synapse that holds the patterns X:

    constant --Q--> relay --V--> lif          q = Q + V r_lif --> X q --> p = softmax(k X q) --> X^T p,
                                              which drives lif through V^T
                      |
                      X
                      |
                   softmax

The relay has one or more *heads*, queries of their own to the same patterns.  Patterns are stored like
any weights, or loaded with each sample: the tokens of a sequence (Bal & Sengupta, ISCAS 2024, sec. III;
IJCAI 2023).
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from equilif_golden import files
from equilif_golden.blocks import relay, softmax
from equilif_golden.fixed import (
    DEFAULT,
    Numerics,
    Raw,
    finite,
    keep,
    shown,
    truth,
    whole,
)
from equilif_golden.populations import (
    KINDS,
    MOST_GAIN,
    MOST_NEURONS,
    MOST_PATTERNS,
    Constant,
    Input,
    Lif,
    Population,
    Relay,
    Softmax,
)
from equilif_golden.schedule import Schedule
from equilif_golden.tokens import TokenRows, Tokens

#: whoever describes a network finds all of it here
__all__ = [
    "KINDS",
    "MOST_GAIN",
    "MOST_NEURONS",
    "MOST_PATTERNS",
    "ONE",
    "Constant",
    "Input",
    "Lif",
    "Memory",
    "Network",
    "Population",
    "Relay",
    "Softmax",
    "Synapse",
    "TokenRows",
    "Tokens",
    "Weights",
    "load",
    "require_network",
    "save",
]

#: value of the constant populations
ONE = 255
#: largest scale of initial weights: they saturate long before
MOST_START = 1000
#: bytes of a network's description in a file
MOST_TEXT = 1 << 24
#: member of a saved network that tells what else belongs to it
ABOUT = "about"
#: kinds at the two ends of a synapse
JOINABLE = {("clamped", "lif"), ("lif", "lif"), ("clamped", "relay"), ("relay", "lif"), ("softmax", "relay")}
#: raw, by synapse
Weights = dict[str, Raw]
Number = TypeVar("Number", bound=np.generic)
Part = TypeVar("Part")
T = TypeVar("T")


def _side_by_side(populations: Iterable[Population]) -> dict[str, slice]:
    """Places of populations that stand one after the other."""
    places = {}
    at = 0
    for p in populations:
        places[p.name] = slice(at, at + p.size)
        at += p.size
    return places


@dataclass(frozen=True)
class Memory:
    """A softmax population, its relay and the synapse between them, which holds the patterns."""

    softmax: Softmax
    relay: Relay
    synapse: Synapse


@dataclass(frozen=True)
class Synapse:
    """Symmetric synapse between two populations, by name; rows belong to ``pre``, columns to ``post``.

    Without ``feedback``, possible between LIF populations, ``post`` hears ``pre`` but not the other way
    round.  There is no energy then, so such a network is run, not taught: Equilibrium Propagation needs
    the feedback (equilif_golden.real.trainer trains it).
    """

    pre: str
    post: str
    rate_scale: float = 1.0  #: this synapse's learning rate relative to the network's
    feedback: bool = True

    def __post_init__(self) -> None:
        for end in (self.pre, self.post):
            if not isinstance(end, str):
                raise ValueError(f"a synapse joins populations by their names, not by {shown(end)}")
        keep(self, rate_scale=finite(self.rate_scale, f"synapse {self.name}: rate_scale", 0, 1e6))
        keep(self, feedback=truth(self.feedback, f"synapse {self.name}: feedback"))

    @property
    def name(self) -> str:
        return f"{self.pre}-{self.post}"


@dataclass(frozen=True)
class Network:
    """Populations in update order, synapses, and the name of the population that is nudged and read out."""

    populations: tuple[Population, ...]
    synapses: tuple[Synapse, ...]
    output: str
    schedule: Schedule = Schedule()
    numerics: Numerics = DEFAULT

    @classmethod
    def chain(
        cls,
        *sizes: int,
        schedule: Schedule | None = None,
        numerics: Numerics = DEFAULT,
        rate_scales: tuple[float, ...] | None = None,
        feedback: bool = True,
    ) -> Self:
        """Input, any number of hidden populations and output, each joined to the next, all with biases.

        ``rate_scales``: relative learning rate of each layer, first to last (its bias included).
        ``feedback``: of the synapses between layers.
        """
        if len(sizes) < 2:
            raise ValueError(f"a chain needs an input and an output size, not {shown(sizes)}")
        n_layers = len(sizes) - 1
        scales = (1.0,) * n_layers if rate_scales is None else tuple(rate_scales)
        if len(scales) != n_layers:
            raise ValueError(f"rate_scales must name {n_layers} layers, not {len(scales)}")
        both_ways = truth(feedback, "feedback")
        names = ["input", *(f"hidden{k}" for k in range(1, n_layers)), "output"]
        layers = [Lif(name, size) for name, size in zip(names[1:], sizes[1:], strict=True)]
        synapses: list[Synapse] = []
        for (a, b), scale in zip(pairwise(names), scales, strict=True):
            synapses.append(Synapse(a, b, scale, feedback=both_ways or a == "input"))
            synapses.append(Synapse("bias", b, scale))
        return cls(
            (Input("input", sizes[0]), Constant("bias", 1), *layers),
            tuple(synapses),
            "output",
            Schedule() if schedule is None else schedule,
            numerics,
        )

    @classmethod
    def attention(
        cls,
        tokens: int,
        width: int,
        heads: int,
        *sizes: int,
        gain: int = 1,
        sharpness: int = 3,
        schedule: Schedule | None = None,
        numerics: Numerics = DEFAULT,
        query_scale: float = 1.0,
    ) -> Self:
        """A memory of the sample's tokens, up to ``tokens`` patterns of ``width``, asked by ``heads``
        learned queries; then a chain of ``sizes``.

        ``query_scale``: relative learning rate of the queries.
        """
        if not sizes:
            raise ValueError("an attention network needs an output size")
        asked = whole(heads, "heads", 1, MOST_NEURONS) * whole(width, "width", 1, MOST_NEURONS)
        names = [*(f"hidden{k}" for k in range(1, len(sizes))), "output"]
        synapses = [Synapse("memory", "query", 0.0), Synapse("bias", "query", query_scale)]
        for a, b in pairwise(["query", *names]):
            synapses += [Synapse(a, b), Synapse("bias", b)]
        return cls(
            (
                Constant("bias", 1),
                Softmax("memory", tokens, sharpness=sharpness, loaded=True),
                Relay("query", asked, heads=heads, gain=gain),
                *(Lif(name, size) for name, size in zip(names, sizes, strict=True)),
            ),
            tuple(synapses),
            "output",
            Schedule() if schedule is None else schedule,
            numerics,
        )

    def __post_init__(self) -> None:
        keep(self, populations=_all_of(Population, self.populations, "populations"))
        keep(self, synapses=_all_of(Synapse, self.synapses, "synapses"))
        for what, kind in ((self.schedule, Schedule), (self.numerics, Numerics)):
            if not isinstance(what, kind):
                raise ValueError(f"a network needs a {kind.__name__}, not {shown(what)}")
        names = [p.name for p in self.populations]
        if len(set(names)) != len(names):
            raise ValueError(f"population names must differ, not {names}")
        for s in self.synapses:
            self._check_synapse(s)
        known = isinstance(self.output, str) and self.output in names
        if not known or not isinstance(self[self.output], Lif):
            raise ValueError(f"output must name a lif population, not {shown(self.output)}")
        for p in self.populations:
            if isinstance(p, Relay | Softmax):
                self._check_memory(p)
        if sum(m.softmax.loaded for m in self.memories) > 1:
            raise ValueError("only one memory can be loaded with each sample")
        if not self.inputs and not self.loaded:
            raise ValueError("a network needs an input population or a memory that is loaded")
        if not self.synapses:
            raise ValueError("a network needs a synapse")
        self._check_bounds()

    def _check_synapse(self, s: Synapse) -> None:
        names = [p.name for p in self.populations]
        for end in (s.pre, s.post):
            if end not in names:
                raise ValueError(
                    f"synapse {s.name}: there is no population {end!r}; there are {', '.join(names)}"
                )
        kinds = self.side(s.pre), self.side(s.post)
        if kinds not in JOINABLE:
            turned = f"; turn it round: {s.post}-{s.pre}" if kinds[::-1] in JOINABLE else ""
            raise ValueError(
                f"synapse {s.name}: {self[s.pre].kind} to {self[s.post].kind} is not possible{turned}"
            )
        if not s.feedback and kinds != ("lif", "lif"):
            raise ValueError(
                f"synapse {s.name}: only one between lif populations can be without feedback, "
                f"not {kinds[0]} to {kinds[1]}"
            )
        if s.pre == s.post:
            raise ValueError(f"synapse {s.name}: a population cannot be joined to itself")
        if [t.name for t in self.synapses].count(s.name) > 1:
            raise ValueError(f"synapse {s.name} occurs twice")

    def _check_memory(self, p: Population) -> None:
        """A relay or softmax population is one end of exactly one memory."""
        ends = [{s.pre, s.post} for s in self.synapses if isinstance(self[s.pre], Softmax)]
        n = sum(p.name in pair for pair in ends)
        if n != 1:
            raise ValueError(
                f"{p.kind} population {p.name!r} needs one synapse from a softmax population to a relay, "
                f"it has {n}"
            )

    def side(self, name: str) -> str:
        """Kind of a population as the end of a synapse."""
        return "clamped" if self[name].clamped else self[name].kind

    def fan_in(self, p: Population) -> int:
        """Neurons that one accumulator of ``p`` hears at a time.

        One head gathers at a time, and query and retrieval one after the other.
        """
        heard = [s.pre for s in self.synapses if s.post == p.name]
        heard += [s.post for s in self.synapses if s.pre == p.name and s.feedback]
        patterns = sum(self[n].size for n in heard if isinstance(self[n], Softmax))
        others = [self[n] for n in heard if not isinstance(self[n], Softmax)]
        return max(patterns, sum(q.width if isinstance(p, Softmax) else q.size for q in others))

    def _check_bounds(self) -> None:
        """What could wrap or has no code."""
        numerics = self.numerics
        schedule = self.schedule
        for p in self.populations:
            fan_in = self.fan_in(p)
            if not p.clamped and fan_in > numerics.max_fan_in:
                raise ValueError(
                    f"population {p.name!r} has fan-in {fan_in}; a {numerics.accumulator_width}-bit "
                    f"accumulator holds {numerics.max_fan_in}"
                )
        for m in self.memories:
            if self.softmax_shift(m.softmax) not in softmax.SHIFTS:
                most = numerics.fraction - softmax.FRACTION
                raise ValueError(
                    f"population {m.softmax.name!r}: sharpness must be in {most - softmax.SHIFTS[-1]}.."
                    f"{most - softmax.SHIFTS[0]} octaves, not {m.softmax.sharpness}"
                )
            if relay.retrieval_shift(numerics.fraction, m.relay.gain) not in relay.SHIFTS:
                raise ValueError(
                    f"population {m.relay.name!r}: gain {m.relay.gain} needs at least {9 + m.relay.gain} "
                    f"fraction bits, not {numerics.fraction}"
                )
            if schedule.free % schedule.window or schedule.nudged % schedule.window:
                raise ValueError(
                    f"a network with a memory settles in whole windows: free {schedule.free} and nudged "
                    f"{schedule.nudged} must be multiples of {schedule.window}"
                )
        raw = schedule.raw(numerics)
        if raw.threshold * (raw.window + 3) > numerics.charge.hi:
            raise ValueError(f"window {raw.window} overflows the {numerics.charge_width}-bit charge")

    def __getitem__(self, name: str) -> Population:
        for p in self.populations:
            if p.name == name:
                return p
        known = ", ".join(p.name for p in self.populations)
        raise KeyError(f"there is no population {name!r}; there are {known}")

    @cached_property
    def lif(self) -> tuple[Lif, ...]:
        return tuple(p for p in self.populations if isinstance(p, Lif))

    @property
    def neurons(self) -> dict[str, slice]:
        """Where each LIF population is among all LIF neurons, which stand in the order of the network."""
        return _side_by_side(self.lif)

    def clamped(self, x: npt.NDArray[Number]) -> dict[str, npt.NDArray[Number]]:
        """Values of the clamped populations, by name, of samples ``x`` (..., n_inputs).

        An input has its part of the sample, a constant is 255.
        """
        part = _side_by_side(self.inputs)
        values = {}
        for p in self.populations:
            if isinstance(p, Input):
                values[p.name] = x[..., part[p.name]]
            elif isinstance(p, Constant):
                values[p.name] = np.full((*x.shape[:-1], p.size), ONE, x.dtype)
        return values

    @cached_property
    def memories(self) -> tuple[Memory, ...]:
        found = []
        for s in self.synapses:
            pre = self[s.pre]
            post = self[s.post]
            if isinstance(pre, Softmax) and isinstance(post, Relay):
                found.append(Memory(pre, post, s))
        return tuple(found)

    @cached_property
    def loaded(self) -> Memory | None:
        """The memory whose patterns come with each sample."""
        return next((m for m in self.memories if m.softmax.loaded), None)

    def softmax_shift(self, population: Softmax) -> int:
        """equilif_golden.blocks.softmax's shift for a population's sharpness."""
        return self.numerics.fraction - softmax.FRACTION - population.sharpness

    @cached_property
    def plastic(self) -> tuple[Synapse, ...]:
        """Synapses that have weights of their own: all but the one of a memory that is loaded."""
        loaded = [m.synapse for m in self.memories if m.softmax.loaded]
        return tuple(s for s in self.synapses if s not in loaded)

    @cached_property
    def forward(self) -> tuple[Synapse, ...]:
        """Synapses without feedback: a network that has one is run, not taught."""
        return tuple(s for s in self.synapses if not s.feedback)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(p for p in self.populations if isinstance(p, Input))

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        return tuple(p for p in self.populations if isinstance(p, Constant))

    @cached_property
    def n_inputs(self) -> int:
        """Length of a sample: the input populations one after the other."""
        return sum(p.size for p in self.inputs)

    @property
    def n_outputs(self) -> int:
        return self[self.output].size

    def shape(self, synapse: Synapse) -> tuple[int, int]:
        """Rows and columns; the patterns of a memory are as long as one head of the relay."""
        pre = self[synapse.pre]
        post = self[synapse.post]
        return pre.size, post.width if isinstance(pre, Softmax) else post.size

    @property
    def n_weights(self) -> int:
        return sum(n * m for n, m in map(self.shape, self.plastic))

    def initial_weights(
        self, seed: int = 0, *, bias: float = 0.2, scale: float = 0.5, query: float = 0.3
    ) -> Weights:
        """Start alive: biases at ``bias`` x threshold, Glorot-uniform weights at ``scale``, so every layer
        begins in its linear range.

        Queries begin apart, normal with deviation ``query``; a memory begins empty.
        """
        rng = np.random.default_rng(whole(seed, "seed", 0, (1 << 64) - 1))
        bias = finite(bias, "bias", -MOST_START, MOST_START)
        scale = finite(scale, "scale", 0, MOST_START)
        query = finite(query, "query", 0, MOST_START)
        weights = {}
        for s in self.plastic:
            n, m = self.shape(s)
            limit = scale * np.sqrt(6 / (n + m))
            if isinstance(self[s.pre], Softmax):
                real = np.zeros((n, m))
            elif isinstance(self[s.post], Relay):
                real = rng.normal(0, query / np.sqrt(n), (n, m))
            elif isinstance(self[s.pre], Constant):
                real = np.full((n, m), bias)
            else:
                real = rng.uniform(-limit, limit, (n, m))
            weights[s.name] = self.numerics.weight.quantize(real * self.schedule.threshold)
        return weights

    def check_weights(self, weights: Mapping[str, npt.ArrayLike]) -> Weights:
        """``weights`` as int64 arrays in the order of the synapses.

        ValueError when a name, a shape or a code is wrong.
        """
        if not isinstance(weights, Mapping):
            raise ValueError(f"weights must be arrays by synapse, not {shown(weights)}")
        if set(weights) != {s.name for s in self.plastic}:
            there = ", ".join(sorted(map(str, weights)))
            wanted = ", ".join(sorted(s.name for s in self.plastic))
            raise ValueError(f"weights are for {there or 'no synapse'}, the network has {wanted}")
        checked = {}
        for s in self.plastic:
            w = self.numerics.weight.require(weights[s.name], f"weights of {s.name}")
            if w.shape != self.shape(s):
                raise ValueError(f"weights of {s.name} have shape {w.shape}, not {self.shape(s)}")
            checked[s.name] = w
        return checked

    def memory_for(self, tokens: object | None) -> Memory | None:
        """The memory that tokens are loaded into, None when there is none and none are given.

        ValueError when there is one without the other.
        """
        if self.loaded is not None and tokens is None:
            raise ValueError("this network's memory is loaded with each sample: give tokens")
        if self.loaded is None and tokens is not None:
            raise ValueError("this network has no memory to load tokens into")
        return self.loaded

    def check_tokens(self, tokens: Tokens | None, batch: int) -> None:
        """ValueError unless ``tokens`` fit the loaded memory, or are absent where there is none."""
        memory = self.memory_for(tokens)
        if memory is None or tokens is None:
            return
        if not isinstance(tokens, Tokens):
            raise ValueError(f"tokens must be made by Tokens.of, not {shown(tokens)}")
        want = (batch, *self.shape(memory.synapse))
        patterns = self.numerics.weight.require(tokens.patterns, "patterns")
        if patterns.shape != want or tokens.present.shape != want[:2]:
            raise ValueError(
                f"tokens must have patterns of shape {want} and as many presences, not {patterns.shape} and "
                f"{tokens.present.shape}"
            )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` gave; ValueError when it is something else."""
        if not isinstance(d, Mapping):
            raise ValueError(f"a network is described by fields, not by {shown(d)}")
        for name in ("populations", "synapses", "output", "schedule", "numerics"):
            if name not in d:
                raise ValueError(f"a network's description has no {name}")
        for name in ("populations", "synapses"):
            if not isinstance(d[name], list | tuple):
                raise ValueError(f"{name} must be a list, not {shown(d[name])}")
        return cls(
            tuple(_described(Population, p) for p in d["populations"]),
            tuple(_described(Synapse, s) for s in d["synapses"]),
            d["output"],
            _described(Schedule, d["schedule"]),
            _described(Numerics, d["numerics"]),
        )


def _described(kind: type[Part], fields: object) -> Part:
    """A part of a network from its fields; ValueError names the part when they are not its own."""
    if not isinstance(fields, Mapping):
        raise ValueError(f"a {kind.__name__} is described by fields, not by {shown(fields)}")
    if issubclass(kind, Population):
        fields = _of_its_kind(fields)
    try:
        return kind(**fields)
    except TypeError as e:  # a field too many or too few
        raise ValueError(f"a {kind.__name__}'s description: {e}") from e


def _of_its_kind(population: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields of a population without those that only others have: files of before name all of every one."""
    kind = KINDS.get(str(population.get("kind", "lif")), Population)
    others = {f.name for each in KINDS.values() for f in dataclasses.fields(each)}
    others -= {f.name for f in dataclasses.fields(kind)}
    return {name: value for name, value in population.items() if name not in others}


def require_network(network: object) -> Network:
    """``network``, or ValueError when it is something else."""
    if not isinstance(network, Network):
        raise ValueError(f"a Network is wanted, not {shown(network)}")
    return network


def _all_of(kind: type[Part], values: Iterable[Part], name: str) -> tuple[Part, ...]:
    """``values`` as a tuple; ValueError when something else is among them."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name} must be a tuple of {kind.__name__}, not {shown(values)}")
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be a tuple of {kind.__name__}, not of {shown(value)}")
    return tuple(values)


def save(
    path: str | Path,
    network: Network,
    weights: Mapping[str, npt.ArrayLike],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Network and weights in one ``.npz``, written whole or not at all.

    ``about``: what else belongs to them, values that JSON has; :func:`about` reads it.
    """
    require_network(network)
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        f"weights/{n}": w.astype(np.int16) for n, w in network.check_weights(weights).items()
    }
    if about is not None:
        arrays[ABOUT] = np.array(check_about(about))
    np.savez_compressed(content, network=np.array(json.dumps(network.to_dict())), **arrays)
    files.write(path, content.getvalue())


def check_about(about: Mapping[str, Any]) -> str:
    """What is to be saved about a network, as JSON; ValueError when it is more than a file of one holds."""
    written = json.dumps(about, allow_nan=False)
    if len(written) > MOST_TEXT // 4:  # NumPy stores four bytes a character
        raise ValueError(
            f"what is saved about a network takes at most {MOST_TEXT // 4:,} characters, and this has "
            f"{len(written):,}: take fewer columns or classes, or shorter names"
        )
    return written


def load(path: str | Path) -> tuple[Network, Weights]:
    """What :func:`save` wrote; ValueError names the file when it is something else."""
    return _read(Path(path), _unpack)


def about(path: str | Path) -> dict[str, Any] | None:
    """What :func:`save` was told about the network, None when nothing; ValueError names the file."""
    return _read(Path(path), _unpack_about)


def _read(path: Path, unpack: Callable[[zipfile.ZipFile], T]) -> T:
    """Something of a saved network; ValueError names the file when it is something else."""
    with path.open("rb") as f:  # whoever may not read it is told so
        try:
            if not zipfile.is_zipfile(f):
                raise ValueError("it is no .npz file, or a part of one")
            with zipfile.ZipFile(f) as z:
                return unpack(z)
        except Exception as e:  # whatever a damaged file leads to
            raise ValueError(f"{path} is not a network saved by equilif: {_said(e)}") from e


def _unpack_about(z: zipfile.ZipFile) -> dict[str, Any] | None:
    if f"{ABOUT}.npy" not in z.namelist():
        return None
    found = json.loads(str(_member(z, ABOUT, None, "U")))
    if not isinstance(found, dict):
        raise ValueError(f"{ABOUT} must have keys and values")
    return found


def _unpack(z: zipfile.ZipFile) -> tuple[Network, Weights]:
    there = set(z.namelist())
    if "network.npy" not in there:
        raise ValueError("it has no network")
    network = Network.from_dict(json.loads(str(_member(z, "network", None, "U"))))
    shapes = {f"weights/{s.name}": network.shape(s) for s in network.plastic}
    wanted = {f"{name}.npy" for name in ("network", *shapes)}
    if there - {f"{ABOUT}.npy"} != wanted:
        raise ValueError(f"it has {', '.join(sorted(there))}, its network needs {', '.join(sorted(wanted))}")
    weights = {name.removeprefix("weights/"): _member(z, name, shape, "iu") for name, shape in shapes.items()}
    return network, network.check_weights(weights)


def _said(e: Exception) -> str:
    """What an exception says, in one line."""
    return " ".join(str(e).split()) or type(e).__name__


def _member(z: zipfile.ZipFile, name: str, shape: tuple[int, int] | None, kinds: str) -> npt.NDArray[Any]:
    """An array of an ``.npz`` (``shape`` None: a text), read only when its header promises what is wanted.

    A file may be damaged, or made to fill the memory.
    """
    with z.open(f"{name}.npy") as f:
        first = npy.read_magic(f) == (1, 0)
        found, _, dtype = npy.read_array_header_1_0(f) if first else npy.read_array_header_2_0(f)
    if dtype.kind not in kinds:
        raise ValueError(f"{name} must be {'integers' if shape else 'a text'}, not {dtype}")
    if found != (shape or ()):
        raise ValueError(f"{name} has shape {found}, not {shape or ()}")
    if shape is None and dtype.itemsize > MOST_TEXT:
        raise ValueError(f"{name} is a text of {dtype.itemsize} bytes, more than {MOST_TEXT}")
    with z.open(f"{name}.npy") as f:
        return np.asarray(npy.read_array(f, allow_pickle=False))
