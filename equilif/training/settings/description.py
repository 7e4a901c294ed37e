"""A network and how it learns: the one description that network files, presets, runs and commands share."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from equilif.data import Name
from equilif.data.base.ragged import position
from equilif.data.sets import images, sequences
from equilif.data.sets.characters import Text
from equilif.data.sets.dataset import DataSet
from equilif.training.settings import tables
from equilif.training.settings.tables import (
    LearningTable,
    NumbersTable,
    PhasesTable,
    PopulationTable,
    RatesTable,
    StartTable,
    SynapseTable,
    Tables,
    TableSchema,
    TextTable,
    population_of,
    synapse_of,
)
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.extras import needs
from equilif_golden.fixed import DEFAULT, Numerics, check_int, set_fields
from equilif_golden.learning import learning_steps, smallest_rate
from equilif_golden.network import Network, Population, Synapse, Weights
from equilif_golden.places import PlacedError, placed
from equilif_golden.schedule import Schedule

with needs("cli"):
    from pydantic import Field, PrivateAttr, ValidationError


class Sizes(NamedTuple):
    """Sizes that a data set gives a network: inputs, outputs, the width of a token (0: no tokens), tokens
    of the longest sample, and rows of the table of them.
    """

    inputs: int
    outputs: int
    width: int = 0
    tokens: int = 0
    rows: int = 1
    data: str = "the data"
    image: tuple[int, int, int] | None = None  #: height, width and colours, where they are known
    channels_first: bool = False  #: the values of an image lie colour by colour

    def images(self, given: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Shapes of a sample: that of an image, and one with its rows as positions, which has the same order
        of values; ``given`` where the image is not known.
        """
        if self.image is None:
            return (given,)
        if self.channels_first:
            return (self.image,)
        height, width, colours = self.image
        return self.image, (height, 1, width * colours)

    @classmethod
    def of(cls, d: DataSet | Text) -> Self:
        if isinstance(d, Text):
            return cls(d.n_features, d.n_features, data=d.name)
        if d.tokens_train is None or d.tokens_test is None:
            return cls(d.n_features, d.n_classes, data=d.name, image=d.image, channels_first=d.channels_first)
        longest = max(int(np.diff(part.off).max()) for part in (d.tokens_train, d.tokens_test))
        rows, width = d.tokens_train.table.shape
        return cls(d.n_features, d.n_classes, width, longest, rows, d.name)


def _of_method(name: str) -> Any:
    """A key of [learning] or [rates], whichever the description has."""
    return property(lambda self: getattr(self.method, name))


# -- the description -------------------------------------------------------------------------------
class Description(TableSchema):
    """A network and how it learns, as a file has them: sizes may be left to the data.

    :meth:`of` makes one; every other way leaves checks out.  ``data``: the data set that it is for.
    """

    population: dict[str, PopulationTable] = Field(
        description="Populations, in the order in which they are updated.", min_length=1
    )
    synapse: tuple[SynapseTable, ...] = Field(
        description="Synapses: spikes go both ways, through the same weights.", strict=False, min_length=1
    )
    phases: PhasesTable = PhasesTable()
    learning: LearningTable | None = None
    rates: RatesTable | None = None
    text: TextTable | None = None
    start: StartTable = StartTable()
    numbers: NumbersTable = NumbersTable()
    loading: dict[str, Any] = Field({}, description="Options of the loader of a data set of sequences.")
    _data: str = PrivateAttr("")

    learning_rate, decay, random_shift, horizontal_flip, token_dropout, token_crop, input_mask = map(
        _of_method,
        (
            "learning_rate",
            "decay",
            "random_shift",
            "horizontal_flip",
            "token_dropout",
            "token_crop",
            "input_mask",
        ),
    )
    order, seeds, dropout, batch_size, weight_decay, table_learning_rate = map(
        _of_method, ("order", "seeds", "dropout", "batch_size", "weight_decay", "table_learning_rate")
    )
    excluded_classes, validation_samples = map(_of_method, ("excluded_classes", "validation_samples"))

    @classmethod
    def of(cls, content: Mapping[str, Any], data: str = "") -> Self:
        """A description from the content of a file; PlacedError names the problem and its place.

        ``data``: what it is to learn.
        """
        try:
            found = cls.model_validate(content)
        except ValidationError as e:
            raise tables.problem(e) from None
        found._data = data
        found._check()
        return found

    def for_data(self, data: str) -> Self:
        """The same for data of this name; PlacedError where a data set with a name does not fit."""
        found = self.model_copy()
        found._data = data
        with placed():
            found._check_data()
        return found

    @classmethod
    def of_network(cls, network: Network, data: str = "", *, sized: bool = False, **others: Any) -> Self:
        """A description from a network, and other tables; without ``sized`` the data determine open sizes."""
        found = {
            **tables.shape(network, sized=sized),
            "phases": dataclasses.asdict(network.schedule),
            "numbers": dataclasses.asdict(network.numerics),
        }
        return cls.of({**found, **others}, data)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; PlacedError names an invalid key."""
        content = dict(d)
        return cls.of(content, content.pop("data", ""))

    def to_dict(self) -> dict[str, Any]:
        """The content of a file, and the name of the data."""
        return {"data": self.data, **self.content()}

    def content(self) -> dict[str, Any]:
        """The content of a file."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def data(self) -> str:
        return self._data

    @property
    def method_name(self) -> str:
        """Name of the table of :attr:`method`."""
        return next((name for name in tables.METHODS if getattr(self, name)), "learning")

    @property
    def method(self) -> LearningTable | RatesTable | TextTable:
        """The table that says how the network learns; ValueError without one."""
        return self.text or self.rates or self.require_learning()

    @property
    def command(self) -> str:
        """The command that trains so."""
        return tables.METHODS[self.method_name]

    def require_text(self) -> TextTable:
        """ValueError for a network that does not learn a text."""
        if self.text is None:
            raise ValueError("there is no [text]: add it, for example with epochs = 12")
        return self.text

    def require_learning(self) -> LearningTable:
        """ValueError for a network that does not say how it learns."""
        if self.learning is None:
            raise ValueError(
                "there is no [learning]: add it, for example with epochs = 10, learning_rate = "
                "0.02 and decay = 0.9"
            )
        return self.learning

    @property
    def epochs(self) -> int:
        return self.method.epochs

    @property
    def schedule(self) -> Schedule:
        return Schedule(**self.phases.model_dump())

    @property
    def numerics(self) -> Numerics:
        return Numerics(**self.numbers.model_dump())

    @property
    def synapses(self) -> tuple[Synapse, ...]:
        """One for each population that a table names."""
        return tuple(synapse_of(name, s) for s in self.synapse for name in s.from_)

    # -- changes -----------------------------------------------------------------------------------
    def changed(self, *, hidden: tuple[int, ...] | None = None, **options: Any) -> Self:
        """The description with other values of keys of [phases], [learning] or [rates], [start] or
        [loading], and with other hidden populations; None leaves one as it is.
        """
        content = self.content()
        given = {name: value for name, value in options.items() if value is not None}
        for table in ("phases", self.method_name, "start"):
            known = type(getattr(self, table)).model_fields
            found = {name: given.pop(name) for name in list(given) if name in known}
            content[table] = content.get(table, {}) | found
        content["loading"] = given.pop("loading", content["loading"])
        if given:
            raise ValueError(f"a description has no {', '.join(given)}")
        if hidden is not None and tuple(hidden) != self.hidden:
            usual = self._usual_network(self.hidden)
            populations = tables.shape(usual)["population"]
            if self.text or (populations, usual.synapses) != (content["population"], self.synapses):
                raise ValueError("hidden needs a chain: change the sizes of this network in its network file")
            content |= self.usual(hidden)
        return self if content == self.content() else type(self).of(content, self.data)

    def usual(self, hidden: Sequence[int], *, feedback: bool | None = None) -> Tables:
        """A chain of these hidden populations, after an attention layer or not, with the learning rates of
        this network.

        ``feedback``: whether layers receive from the next one; None: as in this network.
        """
        return tables.shape(self._usual_network(hidden, feedback))

    def _usual_network(self, hidden: Sequence[int], feedback: bool | None = None) -> Network:
        feedback = self.feedback if feedback is None else feedback
        if not self.loaded:
            into = {s.post: s.learning_rate_scale for s in self.synapses}
            names = [name for name, g in self.population.items() if g.kind in ("lif", "output")]
            # rates of layers belong to these layers
            same = len(hidden) == len(names) - 1
            rates = tuple(into.get(name, 1.0) for name in names) if same else None
            return Network.chain(1, *hidden, 2, learning_rate_scales=rates, feedback=feedback)
        memory, query = (self.population[name] for name in self.loaded)
        rate = {s.pre: s.learning_rate_scale for s in self.synapses if s.post == self.loaded[1]}
        return Network.attention(
            memory.size,
            1,
            self.heads,
            *hidden,
            2,
            gain=query.gain,
            sharpness=memory.sharpness,
            query_learning_rate_scale=rate.get("bias", 1.0),
            table_rows=1 if self.learns_table else None,
            table_learning_rate_scale=rate[self.loaded[0]],
            feedback=feedback,
        )

    # -- checks ------------------------------------------------------------------------------------
    def _check(self) -> None:
        """PlacedError unless some data make a network of it that learns."""
        filled = {name: tables.filled(name, table) for name, table in self.population.items()}
        set_fields(self, population=filled)
        for k, s in enumerate(self.synapse):
            with self._places(k):
                synapse_of(s.from_[0], s)
        with placed("phases"):
            _ = self.schedule
        with placed("numbers"):
            _ = self.numerics
        with placed():
            self._check_network()
            self._check_data()
            self._check_method()

    def _check_network(self) -> None:
        outputs = [name for name, g in self.population.items() if g.kind == "output"]
        if not outputs:
            raise ValueError('a network needs a population of kind = "output": it is nudged and read out')
        if len(outputs) > 1:
            raise PlacedError.of(
                ("population", outputs[1]),
                f'there is one output, {outputs[0]!r}; make this kind = "lif"',
                "kind",
            )
        inputs = [name for name, g in self.population.items() if g.kind == "input" and g.size is None]
        if len(inputs) > 1:
            raise PlacedError.of(
                ("population", inputs[1]),
                f"only one input may omit its size, and {inputs[0]!r} does: give this one a size",
                "size",
            )
        for m in self.smallest.attention_layers:
            if not m.attention.dynamic_patterns and self.population[m.relay.name].size is None:
                raise PlacedError.of(
                    m.relay.place(),
                    "it needs a size (heads times pattern length), as its attention layer stores patterns",
                    "size",
                )
        if self.loading and not self.loaded:
            raise PlacedError(
                "[loading] needs an attention layer over tokens, this network has none: leave it out",
                ("loading",),
            )
        for name, value in self.loading.items():
            if name == "max_tokens" or not isinstance(value, int | float | str):
                raise PlacedError(
                    f"loading.{name} must be a number or a text for the loader, not {value!r}",
                    ("loading", name),
                )

    def _check_data(self) -> None:
        """PlacedError unless a data set with a name has the samples and options of this description."""
        if self.text or self.data not in set(Name):
            return
        self.check_kind(self.data, tokens=self.data in sequences.NAMES)
        if self.data in sequences.NAMES:
            with placed("loading"):
                sequences.check_options(self.data, self.loading)

    def _check_method(self) -> None:
        """PlacedError for two methods, and for what changes samples that these are not."""
        first, *more = [name for name in tables.METHODS if getattr(self, name)] or [""]
        if more:
            raise PlacedError(f"[{more[0]}] is in place of [{first}]: leave one of them out", (more[0],))
        if self.text:
            self._check_text(self.text)
        elif first:
            self.check_samples(self.data, images=not self.loaded)
        if self.rates and self.loaded:
            self._check_rates(self.rates, self.loaded)

    def check_samples(self, data: object, *, images: bool) -> None:
        """PlacedError for keys without effect on the samples of these data; ``images``: whether they are."""
        fixed = bool(self.loaded) and not self.learns_table
        for needed, there, names in (
            ("images", images, ("random_shift", "horizontal_flip")),
            ("an attention layer over tokens", bool(self.loaded), ("token_dropout", "table_learning_rate")),
            ("tokens that are not learned", fixed, ("token_crop", "input_mask")),
        ):
            for name in names:
                if not there and getattr(self.method, name, None):
                    raise PlacedError(
                        f"{name} needs {needed}, {data} has none: leave it out", (self.method_name, name)
                    )

    def _check_text(self, text: TextTable) -> None:
        if text.spike_steps >= text.epochs * text.steps:
            raise PlacedError(
                f"spike_steps must be less than epochs x steps, {text.epochs * text.steps:,}, not "
                f"{text.spike_steps:,}",
                ("text", "spike_steps"),
            )
        if self.start != StartTable():
            raise PlacedError(
                "[start] is not for [text], which has initial weights: leave it out", ("start",)
            )
        inputs = [g for g in self.population.values() if g.kind == "input"]
        if len(inputs) != 1 or not inputs[0].shape or inputs[0].patch != 1 or inputs[0].channels_first:
            raise PlacedError(
                "[text] needs one input with a shape [height, width, symbols], of as many positions as a "
                "sequence",
                ("population",),
            )

    def _check_rates(self, rates: RatesTable, loaded: tuple[str, str]) -> None:
        """The embedding table is part of the network where it learns."""
        if not self.feedback:
            k = next(k for k, s in enumerate(self.synapse) if not s.feedback)
            raise PlacedError(
                f"feedback = false is not possible: the attention layer of {self.data} needs feedback",
                ("synapse", k, "feedback"),
            )
        memory, _ = loaded
        if bool(rates.table_learning_rate) == self.learns_table:
            return
        table = self.population[memory].model_copy(
            update={"table_rows": 0 if rates.table_learning_rate else None}
        )
        synapses = [
            dataclasses.replace(s, learning_rate_scale=float(bool(rates.table_learning_rate)))
            if (s.pre, s.post) == loaded
            else s
            for s in self.synapses
        ]
        set_fields(self, population={**self.population, memory: table}, synapse=tables.grouped(synapses))

    @contextmanager
    def _places(self, k: int | None = None) -> Iterator[None]:
        """Change the place of a synapse of the network to that of its table in the file.

        ``k``: number of the table; None: the last one with these populations.
        """
        try:
            yield
        except PlacedError as e:
            match e.place:
                case ("synapse", str(pre), str(post), *keys):
                    found = [n for n, s in enumerate(self.synapse) if pre in s.from_ and s.to == post]
                    keys = [{"pre": "from", "post": "to"}.get(str(key), key) for key in keys]
                    e.place = ("synapse", found[-1] if k is None else k, *keys)
            raise

    # -- what it is made of ------------------------------------------------------------------------
    @property
    def output(self) -> str:
        return next(name for name, g in self.population.items() if g.kind == "output")

    @property
    def sequence(self) -> tuple[int, int]:
        """Positions and symbols of the input of a network that learns a text."""
        height, width, symbols = next(g.shape for g in self.population.values() if g.kind == "input")
        return height * width, symbols

    @property
    def hidden(self) -> tuple[int, ...]:
        """Sizes of the spiking populations before the output that are no maps."""
        return tuple(g.size or 0 for g in self.population.values() if g.kind == "lif" and not g.shape)

    @property
    def layers(self) -> tuple[int | str, ...]:
        """Convolutions as conv:MAPS:KERNEL:STRIDE and sizes of hidden populations."""
        maps = [s for s in self.synapse if s.kernel]
        shapes = [self.population[s.to].shape or (0,) for s in maps]
        convolutions = (
            f"conv:{shape[-1]}:{s.kernel}:{s.stride}" for s, shape in zip(maps, shapes, strict=True)
        )
        return *convolutions, *self.hidden

    @property
    def learned_by(self) -> str:
        """Method by which its weights learn: "nudged phases", "errors" or "implicit differentiation"."""
        return "implicit differentiation" if self.rates or self.text else self.schedule.learned_by

    @property
    def feedback(self) -> bool:
        """Whether all synapses send spikes back."""
        return all(s.feedback for s in self.synapse)

    @property
    def loaded(self) -> tuple[str, str] | None:
        """The attention population that tokens are loaded into, and its relay."""
        return next(((s.pre, s.post) for s in self.synapses if self.population[s.pre].dynamic_patterns), None)

    @property
    def memory(self) -> PopulationTable | None:
        """The memory of a sequence's tokens."""
        return self.population[self.loaded[0]] if self.loaded else None

    @property
    def heads(self) -> int:
        """Queries to the attention layer."""
        return (self.population[self.loaded[1]].heads or 1) if self.loaded else 0

    @property
    def learns_table(self) -> bool:
        """Whether tokens are rows of a table that learns."""
        return self.memory is not None and self.memory.table_rows is not None

    @property
    def open(self) -> tuple[str, ...]:
        """Populations whose size or rows the data say."""
        return tuple(name for name, g in self.population.items() if g.size is None or g.table_rows == 0)

    @property
    def unjoined(self) -> str:
        """A note that names the populations without a synapse; empty when there are none."""
        joined = {name for s in self.synapses for name in (s.pre, s.post)}
        names = [repr(name) for name in self.population if name not in joined]
        if not names:
            return ""
        return f"population {', '.join(names)}: no synapse joins it to another, so it does nothing"

    # -- the network -------------------------------------------------------------------------------
    @property
    def smallest(self) -> Network:
        """The network, where data leave sizes open the smallest."""
        inputs = sum(g.size or 1 for g in self.population.values() if g.kind == "input")
        return self._network(Sizes(inputs, self.population[self.output].size or 2, 1))

    def network(self, data: DataSet | Text | Sizes | None = None) -> Network:
        """The network for these data; ValueError says what does not fit.

        Without data every population must have a size.
        """
        if data is None:
            if self.open:
                name = self.open[0]
                left = "table_rows" if self.population[name].table_rows == 0 else "size"
                raise PlacedError.of(
                    ("population", name),
                    f"its {left} is left to the data; give a number, or name the data",
                    left,
                )
            return self._network(Sizes(0, 0))
        sizes = data if isinstance(data, Sizes) else Sizes.of(data)
        self.check_kind(sizes.data, tokens=sizes.width > 0)
        network = self._network(sizes)
        self._check_sizes(network, sizes)
        return network

    def _network(self, sizes: Sizes) -> Network:
        left = sizes.inputs - sum(g.size or 0 for g in self.population.values() if g.kind == "input")
        by_data = {"input": max(1, left), "output": sizes.outputs}
        made = []
        for name, g in self.population.items():
            size = (g.heads or 1) * sizes.width if g.kind == "relay" else by_data.get(g.kind, 1)
            made.append(population_of(name, g, size, sizes.rows))
        numerics = None if self.numerics == DEFAULT else self.numerics
        with self._places():
            return Network.with_numerics(tuple(made), self.synapses, self.output, self.schedule, numerics)

    def _check_sizes(self, network: Network, sizes: Sizes) -> None:
        """PlacedError unless data of these sizes fit the network."""

        if bool(sizes.inputs) != bool(network.inputs):
            remedy = "add" if sizes.inputs else "leave out"
            raise ValueError(
                f"{sizes.data} has {sizes.inputs} inputs, the network has {network.n_inputs}: {remedy} a "
                'population of kind "input"'
            )
        fits = network.n_inputs == sizes.inputs
        output = network[network.output]
        #: whether a value fits, its population and key, the value, and what it must be
        values: list[tuple[bool, Population, str, object, object]] = []
        for p in network.inputs:
            if p.image is not None:
                order = sizes.image is None or p.channels_first == sizes.channels_first
                there, needed = (str(first).lower() for first in (p.channels_first, sizes.channels_first))
                values.append((order, p, "channels_first", there, needed))
                image = tuple(p.image)
                needed = f"that of samples of {sizes.image or f'{sizes.inputs} values'}"
                values.append((fits and image in sizes.images(image), p, "shape", f"of {image}", needed))
        total = " in all" if len(network.inputs) > 1 else ""
        for p in [p for p in network.inputs if self.population[p.name].size] or network.inputs:
            values.append((fits, p, "size", network.n_inputs, f"{sizes.inputs}{total}"))
        values.append((output.size >= sizes.outputs, output, "size", output.size, f"{sizes.outputs} or more"))
        if layer := network.dynamic_attention:
            memory, relay = layer.attention, layer.relay
            rows = memory.table_rows
            width = relay.heads * sizes.width
            needed = f"{width}, {relay.heads} times {sizes.width},"
            values += [
                (memory.size >= sizes.tokens, memory, "size", memory.size, f"{sizes.tokens} or more"),
                (rows in (None, sizes.rows), memory, "table_rows", rows, f"{sizes.rows} or 0"),
                (relay.size == width, relay, "size", relay.size, needed),
            ]
            if self.numbers.fraction != DEFAULT.fraction:
                problem = f"fraction must be {DEFAULT.fraction} for tokens, not {self.numbers.fraction}"
                raise PlacedError(f"numbers: {problem}", ("numbers", "fraction"))
        for fits, owner, key, value, allowed in values:
            if not fits:
                problem = f"{key} must be {allowed} for {sizes.data}, not {value}"
                raise PlacedError.of(owner.place(), problem, key)

    def check_kind(self, data: str, *, tokens: bool) -> None:
        """ValueError unless the network attends to tokens exactly when the data have tokens."""
        if tokens and not self.loaded:
            raise ValueError(
                f"{data} has tokens: the network needs an attention population with dynamic_patterns = true, "
                "and a relay; `equilif init` writes such a file for these data"
            )
        if self.loaded and not tokens:
            raise PlacedError.of(
                ("population", self.loaded[0]),
                f"dynamic_patterns = true needs the tokens of a sequence, {data} has none",
                "dynamic_patterns",
            )

    def initial_weights(self, network: Network, seed: int, data: DataSet | None = None) -> Weights:
        """``data``: initial rows of an embedding table; ValueError when the network has one and they are not
        given.
        """
        weights = network.initial_weights(seed, **self.start.model_dump())
        if network.table is not None:
            if data is None or data.tokens_train is None:
                raise ValueError("the network has an embedding table: give the data with its initial rows")
            weights[network.table.name] = data.tokens_train.table.astype(np.int64)
        if network.dynamic_attention and (n := self.loading.get("n_pos", 0)):
            # each head starts at its own place in the sequence
            places = position(np.linspace(0, 1, self.heads), n).astype(np.int64)
            codes = places << (network.numerics.fraction - FRACTION)
            relay = network.dynamic_attention.relay
            queries = [s for s in network.plastic if s.post == relay.name and network[s.pre].clamped]
            if queries:
                weights[queries[0].name].reshape(-1, self.heads, relay.width)[0, :, -n:] = codes
        return weights

    # -- data --------------------------------------------------------------------------------------
    def load(self, folder: Path | None = None) -> DataSet:
        """The data set of :meth:`read` without what is held out."""
        return self.selected(self.read(folder))

    def read(self, folder: Path | None = None) -> DataSet:
        """The data set from ``folder``, or from where its loader looks by itself."""
        if not self.loaded:
            return images.load(self.data, folder)
        return sequences.data_set(self.data, folder, self.options)

    def selected(self, d: DataSet) -> DataSet:
        """The data without what is held out; ValueError when too few classes would be left."""
        if self.rates is None:
            return d
        for label in self.rates.excluded_classes:
            place = ("rates", "excluded_classes")
            check_int(label, place, 0, d.n_classes - 1, f"a class of {d.name}")
        left = d.n_classes - len(set(self.rates.excluded_classes))
        if left < 2:
            raise PlacedError(
                f"excluded_classes leaves {left} of {d.n_classes} classes: at least two must be left",
                ("rates", "excluded_classes"),
            )
        return d.holding_out(self.rates.validation_samples) if self.rates.validation_samples else d

    @property
    def options(self) -> dict[str, Any]:
        """Options of the loader of a set of sequences, the number of tokens among them."""
        return {} if self.memory is None else {"max_tokens": self.memory.size, **self.loading}

    # -- learning rates ----------------------------------------------------------------------------
    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0.

        exponential     learning_rate x decay**epoch
        linear, cosine  from learning_rate in the first epoch to learning_rate x decay in the last
        """
        if self.require_learning().schedule == "exponential":
            return float(self.learning_rate * self.decay**epoch)
        progress = epoch / max(1, self.epochs - 1)
        left = (
            1 - progress
            if self.require_learning().schedule == "linear"
            else (1 + math.cos(math.pi * progress)) / 2
        )
        return float(self.learning_rate * (self.decay + (1 - self.decay) * left))

    def check_rates(self, network: Network) -> None:
        """ValueError unless weights can move in every epoch.

        Learning rates only fall, so that the first epoch has the largest one, and a search finds the first
        epoch whose rate is too small.
        """
        learning_steps(network, self.rate(0))

        def dead(epoch: int) -> bool:
            try:
                return not any(step.gain for step in learning_steps(network, self.rate(epoch)).values())
            except ValueError:  # a smaller rate than one that is possible can only be too small
                return True

        first = bisect_left(range(self.epochs), True, key=dead)
        if first < self.epochs:
            smallest = smallest_rate(network)
            fewer = (
                f"at most {first} epoch{'s' * (first > 1)}, "
                if self.require_learning().schedule == "exponential"
                else ""
            )
            raise PlacedError(
                f"from epoch {first + 1} of {self.epochs} on no weight would move: the learning rate is "
                f"{self.rate(first):.3g} there, and the smallest that counts is {smallest:.3g}; take {fewer}"
                "a decay nearer to 1 or a larger learning rate",
                ("learning", "decay"),
            )


def schema() -> dict[str, Any]:
    """JSON Schema of a network file (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Description.model_json_schema(by_alias=True),
        "title": "A network of equilif, and how it learns",
    }
