"""Network description: populations joined by symmetric synapses, nothing else.

    Phi(s) = sum_synapses s_pre^T W s_post - sum_lif 1/2 |s|^2 + sum_memories (1/k) logsumexp(k X q) - beta/2 |y - s_out|^2

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
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from equilif_golden import files
from equilif_golden.blocks import relay, softmax
from equilif_golden.fixed import DEFAULT, Fixed, Numerics, Raw, finite, integers, truth, whole
from equilif_golden.schedule import Schedule

ONE = 255  #: value of the constant population


@dataclass(frozen=True)
class Population:
    """``size`` neurons.  kind.

    ``input`` (clamped to the sample), ``constant`` (clamped to 255/256), ``lif``, ``relay`` or
    ``softmax``.

    heads, gain         of a relay: its size is heads x pattern length; the retrieval counts 2**(gain - 1)
                        times
    sharpness, loaded   of a softmax population: k = 2**(sharpness - 1) ln 2; its patterns come with each
                        sample, up to ``size`` of them
    """

    name: str
    size: int
    kind: Literal["input", "constant", "lif", "relay", "softmax"] = "lif"
    heads: int = 1
    gain: int = 0
    sharpness: int = 3
    loaded: bool = False

    def __post_init__(self) -> None:
        # a synapse is called pre-post
        if not isinstance(self.name, str) or not re.fullmatch(r"[\w.]+", self.name):
            raise ValueError(f"a population's name is made of letters, digits, _ and ., not {self.name!r}")
        whole(self.size, f"population {self.name!r}: size", 1, MOST_NEURONS)
        whole(self.heads, f"population {self.name!r}: heads", 1, MOST_NEURONS)
        whole(self.gain, f"population {self.name!r}: gain in octaves", 0, MOST_GAIN)
        whole(self.sharpness, f"population {self.name!r}: sharpness in octaves", -32, 32)
        truth(self.loaded, f"population {self.name!r}: loaded")
        if self.kind not in KINDS:
            raise ValueError(
                f"population {self.name!r}: kind must be one of {', '.join(KINDS)}, not {self.kind!r}"
            )
        if self.size % self.heads or self.kind != "relay" and self.heads > 1:
            raise ValueError(
                f"population {self.name!r}: {self.size} {self.kind} neurons cannot have {self.heads} heads"
            )
        if self.loaded and self.kind != "softmax":
            raise ValueError(
                f"population {self.name!r}: only patterns of a softmax population are loaded, not {self.kind} neurons"
            )
        if self.kind == "softmax" and self.size > MOST_PATTERNS:
            raise ValueError(
                f"population {self.name!r}: a softmax population has at most {MOST_PATTERNS} neurons, not {self.size}"
            )

    @property
    def clamped(self) -> bool:
        return self.kind in ("input", "constant")

    @property
    def width(self) -> int:
        """Neurons of one head."""
        return self.size // self.heads


KINDS = ("input", "constant", "lif", "relay", "softmax")
MOST_NEURONS = 1 << 20
MOST_GAIN = 2
MOST_PATTERNS = 1024


@dataclass(frozen=True)
class Memory:
    """A softmax population, its relay and the synapse between them."""

    softmax: Population
    relay: Population
    synapse: Synapse


@dataclass(frozen=True)
class Synapse:
    """Symmetric synapse between two populations, by name; rows belong to ``pre``, columns to ``post``.

    Without ``feedback``, possible between LIF populations, ``post`` hears ``pre`` but not the other way
    round.  There is no energy then, so such a network is run, not taught: Equilibrium Propagation needs
    the feedback (equilif_golden.real.rates trains it).
    """

    pre: str
    post: str
    rate_scale: float = 1.0  #: this synapse's learning rate relative to the network's
    feedback: bool = True

    def __post_init__(self) -> None:
        finite(self.rate_scale, f"synapse {self.name}: rate_scale", 0, 1e6)
        truth(self.feedback, f"synapse {self.name}: feedback")

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
            raise ValueError(f"a chain needs an input and an output size, not {sizes}")
        scales = rate_scales or (1.0,) * (len(sizes) - 1)
        if len(scales) != len(sizes) - 1:
            raise ValueError(f"rate_scales must name {len(sizes) - 1} layers, not {len(scales)}")
        names = ["input", *(f"hidden{k}" for k in range(1, len(sizes) - 1)), "output"]
        pops = [
            Population(names[0], sizes[0], "input"),
            Population("bias", 1, "constant"),
            *(Population(n, s) for n, s in zip(names[1:], sizes[1:], strict=True)),
        ]
        synapses = [
            s
            for (a, b), r in zip(pairwise(names), scales, strict=True)
            for s in (Synapse(a, b, r, feedback=feedback or a == "input"), Synapse("bias", b, r))
        ]
        return cls(tuple(pops), tuple(synapses), names[-1], schedule or Schedule(), numerics)

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
        names = [*(f"hidden{k}" for k in range(1, len(sizes))), "output"]
        pops = (
            Population("bias", 1, "constant"),
            Population("memory", tokens, "softmax", sharpness=sharpness, loaded=True),
            Population("query", heads * width, "relay", heads=heads, gain=gain),
            *(Population(n, s) for n, s in zip(names, sizes, strict=True)),
        )
        synapses = [Synapse("memory", "query", 0.0), Synapse("bias", "query", query_scale)]
        synapses += [s for a, b in pairwise(["query", *names]) for s in (Synapse(a, b), Synapse("bias", b))]
        return cls(pops, tuple(synapses), names[-1], schedule or Schedule(nudged=16), numerics)

    def __post_init__(self) -> None:
        names = [p.name for p in self.populations]
        if len(set(names)) != len(names):
            raise ValueError(f"population names must differ, not {names}")
        for s in self.synapses:
            for end in (s.pre, s.post):
                if end not in names:
                    raise ValueError(
                        f"synapse {s.name}: there is no population {end!r}; there are {', '.join(names)}"
                    )
            if (kinds := (self.side(s.pre), self.side(s.post))) not in JOINABLE:
                raise ValueError(
                    f"synapse {s.name}: {self[s.pre].kind} to {self[s.post].kind} is not possible"
                    + (f"; turn it round: {s.post}-{s.pre}" if kinds[::-1] in JOINABLE else "")
                )
            if not s.feedback and kinds != ("lif", "lif"):
                raise ValueError(
                    f"synapse {s.name}: only one between lif populations can be without feedback, not {kinds[0]} to {kinds[1]}"
                )
            if s.pre == s.post:
                raise ValueError(f"synapse {s.name}: a population cannot be joined to itself")
            if [t.name for t in self.synapses].count(s.name) > 1:
                raise ValueError(f"synapse {s.name} occurs twice")
        if self.output not in names or self[self.output].kind != "lif":
            raise ValueError(f"output must name a lif population, not {self.output!r}")
        for p in self.populations:
            of = [s for s in self.synapses if p.name in (s.pre, s.post) and self[s.pre].kind == "softmax"]
            if p.kind in ("relay", "softmax") and len(of) != 1:
                raise ValueError(
                    f"{p.kind} population {p.name!r} needs one synapse from a softmax population to a relay, it has {len(of)}"
                )
        if sum(p.loaded for p in self.populations) > 1:
            raise ValueError("only one memory can be loaded with each sample")
        if not self.inputs and not self.loaded:
            raise ValueError("a network needs an input population or a memory that is loaded")
        if not self.synapses:
            raise ValueError("a network needs a synapse")
        self._check_bounds()

    def side(self, name: str) -> str:
        """Kind of a population as the end of a synapse."""
        return "clamped" if self[name].clamped else self[name].kind

    def _check_bounds(self) -> None:
        """What could wrap or has no code."""
        for p in self.populations:
            # one head gathers at a time, and query and retrieval one after the other
            before = [s.pre for s in self.synapses if s.post == p.name]
            behind = [s.post for s in self.synapses if s.pre == p.name and s.feedback]
            sums = [
                [n for n in before + behind if self[n].kind != "softmax"],
                [n for n in before if self[n].kind == "softmax"],
            ]
            fan_in = max(
                sum(self[n].size if p.kind != "softmax" else self[n].width for n in names) for names in sums
            )
            if not p.clamped and fan_in > self.numerics.max_fan_in:
                raise ValueError(
                    f"population {p.name!r} has fan-in {fan_in}; a {self.numerics.accumulator_width}-bit "
                    f"accumulator holds {self.numerics.max_fan_in}"
                )
        for m in self.memories:
            if self.softmax_shift(m.softmax) not in softmax.SHIFTS:
                raise ValueError(
                    f"population {m.softmax.name!r}: sharpness must be in {self.numerics.fraction - 6 - softmax.SHIFTS[-1]}.."
                    f"{self.numerics.fraction - 6 - softmax.SHIFTS[0]} octaves, not {m.softmax.sharpness}"
                )
            if relay.retrieval_shift(self.numerics.fraction, m.relay.gain) not in relay.SHIFTS:
                raise ValueError(
                    f"population {m.relay.name!r}: gain {m.relay.gain} needs at least {9 + m.relay.gain} fraction bits, "
                    f"not {self.numerics.fraction}"
                )
            if self.schedule.free % self.schedule.window or self.schedule.nudged % self.schedule.window:
                raise ValueError(
                    f"a network with a memory settles in whole windows: free {self.schedule.free} and nudged "
                    f"{self.schedule.nudged} must be multiples of {self.schedule.window}"
                )
        raw = self.schedule.raw(self.numerics)
        if raw.threshold * (raw.window + 3) > self.numerics.charge.hi:
            raise ValueError(f"window {raw.window} overflows the {self.numerics.charge_width}-bit charge")

    def __getitem__(self, name: str) -> Population:
        return next(p for p in self.populations if p.name == name)

    @property
    def lif(self) -> tuple[Population, ...]:
        return tuple(p for p in self.populations if p.kind == "lif")

    @property
    def memories(self) -> tuple[Memory, ...]:
        return tuple(
            Memory(self[s.pre], self[s.post], s) for s in self.synapses if self[s.pre].kind == "softmax"
        )

    @property
    def loaded(self) -> Memory | None:
        """The memory whose patterns come with each sample."""
        return next((m for m in self.memories if m.softmax.loaded), None)

    def softmax_shift(self, population: Population) -> int:
        """equilif_golden.blocks.softmax's shift for a population's sharpness."""
        return self.numerics.fraction - softmax.FRACTION - population.sharpness

    @property
    def plastic(self) -> tuple[Synapse, ...]:
        """Synapses that have weights of their own: all but the one of a memory that is loaded."""
        return tuple(s for s in self.synapses if not self[s.pre].loaded)

    @property
    def forward(self) -> tuple[Synapse, ...]:
        """Synapses without feedback: a network that has one is run, not taught."""
        return tuple(s for s in self.synapses if not s.feedback)

    @property
    def inputs(self) -> tuple[Population, ...]:
        return tuple(p for p in self.populations if p.kind == "input")

    @property
    def n_inputs(self) -> int:
        """Length of a sample: the input populations one after the other."""
        return sum(p.size for p in self.inputs)

    @property
    def n_outputs(self) -> int:
        return self[self.output].size

    def shape(self, synapse: Synapse) -> tuple[int, int]:
        """Rows and columns; the patterns of a memory are as long as one head of the relay."""
        pre, post = self[synapse.pre], self[synapse.post]
        return pre.size, post.width if pre.kind == "softmax" else post.size

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
        rng = np.random.default_rng(seed)
        weights = {}
        for s in self.plastic:
            n, m = self.shape(s)
            limit = scale * np.sqrt(6 / (n + m))
            if self[s.pre].kind == "softmax":
                real = np.zeros((n, m))
            elif self[s.post].kind == "relay":
                real = rng.normal(0, query / np.sqrt(n), (n, m))
            else:
                real = (
                    np.full((n, m), bias)
                    if self[s.pre].kind == "constant"
                    else rng.uniform(-limit, limit, (n, m))
                )
            weights[s.name] = self.numerics.weight.quantize(real * self.schedule.threshold)
        return weights

    def check_weights(self, weights: Mapping[str, Raw]) -> Weights:
        """``weights`` as int64 arrays in synapse order; ValueError when a name, a shape or a code is wrong."""
        names = [s.name for s in self.plastic]
        if set(weights) != set(names):
            raise ValueError(f"weights are for {sorted(weights)}, the network has {sorted(names)}")
        for s in self.plastic:
            if np.shape(weights[s.name]) != self.shape(s):
                raise ValueError(
                    f"weights of {s.name} have shape {np.shape(weights[s.name])}, not {self.shape(s)}"
                )
        return {n: self.numerics.weight.require(weights[n], f"weights of {n}") for n in names}

    def check_tokens(self, tokens: Tokens | None, batch: int) -> None:
        """ValueError unless ``tokens`` fit the loaded memory, or are absent where there is none."""
        if self.loaded is None or tokens is None:
            if (self.loaded is None) != (tokens is None):
                raise ValueError(
                    "this network's memory is loaded with each sample: give tokens"
                    if self.loaded
                    else "this network has no memory to load tokens into"
                )
            return
        want = (batch, *self.shape(self.loaded.synapse))
        if tokens.patterns.shape != want or tokens.present.shape != want[:2]:
            raise ValueError(
                f"tokens must have patterns of shape {want} and as many presences, not {tokens.patterns.shape} and "
                f"{tokens.present.shape}"
            )
        self.numerics.weight.require(tokens.patterns, "patterns")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        return cls(
            tuple(Population(**p) for p in d["populations"]),
            tuple(Synapse(**s) for s in d["synapses"]),
            d["output"],
            Schedule(**d["schedule"]),
            Numerics(**d["numerics"]),
        )


#: kinds at the two ends of a synapse
JOINABLE = {("clamped", "lif"), ("lif", "lif"), ("clamped", "relay"), ("relay", "lif"), ("softmax", "relay")}
Weights = dict[str, Raw]


@dataclass(frozen=True)
class Tokens:
    """Patterns of a loaded memory, sample by sample: (batch, softmax size, width) raw weights, zero where
    ``present`` (batch, size) is false.
    """

    patterns: Raw
    present: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, sequences: Sequence[npt.ArrayLike], size: int) -> Self:
        """Sequences of raw patterns (n <= size, width), one a sample, filled up."""
        arrays = [integers(s, "patterns") for s in sequences]
        if not arrays:
            raise ValueError("there is no sequence")
        for a in arrays:
            if a.ndim != 2 or len(a) > size or a.shape[1] != arrays[0].shape[1]:
                raise ValueError(f"sequences must have shape (up to {size}, width), not {a.shape}")
        patterns = np.stack([np.pad(a, ((0, size - len(a)), (0, 0))) for a in arrays])
        return cls(patterns, np.arange(size) < np.array([len(a) for a in arrays])[:, None])

    def take(self, indices: npt.ArrayLike) -> Tokens:
        """Some samples."""
        at = integers(indices, "indices", 0, len(self.patterns) - 1)
        return Tokens(self.patterns[at], self.present[at])


class TokenRows(NamedTuple):
    """Patterns for a loaded memory, as rows of a table: sample j has the rows ``rows[off[j]: off[j + 1]]``.

    table (n_rows, width) raw weights, int16; rows int32; off (n + 1,) int64.
    """

    table: npt.NDArray[np.int16]
    rows: npt.NDArray[np.int32]
    off: npt.NDArray[np.int64]

    @property
    def n_samples(self) -> int:
        return len(self.off) - 1

    def checked(self, patterns: int, width: int, weight: Fixed) -> TokenRows:
        """The same with the types above, for a memory of so many ``patterns``; ValueError when it does not fit.

        Compiled code takes rows and offsets as they are, so each of them is looked at here.
        """
        off = integers(self.off, "token offsets")
        if (
            off.ndim != 1
            or not len(off)
            or off[0] != 0
            or off[-1] != np.size(self.rows)
            or (np.diff(off) < 0).any()
        ):
            raise ValueError(
                f"token offsets must rise from 0 to the number of rows, {np.size(self.rows)}, not {_ends(off)}"
            )
        table = weight.require(self.table, "patterns")
        longest = int(np.diff(off).max(initial=0))
        if table.ndim != 2 or table.shape[1] != width or longest > patterns:
            raise ValueError(
                f"the memory holds {patterns} patterns of width {width}, not {longest} of width {table.shape[1:]}"
            )
        rows = integers(self.rows, "token rows", 0, len(table) - 1)
        if rows.ndim != 1:
            raise ValueError(f"token rows must have one dimension, not {rows.ndim}")
        return TokenRows(np.ascontiguousarray(table, np.int16), rows.astype(np.int32), off)

    def sample(self, j: int) -> Raw:
        """Raw patterns (n, width) of sample j."""
        return self.table[self.rows[self.off[j] : self.off[j + 1]]].astype(np.int64)

    def take(self, indices: npt.ArrayLike) -> TokenRows:
        """Some samples, with the same table."""
        at = integers(indices, "indices", 0, self.n_samples - 1)
        parts = [self.rows[self.off[j] : self.off[j + 1]] for j in at]
        return TokenRows(
            self.table,
            np.concatenate([self.rows[:0], *parts]),
            np.cumsum([0, *map(len, parts)], dtype=np.int64),
        )


def _ends(values: Raw) -> str:
    """First and last of an array, for a message."""
    return f"{values.ravel()[:3].tolist()} .. {values.ravel()[-1:].tolist()} of shape {values.shape}"


def save(path: str | Path, network: Network, weights: Mapping[str, Raw]) -> None:
    """Network and weights in one ``.npz``, written whole or not at all."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        f"weights/{n}": w.astype(np.int16) for n, w in network.check_weights(weights).items()
    }
    np.savez_compressed(content, network=np.array(json.dumps(network.to_dict())), **arrays)
    files.write(path, content.getvalue())


def load(path: str | Path) -> tuple[Network, Weights]:
    """What :func:`save` wrote; ValueError names the file when it is something else."""
    path = Path(path)
    with path.open("rb") as f:  # whoever may not read it is told so
        if not zipfile.is_zipfile(f):
            raise ValueError(f"{path} is not a network saved by equilif: it is no .npz file")
    try:
        with zipfile.ZipFile(path) as z:
            network = Network.from_dict(json.loads(str(_member(z, "network", None, None))))
            wanted = {f"weights/{s.name}": network.shape(s) for s in network.plastic}
            there = {n.removesuffix(".npy") for n in z.namelist()} - {"network"}
            if there != set(wanted):
                raise ValueError(
                    f"it has {', '.join(sorted(there))}, its network {', '.join(sorted(wanted))}"
                )
            weights = {n.removeprefix("weights/"): _member(z, n, shape, "iu") for n, shape in wanted.items()}
        return network, network.check_weights(weights)
    except Exception as e:  # whatever a damaged file leads to
        raise ValueError(f"{path} is not a network saved by equilif: {_said(e)}") from e


def _said(e: Exception) -> str:
    """What an exception says, in one line."""
    if isinstance(e, KeyError):
        return f"it has no {e.args[0]}"
    return " ".join(str(e).split()) or type(e).__name__


def _member(
    z: zipfile.ZipFile, name: str, shape: tuple[int, int] | None, kinds: str | None
) -> npt.NDArray[Any]:
    """An array of an ``.npz``, read only when its header promises what is wanted: a file may lie or be a bomb."""
    with z.open(f"{name}.npy") as f:
        version = np.lib.format.read_magic(f)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        found, _, dtype = header(f)
        if shape is not None and found != shape:
            raise ValueError(f"{name} has shape {found}, not {shape}")
        if kinds is not None and dtype.kind not in kinds:
            raise ValueError(f"{name} must be integers, not {dtype}")
        if kinds is None and (dtype.kind != "U" or found != () or dtype.itemsize > MOST_TEXT):
            raise ValueError(f"{name} must be a text")
    with z.open(f"{name}.npy") as f:
        return np.asarray(np.lib.format.read_array(f, allow_pickle=False))


MOST_TEXT = 1 << 24  #: bytes of a network's description
