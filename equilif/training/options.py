"""Options of a training as words KEY=VALUE: keys of a network file, and of two tables that no file has.

``data``: how own data are read; ``run``: what changes no result.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from equilif.data.encoding.scaling import Missing
from equilif.training.settings import tables
from equilif.training.settings.patches import split, training_words, value
from equilif.training.storage.records import plain
from equilif_golden.places import nearest

MAX_SECONDS = 1e9  #: of run.every


def _key(meaning: str, values: str, default: str = "", absent: Any = None) -> Any:
    return field(default=absent, metadata={"meaning": meaning, "values": values, "default": default})


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The table data; None: not given."""

    label: str | None = _key("own table: column with the class labels, as --label", "a column")
    text: str | None = _key("own table: column with texts, in place of numbers", "a column")
    attention: bool | None = _key(
        "own texts, series or recordings: a network with an attention layer over words or spans",
        "true, false",
        "false",
    )
    front_end: bool | None = _key(
        "own recordings or series: samples of the golden front end, as a board with a microphone or a sensor "
        "makes them",
        "true, false",
        "false",
    )
    window: int | None = _key(
        "own series with data.front_end: log2 of the readings of a window", "0 to 10", "4"
    )
    windows: int | None = _key(
        "own series with data.front_end: windows of a sample, as many as those of the board", "1 to 64", "6"
    )
    word_vectors: Path | None = _key(
        "own texts with data.attention: word vectors, GloVe or word2vec in text format",
        "a file",
        "the package of equilif[text]",
    )
    test_fraction: float | None = _key(
        "own data without a test set: fraction of each class held out for testing", "above 0, below 1", "0.2"
    )
    test: Path | None = _key("own data: second file, used as the test set", "a file", "none")
    missing: Missing | None = _key(
        "own data with missing values: refuse them, or impute the training mean", "refuse, mean", "refuse"
    )

    @property
    def reading(self) -> dict[str, Any]:
        """Options given, as :func:`equilif.data.own.read` takes them."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def flags(self) -> list[str]:
        """Options given, as typed."""
        return ["--label" if name == "label" else f"--set data.{name}" for name in self.reading]

    @property
    def words(self) -> list[str]:
        """Options given, with values."""
        return list(training_words(self.reading))

    def refuse(self, data: object) -> None:
        """ValueError for options that were given, where the data are no own ones."""
        if self.flags:
            raise ValueError(
                f"{', '.join(self.flags)} is only for your own data, not for {data}: leave it out"
            )


@dataclass(frozen=True)
class RunOptions:
    """The table run."""

    every: float = _key("seconds between checkpoints within an epoch", "0..1e9", "30.0", 30.0)
    baud: int | None = _key("with --port: baud rate", "an integer")


DATA = tuple(f.name for f in fields(DataOptions))
RUN = tuple(f.name for f in fields(RunOptions))
#: keys of the table data that a training in floating point has
RATES_DATA = ("label", "text", "test", "missing")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Settings by table: network file, own data, run."""

    network: Mapping[str, str]
    data_options: DataOptions
    run: RunOptions
    given: Mapping[str, str]

    @property
    def fixed(self) -> dict[str, Any]:
        """Options that a resumed run keeps, as typed."""
        kept = {f"set {key}": v for key, v in self.given.items() if not key.startswith("run.")}
        return {**kept, "label": self.data_options.label if "data.label" not in self.given else None}


def changes(
    words: Sequence[str] | None = None,
    *,
    label: str | None = None,
    hidden: Sequence[str] | None = None,
    seed: object = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    data: Iterable[str] = DATA,
    run: Iterable[str] = RUN,
) -> Changes:
    """Settings of KEY=VALUE; ValueError for an unknown key, or one that another option also sets.

    ``data``, ``run``: keys that a training has of these tables.
    """
    given = split(words or ())
    for key in given:
        for option, other, pattern in (
            ("--epochs", epochs, r"(learning|rates|text)\.epochs"),
            ("--seed", seed, r"learning\.seeds"),
            ("--learning-rate", learning_rate, r"learning\.learning_rate"),
            ("--hidden", hidden or None, r"population\.(hidden|maps)\d*\.(size|shape)"),
        ):
            if other is not None and re.fullmatch(pattern, key):
                raise ValueError(f"{option} and --set {key} are the same: leave one of them out")
    parts: dict[str, dict[str, str]] = {"data": {}, "run": {}}
    network = {}
    for key, text in given.items():
        table, _, name = key.partition(".")
        if table in parts:
            parts[table][name] = text
        else:
            network[key] = text
    options = _typed("run", parts["run"], RunOptions, list(run))
    if not 0 <= options.get("every", 0.0) <= MAX_SECONDS:
        raise ValueError(
            f"--set run.every must be a number of seconds in 0..{MAX_SECONDS:g}, not {options['every']:g}"
        )
    data_options = _data_options(parts["data"], label, list(data))
    return Changes(network=network, data_options=data_options, run=RunOptions(**options), given=given)


def data_options_of(words: Sequence[str] | None, label: str | None) -> DataOptions:
    """Options of data.KEY=VALUE and of a label; ValueError for a key of another table."""
    given = split(words or ())
    for key in given:
        if not key.startswith("data."):
            raise ValueError(
                f"--set {key}: this command has keys of the table data only, such as data.missing"
            )
    return _data_options({key.removeprefix("data."): v for key, v in given.items()}, label)


def _data_options(given: Mapping[str, str], label: str | None, known: Sequence[str] = DATA) -> DataOptions:
    if label is not None and "label" in given:
        raise ValueError("--label and --set data.label are the same: leave one of them out")
    values = {**given, **({} if label is None else {"label": label})}
    return DataOptions(**_typed("data", values, DataOptions, known))


def _typed(table: str, given: Mapping[str, str], kind: type[Any], known: Sequence[str]) -> dict[str, Any]:
    """Values of a table by key, of the types of its fields; ValueError names what is something else."""
    types = get_type_hints(kind)
    found: dict[str, Any] = {}
    for name, text in given.items():
        key = f"--set {table}.{name}"
        if not known:
            raise ValueError(f"{key}: this command has no keys of the table {table}: leave it out")
        if name not in known:
            raise ValueError(f"{key}: [{table}] has no {name!r}: {nearest(name, known)}")
        of = next((t for t in get_args(types[name]) if t is not type(None)), types[name])
        if of in (str, Path):
            found[name] = of(text)
        else:
            found[name] = plain(of, text if get_origin(of) is Literal else value(text), key)
    return found


# -- all keys --------------------------------------------------------------------------------------
class SetKey(NamedTuple):
    """A key: ``command`` has it, ``values`` are allowed, ``default`` holds when it is left out."""

    command: str
    key: str
    default: str
    values: str
    meaning: str


def key_list() -> list[SetKey]:
    """All keys, by command."""

    def keys(command: str, table: str) -> Iterator[SetKey]:
        prefix = "population.NAME" if table == "population" else table
        for name, key in tables.keys(table).items():
            yield SetKey(command, f"{prefix}.{name}", key.default, key.values, key.meaning)

    named = (name for name in tables.TABLES if name not in ("synapse", "rates", "text"))
    found = [key for name in named for key in keys("train", name)]
    scale = "between spiking populations: factor of the spikes that come back"
    found.append(SetKey("train", "synapse.feedback_scale", "1", "1, 0.5, 0.25, 0.125", scale))
    found.append(SetKey("train", "loading.NAME", "", "", "option of the loader of a set of sequences"))
    for table, kind in (("data", DataOptions), ("run", RunOptions)):
        found += [SetKey("train", f"{table}.{f.name}", **f.metadata) for f in dataclasses.fields(kind)]
    found += [*keys("train-text", "text"), *keys("train-rates", "rates")]
    feedback = "symmetric synapses; false: forward ones only"
    default = "true; several layers: false"
    found.append(SetKey("train-rates", "synapse.feedback", default, "true, false", feedback))
    found.append(
        SetKey("train-rates", "loading.tokens", "", "1..1024", "sequences: maximum number of tokens")
    )
    found.append(
        SetKey("train-rates", "loading.NAME", "", "", "option of the loader, such as bigrams of imdb")
    )
    return found


def keys_of_options(command: str) -> dict[str, str]:
    """Keys of what other commands have an option for, by the option."""
    method = next((name for name, trains in tables.METHODS.items() if trains == command), "learning")
    found = {name: f"{table}.{name}" for table in (method, "phases") for name in tables.keys(table)}
    found |= {name: f"data.{name}" for name in {"learning": DATA, "rates": RATES_DATA}.get(method, ())}
    found |= {name: f"run.{name}" for name in RUN}
    if method == "rates":
        found |= {"tokens": "loading.tokens", "bigrams": "loading.bigrams"}
        found |= dict.fromkeys(("feedback", "feed_forward"), "synapse.feedback")
    found["lr"] = f"{method}.learning_rate"
    return {f"--{name}".replace("_", "-"): key for name, key in found.items()}
