"""--set KEY=VALUE: options of training that are keys of a description."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from equilif.commands.own import KEYS, DataOptions, data_options_of, typed
from equilif.show.network import SetKey

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set a key of the network file, of your own data (data.KEY) or of the run (run.KEY); repeat for "
        "further keys. `equilif init --keys` lists all with defaults and ranges.",
        metavar="KEY=VALUE",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class RunOptions:
    """The table run: what changes no result."""

    every: float = field(
        default=30.0, metadata={"help": "seconds between checkpoints within an epoch", "values": "0..1e9"}
    )
    tensorboard: Path | None = field(
        default=None,
        metadata={"help": "folder for TensorBoard: metrics and weight histograms", "values": "a folder"},
    )
    baud: int | None = field(
        default=None,
        metadata={"help": "with --port: baud rate, or SCK of an SPI bus in Hz", "values": "an integer"},
    )


MAX_SECONDS = 1e9  #: of run.every
RUN = tuple(f.name for f in dataclasses.fields(RunOptions))
#: keys that a command for training in floating point has not
ROWS = ("label", "text", "test", "missing")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Settings of --set: network file, own data, run."""

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
    words: Sequence[str] | None,
    *,
    label: str | None,
    hidden: Sequence[str] | None = None,
    seed: object = None,
    epochs: int | None = None,
    data: Iterable[str] = KEYS,
    run: Iterable[str] = RUN,
) -> Changes:
    """Settings by table; ValueError for an unknown key, or one that an option also sets.

    ``data``, ``run``: keys that a command has of these tables.
    """
    from equilif.training.settings.patches import split

    given = split(words or ())
    for key in given:
        for option, value, pattern in (
            ("--epochs", epochs, r"(learning|rates|text)\.epochs"),
            ("--seed", seed, r"learning\.seeds"),
            ("--hidden", hidden or None, r"population\.(hidden|maps)\d*\.(size|shape)"),
        ):
            if value is not None and re.fullmatch(pattern, key):
                raise ValueError(f"{option} and --set {key} are the same: leave one of them out")
    tables: dict[str, dict[str, str]] = {"data": {}, "run": {}}
    network = {}
    for key, text in given.items():
        table, _, name = key.partition(".")
        if table in tables:
            tables[table][name] = text
        else:
            network[key] = text
    options = typed("run", tables["run"], get_type_hints(RunOptions), list(run))
    if not 0 <= options.get("every", 0.0) <= MAX_SECONDS:
        raise ValueError(
            f"--set run.every must be a number of seconds in 0..{MAX_SECONDS:g}, not {options['every']:g}"
        )
    return Changes(
        network=network,
        data_options=data_options_of(tables["data"], label, list(data)),
        run=RunOptions(**options),
        given=given,
    )


# -- all keys --------------------------------------------------------------------------------------
def key_list() -> list[SetKey]:
    """All keys of --set, by command."""
    from equilif.training.settings import tables

    def keys(command: str, table: str) -> Iterator[SetKey]:
        prefix = "population.NAME" if table == "population" else table
        for name, key in tables.keys(table).items():
            yield SetKey(command, f"{prefix}.{name}", key.default, key.values, key.meaning)

    named = (name for name in tables.TABLES if name not in ("synapse", "rates", "text"))
    found = [key for name in named for key in keys("train", name)]
    found.append(SetKey("train", "loading.NAME", "", "", "option of the loader of a set of sequences"))
    for f in dataclasses.fields(DataOptions):
        m = f.metadata
        found.append(SetKey("train", f"data.{f.name}", m["default"], m["values"], m["help"]))
    for f in dataclasses.fields(RunOptions):
        default = "" if f.default is None else str(f.default)
        found.append(SetKey("train", f"run.{f.name}", default, f.metadata["values"], f.metadata["help"]))
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


# -- messages --------------------------------------------------------------------------------------
def keys_of_options(command: str) -> dict[str, str]:
    """Keys of what other commands have an option for, by the option."""
    from equilif.training.settings.tables import METHODS, keys

    method = next((name for name, trains in METHODS.items() if trains == command), "learning")
    found = {name: f"{method}.{name}" for name in keys(method)}
    found |= {name: f"phases.{name}" for name in keys("phases")}
    found |= {name: f"data.{name}" for name in {"learning": KEYS, "rates": ROWS}.get(method, ())}
    found |= {name: f"run.{name}" for name in RUN}
    if method == "rates":
        found |= {"tokens": "loading.tokens", "bigrams": "loading.bigrams"}
        found |= dict.fromkeys(("feedback", "feed_forward"), "synapse.feedback")
    return {f"--{name}".replace("_", "-"): key for name, key in found.items()}
