"""Every key of the tables of a network, with values that its type and limits refuse.

Property: one PlacedError with the place of the key, in a file also with its line; never another exception.
The schemas are those of equilif.training.settings.tables, also for the objects of the golden model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from equilif.training.settings import netfile, tables
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import OPTIONS
from equilif_golden.fixed import Fixed, Numerics, short_repr
from equilif_golden.network import Synapse
from equilif_golden.places import PlacedError
from equilif_golden.populations import KINDS, Population
from equilif_golden.schedule import Schedule
from tests.hostile import SCALARS, Schema, fits, refuse, schema_of, tried

SCHEMAS = {name: table.model_json_schema()["properties"] for name, table in tables.TABLES.items()}
#: keys that must be there, and a network for them
FILE: dict[str, list[tuple[str, Any]]] = {
    "population.input": [("kind", "input")],
    "population.hidden": [("size", 4)],
    "population.output": [("kind", "output")],
    "[synapse]": [("from", "input"), ("to", "hidden")],
    "[synapse] ": [("from", "hidden"), ("to", "output")],
    "learning": [("epochs", 1), ("learning_rate", 0.1), ("decay", 1.0)],
    "phases": [],
    "start": [],
    "numbers": [],
}
#: table of the schema: where it is in the file, and its place
HEADINGS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "population": ("population.hidden", ("population", "hidden")),
    "synapse": ("[synapse]", ("synapse", 0)),
    **{name: (name, (name,)) for name in ("phases", "learning", "rates", "text", "start", "numbers")},
}


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(k)} = {toml(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return netfile.toml(value)


def file_with(table: str, key: str, value: Any) -> str:
    """A network file with a value, on the line of its key."""
    content = FILE | ({table: [("epochs", 1)]} if table in ("rates", "text") else {})
    if table in ("rates", "text"):
        del content["learning"]
    heading, _ = HEADINGS[table]
    content[heading] = [(k, v) for k, v in content[heading] if k != key] + [(key, value)]
    lines = [
        line
        for name, values in content.items()
        for line in (
            f"[{name.strip()}{']' if name.startswith('[') else ''}]",
            *(f"{k} = {toml(v)}" for k, v in values),
        )
    ]
    return "\n".join(lines).replace("[[synapse]]]", "[[synapse]]")


def is_one_line(error: Exception) -> bool:
    return bool(str(error)) and "\n" not in str(error) and len(str(error)) < 400


KEYS = [(table, key) for table, found in SCHEMAS.items() for key in found]


def test_file_without_bad_values(tmp_path):
    (tmp_path / "net.toml").write_text(file_with("start", "bias", 0.5))
    assert netfile.read(tmp_path / "net.toml").description.learning.epochs == 1
    assert len(KEYS) > 50 and {table for table, _ in KEYS} == set(HEADINGS)


@tried(4, 60)
@pytest.mark.parametrize("table, key", KEYS, ids=map(".".join, KEYS))
def test_bad_value_in_file(table, key, examples, tmp_path):
    path = tmp_path / "net.toml"
    place = (*HEADINGS[table][1], key)

    def check(value: Any) -> None:
        text = file_with(table, key, value)
        path.write_text(text)
        with pytest.raises(PlacedError) as e:
            netfile.read(path)
        assert e.value.place[: len(place)] == place and is_one_line(e.value)
        assert e.value.file == path and e.value.line is not None
        assert text.splitlines()[e.value.line - 1].startswith(key)

    refuse(check, SCHEMAS[table][key], examples)


# -- objects of the golden model -------------------------------------------------------------------
MAPS = {"size": 24, "shape": (2, 3, 4)}
#: valid arguments of every kind of population
POPULATIONS: dict[str, dict[str, Any]] = {
    "input": MAPS | {"patch": 2},
    "constant": {"size": 1},
    "lif": MAPS,
    "relay": {"size": 6, "heads": 2},
    "attention": {"size": 6, "dynamic_patterns": True, "table_rows": 5},
    "self_attention": MAPS | {"heads": 2},
}
#: fields of EngineConfig that are sizes
SIZES = {"tiles": 1 << 15, "value_groups": 1 << 10, "state_groups": 1 << 10, "program_words": 1 << 11}
LANES = schema_of(int, 2, 32)
Made = Callable[..., object]


def fields_of() -> dict[str, tuple[Made, str, Schema]]:
    """By name: constructor, field and schema of every field with a type and limits."""
    found: dict[str, tuple[Made, str, Schema]] = {}
    for made, table in ((Schedule, "phases"), (Numerics, "numbers"), (Synapse, "synapse")):
        needed = {"pre": "a", "post": "b"} if made is Synapse else {}
        for f in dataclasses.fields(made):
            if f.name in SCHEMAS[table] or f.name in needed:
                call = lambda made=made, needed=needed, **values: made(**needed | values)  # noqa: E731
                schema = SCHEMAS[table].get(f.name, {"type": "string"})
                found[f"{made.__name__}.{f.name}"] = (call, f.name, schema)
    for kind, good in POPULATIONS.items():
        call = lambda kind=kind, good=good, **values: Population(  # noqa: E731
            **{"name": "p", "kind": kind} | good | values
        )
        found[f"{kind}.name"] = (call, "name", {"type": "string"})
        for f in dataclasses.fields(KINDS[kind]):
            if f.name in SCHEMAS["population"]:
                schema = SCHEMAS["population"][f.name]
                if f.default is not None or f.name in ("kind", "size"):
                    schema = {**schema, **schema.get("anyOf", [{}])[0]} | {
                        "anyOf": schema.get("anyOf", [schema])[:1]
                    }
                found[f"{kind}.{f.name}"] = (call, f.name, schema)
    # limits that depend on the other widths
    for name, least in (("accumulator_width", 20), ("charge_width", 16)):
        found[f"Numerics.{name}"] = (Numerics, name, schema_of(int, least, 32))
    engine = {"lanes": LANES} | {name: schema_of(int, 4, top) for name, top in SIZES.items()}
    engine |= {name: schema_of(bool) for name in OPTIONS}
    engine |= {"pipeline": schema_of(str, None, None, *Pipeline), "numerics": {"type": "null"}}
    found |= {f"EngineConfig.{name}": (EngineConfig, name, schema) for name, schema in engine.items()}
    fixed = {"i": schema_of(int, -2, 50), "f": schema_of(int, 0, 51), "signed": schema_of(bool)}
    call = lambda **values: Fixed(**{"i": 2, "f": 3, "signed": True} | values)  # noqa: E731
    return found | {f"Fixed.{name}": (call, name, schema) for name, schema in fixed.items()}


FIELDS = fields_of()


def test_every_kind_of_population_is_tried():
    assert set(POPULATIONS) == set(KINDS) and len(FIELDS) > 60
    for call, field, schema in FIELDS.values():
        made = call()
        value = getattr(made, field)
        assert field == "numerics" or fits(schema, value), (field, value)


def plain(schema: Schema, value: Any) -> Any:
    """The same value as a type of Python."""
    kinds = {option.get("type") for option in schema.get("anyOf", [schema])}
    if value is None or isinstance(value, str | list | tuple):
        return value
    return bool(value) if "boolean" in kinds else int(value) if "integer" in kinds else float(value)


def outcome(call: Made, field: str, value: Any) -> Any:
    """The stored value and its type, or that it was refused."""
    try:
        found = getattr(call(**{field: value}), field)
    except ValueError as e:
        assert is_one_line(e)
        return "refused"
    return type(found), found


@tried(10, 200)
@pytest.mark.parametrize("name", FIELDS)
def test_bad_value_of_object(name, examples):
    call, field, schema = FIELDS[name]

    def check(value: Any) -> None:
        with pytest.raises(ValueError) as e:
            call(**{field: value})
        named = field in getattr(e.value, "place", ()) or field in str(e.value)
        assert is_one_line(e.value) and (named or short_repr(value) in str(e.value))

    for value in SCALARS:
        if fits(schema, value):
            assert outcome(call, field, value) == outcome(call, field, plain(schema, value))
        else:
            check(value)
    refuse(check, schema, examples)
