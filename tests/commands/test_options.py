"""Options of commands that are generated from tables."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Annotated

import pytest
import typer

from equilif import cli
from equilif.commands.options import CHANGES, DEFAULTS, Given, OptionGroup, expanded, fields_of
from equilif_golden.engine import features
from equilif_golden.places import PlacedError
from equilif_golden.schedule import Schedule


def options(command: str) -> dict[str, set[str]]:
    """Command-line spellings of the parameters of a command."""
    found = typer.main.get_command(cli.app).commands[command]
    return {p.name: {*p.opts, *p.secondary_opts} for p in found.params}


@pytest.mark.parametrize("command", ["train", "train-rates"])
def test_number_of_training_options(command):
    assert len(options(command)) <= 12


@pytest.mark.parametrize("command", ["evaluate", "verify"])
def test_free_phase_options_of_trained_network(command):
    phases = {f.name: "settles" in f.metadata for f in fields(Schedule)}
    assert options(command).keys() & phases == {name for name, settles in phases.items() if settles}


@pytest.mark.parametrize("command", ["build", "simulate"])
def test_build_flags(command):
    for name, option in features.OPTIONS.items():
        wanted = {f"--{option.flag}", f"--no-{option.flag}"} if option.identity is not None else None
        assert options(command).get(name) == wanted


def test_export_flags():
    found = options("export")
    for name, option in features.OPTIONS.items():
        assert found[name] == {CHANGES[name]}
        assert CHANGES[name] == (f"--without-{option.flag}" if option.default else f"--{option.flag}")


def test_option_needs_another():
    with pytest.raises(PlacedError, match="early_exit") as e:
        Schedule().check_options({"watch": "all"})
    assert e.value.place == ("watch",)
    Schedule().check_options({"free": 16})


def test_option_groups():
    table = OptionGroup(
        {"a": Annotated[int | None, typer.Option()], "b": Annotated[str | None, typer.Option()]}
    )

    def command(x: int, some: Annotated[Given, table] = DEFAULTS, y: int = 3) -> object:
        return x, dict(some), y

    command.__annotations__ = {"x": int, "some": Annotated[Given, table], "y": int}
    run = expanded(command)
    assert list(run.__annotations__) == ["x", "a", "b", "y"]
    assert run(x=1, a=2, b=None, y=4) == (1, {"a": 2}, 4)
    assert run(x=1, a=None, b="", y=4) == (1, {"b": ""}, 4)


@dataclass(frozen=True)
class SampleOptions:
    a: Annotated[int, typer.Option()] = 2
    b: Annotated[str | None, typer.Option()] = None


def test_options_of_a_dataclass():
    def command(
        size: Annotated[SampleOptions, fields_of(SampleOptions)] = SampleOptions(), y: int = 3
    ) -> object:
        return size, y

    run = expanded(command)
    defaults = {p.name: p.default for p in inspect.signature(run).parameters.values()}
    assert defaults == {"a": 2, "b": None, "y": 3}
    assert run(a=5, b=None, y=4) == (SampleOptions(5), 4)
