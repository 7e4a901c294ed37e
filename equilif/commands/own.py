"""Options of commands that take data of one's own."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands.options import Several


class Missing(StrEnum):
    """equilif.data.scaling.Missing."""

    refuse = "refuse"
    mean = "mean"


@dataclass(frozen=True, kw_only=True)
class Own:
    """What was said of data of one's own; None: nothing."""

    label: Annotated[
        str | None,
        typer.Option(
            "--label", help="Own table: the column with the classes.", show_default=False, metavar="COLUMN"
        ),
    ] = None
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            help="Own table: the column with texts, in place of numbers.",
            show_default=False,
            metavar="COLUMN",
        ),
    ] = None
    memory: Annotated[
        bool | None,
        typer.Option(
            "--memory",
            help="Own texts, series or recordings: a network whose queries look at single words or spans.",
            show_default="one input for each word, or for each span and channel",
        ),
    ] = None
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors",
            help="Own texts with --memory: a file of word vectors (GloVe or word2vec, as text).",
            show_default="the package of equilif[text]",
            metavar="FILE",
        ),
    ] = None
    hold_out: Annotated[
        float | None,
        typer.Option(
            "--hold-out",
            help="Own data without a test part: part of each class that is kept to test on.",
            show_default="0.2",
        ),
    ] = None
    test: Annotated[
        Path | None,
        typer.Option("--test", help="Own data: a second file, to test on.", show_default="none"),
    ] = None
    missing: Annotated[
        Missing | None,
        typer.Option(
            "--missing",
            help="Own data with missing values: refuse them, or fill in the training mean.",
            show_default="refuse",
        ),
    ] = None

    @property
    def flags(self) -> list[str]:
        """What was given, as it is typed."""
        return [f"--{name}".replace("_", "-") for name, value in asdict(self).items() if value is not None]

    @property
    def words(self) -> list[str]:
        """What was given, with its values."""
        given = [(f"--{n}".replace("_", "-"), v) for n, v in asdict(self).items() if v is not None]
        return [word for flag, v in given for word in ([flag] if v is True else [flag, str(v)])]

    @property
    def reading(self) -> dict[str, Any]:
        """The same for equilif.data.own.read."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: value.value if isinstance(value, Missing) else value for name, value in given.items()}


NOTHING = Own()
OPTIONS = inspect.get_annotations(Own, eval_str=True)
#: all of these options in the place of a parameter
OwnOptions = Annotated[Own, Several(OPTIONS, lambda given: Own(**given))]
#: those of a command that has a --hold-out of another meaning, and no memories
OwnRows = Annotated[
    Own,
    Several(
        {name: OPTIONS[name] for name in ("label", "text", "test", "missing")}, lambda given: Own(**given)
    ),
]
