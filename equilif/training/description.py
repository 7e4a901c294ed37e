"""A network and how it learns: the one description that network files, presets, runs and commands share.

The classes are the tables of a network file.  Ranges and texts of their keys stand here once: they check a
file, make its errors, the list of `equilif new --keys`, the table in docs/own_networks.md and the JSON Schema
for editors.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import reprlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints

import numpy as np

from equilif.data import images, sequences
from equilif.data.dataset import DataSet
from equilif.data.ragged import position
from equilif.extras import needs
from equilif.training import old, usual
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.fixed import DEFAULT, Numerics, keep, whole
from equilif_golden.learning import learning_steps, smallest_rate
from equilif_golden.network import MOST_NEURONS, MOST_START, Input, Network, Population, Synapse, Weights
from equilif_golden.populations import MOST_GAIN, MOST_ROWS, shape_of
from equilif_golden.schedule import Option, Schedule

with needs("cli"):
    from pydantic import (
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        PrivateAttr,
        ValidationError,
        WithJsonSchema,
        create_model,
    )
    from pydantic.fields import FieldInfo

MAX_EPOCHS = 1 << 20
MAX_SEED = (1 << 32) - 1
#: keys that lead to a value of a file
Place = tuple[str | int, ...]
#: names of what a key may be, by its type
NAMED = {bool: "true or false", str: "a text", int: "an integer", float: "a number"}
REQUIRED = "must be there"  #: in place of a default
#: keys that belong to one kind of population
OPTIONS = ("heads", "gain", "sharpness", "loaded", "rows", "shape", "patch")
#: tables that say how a network learns, one of them in a description
METHODS = ("learning", "rates")


def check_seed(seed: int) -> int:
    """A seed that NumPy and torch take; ValueError otherwise."""
    return whole(seed, "seed", 0, MAX_SEED)


class PlacedError(ValueError):
    """Something wrong, and the keys that lead to it."""

    def __init__(self, place: Place, message: str):
        super().__init__(message)
        self.place = place


# -- keys ------------------------------------------------------------------------------------------
def _key(default: Any, meaning: str, *, values: str = "", absent: str = "", **limits: Any) -> Any:
    """A key of a table.

    ``values``: what it may be, where its type and its limits do not tell; ``absent``: what holds when it is
    left out, where its default does not tell.
    """
    texts: dict[str, Any] = {name: text for name, text in (("values", values), ("absent", absent)) if text}
    return Field(
        default, description=meaning, json_schema_extra={"x-equilif": texts} if texts else None, **limits
    )


def _texts(field: FieldInfo) -> Mapping[str, str]:
    extra = field.json_schema_extra
    return extra.get("x-equilif", {}) if isinstance(extra, dict) else {}  # type: ignore[return-value]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}".replace("e+0", "e").replace("e-0", "e-")


def _limits(metadata: Iterable[Any]) -> str:
    found = {name: getattr(m, name) for m in metadata for name in ("gt", "ge", "le") if hasattr(m, name)}
    if "gt" in found:
        return f"above {_number(found['gt'])}, up to {_number(found['le'])}"
    return f"{_number(found['ge'])}..{_number(found['le'])}" if "le" in found else ""


def _type(annotation: Any) -> tuple[Any, Sequence[Any]]:
    """A type without None and what is annotated to it, and the latter."""
    parts = [a for a in get_args(annotation) if a is not type(None)]
    if get_origin(annotation) is Annotated:
        inner, metadata = _type(parts[0])
        return inner, [*metadata, *(m for f in parts[1:] if isinstance(f, FieldInfo) for m in f.metadata)]
    if type(None) in get_args(annotation):
        return _type(parts[0])
    return annotation, ()


def allowed(field: FieldInfo) -> str:
    """What a key may be: a range, words, or a type."""
    kind, metadata = _type(field.annotation)
    if text := _texts(field).get("values"):
        return text
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    if limits := _limits([*field.metadata, *metadata]):
        return limits
    if get_origin(kind) is tuple:
        item = FieldInfo.from_annotation(get_args(kind)[0])
        return allowed(item) if _limits(item.metadata) else "a list"
    return "true, false" if kind is bool else NAMED[kind]


def absent(field: FieldInfo) -> str:
    """What holds when a key is left out."""
    if text := _texts(field).get("absent"):
        return text
    return REQUIRED if field.is_required() else json.dumps(field.default)


def _wanted(field: FieldInfo) -> str:
    """What a key must be, in a message."""
    kind, _ = _type(field.annotation)
    values = allowed(field)
    if get_origin(kind) is tuple:
        return f"a list ({values})"
    if get_origin(kind) is Literal:
        return f"one of {values}"
    name = NAMED[kind]
    if kind in (bool, str):
        return name
    return f"{name} {values}" if values.startswith("above") else f"{name} in {values}"


def nearest(name: str, known: Sequence[str]) -> str:
    """What to write in place of a name that is none."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


# -- tables ----------------------------------------------------------------------------------------
class Table(BaseModel):
    """A table of a network file: of these keys only, each of its type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True
    )

    @classmethod
    def key_fields(cls) -> dict[str, FieldInfo]:
        """The keys, in the order of the file."""
        return {f.alias or name: f for name, f in cls.model_fields.items()}


def _table(kind: type, name: str, doc: str) -> Any:
    """The table of a dataclass of the golden model, whose fields have the texts and limits."""
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {}
    for f in dataclasses.fields(kind):
        m = f.metadata
        option: Option | None = m.get("option")
        text = (option.help if option else m["help"]).rstrip(".").replace("--", "")
        limits = {k: m[k] for k in ("gt", "ge", "le") if k in m}
        if option and option.limits:
            limits = dict(zip(("ge", "le"), option.limits, strict=True))
        missing = option.absent if option and f.default is None else ""
        made = _key(
            f.default, text[:1].lower() + text[1:], values=m.get("values", ""), absent=missing, **limits
        )
        fields[f.name] = (hints[f.name], made)
    return create_model(name, __base__=Table, __doc__=doc, __module__=__name__, **fields)


Phases: Any = _table(Schedule, "Phases", "Time steps of a sample, and the neuron.")
Numbers: Any = _table(Numerics, "Numbers", "Number formats.")
Part = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=MOST_NEURONS)]
Names = Annotated[
    tuple[str, ...],
    Field(strict=False, min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class Neurons(Table):
    """A population of neurons: `[population.NAME]`."""

    kind: Literal["input", "constant", "lif", "output", "relay", "softmax"] = _key(
        "lif", "input, constant, lif (spiking neurons), output, relay or softmax"
    )
    size: Count | None = _key(
        None, "neurons; of input, output and the relay of tokens the data say it", absent="the data's"
    )
    heads: Count | None = _key(None, "relay: queries, side by side", absent="1")
    gain: int | None = _key(
        None, "relay: what is heard back counts 2^(gain - 1) times", absent="0", ge=0, le=MOST_GAIN
    )
    sharpness: int | None = _key(
        None, "softmax: in octaves; k = 2^(sharpness - 1) ln 2", absent="3", ge=-32, le=32
    )
    loaded: bool | None = _key(None, "softmax: the patterns are the tokens of each sample", absent="false")
    rows: int | None = _key(
        None,
        "softmax: tokens are rows of a table of this length, which learns; 0: the data's",
        absent="no table",
        ge=0,
        le=MOST_ROWS,
    )
    shape: tuple[Count, ...] | None = _key(
        None,
        "maps: height, width and number of maps, in place of a size",
        values="a list",
        absent="no maps",
        strict=False,
        min_length=3,
        max_length=3,
    )
    patch: Count | None = _key(
        None, "input with a shape: rows and columns of an image at one position", absent="1"
    )

    def population(self, name: str, size: int = 1, rows: int = 1) -> Population:
        """The population; ``size`` and ``rows`` where the data say them."""
        options = {n: getattr(self, n) for n in OPTIONS if getattr(self, n) is not None}
        if options.get("rows") == 0:
            options["rows"] = rows
        kind = "lif" if self.kind == "output" else self.kind
        return Population(name, size if self.size is None else self.size, kind, **options)

    def checked(self, name: str) -> Neurons:
        """With everything that follows from the rest; ValueError for what cannot be."""
        size = self.size
        if self.shape is not None and size is None:
            size = shape_of(self.shape, f"population {name!r}").size
        if self.kind == "constant" and size is None:
            size = 1
        if self.kind in ("lif", "softmax") and size is None:
            raise ValueError(f"population {name!r}: {self.kind} neurons need a size, the number of them")
        made = self.population(name, size or self.heads or 1)
        options = {n: getattr(made, n) if n in _fields(made) else None for n in OPTIONS}
        if self.kind == "softmax":
            options["rows"] = self.rows  # 0 stays
        if self.shape is None:
            options["patch"] = None
        shape = options["shape"]
        return self.model_copy(update={**options, "size": size, "shape": shape and tuple(shape)})

    @property
    def image(self) -> tuple[int, ...] | None:
        """Of an input of maps: rows, columns and colours of a sample."""
        made = self.population("input") if self.kind == "input" else None
        return made.image if isinstance(made, Input) else None


def _fields(population: Population) -> set[str]:
    return {f.name for f in dataclasses.fields(population)}


class Joint(Table):
    """What joins two populations: `[[synapse]]`."""

    from_: Names = _key(
        ..., "name of a population, or a list of names: a synapse from each", values="a name", alias="from"
    )
    to: str = _key(..., "name of a population; it sends its spikes back (see feedback)", values="a name")
    rate: float = _key(1.0, "learning rate of these synapses, relative to the network's", ge=0, le=1e6)
    feedback: bool = _key(
        True, "false, between spiking populations: one way; such a network runs, but cannot learn"
    )
    kernel: Count | None = _key(
        None, "between maps: a convolution, with a kernel of this side", absent="all to all"
    )
    stride: Count = _key(1, "of a kernel: positions from step to step")


class Learning(Table):
    """How the network learns by Equilibrium Propagation."""

    epochs: int = _key(..., "times that all training samples are shown", ge=1, le=MAX_EPOCHS)
    eta: float = _key(..., "learning rate of the first epoch", gt=0, le=1 << 16)
    decay: Part = _key(
        ..., "exponential: factor of an epoch; linear, cosine: part of eta left in the last one"
    )
    form: Literal["exponential", "linear", "cosine"] = _key(
        "exponential", "how eta falls: exponential, linear or cosine"
    )
    shift: Part = _key(0.0, "images: part of them that an epoch moves by a pixel")
    flip: Part = _key(0.0, "images: part of them that an epoch turns left to right")
    dropout: Part = _key(0.0, "tokens: part of those of a sample that an epoch leaves out")
    crop: float = _key(
        0.0, "tokens: part of a sample that an epoch leaves out at either end, at most", ge=0, le=0.5
    )
    mask: int = _key(
        0, "tokens: neighbouring values of those of a sample that an epoch sets to 0", ge=0, le=MOST_NEURONS
    )
    order: Literal["shuffled", "board"] = _key(
        "shuffled", "of the samples of an epoch: shuffled, or as a board makes it that learns alone"
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...] = _key(
        (0, 1, 2, 3, 4),
        "of weights and sample order; the first is the default",
        strict=False,
        min_length=1,
    )


class Rates(Table):
    """How its mean rates are trained by implicit differentiation, in real numbers, in place of [learning]."""

    epochs: int = _key(..., "times that every training sample is shown", ge=1, le=MAX_EPOCHS)
    batch: int = _key(128, "samples a step, of all processes together", ge=1, le=1 << 20)
    lr: float = _key(
        2e-3, "learning rate of AdamW in the first step, falling to zero as a cosine", ge=1e-9, le=10
    )
    weight_decay: float = _key(0.0, "of AdamW", ge=0, le=10)
    dropout: float = _key(0.0, "part of the hidden neurons that a sample does without", ge=0, le=0.99)
    shift: Part = _key(0.0, "images: part of them moved by a pixel, anew each epoch")
    flip: Part = _key(0.0, "images: part of them mirrored, anew each epoch")
    table_lr: float = _key(
        0.0, "sequences: learning rate of the table of tokens, relative to lr; 0: none", ge=0, le=1e6
    )
    token_dropout: Part = _key(0.0, "sequences: part of a sample's tokens left out, anew each epoch")
    without: Annotated[
        tuple[int, ...],
        BeforeValidator(lambda value: [value] if isinstance(value, int) else value),
    ] = _key((), "class to hold back, or a list of classes", values="classes", strict=False)
    hold_out: int = _key(0, "training samples kept from learning, in place of the test set", ge=0, le=1 << 31)


class Start(Table):
    """Initial weights."""

    bias: float = _key(0.2, "biases, in thresholds", ge=-MOST_START, le=MOST_START)
    scale: float = _key(0.5, "other weights, as a part of Glorot's limit", ge=0, le=MOST_START)
    query: float = _key(0.3, "memories: deviation of the queries", ge=0, le=MOST_START)


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


def _of_method(name: str) -> Any:
    """A key of [learning] or [rates], whichever the description has."""
    return property(lambda self: getattr(self.method, name))


# -- the description -------------------------------------------------------------------------------
class Description(Table):
    """A network and how it learns, as a file has them: sizes may be left to the data.

    :meth:`of` makes one; every other way leaves checks out.  ``data``: the data set that it is for.
    """

    population: dict[str, Neurons] = _key(
        ..., "populations, in the order in which they are updated", min_length=1
    )
    synapse: tuple[Joint, ...] = _key(
        ..., "synapses: spikes go both ways, through the same weights", strict=False, min_length=1
    )
    phases: Phases = _key(Phases(), Phases.__doc__)
    learning: Learning | None = _key(None, str(Learning.__doc__))
    rates: Rates | None = _key(None, str(Rates.__doc__))
    start: Start = _key(Start(), str(Start.__doc__))
    numbers: Numbers = _key(Numbers(), Numbers.__doc__)
    loading: dict[str, Any] = _key({}, "Options of the loader of a data set of sequences.")
    _data: str = PrivateAttr("")

    eta = _of_method("eta")
    decay = _of_method("decay")
    form = _of_method("form")
    shift = _of_method("shift")
    flip = _of_method("flip")
    dropout = _of_method("dropout")
    crop = _of_method("crop")
    mask = _of_method("mask")
    order = _of_method("order")
    seeds = _of_method("seeds")
    batch = _of_method("batch")
    lr = _of_method("lr")
    weight_decay = _of_method("weight_decay")
    table_lr = _of_method("table_lr")
    token_dropout = _of_method("token_dropout")
    without = _of_method("without")
    hold_out = _of_method("hold_out")

    @classmethod
    def of(cls, content: Mapping[str, Any], data: str = "") -> Self:
        """That of a file's content; PlacedError names what is wrong, and where.

        ``data``: what it is to learn.
        """
        try:
            found = cls.model_validate(content)
        except ValidationError as e:
            raise _problem(e) from None
        found._data = data
        found._check()
        return found

    @classmethod
    def of_network(cls, network: Network, data: str = "", *, sized: bool = False, **tables: Any) -> Self:
        """That of a network, and other tables; without ``sized`` the data say the sizes that they can say."""
        content = {**_shape(network, sized=sized), "phases": dataclasses.asdict(network.schedule), **tables}
        return cls.of(content, data)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` made, or version 0.1.0 wrote; PlacedError names what is something else."""
        content = dict(d if "population" in d else old.preset(d))
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
    def method(self) -> Learning | Rates:
        """How it learns; ValueError for a network that does not say it."""
        found = self.learning or self.rates
        if found is None:
            raise ValueError(
                "there is no [learning]: add it, for example with epochs = 10, eta = 0.02 and decay = 0.9"
            )
        return found

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
        return tuple(
            Synapse(name, s.to, s.rate, s.feedback, s.kernel, s.stride)
            for s in self.synapse
            for name in s.from_
        )

    # -- changes -----------------------------------------------------------------------------------
    def changed(self, *, hidden: tuple[int, ...] | None = None, **options: Any) -> Self:
        """The description with other values of keys of [phases], [learning] or [rates], [start] or
        [loading], and with other hidden populations; None leaves one as it is.
        """
        content = self.content()
        given = {name: value for name, value in options.items() if value is not None}
        for table in ("phases", "learning" if self.learning else "rates", "start"):
            known = type(getattr(self, table)).model_fields
            found = {name: given.pop(name) for name in list(given) if name in known}
            content[table] = content.get(table, {}) | found
        content["loading"] = given.pop("loading", content["loading"])
        if given:
            raise ValueError(f"a description has no {', '.join(given)}")
        if hidden is not None and hidden != self.hidden:
            content |= self._with_hidden(tuple(hidden))
        return type(self).of(content, self.data)

    def _with_hidden(self, hidden: tuple[int, ...]) -> usual.Tables:
        """A chain, or a memory before one, with other hidden populations; ValueError for another network."""
        same = type(self).of(self.content() | self._usual(self.hidden), self.data)
        if (same.population, same.synapses) != (self.population, self.synapses):
            raise ValueError(
                "hidden is for chains, this network has its sizes in the file that it came from: change them "
                "there"
            )
        return self._usual(hidden)

    def _usual(self, hidden: tuple[int, ...]) -> usual.Tables:
        """The usual network of these hidden populations, with the learning rates of this one."""
        if not self.loaded:
            into = {s.post: s.rate_scale for s in self.synapses}
            names = [name for name, g in self.population.items() if g.kind in ("lif", "output")]
            # rates of layers belong to these layers
            rates = [into.get(name, 1.0) for name in names] if len(hidden) == len(names) - 1 else []
            return usual.chain(*hidden, rates=rates, feedback=self.feedback)
        memory, query = (self.population[name] for name in self.loaded)
        rate = {s.pre: s.rate_scale for s in self.synapses if s.post == self.loaded[1]}
        return usual.memory(
            memory.size or 1,
            self.heads,
            *hidden,
            gain=query.gain or 0,
            sharpness=memory.sharpness or 0,
            query_scale=rate.get("bias", 1.0),
            table_scale=rate[self.loaded[0]] if self.learns_table else None,
        )

    # -- checks ------------------------------------------------------------------------------------
    def _check(self) -> None:
        """PlacedError unless some data make a network of it that learns."""
        tables = {}
        for name, table in self.population.items():
            with _within(("population", name), Neurons.model_fields):
                tables[name] = table.checked(name)
        keep(self, population=tables)
        self._check_synapses()
        with _within(("phases",), Phases.model_fields):
            _ = self.schedule
        with _within(("numbers",), Numbers.model_fields):
            _ = self.numerics
        try:
            self._check_network()
            self._check_method()
        except PlacedError:
            raise
        except ValueError as e:
            raise PlacedError(self.place(str(e)), str(e)) from e

    def _check_synapses(self) -> None:
        names = list(self.population)
        for k, s in enumerate(self.synapse):
            for key, name in [("from", n) for n in s.from_] + [("to", s.to)]:
                if name not in names:
                    raise PlacedError(
                        ("synapse", k, key), f"there is no population {name!r}: {nearest(name, names)}"
                    )
            with _within(("synapse", k), ("rate", "feedback", "kernel", "stride")):
                Synapse(s.from_[0], s.to, s.rate, s.feedback, s.kernel, s.stride)

    def _check_network(self) -> None:
        outputs = [name for name, g in self.population.items() if g.kind == "output"]
        if not outputs:
            raise ValueError('a network needs a population of kind = "output": it is nudged and read out')
        if len(outputs) > 1:
            raise ValueError(
                f'population {outputs[1]!r}: there is one output, {outputs[0]!r}; make this kind = "lif"'
            )
        inputs = [name for name, g in self.population.items() if g.kind == "input" and g.size is None]
        if len(inputs) > 1:
            raise ValueError(
                f"population {inputs[1]!r}: one input can leave its size to the data, and {inputs[0]!r} "
                "does: give this one a size"
            )
        for m in self.smallest.memories:
            if not m.softmax.loaded and self.population[m.relay.name].size is None:
                raise ValueError(
                    f"population {m.relay.name!r}: its memory stores patterns, so it needs a size, heads "
                    "times the length of a pattern"
                )
        if self.loading and not self.loaded:
            raise PlacedError(
                ("loading",), "[loading] is for a memory of tokens, this network has none: leave it out"
            )
        for name, value in self.loading.items():
            if name == "max_tokens" or not isinstance(value, int | float | str):
                raise ValueError(f"loading.{name} must be a number or a text for the loader, not {value!r}")
        if self.data in sequences.NAMES:
            sequences.check_options(self.data, self.loading)

    def _check_method(self) -> None:
        """ValueError for what changes samples that these are not."""
        if self.learning and self.rates:
            raise PlacedError(("rates",), "[rates] is in place of [learning]: leave one of them out")
        if self.learning is None and self.rates is None:
            return
        if self.loaded:
            self.check_images(self.data, images=False)
        if self.rates:
            self._check_rates(self.rates)
        elif not self.loaded and self.dropout:
            raise ValueError(
                f"dropout leaves out tokens of a memory, {self.data} has none here: leave it out"
            )
        elif not self.loaded or self.learns_table:
            for name in ("crop", "mask"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name} changes tokens that stay, {self.data} has none here: leave it out"
                    )

    def check_images(self, data: object, *, images: bool) -> None:
        """ValueError for what changes images, where these are none."""
        for name, what in (("shift", "moves images by a pixel"), ("flip", "mirrors images")):
            if getattr(self, name) and not images:
                raise ValueError(f"{name} {what}, {data} holds none: leave it out")

    def _check_rates(self, rates: Rates) -> None:
        """The table of tokens is part of the network where it learns."""
        if not self.loaded:
            for name in ("table_lr", "token_dropout"):
                if getattr(rates, name):
                    raise ValueError(f"{name} is for a memory of tokens, {self.data} has none: leave it out")
            return
        if not self.feedback:
            raise ValueError(f"feedback cannot be left out: the memory of {self.data} is trained with it")
        memory, query = self.loaded
        if bool(rates.table_lr) == self.learns_table:
            return
        table = self.population[memory].model_copy(update={"rows": 0 if rates.table_lr else None})
        synapses = [
            dataclasses.replace(s, rate_scale=float(bool(rates.table_lr)))
            if (s.pre, s.post) == self.loaded
            else s
            for s in self.synapses
        ]
        keep(self, population={**self.population, memory: table}, synapse=_grouped(synapses))

    def place(self, message: str) -> Place:
        """The population, synapse or key of the file that a message is about."""
        raw = self.model_dump(by_alias=True, exclude_unset=True)
        for name, table in raw["population"].items():
            if f"population {name!r}" in message:
                return ("population", name, *_named(message, table))
        for k, s in reversed([*enumerate(raw["synapse"])]):
            for pre in s["from"]:
                if re.search(rf"synapse {re.escape(pre)}-{re.escape(s['to'])}(?![\w.])", message):
                    return ("synapse", k, *_named(message, s))
        for table in ("phases", *METHODS, "start", "loading", "numbers"):
            if named := _named(message, raw.get(table) or {}):
                return (table, *named)
        return ()

    # -- what it is made of ------------------------------------------------------------------------
    @property
    def output(self) -> str:
        return next(name for name, g in self.population.items() if g.kind == "output")

    @property
    def hidden(self) -> tuple[int, ...]:
        """Sizes of the spiking populations before the output that are no maps."""
        return tuple(g.size or 0 for g in self.population.values() if g.kind == "lif" and not g.shape)

    @property
    def feedback(self) -> bool:
        """Whether all synapses send spikes back."""
        return all(s.feedback for s in self.synapse)

    @property
    def loaded(self) -> tuple[str, str] | None:
        """The softmax population that tokens are loaded into, and its relay."""
        return next(((s.pre, s.post) for s in self.synapses if self.population[s.pre].loaded), None)

    @property
    def memory(self) -> Neurons | None:
        """The memory of a sequence's tokens."""
        return self.population[self.loaded[0]] if self.loaded else None

    @property
    def heads(self) -> int:
        """Queries to the memory."""
        return (self.population[self.loaded[1]].heads or 1) if self.loaded else 0

    @property
    def learns_table(self) -> bool:
        """Whether tokens are rows of a table that learns."""
        return self.memory is not None and self.memory.rows is not None

    @property
    def open(self) -> tuple[str, ...]:
        """Populations whose size or rows the data say."""
        return tuple(name for name, g in self.population.items() if g.size is None or g.rows == 0)

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

    def network(self, data: DataSet | Sizes | None = None) -> Network:
        """The network for these data; ValueError says what does not fit.

        Without data every population must have a size.
        """
        if data is None:
            if self.open:
                name = self.open[0]
                left = "rows are" if self.population[name].rows == 0 else "size is"
                raise ValueError(
                    f"population {name!r}: its {left} left to the data; give a number, or name the data"
                )
            return self._network(Sizes(0, 0))
        sizes = Sizes.of(data) if isinstance(data, DataSet) else data
        self._check_tokens(sizes)
        self._check_sizes(sizes)
        return self._network(sizes)

    def _network(self, sizes: Sizes) -> Network:
        left = sizes.inputs - sum(g.size or 0 for g in self.population.values() if g.kind == "input")
        by_data = {"input": left, "output": sizes.outputs}
        made = []
        for name, g in self.population.items():
            size = (g.heads or 1) * sizes.width if g.kind == "relay" else by_data.get(g.kind, 1)
            made.append(g.population(name, size, sizes.rows))
        numerics = None if self.numerics == DEFAULT else self.numerics
        return Network.holding(tuple(made), self.synapses, self.output, self.schedule, numerics)

    def _check_sizes(self, sizes: Sizes) -> None:
        """ValueError unless data of these inputs and classes fit."""
        output = self.population[self.output]
        if output.size is not None and output.size < sizes.outputs:
            raise ValueError(
                f"population {self.output!r}: size {output.size} is too small, {sizes.data} has "
                f"{sizes.outputs} classes; leave the size out, and the data say it"
            )
        inputs = {name: g for name, g in self.population.items() if g.kind == "input"}
        if not inputs:
            if sizes.inputs:
                raise ValueError(
                    f"{sizes.data} has {sizes.inputs} inputs, the network has no population of kind "
                    '"input": add one'
                )
            return
        size = sum(g.size or 0 for g in inputs.values())
        fits = size == sizes.inputs if all(g.size for g in inputs.values()) else size < sizes.inputs
        for name, g in inputs.items():
            if g.image is not None and (not fits or sizes.image not in (None, tuple(g.image))):
                raise ValueError(
                    f"population {name!r}: shape {g.shape} with patch {g.patch} is of images of "
                    f"{tuple(g.image)}, {size} values; {sizes.data} has {sizes.image or sizes.inputs}"
                )
        if not fits:
            wrong = next((name for name, g in inputs.items() if g.size), next(iter(inputs)))
            has = f"{sizes.inputs} inputs" if sizes.inputs else "tokens and no inputs"
            raise ValueError(
                f"population {wrong!r}: the network's inputs have size {size or 'open'}, {sizes.data} "
                f"has {has}; leave the size out, and the data say it"
            )

    def check_kind(self, data: str, *, tokens: bool) -> None:
        """ValueError unless data with tokens meet a memory that is loaded with them, and other data none."""
        if tokens and not self.loaded:
            raise ValueError(
                f"{data} has tokens: the network needs a softmax population with loaded = true, and a relay; "
                "`equilif new` of these data writes one that has them"
            )
        if self.loaded and not tokens:
            raise ValueError(
                f"population {self.loaded[0]!r}: loaded = true wants the tokens of a sequence, {data} has "
                "none"
            )

    def _check_tokens(self, sizes: Sizes) -> None:
        self.check_kind(sizes.data, tokens=sizes.width > 0)
        if not self.loaded:
            return
        softmax, relay = (self.population[name] for name in self.loaded)
        if softmax.size is not None and softmax.size < sizes.tokens:
            raise ValueError(
                f"population {self.loaded[0]!r}: size {softmax.size} is too small, a sample of {sizes.data} "
                f"has {sizes.tokens} tokens"
            )
        if softmax.rows and softmax.rows != sizes.rows:
            raise ValueError(
                f"population {self.loaded[0]!r}: rows {softmax.rows} do not fit, {sizes.data} has a table of "
                f"{sizes.rows}; with rows = 0 the data say it"
            )
        wanted = self.heads * sizes.width
        if relay.size is not None and relay.size != wanted:
            raise ValueError(
                f"population {self.loaded[1]!r}: size {relay.size} does not fit, {self.heads} heads of "
                f"{sizes.width} values make {wanted}; leave the size out, and the data say it"
            )

    def initial_weights(self, network: Network, seed: int, data: DataSet | None = None) -> Weights:
        """``data``: where a table of tokens begins; ValueError when the network has one and they are not
        given.
        """
        weights = network.initial_weights(seed, **self.start.model_dump())
        if network.table is not None:
            if data is None or data.tokens_train is None:
                raise ValueError("the network has a table of tokens: give the data that it begins with")
            weights[network.table.name] = data.tokens_train.table.astype(np.int64)
        if network.loaded and (n := self.loading.get("n_pos", 0)):
            # each head begins at a place of its own in the sequence
            places = position(np.linspace(0, 1, self.heads), n).astype(np.int64)
            codes = places << (network.numerics.fraction - FRACTION)
            relay = network.loaded.relay
            asked = [s for s in network.plastic if s.post == relay.name and network[s.pre].clamped]
            if asked:
                weights[asked[0].name].reshape(-1, self.heads, relay.width)[0, :, -n:] = codes
        return weights

    # -- data --------------------------------------------------------------------------------------
    def load(self, folder: Path | None = None) -> DataSet:
        """The data set from ``folder``, or from where its loader looks by itself; what is held out is not
        in it.
        """
        if not self.loaded:
            return self.selected(images.load(self.data, folder))
        return self.selected(sequences.data_set(self.data, folder, self.options))

    def selected(self, d: DataSet) -> DataSet:
        """The data without what is held out; ValueError when too few classes would be left."""
        if self.rates is None:
            return d
        for label in self.rates.without:
            whole(label, f"without, a class of {d.name},", 0, d.n_classes - 1)
        left = d.n_classes - len(set(self.rates.without))
        if left < 2:
            raise ValueError(
                f"without holds back {d.n_classes - left} of {d.n_classes} classes: at least two must be "
                "left to tell apart"
            )
        return d.holding_out(self.rates.hold_out) if self.rates.hold_out else d

    @property
    def options(self) -> dict[str, Any]:
        """Options of the loader of a set of sequences, the number of tokens among them."""
        return {} if self.memory is None else {"max_tokens": self.memory.size, **self.loading}

    # -- learning rates ----------------------------------------------------------------------------
    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0.

        exponential     eta x decay**epoch
        linear, cosine  from eta in the first epoch to eta x decay in the last
        """
        if self.form == "exponential":
            return float(self.eta * self.decay**epoch)
        progress = epoch / max(1, self.epochs - 1)
        left = 1 - progress if self.form == "linear" else (1 + math.cos(math.pi * progress)) / 2
        return float(self.eta * (self.decay + (1 - self.decay) * left))

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
            fewer = f"at most {first} epoch{'s' * (first > 1)}, " if self.form == "exponential" else ""
            raise ValueError(
                f"from epoch {first + 1} of {self.epochs} on no weight would move: the learning rate is "
                f"{self.rate(first):.3g} there, and the smallest that counts is {smallest:.3g}; take {fewer}"
                "a decay nearer to 1 or a larger eta"
            )


#: the tables of a file
TABLES: dict[str, type[Table]] = {
    "population": Neurons,
    "synapse": Joint,
    "phases": Phases,
    "learning": Learning,
    "rates": Rates,
    "start": Start,
    "numbers": Numbers,
}


def schema() -> dict[str, Any]:
    """JSON Schema of a network file (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Description.model_json_schema(by_alias=True),
        "title": "A network of equilif, and how it learns",
    }


def _shape(network: Network, *, sized: bool = False) -> dict[str, Any]:
    """Populations, synapses and number formats of a network; without ``sized`` data say what they can say."""
    tables = {}
    for p in network.populations:
        kind = "output" if p.name == network.output else p.kind
        by_data = (
            kind == "output"
            or kind == "input"
            and len(network.inputs) == 1
            or network.loaded is not None
            and p is network.loaded.relay
        )
        options = {n: getattr(p, n) for n in OPTIONS if n in _fields(p)}
        table = {"kind": kind, "size": None if by_data and not sized else p.size, **options}
        if table.get("rows") and not sized:
            table["rows"] = 0
        tables[p.name] = {k: v for k, v in table.items() if v is not None and (k, v) != ("patch", 1)}
    return {
        "population": tables,
        "synapse": [s.model_dump(by_alias=True, exclude_none=True) for s in _grouped(network.synapses)],
        "numbers": dataclasses.asdict(network.numerics),
    }


def _grouped(synapses: Iterable[Synapse]) -> tuple[Joint, ...]:
    """Tables of synapses: one for those that differ in where they come from only."""
    alike = groupby(synapses, lambda s: (s.post, s.rate_scale, s.feedback, s.kernel, s.stride))
    return tuple(
        Joint(
            from_=tuple(s.pre for s in group),
            to=to,
            rate=rate,
            feedback=feedback,
            kernel=kernel,
            stride=stride,
        )
        for (to, rate, feedback, kernel, stride), group in alike
    )


# -- what is wrong ---------------------------------------------------------------------------------
def _problem(error: ValidationError) -> PlacedError:
    """The first thing that is wrong in a file, in one line; a key that is missing last, as it may be there
    under a wrong name.
    """
    problems = error.errors(include_url=False, include_context=False)
    first = min(problems, key=lambda e: e["type"] == "missing")
    place: Place = first["loc"]
    *above, key = place
    table = TABLES.get(str(place[0]))
    shown = "[[synapse]]" if place[0] == "synapse" else f"[{'.'.join(map(str, above))}]"
    known = list(table.key_fields() if table and above else Description.key_fields())
    if first["type"] == "extra_forbidden":
        what = shown if above else "a network file"
        return PlacedError(place, f"{what} has no {key!r}: {nearest(str(key), known)}")
    if place in (("population",), ("synapse",)):
        there = () if first["type"] == "missing" else place
        remedy = (
            "populations, each in a table [population.NAME]"
            if key == "population"
            else "synapses, each in a table [[synapse]] (two brackets) with from and to"
        )
        return PlacedError(there, f"a network has {remedy}")
    if first["type"] == "missing":
        return PlacedError(tuple(above), f"{shown} needs {key}: {table.key_fields()[str(key)].description}")  # type: ignore[union-attr]
    value = reprlib.repr(first["input"])
    if first["type"] in ("model_type", "dict_type"):
        name = ".".join(map(str, place))
        return PlacedError(place, f"{name} must be a table, [{name}], not {value}")
    depth = 2 if place[0] in ("population", "synapse") else 1
    item = "".join(f"[{k}]" for k in place[depth + 1 :])
    name = str(place[depth])
    field = table.key_fields()[name] if table else Description.key_fields()[str(place[0])]
    if item:
        field = FieldInfo.from_annotation(get_args(_type(field.annotation)[0])[0])
    whose = f"population {above[1]!r}: " if place[0] == "population" else ""
    return PlacedError(place[: depth + 1], f"{whose}{name}{item} must be {_wanted(field)}, not {value}")


class _within:
    """Whatever is wrong there is at ``place``, or at the one of its keys ``names`` that the message names."""

    def __init__(self, place: Place, names: Iterable[str]):
        self.place = place
        self.names = names

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError):
            message = str(error).replace("rate_scale", "rate") if self.place[0] == "synapse" else str(error)
            raise PlacedError((*self.place, *_named(message, self.names)), message) from error


def _named(message: str, names: Iterable[str]) -> Place:
    """The first of these keys that a message has as a word, else the size where it speaks of neurons."""
    words = re.findall(r"\w+", message)
    found = [n for n in names if n in words and n not in ("from", "to")]
    if found:
        return (min(found, key=words.index),)
    return ("size",) if "neurons" in words and "size" in names else ()
