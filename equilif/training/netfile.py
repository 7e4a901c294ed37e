"""A network in a file: populations, synapses, phases and learning, as TOML.

    [population.input]
    kind = "input"

    [population.hidden]
    size = 64

    [population.output]
    kind = "output"

    [[synapse]]
    from = "input"
    to = "hidden"
    ...

docs/own_networks.md has all keys.  What is wrong with a file is a ValueError of one line that names file,
line and key.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
import reprlib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from equilif.data import Name, sequences
from equilif.data.dataset import DataSet
from equilif.training.preset import MemoryPreset, Preset
from equilif.training.records import plain
from equilif.training.sketch import Group, Sizes, Sketch
from equilif_golden import network as networks
from equilif_golden.fixed import Numerics
from equilif_golden.network import Network, Synapse
from equilif_golden.schedule import Option, Schedule

SUFFIX = ".toml"
MOST_BYTES = 1 << 20  #: of a file
#: what a line is marked by to find it: no character of TOML
MARK = "\0"
Place = tuple[str | int, ...]  #: keys that lead to a line


# -- what a file has -------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Joint:
    """Synapses into a population."""

    from_: tuple[str, ...] = field(
        metadata={"help": "name of a population, or a list of names: a synapse from each"}
    )
    to: str = field(metadata={"help": "name of a population; it sends its spikes back (see feedback)"})
    rate: float = field(default=1.0, metadata={"help": "learning rate of these synapses: so many times eta"})
    feedback: bool = field(
        default=True,
        metadata={
            "help": "false, between spiking populations: one way; such a network runs, but cannot learn"
        },
    )
    kernel: int | None = field(
        default=None, metadata={"help": "between maps: a convolution, with a kernel of this side"}
    )
    stride: int = field(default=1, metadata={"help": "of a kernel: positions from step to step"})


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How the network learns: Preset has the ranges."""

    epochs: int = field(metadata={"help": "times that all training samples are shown"})
    eta: float = field(metadata={"help": "learning rate of the first epoch"})
    decay: float = field(
        metadata={"help": "exponential: factor of an epoch; linear, cosine: part of eta left in the last one"}
    )
    form: Literal["exponential", "linear", "cosine"] = field(
        default="exponential", metadata={"help": "how eta falls: exponential, linear or cosine"}
    )
    shift: float = field(
        default=0.0, metadata={"help": "images: part of them that an epoch moves by a pixel"}
    )
    flip: float = field(
        default=0.0, metadata={"help": "images: part of them that an epoch turns left to right"}
    )
    dropout: float = field(
        default=0.0, metadata={"help": "tokens: part of those of a sample that an epoch leaves out"}
    )
    crop: float = field(
        default=0.0,
        metadata={"help": "tokens: part of a sample that an epoch leaves out at either end, at most"},
    )
    mask: int = field(
        default=0,
        metadata={"help": "tokens: neighbouring values of those of a sample that an epoch sets to 0"},
    )
    order: Literal["shuffled", "board"] = field(
        default="shuffled",
        metadata={"help": "of the samples of an epoch: shuffled, or as a board makes it that learns alone"},
    )
    seeds: tuple[int, ...] = field(
        default=(0, 1, 2, 3, 4), metadata={"help": "of weights and sample order; the first is the default"}
    )


@dataclass(frozen=True, kw_only=True)
class Start:
    """Initial weights."""

    bias: float = field(default=0.2, metadata={"help": "biases, in thresholds"})
    scale: float = field(default=0.5, metadata={"help": "other weights, as a part of Glorot's limit"})
    query: float = field(default=0.3, metadata={"help": "memories: deviation of the queries"})


#: tables of a file, what they are of, and what a table is for
TABLES: dict[str, tuple[type, str]] = {
    "population": (Group, "a population of neurons: `[population.NAME]`"),
    "synapse": (Joint, "what joins two populations: `[[synapse]]`"),
    "phases": (Schedule, "time steps of a sample, and the neuron"),
    "learning": (Learning, "how the network learns"),
    "start": (Start, "initial weights"),
    "numbers": (Numerics, "number formats"),
}
#: what holds when a key is left out, where its default does not tell
ABSENT = {
    ("population", "size"): "the data's",
    ("population", "heads"): "`1`",
    ("population", "gain"): "`0`",
    ("population", "sharpness"): "`3`",
    ("population", "loaded"): "`false`",
    ("population", "rows"): "no table",
    ("population", "shape"): "no maps",
    ("population", "patch"): "`1`",
    ("synapse", "kernel"): "all to all",
}
#: the ranges of numbers, and the words that a text may be, where a type does not tell
RANGES: dict[tuple[str, str], str] = {
    ("population", "size"): "1..1048576",
    ("population", "heads"): "1..1048576",
    ("population", "gain"): "0..2",
    ("population", "sharpness"): "-32..32",
    ("population", "rows"): "0..1048576",
    ("population", "patch"): "1..1048576",
    ("synapse", "rate"): "0..1e6",
    ("synapse", "kernel"): "1..1048576",
    ("synapse", "stride"): "1..1048576",
    ("phases", "free"): "window..511",
    ("phases", "nudged"): "window..511",
    ("phases", "window"): "1, 2, 4 .. 256",
    ("phases", "beta"): "above 0, up to 2",
    ("phases", "threshold"): "a power of two, up to 2",
    ("phases", "leak"): "0, 2, 3, 4, 5",
    ("phases", "least"): "1..511",
    ("learning", "epochs"): "1..1048576",
    ("learning", "eta"): "above 0, up to 65536",
    ("learning", "decay"): "0..1",
    ("learning", "shift"): "0..1",
    ("learning", "flip"): "0..1",
    ("learning", "dropout"): "0..1",
    ("learning", "crop"): "0..0.5",
    ("learning", "mask"): "0..1048576",
    ("learning", "seeds"): "0..4294967295",
    ("start", "bias"): "-1000..1000",
    ("start", "scale"): "0..1000",
    ("start", "query"): "0..1000",
    ("numbers", "fraction"): "4..13",
    ("numbers", "weight_width"): "4..16",
    ("numbers", "accumulator_width"): "weight_width + 4 .. 32",
    ("numbers", "charge_width"): "fraction + 4 .. 32, at least 11",
}
COLUMN = 24  #: of the comments in a file that is written
#: what a kind of population is, for those who read a file
KINDS = {
    "input": "the values of a sample",
    "constant": "always full on: a synapse from it is a bias",
    "lif": "",
    "output": "nudged towards the class; its most active neuron is the answer",
    "relay": "queries to a memory, and what comes back",
    "softmax": "the patterns of a memory, and how well each matches",
}
OPEN = {
    "input": "as many as a sample has values",
    "output": "as many as there are classes",
    "relay": "heads times the width of a token",
}
TABLE = "the patterns learn: they are rows of a table, as large as the data's"
#: options of a loader of sequences: their names are the loader's
LOADING = "loading"
REQUIRED = "must be there"  #: in place of a default
NAMED = {bool: "true, false", str: "a name", int: "an integer", float: "a number"}


def keys(table: str) -> dict[str, dataclasses.Field[Any]]:
    """The keys of a table, in the order of the file."""
    kind = TABLES[table][0]
    return {f.name.rstrip("_"): f for f in dataclasses.fields(kind) if f.name != "name"}


def allowed(table: str, key: str) -> str:
    """The values of a key: a range, words, or a type."""
    kind = get_type_hints(TABLES[table][0])[keys(table)[key].name]
    options = [a for a in get_args(kind) if a is not type(None)] or [kind]
    words = options if get_origin(kind) is Literal else get_args(options[0])
    if words and all(isinstance(word, str) for word in words):
        return ", ".join(words)
    option: Option | None = keys(table)[key].metadata.get("option")
    if option and option.limits:
        return "..".join(map(str, option.limits))
    return RANGES.get((table, key)) or NAMED.get(options[0], "a list" if words else "names")


def absent(table: str, key: str) -> str:
    """What holds when a key is left out, as Markdown."""
    f = keys(table)[key]
    option: Option | None = f.metadata.get("option")
    if (table, key) in ABSENT:
        return ABSENT[table, key]
    if option and f.default is None:
        return option.absent
    return REQUIRED if f.default is dataclasses.MISSING else f"`{toml(f.default)}`"


def meaning(f: dataclasses.Field[Any]) -> str:
    """What a key means, in a line."""
    option: Option | None = f.metadata.get("option")
    said = str(option.help if option else f.metadata.get("help", "")).rstrip(".").replace("--", "")
    return said[:1].lower() + said[1:]


# -- reading ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class NetFile:
    """A file that was read: a network, and how it learns.

    ``located``: a message with the place of what it is about, by the keys that lead there.
    """

    path: Path
    raw: Mapping[str, Any]
    located: Callable[[Place, str], str]
    sketch: Sketch
    schedule: Schedule = Schedule()
    learning: Learning | None = None
    start: Start = Start()
    loading: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def places(self) -> Iterator[None]:
        """A ValueError from here is one of this file, with the line of what it names."""
        try:
            yield
        except ValueError as e:
            raise ValueError(self.located(_part(str(e), self.raw), str(e))) from e

    def network(self, d: DataSet | None = None) -> Network:
        """The network, for these data; without them every population needs a size of its own."""
        with self.places():
            return self.sketch.network(self.schedule, None if d is None else Sizes.of(d))

    def check_data(self, name: Name) -> None:
        """ValueError unless this network can learn the data set of this name, before it is loaded."""
        tokens = name in sequences.NAMES
        with self.places():
            self.sketch.check_kind(name, tokens=tokens)
            if tokens:
                sequences.check_options(name, self.loading)

    def preset(self, data: str) -> Preset:
        """How this network learns a data set of this name; ValueError when the file does not say it."""
        if self.learning is None:
            raise ValueError(
                f"{self.path} has no [learning]: add it, for example with epochs = 10, eta = 0.02 and "
                "decay = 0.9"
            )
        learning = {f.name: getattr(self.learning, f.name) for f in dataclasses.fields(self.learning)}
        start: dict[str, Any] = {"bias": self.start.bias, "scale": self.start.scale}
        with self.places():
            return Preset(data=data, schedule=self.schedule, **learning, **start, **self._shape())

    def _shape(self) -> dict[str, Any]:
        """Fields of a Preset that say the network: sizes of a chain where it is one, else a graph."""
        rates = self.sketch.as_chain()
        if rates is not None:
            return {"hidden": self.sketch.hidden, "rate_scales": rates if set(rates) != {1.0} else ()}
        loaded = self.sketch.loaded
        if loaded is None:
            return {"hidden": (), "graph": self.sketch, "query": self.start.query}
        softmax, relay = loaded
        asks = self.sketch.as_attention()
        query_scale, table_scale = asks or (1.0, None)
        memory = MemoryPreset(
            tokens=softmax.size or 1,
            heads=relay.heads or 1,
            gain=relay.gain or 0,
            sharpness=softmax.sharpness or 0,
            query=self.start.query,
            query_scale=query_scale,
            table_scale=table_scale,
            loading=self.loading,
        )
        if asks is None:
            return {"hidden": (), "graph": self.sketch, "memory": memory}
        return {"hidden": self.sketch.hidden, "memory": memory}


def network_of(path: Path) -> Network:
    """The network of a network file or of a saved network; ValueError names the file."""
    return read(path).network() if path.suffix == SUFFIX else networks.load(path)[0]


def read(path: str | Path) -> NetFile:
    """The network of a file; ValueError names file, line and key of what is wrong."""
    path = Path(path)
    with path.open("rb") as f:
        content = f.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path} is no network file: it is larger than {MOST_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content[: e.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: it is not UTF-8 text, so it is no network file") from e
    try:
        raw = tomllib.loads(text)
    except RecursionError as e:
        raise ValueError(f"{path} is no network file: it is nested too deeply") from e
    except ValueError as e:
        raise ValueError(_syntax(path, text, str(e))) from e
    return made(path, raw, functools.partial(_told, path, text), "this network")


def made(path: Path, raw: Mapping[str, Any], located: Callable[[Place, str], str], data: str) -> NetFile:
    """The network of a file's content; ValueError, as ``located``, says what is wrong and where.

    ``data``: what it is to learn, for messages.
    """
    try:
        return _made_of(path, raw, located, data)
    except PlacedError as e:
        raise ValueError(located(e.place, str(e))) from e


def _made_of(path: Path, raw: Mapping[str, Any], located: Callable[[Place, str], str], data: str) -> NetFile:
    known = (*TABLES, LOADING)
    for name in raw:
        if name not in known:
            raise PlacedError((name,), f"a network file has no {name!r}: {nearest(name, known)}")
    groups = _groups(raw)
    synapses = _synapses(raw, [g.name for g in groups])
    schedule = _made("phases", raw)
    learning = _made("learning", raw) if "learning" in raw else None
    start = _made("start", raw)
    numerics = _made("numbers", raw)
    loading = _table(raw.get(LOADING, {}), (LOADING,))
    try:
        sketch = Sketch(populations=groups, synapses=synapses, numerics=numerics)
        sketch.check(schedule)
    except ValueError as e:
        raise PlacedError(_part(str(e), raw), str(e)) from e
    if loading and sketch.loaded is None:
        raise PlacedError(
            (LOADING,), "[loading] is for a memory of tokens, this network has none: leave it out"
        )
    found = NetFile(path, raw, located, sketch, schedule, learning, start, loading)
    if learning is not None:
        found.preset(data)  # it has the ranges
    return found


def _groups(raw: Mapping[str, Any]) -> tuple[Group, ...]:
    tables = raw.get("population")
    if not isinstance(tables, dict) or not tables:
        raise PlacedError(
            ("population",) if tables else (),
            "a network has populations, each in a table [population.NAME]",
        )
    groups = []
    for name, table in tables.items():
        place = ("population", name)
        given = _checked("population", table, place)
        with _within(place, list(given)):
            groups.append(Group(name=name, **given))
    return tuple(groups)


def _synapses(raw: Mapping[str, Any], names: Sequence[str]) -> tuple[Synapse, ...]:
    tables = raw.get("synapse")
    if not isinstance(tables, list) or not tables:
        raise PlacedError(
            ("synapse",) if tables else (),
            "a network has synapses, each in a table [[synapse]] (two brackets) with from and to",
        )
    made = []
    for k, table in enumerate(tables):
        place = ("synapse", k)
        joint = Joint(**_checked("synapse", table, place))
        if not joint.from_:
            raise PlacedError((*place, "from"), "from must name a population at least")
        for key, name in [("from", n) for n in joint.from_] + [("to", joint.to)]:
            if name not in names:
                raise PlacedError((*place, key), f"there is no population {name!r}: {nearest(name, names)}")
        for name in joint.from_:
            with _within(place, ("rate", "feedback", "kernel", "stride")):
                made.append(Synapse(name, joint.to, joint.rate, joint.feedback, joint.kernel, joint.stride))
    return tuple(made)


def _made(name: str, raw: Mapping[str, Any]) -> Any:
    """What a table describes."""
    given = _checked(name, raw.get(name, {}), (name,))
    with _within((name,), list(given)):
        return TABLES[name][0](**given)


def _table(value: Any, place: Place) -> dict[str, Any]:
    if not isinstance(value, dict):
        name = ".".join(map(str, place))
        raise PlacedError(place, f"{name} must be a table, [{name}], not {reprlib.repr(value)}")
    return value


def _checked(name: str, value: Any, place: Place) -> dict[str, Any]:
    """Values of a table by field, each of its type."""
    kind = TABLES[name][0]
    fields = keys(name)
    types = get_type_hints(kind)
    shown = f"[[{name}]]" if name == "synapse" else f"[{'.'.join(map(str, place))}]"
    given = {}
    for key, found in _table(value, place).items():
        if key not in fields:
            raise PlacedError((*place, key), f"{shown} has no {key!r}: {nearest(key, list(fields))}")
        listed = [found] if key == "from" and isinstance(found, str) else found
        with _within((*place, key)):
            given[fields[key].name] = plain(types[fields[key].name], listed, key)
    for key, f in fields.items():
        if key not in value and f.default is dataclasses.MISSING:
            raise PlacedError(place, f"{shown} needs {key}: {meaning(f)}")
    return given


# -- what is wrong with one ------------------------------------------------------------------------
class PlacedError(ValueError):
    """Something wrong, and the keys that lead to it."""

    def __init__(self, place: Place, message: str):
        super().__init__(message)
        self.place = place


@contextmanager
def _within(place: Place, names: Sequence[str] = ()) -> Iterator[None]:
    """Whatever is wrong there is at ``place``, or at the one of its keys ``names`` that the message names."""
    try:
        yield
    except ValueError as e:
        message = str(e).replace("rate_scale", "rate") if place[0] == "synapse" else str(e)
        raise PlacedError((*place, *_named(message, names)), message) from e


def _named(message: str, names: Iterable[str]) -> Place:
    """The first of these keys that a message has as a word, else the size where it speaks of neurons."""
    words = re.findall(r"\w+", message)
    found = [n for n in names if n in words and n not in ("from", "to")]
    if found:
        return (min(found, key=words.index),)
    return ("size",) if "neurons" in words and "size" in names else ()


def _part(message: str, raw: Mapping[str, Any]) -> Place:
    """The population, synapse or phase that a message is about, and its key."""
    for name, table in raw["population"].items():
        if f"population {name!r}" in message:
            return ("population", name, *_named(message, table))
    for k in reversed(range(len(raw["synapse"]))):
        s = raw["synapse"][k]
        for pre in [s["from"]] if isinstance(s["from"], str) else s["from"]:
            if re.search(rf"synapse {re.escape(pre)}-{re.escape(s['to'])}(?![\w.])", message):
                return ("synapse", k, *_named(message, s))
    for table in ("phases", "learning", "start", LOADING, "numbers"):
        if named := _named(message, raw.get(table, {})):
            return (table, *named)
    return ()


def nearest(name: str, known: Sequence[str]) -> str:
    """What to write in place of a name that is none."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def _syntax(path: Path, text: str, said: str) -> str:
    """What is said of a file that is no TOML."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", said, re.S)
    if found is None:
        return f"{path} is no network file: {said}"
    line = found[2] or max(1, len(text.splitlines()))
    what = found[1].replace("Cannot overwrite a value", "this key is there twice")
    return f"{path}, line {line}: it is no TOML: {what[0].lower()}{what[1:]}"


def _told(path: Path, text: str, place: Place, message: str) -> str:
    line = line_of(text, place)
    return f"{path}, line {line}: {message}" if line else f"{path}: {message}"


def line_of(text: str, place: Place) -> int | None:
    """The line of a key or table, or of what it is in; None for the whole file, or without tomlkit.

    tomlkit keeps a file as it was written: a comment that is put at the place is found in its text.
    """
    try:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError
        from tomlkit.items import AoT, Array, InlineTable, Table
    except ModuleNotFoundError:
        return None
    for n in range(len(place), 0, -1):
        try:
            document = tomlkit.parse(text)
            at: Any = document
            for key in place[:n]:
                if isinstance(at, InlineTable):
                    break
                at = at.item(key) if hasattr(at, "item") else at[key]
            while isinstance(at, AoT) or isinstance(at, Table) and at.is_super_table():
                at = at[0] if isinstance(at, AoT) else at.item(next(iter(at)))  # it has no line of its own
            at.comment(MARK)
        except (TOMLKitError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
            continue
        marked = document.as_string()
        if MARK in marked:
            more = at.as_string().rstrip().count("\n") if isinstance(at, Array) else 0
            return marked[: marked.index(MARK)].count("\n") + 1 - more
    return None


# -- writing ---------------------------------------------------------------------------------------
def written(preset: Preset, sketch: Sketch | None = None, *, heading: Sequence[str] = ()) -> str:
    """A file of a preset, with comments.

    ``sketch``: the network, with the sizes that the preset leaves open.  ``heading``: lines above all.
    """
    sketch = sketch or preset.sketch
    m = preset.memory
    start = {"bias": preset.bias, "scale": preset.scale}
    if any(g.kind == "relay" for g in sketch.populations):
        start["query"] = m.query if m else preset.query
    learning = {name: getattr(preset, name) for name in keys("learning")}
    first = [f"# A network, and how it learns {preset.data}.", *(f"# {line}" for line in heading)]
    parts = [
        "\n".join(map(_one_line, first)) + "\n",
        described(sketch, preset.schedule),
        _lines("learning", learning),
        _lines("start", start),
    ]
    if m and m.loading:
        parts.append(
            "\n".join([f"[{LOADING}]", *(f"{_key(k)} = {toml(v)}" for k, v in m.loading.items())]) + "\n"
        )
    return "\n".join(parts)


def described(sketch: Sketch, schedule: Schedule) -> str:
    """Populations, synapses and phases as a file has them."""
    parts = ["# Populations, in the order in which they are updated.\n" + _population(sketch.populations[0])]
    parts += map(_population, sketch.populations[1:])
    alike = groupby(sketch.synapses, lambda s: (s.post, s.rate_scale, s.feedback, s.kernel, s.stride))
    joined = [list(group) for _, group in alike]
    blocks = [_joint(group) for group in joined]
    parts += ["# Synapses: spikes go both ways, through the same weights.\n" + blocks[0], *blocks[1:]]
    parts.append(_lines("phases", dataclasses.asdict(schedule)))
    if sketch.numerics != Numerics():
        parts.append(_lines("numbers", dataclasses.asdict(sketch.numerics)))
    return "\n".join(parts)


def _population(group: Group) -> str:
    lines = [f"[population.{_key(group.name)}]"]
    for key in keys("population"):
        value = getattr(group, key)
        if (
            value is None
            or (key, value) == ("kind", "lif")
            or (group.kind, key, value) == ("constant", "size", 1)
            or key == "size"
            and group.shape is not None
            or (key, value) == ("patch", 1)
        ):
            continue
        note = KINDS[group.kind] if key == "kind" else TABLE if (key, value) == ("rows", 0) else ""
        lines.append(_line(key, value, note))
    if group.size is None:
        lines.append(f"# size: {OPEN[group.kind]}")
    return "\n".join(lines) + "\n"


def _joint(synapses: Sequence[Synapse]) -> str:
    first = synapses[0]
    names = [s.pre for s in synapses]
    lines = [
        "[[synapse]]",
        f"from = {toml(names if len(names) > 1 else names[0])}",
        f"to = {toml(first.post)}",
    ]
    if first.rate_scale != 1:
        lines.append(f"rate = {toml(first.rate_scale)}")
    if not first.feedback:
        lines.append("feedback = false")
    if first.kernel is not None:
        lines.append(f"kernel = {first.kernel}")
        lines.append(f"stride = {first.stride}")
    return "\n".join(lines) + "\n"


def _lines(table: str, values: Mapping[str, Any]) -> str:
    """A table, each key with what it means; a key of no value is a comment."""
    lines = [f"[{table}]"]
    for key, value in values.items():
        note = meaning(keys(table)[key])
        lines.append(f"# {key} = ...  {note}".rstrip() if value is None else _line(key, value, note))
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, note: str) -> str:
    said = f"{key} = {toml(value)}"
    return f"{said:<{COLUMN}}# {note}" if note else said


def _one_line(text: str) -> str:
    """A text in a comment."""
    return "".join(c if c.isprintable() else " " for c in text)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value)


# -- documentation ---------------------------------------------------------------------------------
def table() -> str:
    """All keys, as a table of Markdown."""
    rows = ["| key | default | values | what it says |", "|---|---|---|---|"]
    for name, (_, what) in TABLES.items():
        rows.append(f"| **{name}** | | | {what} |")
        for key, f in keys(name).items():
            said = meaning(f).replace("*", "\\*")
            rows.append(f"| `{key}` | {absent(name, key)} | {allowed(name, key)} | {said} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
