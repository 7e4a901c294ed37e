"""The tables of a network file: their keys, with ranges and texts.

They stand here once: they check a file and make its errors, the list of `equilif init --keys`, the table in
docs/how_to/own_networks.md and the JSON Schema for editors.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import reprlib
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

from equilif_golden.extras import needs
from equilif_golden.fixed import Numerics, check_int
from equilif_golden.network import MAX_NEURONS, MAX_START, Network, Population, Synapse
from equilif_golden.places import Place, PlacedError, nearest
from equilif_golden.populations import KINDS, shape_of
from equilif_golden.schedule import Schedule
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
    "gain",
    "sharpness",
    "energy",
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
    """A key in words: its ``type``, the ``values`` that it may have and the ``default`` that holds when it is
    left out; empty: it must be there.
    """

    meaning: str
    type: str
    values: str
    default: str

    @property
    def allowed(self) -> str:
        """Type and values, for messages."""
        return self.type if self.values in (self.type, "true, false") else f"{self.type} ({self.values})"


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
    kind = NAMED[found["type"]] + (" of one or more" if "minItems" in found else "")
    limits = _range(found) or _range(found.get("items", {})) or ", ".join(found.get("enum", ()))
    values = found.get("x-values") or limits or ("true, false" if found["type"] == "boolean" else kind)
    default = found.get("x-absent") or (json.dumps(found["default"]) if "default" in found else "")
    return Key(found.get("description", ""), kind, values, default)


@functools.cache
def keys(table: str) -> Mapping[str, Key]:
    """The keys of a table, in the order of the file."""
    properties = TABLES[table].model_json_schema(by_alias=True)["properties"]
    return {name: _in_words(schema) for name, schema in properties.items()}


# -- tables ----------------------------------------------------------------------------------------
class TableSchema(BaseModel):
    """A table of a network file: of these keys only, each of its type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _options(kind: type) -> dict[str, Any]:
    """Types and keys of the options of a dataclass of the golden model, by their metadata."""
    hints = get_type_hints(kind)
    found = {}
    for f in dataclasses.fields(kind):
        if "help" not in f.metadata:
            continue
        m = {key: value for key, value in f.metadata.items() if key not in ("help", "settles")}
        if f.default is not None:
            m.pop("absent", None)
        found[f.name] = (hints[f.name], _key(f.default, f.metadata["help"], **m))
    return found


def _table(name: str, doc: str, keys: Mapping[str, Any]) -> Any:
    """A table of keys, with their types."""
    return create_model(name, __base__=TableSchema, __doc__=doc, __module__=__name__, **keys)


PhasesTable: Any = _table(
    "PhasesTable", "Time steps of a sample, and constants of the neuron.", _options(Schedule)
)
NumbersTable: Any = _table("NumbersTable", "Number formats.", _options(Numerics))
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


def _population_option(name: str) -> tuple[Any, Any]:
    """Type and key of an option of some kinds of populations; without it holds the default of the kind."""
    kinds = [(kind.kind, f) for kind in KINDS.values() for f in dataclasses.fields(kind) if f.name == name]
    m: dict[str, Any] = dict(kinds[0][1].metadata)
    texts = {f.metadata["help"]: "" for _, f in kinds}
    for kind, f in kinds:
        texts[f.metadata["help"]] += f", {kind}" if texts[f.metadata["help"]] else kind
    meaning = "; ".join(f"{of}: {text}" for text, of in texts.items())
    default = kinds[0][1].default
    m = {"absent": json.dumps(default), **m, "help": meaning}
    hint: Any = type(default) if default is not None else int
    if name == "shape":
        hint = tuple[Count, ...]
        m |= {"values": "height, width, maps", "strict": False, "min_length": 3, "max_length": 3}
    if name == "table_rows":
        m |= {"ge": 0, "help": f"{meaning}; 0: given by the data"}
    return hint | None, _key(None, m.pop("help"), **m)


PopulationTable: Any = _table(
    "PopulationTable",
    "A population of neurons: `[population.NAME]`.",
    {
        "kind": (
            Literal["input", "constant", "lif", "output", "relay", "attention", "self_attention"],
            _key("lif", "input, constant, lif (spiking neurons), output, relay, attention or self_attention"),
        ),
        "size": (
            Count | None,
            _key(
                None,
                "number of neurons; for input, output and a relay of tokens given by the data",
                absent="the data's",
            ),
        ),
        **{name: _population_option(name) for name in OPTIONS},
    },
)


def population_of(name: str, table: PopulationTable, size: int = 1, rows: int = 1) -> Population:
    """The population of a table; ``size`` and ``rows`` where the data say them."""
    options = {n: getattr(table, n) for n in OPTIONS if getattr(table, n) is not None}
    if options.get("table_rows") == 0:
        options["table_rows"] = rows
    kind = "lif" if table.kind == "output" else table.kind
    return Population(name, size if table.size is None else table.size, kind, **options)


def filled(name: str, table: PopulationTable) -> PopulationTable:
    """A table with what follows from its keys and from the defaults; PlacedError for what cannot be."""
    size = table.size
    if table.shape is not None and size is None:
        size = shape_of(table.shape, ("population", name)).size
    if table.kind == "constant" and size is None:
        size = 1
    if table.kind in ("lif", "attention", "self_attention") and size is None:
        raise PlacedError.of(
            ("population", name), f"{table.kind} neurons need a size, the number of them", "size"
        )
    made = population_of(name, table, size or table.heads or 1)
    options = {n: getattr(made, n) if n in _fields(made) else None for n in OPTIONS}
    if table.kind == "attention":
        options["table_rows"] = table.table_rows  # 0 stays
    if table.shape is None:
        options["patch"] = options["channels_first"] = None
    shape = options["shape"]
    return table.model_copy(update={**options, "size": size, "shape": shape and tuple(shape)})


def _fields(population: Population) -> set[str]:
    return {f.name for f in dataclasses.fields(population)}


SynapseTable: Any = _table(
    "SynapseTable",
    "A synapse between two populations: `[[synapse]]`.",
    {
        "from_": (
            Names,
            _key(
                ...,
                "presynaptic population, or a list of them: one synapse from each",
                values="a name",
                alias="from",
            ),
        ),
        "to": (
            str,
            _key(
                ..., "postsynaptic population; it also sends its spikes back (see feedback)", values="a name"
            ),
        ),
        **_options(Synapse),
    },
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
    whose = f"population {place[1]!r}: " if table == "population" else ""
    at = f" (item {item[0]})" if item else ""
    return PlacedError(f"{whose}{key} must be {keys(table)[key].allowed}, not {value}{at}", place[:depth])
