"""Options of commands that come from a table, or from the fields of a dataclass.

    phases: Annotated[Given, phases()] = DEFAULTS
    lesson: Annotated[LessonOptions, fields_of(LessonOptions)] = LessonOptions()

stand for all of these options in the list of a command's parameters.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from equilif_golden.engine.features import OPTIONS
from equilif_golden.schedule import Schedule


@dataclass(frozen=True)
class FileUse:
    """Use of the file or folder that a parameter names, in its annotation.

    An output replaces an existing file only with --overwrite, and an input never.  A file that is changed is
    checked by the command.  ``standard``: may be standard output, ``-``; ``unless``: parameters with which
    nothing is written; ``beside``: further files that are written beside it.
    """

    kind: Literal["input", "output", "changed"]
    standard: bool = False
    unless: tuple[str, ...] = ()
    beside: Callable[[Path], Sequence[Path]] = lambda _: ()


INPUT = FileUse("input")
OUTPUT = FileUse("output")
STREAM = FileUse("output", standard=True)
CHANGED = FileUse("changed")


def file_uses(parameters: Mapping[str, inspect.Parameter]) -> dict[str, FileUse]:
    """Parameters that name files or folders."""
    return {
        name: use
        for name, p in parameters.items()
        for use in getattr(p.annotation, "__metadata__", ())
        if isinstance(use, FileUse)
    }


#: what was given of some options, by name
Given = Mapping[str, Any]
DEFAULTS: Given = MappingProxyType({})


@dataclass(frozen=True)
class OptionGroup:
    """Annotation of a command's parameter: options in its place, as parameters are annotated.

    The parameter gets what ``make`` makes of those that were given.  ``defaults``: other than None.
    """

    options: Mapping[str, Any]
    make: Callable[[dict[str, Any]], Any] = dict
    defaults: Mapping[str, Any] = field(default_factory=dict)


def fields_of(kind: type[Any]) -> OptionGroup:
    """Options that are the fields of a dataclass; the parameter gets an instance."""
    options = get_type_hints(kind, include_extras=True)
    return OptionGroup(options, lambda given: kind(**given), {f.name: f.default for f in fields(kind)})


def expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with all of its options in the place of each :class:`OptionGroup`."""
    tables: dict[str, OptionGroup] = {}
    parameters: list[inspect.Parameter] = []
    for p in inspect.signature(function, eval_str=True).parameters.values():
        found = [p]
        for table in getattr(p.annotation, "__metadata__", ()):
            if isinstance(table, OptionGroup):
                tables[p.name] = table
                found = [
                    p.replace(name=k, annotation=v, default=table.defaults.get(k))
                    for k, v in table.options.items()
                ]
        parameters += found

    @functools.wraps(function)
    def run(**given: Any) -> Any:
        for name, table in tables.items():
            values = {option: given.pop(option, table.defaults.get(option)) for option in table.options}
            given[name] = table.make({k: value for k, value in values.items() if value is not None})
        return function(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


# -- phases ----------------------------------------------------------------------------------------
def phases() -> OptionGroup:
    """Fields of Schedule that a trained network may change."""
    hints = get_type_hints(Schedule)
    return OptionGroup(
        {
            f.name: Annotated[
                _type(f.name, hints[f.name]) | None,
                typer.Option(
                    help=f"{f.metadata['help'].capitalize()}.",
                    show_default=f.metadata.get("absent", "the network's"),
                ),
            ]
            for f in fields(Schedule)
            if "settles" in f.metadata
        }
    )


def _type(name: str, hint: Any) -> Any:
    """Type of a field for typer; a Literal becomes an enumeration."""
    if get_origin(hint) is Literal:
        return StrEnum(name.capitalize(), list(get_args(hint)))
    return next((part for part in get_args(hint) if part is not type(None)), hint)


TrainedPhases = Annotated[Given, phases()]

# -- engines ---------------------------------------------------------------------------------------
#: engine options that a host reads from the device's identity
EngineOptions = Annotated[
    Given,
    OptionGroup(
        {
            name: Annotated[
                bool | None,
                typer.Option(
                    f"--{option.flag}/--no-{option.flag}",
                    help=f"Include {option.text}, or not.",
                    show_default="the board's",
                ),
            ]
            for name, option in OPTIONS.items()
            if option.identity is not None
        }
    ),
]
#: flags that change what an engine has
CHANGES: Mapping[str, str] = {
    name: f"--without-{option.flag}" if option.default else f"--{option.flag}"
    for name, option in OPTIONS.items()
}
EngineChanges = Annotated[
    Given,
    OptionGroup(
        {
            name: Annotated[
                bool,
                typer.Option(CHANGES[name], help=f"{'Omit' if option.default else 'Include'} {option.text}."),
            ]
            for name, option in OPTIONS.items()
        },
        lambda given: {name: not OPTIONS[name].default for name in given},
    ),
]
