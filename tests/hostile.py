"""Hostile values, generated from types and limits.

A JSON Schema is the common form: tables of network files have one, and :func:`schema_of` makes those of
options and fields.  Few examples by default, the same ones each time; ``./run regress`` tries more.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Schema = Mapping[str, Any]
Fits = Callable[[Any], bool]


def tried(few: int, many: int) -> pytest.MarkDecorator:
    """Parametrise ``examples``: ``few`` by default, ``many`` with ``./run regress``."""
    return pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.regress)])


def attempt(check: Callable[..., object], *values: st.SearchStrategy[Any], examples: int) -> None:
    """Call ``check`` with generated values."""

    def case(*drawn: Any) -> None:
        check(*drawn)

    limits = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    limits(given(st.tuples(*values))(lambda drawn: case(*drawn)))()


# -- validity --------------------------------------------------------------------------------------
def is_integer(value: Any) -> bool:
    """Whether it is an integer and no boolean."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool | np.bool_)


def is_real(value: Any) -> bool:
    """Whether it is a finite real number and no boolean."""
    if isinstance(value, bool | np.bool_ | str | bytes | list | tuple) or getattr(value, "ndim", 0):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


#: predicates of the types of JSON
TYPES: dict[str, Fits] = {
    "boolean": lambda v: isinstance(v, bool | np.bool_),
    "integer": is_integer,
    "number": is_real,
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list | tuple),
    "object": lambda v: isinstance(v, dict),
    "null": lambda v: v is None,
}


def fits(schema: Schema, value: Any) -> bool:
    """Whether a value fits a JSON Schema."""
    if "anyOf" in schema:
        return any(fits(option, value) for option in schema["anyOf"])
    kind = schema.get("type", "object")
    if not TYPES[kind](value):
        return False
    if kind in ("integer", "number"):
        lo, hi = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        return bool(lo <= value <= hi and value > schema.get("exclusiveMinimum", -math.inf))
    if kind == "array":
        some = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf)
        return some and all(fits(schema.get("items", {}), item) for item in value)
    return value in schema.get("enum", (value,)) and value == schema.get("const", value)


def schema_of(kind: type, lo: float | None = None, hi: float | None = None, *choices: str) -> Schema:
    """Schema of a plain type and its limits."""
    name = {bool: "boolean", int: "integer", float: "number", str: "string"}[kind]
    limits = {"minimum": lo, "maximum": hi, "enum": list(choices) or None}
    return {"type": name, **{key: limit for key, limit in limits.items() if limit is not None}}


# -- values ----------------------------------------------------------------------------------------
class Odd:
    """An object whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["", " ", "[/x]", "a\nb", "\x1b[31m", "ü✓", "x" * 300, "1", "true", "nan", "../..", "%s{0}"]
)
INTEGER = st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([-1, 0, 1, 2, 1 << 32])
REAL = st.floats() | st.sampled_from([-1.0, -0.0, 0.5, 3.0, math.nan, math.inf, -math.inf, 1e300, 5e-324])
PLAIN = st.one_of(st.booleans(), INTEGER, REAL, TEXT)
#: values that a TOML or JSON file can hold
WRITTEN = (
    PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.sampled_from(["x", "size"]), PLAIN, max_size=1)
)
#: more values of Python; hypothesis does not draw them, as it calls repr
OBJECTS: list[Any] = [
    *(None, np.bool_(True), 10**30, -(10**30), np.int64(2), np.uint8(1), np.float32(0.5), np.float64(2.0)),
    *(Fraction(1, 2), Decimal("0.25"), 1j, b"1", (1, 2), range(2), object, Odd(), ...),
    *(np.zeros(3, int), np.array(2), np.array([2]), np.array(0.5), np.array([[1, 2], [3, 4]])),
]
SCALARS: list[Any] = [
    *(True, False, 0, 1, 2, -1, 8, 3.0, 0.5, -0.5, math.nan, math.inf, -math.inf, 1e300, 1 << 32),
    *("1", "", [], [1], {}, {1: 2}, *OBJECTS),
]


def limits_of(schema: Schema) -> list[Any]:
    """Values next to the limits of a schema, outside, and inside but of another type."""
    found: list[Any] = []
    for option in schema.get("anyOf", [schema]):
        kind = float if option.get("type") == "number" else int
        for key, side in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0)):
            if key in option and kind is int:
                found += [option[key] + side, option[key] + 0.5, str(option[key])]
            elif key in option:
                edge = float(option[key])
                found += [math.nextafter(edge, side * math.inf) if side else edge, str(edge)]
        found += [name.upper() for name in option.get("enum", ())]
        if "items" in option:
            (good,) = values_of(option["items"])
            found += [[bad] for bad in limits_of(option["items"])]
            found += [[good] * n for n in (option.get("minItems", 1) - 1, option.get("maxItems", 0) + 1)]
    return found


def values_of(schema: Schema) -> list[Any]:
    """A valid value of a schema of items."""
    option = schema.get("anyOf", [schema])[0]
    default = {"integer": 1, "number": 1.0, "string": "a", "boolean": True}[option["type"]]
    return [max(default, option["minimum"]) if "minimum" in option else default]


def bad(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that a schema refuses: of another type, or outside of its limits."""
    return WRITTEN.filter(lambda value: not fits(schema, value))


def refuse(check: Callable[[Any], object], schema: Schema, examples: int) -> None:
    """Check every value just outside of the limits of a schema, and others that it refuses."""
    for value in limits_of(schema):
        if not fits(schema, value):
            check(value)
    attempt(check, bad(schema), examples=examples)


# -- files -----------------------------------------------------------------------------------------
def spoil(content: bytes, rng: random.Random) -> bytes:
    """Truncate, empty, flip bits, overwrite, insert, remove, repeat, or replace by another kind of file."""
    at, n = rng.randrange(len(content)), rng.randint(1, 40)
    flipped = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    spoilt = (
        lambda: content[:at],
        lambda: content[at + 1 :],
        lambda: b"",
        lambda: flipped,
        lambda: content[:at] + rng.randbytes(n) + content[at + n :],
        lambda: content[:at] + rng.randbytes(n) + content[at:],
        lambda: content[:at] + content[at + n :],
        lambda: content + rng.randbytes(n),
        lambda: content + content,
        lambda: rng.randbytes(500),
        lambda: b"\x89PNG\r\n\x1a\n" + rng.randbytes(100),
        lambda: b"hello\n",
    )
    return bytes(rng.choice(spoilt)())


def arrays(good: Any) -> list[Any]:
    """An array in other shapes, types and ranges, some of them valid."""
    a = np.asarray(good)
    frozen = a.copy()
    frozen.flags.writeable = False
    spread = np.repeat(a, 2, axis=0)[::2]
    out = [
        a.tolist(),
        frozen,
        spread,
        np.asfortranarray(a),
        a.astype(">i8"),
        a.astype(np.int16),
        a.astype(object),
        a.astype(float),
        a / 255,
        a + 0.9,
        a + 1,
        a - 1,
        a.astype(str),
        a.astype(complex),
        a.astype(bool),
        a > 1,
        np.full(a.shape, np.nan),
        np.full(a.shape, -np.inf),
        a.astype(int) - 1000,
        a.astype(int) + 40000,
        np.full(a.shape, 1 << 40),
        np.full(a.shape, 2**64 - 7, np.uint64),
        np.full(a.shape, "2020-01-01", "M8[D]"),
        np.zeros(a.shape, [("a", int)]),
        np.ma.masked_array(a, mask=np.ones(a.shape, bool)),
        np.ma.masked_array(a),
        a[None],
        a[..., None],
        a.ravel(),
        a.T,
        a[:0],
        a[:1],
        np.concatenate([a, a]),
        np.zeros((0, 7)),
        [[1, 2], [3]],
        (row for row in a),
        {1, 2},
        memoryview(np.ascontiguousarray(a)),
    ]
    return [*out, *SCALARS]
