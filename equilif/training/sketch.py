"""A network whose sizes of inputs, output and queries may be left to the data.

Plain values only: a file (equilif.training.netfile) and history.json hold it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from equilif.data.dataset import DataSet
from equilif_golden.fixed import DEFAULT, Numerics, keep
from equilif_golden.network import Input, Network, Population, Shape, Synapse
from equilif_golden.populations import shape_of
from equilif_golden.schedule import Schedule

Kind = Literal["input", "constant", "lif", "output", "relay", "softmax"]
#: fields that belong to one kind of population
OPTIONS = ("heads", "gain", "sharpness", "loaded", "rows", "shape", "patch")


class Sizes(NamedTuple):
    """What a network must have for a data set: inputs, outputs, the width of a token (0: no tokens), tokens
    of the longest sample, and rows of the table of them.
    """

    inputs: int
    outputs: int
    width: int = 0
    tokens: int = 0
    rows: int = 1
    data: str = "the data"
    image: tuple[int, int, int] | None = None  #: height, width and colours, where they are known

    @classmethod
    def of(cls, d: DataSet) -> Self:
        if d.tokens_train is None or d.tokens_test is None:
            return cls(d.n_features, d.n_classes, data=d.name, image=d.image)
        longest = max(int(np.diff(part.off).max()) for part in (d.tokens_train, d.tokens_test))
        rows, width = d.tokens_train.table.shape
        return cls(d.n_features, d.n_classes, width, longest, rows, d.name)


@dataclass(frozen=True, kw_only=True)
class Group:
    """A population; ValueError names it when a value cannot be."""

    name: str
    kind: Kind = field(
        default="lif",
        metadata={"help": "input, constant, lif (spiking neurons), output, relay or softmax"},
    )
    size: int | None = field(
        default=None,
        metadata={"help": "neurons; of input, output and the relay of tokens the data say it"},
    )
    heads: int | None = field(default=None, metadata={"help": "relay: queries, side by side"})
    gain: int | None = field(
        default=None, metadata={"help": "relay: what is heard back counts 2^(gain - 1) times"}
    )
    sharpness: int | None = field(
        default=None, metadata={"help": "softmax: in octaves; k = 2^(sharpness - 1) ln 2"}
    )
    loaded: bool | None = field(
        default=None, metadata={"help": "softmax: the patterns are the tokens of each sample"}
    )
    rows: int | None = field(
        default=None,
        metadata={"help": "softmax: tokens are rows of a table of so many, which learns; 0: the data's"},
    )
    shape: tuple[int, ...] | None = field(
        default=None, metadata={"help": "maps: height, width and number of maps, in place of a size"}
    )
    patch: int | None = field(
        default=None,
        metadata={"help": "input with a shape: so many rows and columns of an image lie at one position"},
    )

    def __post_init__(self) -> None:
        if self.kind == "constant" and self.size is None:
            keep(self, size=1)
        if self.shape is not None and self.size is None:
            keep(self, size=shape_of(self.shape, f"population {self.name!r}").size)
        if self.kind in ("lif", "softmax") and self.size is None:
            raise ValueError(f"population {self.name!r}: {self.kind} neurons need a size, the number of them")
        made = self.population(self.heads or 1)
        for name in OPTIONS:
            if name != "rows" or self.kind != "softmax":  # 0 stays
                keep(self, **{name: getattr(made, name) if name in _fields(made) else None})
        if self.shape is None:
            keep(self, patch=None)

    def population(self, size: int, rows: int = 1) -> Population:
        """The population, of this size and with a table of so many rows where it has none of its own."""
        options = {n: getattr(self, n) for n in OPTIONS if getattr(self, n) is not None}
        if options.get("rows") == 0:
            options["rows"] = rows
        kind = "lif" if self.kind == "output" else self.kind
        return Population(self.name, size if self.size is None else self.size, kind, **options)

    @property
    def image(self) -> Shape | None:
        """Of an input of maps: rows, columns and colours of a sample."""
        made = self.population(1) if self.kind == "input" else None
        return made.image if isinstance(made, Input) else None


def _fields(population: Population) -> set[str]:
    return {f.name for f in dataclasses.fields(population)}


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """Populations in update order and their synapses; :meth:`check` says whether they make a network."""

    populations: tuple[Group, ...]
    synapses: tuple[Synapse, ...]
    numerics: Numerics = DEFAULT

    def __post_init__(self) -> None:
        outputs = [g.name for g in self.populations if g.kind == "output"]
        if not outputs:
            raise ValueError('a network needs a population of kind = "output": it is nudged and read out')
        if len(outputs) > 1:
            raise ValueError(
                f'population {outputs[1]!r}: there is one output, {outputs[0]!r}; make this kind = "lif"'
            )
        open_inputs = [g.name for g in self.populations if g.kind == "input" and g.size is None]
        if len(open_inputs) > 1:
            raise ValueError(
                f"population {open_inputs[1]!r}: one input can leave its size to the data, and "
                f"{open_inputs[0]!r} does: give this one a size"
            )

    def check(self, schedule: Schedule) -> None:
        """ValueError when no data make a network of it, with these phases."""
        network = self.smallest(schedule)
        for m in network.memories:
            if not m.softmax.loaded and self[m.relay.name].size is None:
                raise ValueError(
                    f"population {m.relay.name!r}: its memory stores patterns, so it needs a size, heads "
                    "times the length of a pattern"
                )

    def smallest(self, schedule: Schedule) -> Network:
        """The network, where data leave sizes open the smallest."""
        sizes = Sizes(
            sum(g.size or 1 for g in self.populations if g.kind == "input"),
            self[self.output].size or 2,
            1,
        )
        return self._made(schedule, sizes)

    def __getitem__(self, name: str) -> Group:
        return {g.name: g for g in self.populations}[name]

    @property
    def output(self) -> str:
        return next(g.name for g in self.populations if g.kind == "output")

    @property
    def unjoined(self) -> str:
        """A note that names the populations without a synapse; empty when there are none."""
        joined = {name for s in self.synapses for name in (s.pre, s.post)}
        names = [repr(g.name) for g in self.populations if g.name not in joined]
        if not names:
            return ""
        return f"population {', '.join(names)}: no synapse joins it to another, so it does nothing"

    @property
    def open(self) -> tuple[str, ...]:
        """Populations whose size or rows the data say."""
        return tuple(g.name for g in self.populations if g.size is None or g.rows == 0)

    @classmethod
    def of(cls, network: Network, *, sized: bool = True) -> Self:
        """That of a network; without ``sized`` the data say what they can say."""
        groups = []
        for p in network.populations:
            kind: Any = "output" if p.name == network.output else p.kind
            by_data = (
                kind == "output"
                or kind == "input"
                and len(network.inputs) == 1
                or network.loaded is not None
                and p is network.loaded.relay
            )
            options = {n: getattr(p, n) for n in OPTIONS if n in _fields(p)}
            size = None if by_data and not sized else p.size
            if options.get("rows") and not sized:
                options["rows"] = 0
            groups.append(Group(name=p.name, kind=kind, size=size, **options))
        return cls(populations=tuple(groups), synapses=network.synapses, numerics=network.numerics)

    def network(self, schedule: Schedule, sizes: Sizes | None = None) -> Network:
        """The network for data of these sizes; ValueError says what does not fit.

        Without ``sizes`` every population must have its own.
        """
        if sizes is None:
            if self.open:
                name = self.open[0]
                left = "rows are" if self[name].rows == 0 else "size is"
                raise ValueError(
                    f"population {name!r}: its {left} left to the data; give a number, or name the data"
                )
            sizes = Sizes(0, 0)
        else:
            self._check(sizes)
        return self._made(schedule, sizes)

    def _made(self, schedule: Schedule, sizes: Sizes) -> Network:
        left = sizes.inputs - sum(g.size or 0 for g in self.populations if g.kind == "input")
        by_data = {"input": left, "output": sizes.outputs}
        made = [
            g.population(
                (g.heads or 1) * sizes.width if g.kind == "relay" else by_data.get(g.kind, 1), sizes.rows
            )
            for g in self.populations
        ]
        numerics = None if self.numerics == DEFAULT else self.numerics
        return Network.holding(tuple(made), self.synapses, self.output, schedule, numerics)

    def _check(self, sizes: Sizes) -> None:
        """ValueError unless data of these sizes fit."""
        self._check_tokens(sizes)
        self._check_inputs(sizes)
        output = self[self.output]
        if output.size is not None and output.size < sizes.outputs:
            raise ValueError(
                f"population {output.name!r}: size {output.size} is too small, {sizes.data} has "
                f"{sizes.outputs} classes; leave the size out, and the data say it"
            )

    def _check_inputs(self, sizes: Sizes) -> None:
        inputs = [g for g in self.populations if g.kind == "input"]
        if not inputs:
            if sizes.inputs:
                raise ValueError(
                    f"{sizes.data} has {sizes.inputs} inputs, the network has no population of kind "
                    '"input": add one'
                )
            return
        for g in inputs:
            if g.image is not None and sizes.image is not None and tuple(g.image) != sizes.image:
                raise ValueError(
                    f"population {g.name!r}: shape {g.population(1).shape} with patch {g.patch} is of images "
                    f"of {tuple(g.image)}, {sizes.data} holds images of {sizes.image}"
                )
        own = sum(g.size or 0 for g in inputs)
        fits = own == sizes.inputs if all(g.size for g in inputs) else own < sizes.inputs
        if not fits:
            wrong = next((g for g in inputs if g.size), inputs[0])
            if wrong.image is not None:
                raise ValueError(
                    f"population {wrong.name!r}: shape {wrong.population(1).shape} with patch {wrong.patch} "
                    f"is of images of {wrong.image}, {own} values; {sizes.data} has {sizes.inputs}"
                )
            has = f"{sizes.inputs} inputs" if sizes.inputs else "tokens and no inputs"
            raise ValueError(
                f"population {wrong.name!r}: the network's inputs have size {own or 'open'}, {sizes.data} "
                f"has {has}; leave the size out, and the data say it"
            )

    def check_kind(self, data: str, *, tokens: bool) -> None:
        """ValueError unless data with tokens meet a memory that is loaded with them, and other data none."""
        if tokens and self.loaded is None:
            raise ValueError(
                f"{data} has tokens: the network needs a softmax population with loaded = true, and a relay; "
                "`equilif new` of these data writes one that has them"
            )
        if self.loaded is not None and not tokens:
            raise ValueError(
                f"population {self.loaded[0].name!r}: loaded = true wants the tokens of a sequence, {data} "
                "has none"
            )

    def _check_tokens(self, sizes: Sizes) -> None:
        self.check_kind(sizes.data, tokens=sizes.width > 0)
        if self.loaded is None:
            return
        softmax, relay = self.loaded
        if softmax.size is not None and softmax.size < sizes.tokens:
            raise ValueError(
                f"population {softmax.name!r}: size {softmax.size} is too small, a sample of {sizes.data} "
                f"has {sizes.tokens} tokens"
            )
        if softmax.rows and softmax.rows != sizes.rows:
            raise ValueError(
                f"population {softmax.name!r}: rows {softmax.rows} do not fit, {sizes.data} has a table of "
                f"{sizes.rows}; with rows = 0 the data say it"
            )
        wanted = (relay.heads or 1) * sizes.width
        if relay.size is not None and relay.size != wanted:
            raise ValueError(
                f"population {relay.name!r}: size {relay.size} does not fit, {relay.heads} heads of "
                f"{sizes.width} values make {wanted}; leave the size out, and the data say it"
            )

    @property
    def loaded(self) -> tuple[Group, Group] | None:
        """The softmax population that tokens are loaded into, and its relay."""
        for s in self.synapses:
            if self[s.pre].loaded:
                return self[s.pre], self[s.post]
        return None

    # -- the usual shapes --------------------------------------------------------------------------
    @property
    def hidden(self) -> tuple[int, ...]:
        """Sizes of the spiking populations before the output."""
        return tuple(g.size or 0 for g in self.populations if g.kind == "lif")

    def as_chain(self) -> tuple[float, ...] | None:
        """Relative learning rates of the layers of an open chain (Network.chain), None when it is none."""
        into = {s.post: s.rate_scale for s in self.synapses}
        layers = [g.name for g in self.populations if g.kind in ("lif", "output")]
        rates = tuple(into.get(name, 1.0) for name in layers)
        chain = Network.chain(1, *self.hidden, 2, rate_scales=rates)
        return rates if Sketch.of(chain, sized=False) == self else None

    def as_attention(self) -> tuple[float, float | None] | None:
        """Relative learning rates of the queries and, where there is one, of the table of an open network of
        Network.attention; None when it is none.
        """
        if self.loaded is None:
            return None
        memory, query = self.loaded
        rates = {s.pre: s.rate_scale for s in self.synapses if s.post == query.name}
        scale = rates.get("bias", 1.0)
        table = None if memory.rows is None else rates[memory.name]
        made = Network.attention(
            memory.size or 1,
            1,
            query.heads or 1,
            *self.hidden,
            2,
            gain=query.gain or 0,
            sharpness=memory.sharpness or 0,
            query_scale=scale,
            rows=None if table is None else 1,
            table_scale=table or 0.0,
        )
        return (scale, table) if Sketch.of(made, sized=False) == self else None
