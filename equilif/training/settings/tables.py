"""The tables of a network file: their keys, with ranges and texts.

They stand here once: they check a file and make its errors, the list of `equilif init --keys`, the table in
docs/how_to/own_networks.md and the JSON Schema for editors.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

from equilif_golden.extras import needs
from equilif_golden.fixed import Numerics, check_int
from equilif_golden.network import MAX_NEURONS, MAX_START, Input, Network, Population, Synapse
from equilif_golden.places import Place, PlacedError
from equilif_golden.populations import MAX_GAIN, MAX_ROWS, shape_of
from equilif_golden.schedule import Option, Schedule
from equilif_golden.synapses import OPTIONS as SYNAPSE_OPTIONS

with needs("cli"):
    from pydantic import (
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        ValidationError,
        WithJsonSchema,
        create_model,
    )

MAX_EPOCHS = 1 << 20
MAX_SEED = (1 << 32) - 1
ADAM_RATES = (1e-9, 10)  #: learning rates of AdamW
#: content of a file, or a part of it
Tables = dict[str, Any]
#: keys that belong to one kind of population
OPTIONS = (
    "heads",
    "causal",
    "energy",
    "gain",
    "sharpness",
    "dynamic_patterns",
    "table_rows",
    "shape",
    "patch",
    "channels_first",
)
#: options of an input that say nothing
PLAIN_INPUT = (("patch", 1), ("channels_first", False))
#: tables that say how a network learns, one of them in a description, and the commands that train so
METHODS = {"learning": "train", "rates": "train-rates", "text": "train-text"}
#: how a message calls a value, by its type in JSON
NAMED = {
    "boolean": "true or false",
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "array": "a list",
}


def check_seed(seed: int) -> int:
    """A seed that NumPy and torch take; ValueError otherwise."""
    return check_int(seed, "seed", 0, MAX_SEED)


# -- keys ------------------------------------------------------------------------------------------
class Key(NamedTuple):
    """A key in words: ``values`` that it may have, ``wanted`` is the same in a message, ``default`` holds
    when it is left out; empty: it must be there.
    """

    meaning: str
    values: str
    wanted: str
    default: str


def _key(default: Any, meaning: str, *, values: str = "", absent: str = "", **limits: Any) -> Any:
    """A key of a table.

    ``values``: what it may be, where its type and its limits do not tell; ``absent``: what holds when it is
    left out, where its default does not tell.
    """
    texts = {"x-values": values, "x-absent": absent}
    extra: Any = {name: text for name, text in texts.items() if text}
    return Field(default, description=meaning, json_schema_extra=extra, **limits)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}".replace("e+0", "e").replace("e-0", "e-")


def _range(schema: Mapping[str, Any]) -> str:
    if "exclusiveMinimum" in schema:
        return f"above {_number(schema['exclusiveMinimum'])}, up to {_number(schema['maximum'])}"
    return f"{_number(schema['minimum'])}..{_number(schema['maximum'])}" if "maximum" in schema else ""


def _in_words(schema: Mapping[str, Any]) -> Key:
    """A key, by its JSON Schema."""
    found = {**schema, **schema.get("anyOf", [{}])[0]}
    kind = NAMED[found["type"]]
    values = found.get("x-values") or _range(found) or _range(found.get("items", {}))
    if "enum" in found:
        values = ", ".join(found["enum"])
        wanted = f"one of {values}"
    elif not values:
        values, wanted = "true, false" if kind == NAMED["boolean"] else kind, kind
    elif found["type"] in ("integer", "number"):
        wanted = f"{kind} {values}" if values.startswith("above") else f"{kind} in {values}"
    else:
        several = " of one or more" if "minItems" in found else ""
        wanted = values if found["type"] == "string" else f"{kind}{several} ({values})"
    default = found.get("x-absent") or (json.dumps(found["default"]) if "default" in found else "")
    return Key(found.get("description", ""), values, wanted, default)


@functools.cache
def keys(table: str) -> Mapping[str, Key]:
    """The keys of a table, in the order of the file."""
    return {name: _in_words(schema) for name, schema in _properties(table).items()}


@functools.cache
def _properties(table: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = TABLES[table].model_json_schema(by_alias=True)["properties"]
    return found


#: earlier names of keys
RENAMED = {
    "rows": "table_rows",
    "loaded": "dynamic_patterns",
    "rate": "learning_rate_scale",
    "least": "min_windows",
    "eta": "learning_rate",
    "lr": "learning_rate",
    "form": "schedule",
    "shift": "random_shift",
    "flip": "horizontal_flip",
    "crop": "token_crop",
    "mask": "input_mask",
}


def nearest(name: str, known: Sequence[str]) -> str:
    """Suggestion for an unknown name."""
    earlier = RENAMED.get(name)
    close = [earlier] if earlier in known else difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


# -- tables ----------------------------------------------------------------------------------------
class TableSchema(BaseModel):
    """A table of a network file: of these keys only, each of its type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _table(kind: type, name: str, doc: str, **keys: Any) -> Any:
    """The table of a dataclass of the golden model, whose fields have the texts and limits.

    ``keys``: keys before them, in place of fields without a text.
    """
    hints = get_type_hints(kind)
    fields: dict[str, Any] = dict(keys)
    for f in dataclasses.fields(kind):
        m = f.metadata
        if not m:
            continue
        option: Option | None = m.get("option")
        text = (option.help if option else m["help"]).rstrip(".")
        limits = {k: m[k] for k in ("gt", "ge", "le") if k in m}
        if option and option.limits:
            limits = dict(zip(("ge", "le"), option.limits, strict=True))
        missing = (option.absent if option else m.get("absent", "")) if f.default is None else ""
        made = _key(
            f.default, text[:1].lower() + text[1:], values=m.get("values", ""), absent=missing, **limits
        )
        fields[f.name] = (hints[f.name], made)
    return create_model(name, __base__=TableSchema, __doc__=doc, __module__=__name__, **fields)


PhasesTable: Any = _table(Schedule, "PhasesTable", "Time steps of a sample, and constants of the neuron.")
NumbersTable: Any = _table(Numerics, "NumbersTable", "Number formats.")
Part = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=MAX_NEURONS)]
Names = Annotated[
    tuple[str, ...],
    Field(strict=False, min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class PopulationTable(TableSchema):
    """A population of neurons: `[population.NAME]`."""

    kind: Literal["input", "constant", "lif", "output", "relay", "attention", "self_attention"] = _key(
        "lif", "input, constant, lif (spiking neurons), output, relay, attention or self_attention"
    )
    size: Count | None = _key(
        None,
        "number of neurons; for input, output and a relay of tokens given by the data",
        absent="the data's",
    )
    heads: Count | None = _key(None, "relay: number of queries; self_attention: number of heads", absent="1")
    causal: bool | None = _key(
        None, "self_attention: a position attends to itself and to earlier ones only", absent="false"
    )
    gain: int | None = _key(
        None, "relay, self_attention: answers are multiplied by 2^(gain - 1)", absent="0", ge=0, le=MAX_GAIN
    )
    sharpness: int | None = _key(
        None,
        "attention, self_attention: inverse temperature in octaves; k = 2^(sharpness - 1) ln 2",
        absent="3",
        ge=-32,
        le=32,
    )
    energy: bool | None = _key(
        None,
        "self_attention: keys are also the values, so that the network has an energy and learns; maps are "
        "queries and keys",
        absent="false",
    )
    dynamic_patterns: bool | None = _key(
        None, "attention: the patterns are the tokens of each sample", absent="false"
    )
    table_rows: int | None = _key(
        None,
        "attention: rows of a trainable embedding table of the tokens; 0: given by the data",
        absent="no table",
        ge=0,
        le=MAX_ROWS,
    )
    shape: tuple[Count, ...] | None = _key(
        None,
        "maps: height, width and number of maps, instead of a size; input: those of an image, or height, 1 "
        "and the values of a row, whose positions are rows",
        values="a list",
        absent="no maps",
        strict=False,
        min_length=3,
        max_length=3,
    )
    patch: Count | None = _key(
        None, "input with a shape: rows and columns of an image at one position", absent="1"
    )
    channels_first: bool | None = _key(
        None, "input with a shape: a sample has its values map by map, as event recordings do", absent="false"
    )

    def population(self, name: str, size: int = 1, rows: int = 1) -> Population:
        """The population; ``size`` and ``rows`` where the data say them."""
        options = {n: getattr(self, n) for n in OPTIONS if getattr(self, n) is not None}
        if options.get("table_rows") == 0:
            options["table_rows"] = rows
        kind = "lif" if self.kind == "output" else self.kind
        return Population(name, size if self.size is None else self.size, kind, **options)

    def checked(self, name: str) -> PopulationTable:
        """Fill in what follows from the rest; PlacedError for what cannot be."""
        size = self.size
        if self.shape is not None and size is None:
            size = shape_of(self.shape, ("population", name)).size
        if self.kind == "constant" and size is None:
            size = 1
        if self.kind in ("lif", "attention", "self_attention") and size is None:
            raise PlacedError.of(
                ("population", name), f"{self.kind} neurons need a size, the number of them", "size"
            )
        made = self.population(name, size or self.heads or 1)
        options = {n: getattr(made, n) if n in _fields(made) else None for n in OPTIONS}
        if self.kind == "attention":
            options["table_rows"] = self.table_rows  # 0 stays
        if self.shape is None:
            options["patch"] = options["channels_first"] = None
        shape = options["shape"]
        return self.model_copy(update={**options, "size": size, "shape": shape and tuple(shape)})

    @property
    def image(self) -> tuple[int, ...] | None:
        """Rows, columns and colours of a sample, for an input of maps."""
        made = self.population("input") if self.kind == "input" else None
        return made.image if isinstance(made, Input) else None


def _fields(population: Population) -> set[str]:
    return {f.name for f in dataclasses.fields(population)}


SynapseTable: Any = _table(
    Synapse,
    "SynapseTable",
    "A synapse between two populations: `[[synapse]]`.",
    from_=(
        Names,
        _key(
            ...,
            "presynaptic population, or a list of them: one synapse from each",
            values="a name",
            alias="from",
        ),
    ),
    to=(
        str,
        _key(..., "postsynaptic population; it also sends its spikes back (see feedback)", values="a name"),
    ),
)


class LearningTable(TableSchema):
    """Training by Equilibrium Propagation."""

    epochs: int = _key(..., "passes over the training samples", ge=1, le=MAX_EPOCHS)
    learning_rate: float = _key(..., "learning rate of the first epoch", gt=0, le=1 << 16)
    decay: Part = _key(..., "learning-rate decay: factor per epoch (exponential), or final fraction (others)")
    schedule: Literal["exponential", "linear", "cosine"] = _key(
        "exponential", "learning-rate schedule: exponential, linear or cosine"
    )
    random_shift: Part = _key(0.0, "images: fraction shifted by one pixel, redrawn each epoch")
    horizontal_flip: Part = _key(0.0, "images: fraction flipped horizontally, redrawn each epoch")
    token_dropout: Part = _key(0.0, "tokens: fraction of a sample's tokens dropped, redrawn each epoch")
    token_crop: float = _key(
        0.0, "tokens: largest fraction cropped at either end, redrawn each epoch", ge=0, le=0.5
    )
    input_mask: int = _key(
        0, "tokens: number of adjacent values set to 0, redrawn each epoch", ge=0, le=MAX_NEURONS
    )
    order: Literal["shuffled", "standalone"] = _key(
        "shuffled", "sample order: shuffled, or the order of standalone training on a board"
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...] = _key(
        (0, 1, 2, 3, 4),
        "seeds of the weights and of the sample order; the first is the default",
        strict=False,
        min_length=1,
    )


class RatesTable(TableSchema):
    """Training of the mean rates by implicit differentiation in floating point, in place of [learning]."""

    epochs: int = _key(..., "passes over the training samples", ge=1, le=MAX_EPOCHS)
    batch_size: int = _key(128, "samples per step, of all processes together", ge=1, le=1 << 20)
    learning_rate: float = _key(
        2e-3, "initial learning rate of AdamW; cosine decay to zero", ge=ADAM_RATES[0], le=ADAM_RATES[1]
    )
    weight_decay: float = _key(0.0, "weight decay of AdamW", ge=0, le=10)
    dropout: float = _key(0.0, "fraction of the hidden neurons dropped per sample", ge=0, le=0.99)
    random_shift: Part = _key(0.0, "images: fraction shifted by one pixel, redrawn each epoch")
    horizontal_flip: Part = _key(0.0, "images: fraction flipped horizontally, redrawn each epoch")
    table_learning_rate: float = _key(
        0.0, "sequences: learning rate of the embedding table, relative to learning_rate", ge=0, le=1e6
    )
    token_dropout: Part = _key(0.0, "sequences: fraction of a sample's tokens dropped, redrawn each epoch")
    excluded_classes: Annotated[
        tuple[int, ...],
        WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "integer"}]}),
        BeforeValidator(lambda value: [value] if isinstance(value, int) else value),
    ] = _key((), "class or list of classes left out of training", values="classes", strict=False)
    validation_samples: int = _key(
        0, "training samples held out for validation, in place of the test set", ge=0, le=1 << 31
    )


class TextTable(TableSchema):
    """Training to predict the next character of a text, in floating point, in place of [learning]."""

    epochs: int = _key(12, "number of epochs, each with a validation", ge=1, le=MAX_EPOCHS)
    steps: int = _key(250, "updates per epoch", ge=1, le=MAX_EPOCHS)
    batch_size: int = _key(32, "sequences per update", ge=1, le=1 << 14)
    learning_rate: float = _key(
        2e-3, "largest learning rate of AdamW; cosine decay to zero", ge=ADAM_RATES[0], le=ADAM_RATES[1]
    )
    hidden_rates: float = _key(
        0.5, "factor of the rates inside feed-forward layers, for fewer time steps of spikes", ge=0.1, le=10
    )
    noise: Part = _key(0.0, "standard deviation of noise on the rates, for fewer time steps of spikes")
    spike_steps: int = _key(
        0,
        "last updates that learn from the rates of spikes, with a second rise of the learning rate to a "
        "third; about eight times as slow",
        ge=0,
        le=1 << 40,
    )
    teacher: str | None = _key(
        None,
        "network.npz of another run on the same text, whose probabilities and features the network also "
        "learns (distillation)",
        values="a file",
        absent="no distillation",
    )


class StartTable(TableSchema):
    """Initial weights."""

    bias: float = _key(0.2, "initial biases, in units of the threshold", ge=-MAX_START, le=MAX_START)
    scale: float = _key(
        0.5, "range of the other initial weights, as a fraction of Glorot's limit", ge=0, le=MAX_START
    )
    query: float = _key(0.3, "attention: standard deviation of the initial queries", ge=0, le=MAX_START)


#: the tables of a file
TABLES: dict[str, type[TableSchema]] = {
    "population": PopulationTable,
    "synapse": SynapseTable,
    "phases": PhasesTable,
    "learning": LearningTable,
    "rates": RatesTable,
    "text": TextTable,
    "start": StartTable,
    "numbers": NumbersTable,
}


# -- of networks -----------------------------------------------------------------------------------
def shape(network: Network, *, sized: bool = False) -> Tables:
    """Populations and synapses of a network; without ``sized`` data say the sizes that they can say."""
    tables = {}
    for p in network.populations:
        kind = "output" if p.name == network.output else p.kind
        by_data = (
            kind == "output"
            or kind == "input"
            and len(network.inputs) == 1
            or network.dynamic_attention is not None
            and p is network.dynamic_attention.relay
        )
        options = {n: getattr(p, n) for n in OPTIONS if n in _fields(p)}
        table = {"kind": kind, "size": None if by_data and not sized else p.size, **options}
        if table.get("table_rows") and not sized:
            table["table_rows"] = 0
        tables[p.name] = {k: v for k, v in table.items() if v is not None and (k, v) not in PLAIN_INPUT}
    return {
        "population": tables,
        "synapse": [s.model_dump(by_alias=True, exclude_none=True) for s in grouped(network.synapses)],
    }


def grouped(synapses: Iterable[Synapse]) -> tuple[SynapseTable, ...]:
    """Tables of synapses: one for those that differ in where they come from only."""
    alike = groupby(synapses, lambda s: {"to": s.post, **s.options})
    return tuple(SynapseTable(**{"from": tuple(s.pre for s in group), **values}) for values, group in alike)


def synapse_of(pre: str, table: SynapseTable) -> Synapse:
    """The synapse of a table from one of its populations."""
    return Synapse(pre, table.to, **{name: getattr(table, name) for name in SYNAPSE_OPTIONS})


def chain(*hidden: int, **options: Any) -> Tables:
    """A chain, as Network.chain makes it; the data say the sizes of input and output."""
    return shape(Network.chain(1, *hidden, 2, **options))


def memory(
    tokens: int, heads: int, *hidden: int, table_learning_rate_scale: float | None = None, **options: Any
) -> Tables:
    """A memory of tokens before a chain, as Network.attention makes it.

    ``table_learning_rate_scale``: relative learning rate of an embedding table; None: tokens are fixed.
    """
    if table_learning_rate_scale is not None:
        options |= {"table_rows": 1, "table_learning_rate_scale": table_learning_rate_scale}
    return shape(Network.attention(tokens, 1, heads, *hidden, 2, **options))


# -- what is wrong ---------------------------------------------------------------------------------
#: what a file must have
NEEDED = {
    "population": "a network has populations, each in a table [population.NAME]",
    "synapse": "a network has synapses, each in a table [[synapse]] (two brackets) with from and to",
}


def problem(error: ValidationError) -> PlacedError:
    """The first thing that is wrong in a file, in one line; a key that is missing last, as it may be there
    under a wrong name.
    """
    first = min(error.errors(include_url=False), key=lambda e: e["type"] == "missing")
    place: Place = first["loc"]
    kind = first["type"]
    table = str(place[0])
    key = str(place[-1])
    value = reprlib.repr(first["input"])
    shown = "[[synapse]]" if table == "synapse" else f"[{'.'.join(map(str, place[:-1]))}]"
    if len(place) == 1 and kind == "extra_forbidden":
        known = (*TABLES, "loading")
        return PlacedError(f"a network file has no {key!r}: {nearest(key, known)}", place)
    if len(place) == 1 and table in NEEDED:
        return PlacedError(NEEDED[table], () if kind == "missing" else place)
    if kind == "extra_forbidden":
        return PlacedError(f"{shown} has no {key!r}: {nearest(key, list(keys(table)))}", place)
    if kind == "missing":
        return PlacedError(f"{shown} needs {key}: {keys(table)[key].meaning}", place[:-1])
    if kind in ("model_type", "dict_type"):
        name = ".".join(map(str, place))
        return PlacedError(f"{name} must be a table, [{name}], not {value}", place)
    depth = 3 if table in NEEDED else 2
    key, *item = map(str, place[depth - 1 :])
    wanted = keys(table)[key].wanted
    if item:
        wanted = _in_words({"type": "string", **_properties(table)[key].get("items", {})}).wanted
    whose = f"population {place[1]!r}: " if table == "population" else ""
    name = f"{whose}{key}{''.join(f'[{k}]' for k in item)}"
    return PlacedError(f"{name} must be {wanted}, not {value}", place[:depth])
