"""Options of commands that take data of one's own: --label, and keys of the table data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from equilif.commands.options import OptionGroup


class Missing(StrEnum):
    """equilif.data.encoding.scaling.Missing."""

    refuse = "refuse"
    mean = "mean"


def _key(meaning: str, values: str, default: str = "") -> Any:
    """A key of the table data."""
    return field(default=None, metadata={"help": meaning, "values": values, "default": default})


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Options of own data; None: not given."""

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
        "own data without a test set: fraction of each class held out for testing",
        "above 0, below 1",
        "0.2",
    )
    test: Path | None = _key("own data: second file, used as the test set", "a file", "none")
    missing: Missing | None = _key(
        "own data with missing values: refuse them, or impute the training mean", "refuse, mean", "refuse"
    )

    @property
    def flags(self) -> list[str]:
        """Options given, as typed."""
        given = [name for name, value in asdict(self).items() if value is not None]
        return ["--label" if name == "label" else f"--set data.{name}" for name in given]

    @property
    def words(self) -> list[str]:
        """Options given, with values."""
        from equilif.training.settings.patches import training_words

        return list(training_words(asdict(self)))

    @property
    def reading(self) -> dict[str, Any]:
        """The same for equilif.data.own.read."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: value.value if isinstance(value, Missing) else value for name, value in given.items()}


NO_OPTIONS = DataOptions()
KEYS = tuple(f.name for f in fields(DataOptions))
Label = Annotated[
    str | None,
    typer.Option(
        "--label",
        help="Column with the class labels, for your own table.",
        show_default=False,
        metavar="COLUMN",
    ),
]


def typed(
    table: str, given: Mapping[str, str], types: Mapping[str, Any], known: Sequence[str]
) -> dict[str, Any]:
    """Values of a table by key, by the types of its fields; ValueError names what is something else."""
    from equilif.training.settings.patches import value
    from equilif.training.settings.tables import nearest
    from equilif.training.storage.records import plain

    found: dict[str, Any] = {}
    for name, text in given.items():
        if name not in known:
            raise ValueError(f"--set {table}.{name}: [{table}] has no {name!r}: {nearest(name, known)}")
        parts = getattr(types[name], "__args__", (types[name],))
        kind = next(part for part in parts if part is not type(None))
        if kind is Missing and text not in set(Missing):
            raise ValueError(f"--set {table}.{name} must be one of {', '.join(Missing)}, not {text!r}")
        if kind in (bool, int, float):
            found[name] = plain(kind, value(text), f"--set {table}.{name}")
        else:
            found[name] = kind(text)
    return found


def data_options_of(given: Mapping[str, str], label: str | None, known: Sequence[str] = KEYS) -> DataOptions:
    """Options of --label and --set data.KEY."""
    if label is not None and "label" in given:
        raise ValueError("--label and --set data.label are the same: leave one of them out")
    values = {**given, **({} if label is None else {"label": label})}
    return DataOptions(**typed("data", values, get_type_hints(DataOptions), known))


def _own(given: dict[str, Any]) -> DataOptions:
    from equilif.training.settings.patches import split

    patches = split(given.get("patches", ()))
    for key in patches:
        if not key.startswith("data."):
            raise ValueError(
                f"--set {key}: this command has keys of the table data only, such as data.missing"
            )
    return data_options_of({k.removeprefix("data."): v for k, v in patches.items()}, given.get("label"))


#: all of these options in the place of a parameter
OwnOptions = Annotated[
    DataOptions,
    OptionGroup(
        {
            "label": Label,
            "patches": Annotated[
                list[str] | None,
                typer.Option(
                    "--set",
                    help="Set how your own data are read, e.g. data.test=FILE or data.missing=mean; repeat "
                    "for further keys. `equilif init --keys` lists all.",
                    metavar="data.KEY=VALUE",
                    show_default=False,
                ),
            ],
        },
        _own,
    ),
]
