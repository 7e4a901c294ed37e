"""Entry points of the Python API with invalid arguments.

Property: a call with wrong shapes, types or ranges raises ValueError or TypeError (OSError for files) with a
one-line message, and a ValueError names an argument or its value; a valid argument of another type gives the
result of its plain value.  No other exception, warning, crash or wrong result.

Cases: every argument of every entry point with unusual and invalid values; in the long tests pairs of them,
and randomly damaged files.
"""

from __future__ import annotations

import itertools
import json
import operator
import random
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from equilif_golden import network as networks
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import SQ, UQ, Numerics, short_repr
from equilif_golden.hopfield import Hopfield
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Population, Synapse, TokenRows, Tokens
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from tests.hostile import SCALARS, TYPES, Fits, arrays, is_integer, is_real, spoil, tried


# -- kinds of arguments ----------------------------------------------------------------------------
@dataclass(frozen=True)
class ArgumentKind:
    """Predicate of the valid values, and the plain value of one."""

    fits: Fits
    plain: Callable[[Any], Any] = lambda v: v


def whole(lo: int, hi: int) -> ArgumentKind:
    return ArgumentKind(lambda v: is_integer(v) and lo <= operator.index(v) <= hi, operator.index)


def real(lo: float, hi: float, fits: Fits = lambda v: True) -> ArgumentKind:
    return ArgumentKind(lambda v: is_real(v) and lo <= float(v) <= hi and fits(float(v)), float)


def codes(
    shape: tuple[int | None, ...] | None, lo: int, hi: int, fits: Fits = lambda v: True
) -> ArgumentKind:
    """An array of integers; None: any length, or any shape."""

    def valid(v: Any) -> bool:
        try:
            a = np.asarray(v)
        except ValueError:
            return False
        if np.ma.is_masked(v) or shape is not None and a.ndim != len(shape):
            return False
        if any(want is not None and n != want for n, want in zip(a.shape, shape or a.shape, strict=True)):
            return False
        right = not a.size or a.dtype.kind in "iu" and lo <= int(a.min()) and int(a.max()) <= hi
        return right and fits(a.astype(np.int64))

    return ArgumentKind(valid, lambda v: np.asarray(v).astype(np.int64))


def is_finite_array(v: Any) -> bool:
    try:
        a = np.asarray(v)
    except ValueError:
        return False
    return not np.ma.is_masked(v) and (not a.size or a.dtype.kind in "fiu" and bool(np.isfinite(a).all()))


def optional(kind: ArgumentKind) -> ArgumentKind:
    return ArgumentKind(lambda v: v is None or kind.fits(v), lambda v: None if v is None else kind.plain(v))


def instance(kind: type) -> ArgumentKind:
    return ArgumentKind(lambda v: isinstance(v, kind))


def only(*values: Any) -> ArgumentKind:
    """One of these, in a list or a tuple if they are tuples."""
    return ArgumentKind(
        lambda v: any(
            type(v) is type(w) and v == w or isinstance(w, tuple) and isinstance(v, list) and tuple(v) == w
            for w in values
        )
    )


# -- entry points ----------------------------------------------------------------------------------
#: terms of arguments in messages
TERMS = {
    "x": ("inputs", "a sample must", "values"),
    "y": ("targets", "a target must"),
    "raw": ("values",),
    "off": ("offsets",),
    "n": ("size",),
    "tokens": ("size",),
    "table": ("patterns",),
    "maps": ("convolution",),
    "present": ("presences", "inhomogeneous"),
    "path": ("null byte", "file"),
    "learning_rate": ("learning rate",),
    "learning_rate_scales": ("learning_rate_scale",),
    "query_learning_rate_scale": ("learning_rate_scale",),
    "sequences": ("sequence", "patterns"),
}


@dataclass
class Entry:
    """A function, and the value, kind and perhaps the pool of other values of each argument."""

    call: Callable[..., Any]
    arguments: dict[str, tuple[Any, ...]]
    about_files: bool = False

    @property
    def good(self) -> dict[str, Any]:
        return {name: value for name, (value, *_) in self.arguments.items()}

    def kind(self, name: str) -> ArgumentKind:
        kind = self.arguments[name][1]
        assert isinstance(kind, ArgumentKind)
        return kind

    def pool(self, name: str) -> list[Any]:
        value, _, *pool = self.arguments[name]
        usual = arrays(value) if isinstance(value, np.ndarray) else SCALARS
        return pool[0] if pool else POOLS.get(name, usual)

    def is_named(self, value: Any, message: str) -> bool:
        """Whether a message contains an argument, by its name or its term, or the invalid value."""
        words = (word for name in self.arguments for word in (name, *TERMS.get(name, ())))
        return short_repr(value) in message or any(re.search(rf"\b{word}\b", message) for word in words)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return set(a) == set(b) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(np.shape(a) == np.shape(b) and np.all(np.asarray(a) == np.asarray(b)))


NET = Network.chain(4, 3, 2, schedule=Schedule(free=8, nudged=8, window=4))
WEIGHTS = NET.initial_weights(1, scale=2.0)
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (5, 4))
LABELS = np.array([0, 1, 1, 0, 1])
ORDER = np.array([4, 0, 0, 2])
TARGETS = one_hot(LABELS, 2)
ATTENTION = Network.attention(3, 4, 2, 2, schedule=Schedule(free=8, nudged=8, window=4))
ASKED = ATTENTION.initial_weights(1, scale=2.0)
TABLE = RNG.integers(-4000, 4000, (6, 4))
ROWS = np.array([5, 0, 1, 2, 2, 3])
OFF = np.array([0, 3, 4, 6])
#: beyond the rows, descending, or of another total: compiled code would read out of bounds
WRONG_OFFSETS = [
    *([0, 3, 4, 7], [0, 4, 3, 6], [0, -3, 4, 6], [1, 3, 4, 6], [0, 3, 4, 5], [1000000, 3, 4, 6]),
    *([0, 100000000, 4, 6], [0, 2**63 - 1, 4, 6]),
]
SEQUENCES = [TABLE[ROWS[a:b]] for a, b in itertools.pairwise(OFF)]
CODES = RNG.integers(-100, 100, (3, 6))
CONFIG = EngineConfig(lanes=2, program_words=1024)
MODEL = Compiled(NET, CONFIG)
PLACED = Compiled(ATTENTION, CONFIG)


def chip(**options: Any) -> Chip:
    return Chip(EngineModel(CONFIG), NET, WEIGHTS, **options)


def kernel(**options: Any) -> Kernel:
    return Kernel(NET, WEIGHTS, **options)


def train(make: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, labels: Any, order: Any) -> Any:
        model = make(learning_rate=0.05)
        did = model.train(x, labels, order)
        return model.weights, model.counter, did.samples

    return call


def described(network: Network) -> str:
    """Its description, which JSON has only of plain numbers."""
    return json.dumps(network.to_dict())


def weights_of(pool: Any) -> list[Any]:
    """Weights with a changed array or name."""
    name = "hidden1-output"
    return [
        *(WEIGHTS | {name: a} for a in arrays(pool)),
        {n: w for n, w in WEIGHTS.items() if n != name},
        WEIGHTS | {"more": pool},
        WEIGHTS | {3: pool},
        list(WEIGHTS.items()),
        *SCALARS,
    ]


def weights_fit(v: Any) -> bool:
    if not isinstance(v, Mapping) or set(v) != set(WEIGHTS):
        return False
    return all(codes(NET.shape(s), -32768, 32767).fits(v[s.name]) for s in NET.synapses)


WEIGHT = ArgumentKind(weights_fit, lambda v: {n: np.asarray(w).astype(np.int64) for n, w in v.items()})
NETWORK = ArgumentKind(lambda v: v is NET)
#: 6.2e-5: the smallest that changes weights, see equilif_golden.learning
RATE = real(0, 0.12, lambda v: v == 0 or v > 6.2e-5)
BYTES, SIGNED = (0, 255), (-32768, 32767)
LEVELS = codes((None, 4), *BYTES)
THINGS = [Numerics(), Schedule(), NET, Population("x", 1), Numerics, *SCALARS]
POPULATIONS = Population("x", 2, "input"), Population("y", 2)
#: values of arguments that several entry points have
POOLS = {
    "weights": weights_of(WEIGHTS["hidden1-output"]),
    **dict.fromkeys(("network", "schedule", "numerics", "config"), THINGS),
}
LEARNERS = (("Kernel", kernel), ("Chip", chip))
ENTRIES: dict[str, Entry] = {
    "Schedule.raw": Entry(
        lambda **given: (r := Schedule(**given).raw(), (r.threshold, r.strength))[1],
        {
            "threshold": (1.0, real(0, 2, lambda v: v in [2.0**-k for k in range(-1, 6)])),
            "beta": (0.5, real(0, 2, lambda v: v * 4096 >= 0.5)),
        },
    ),
    "Fixed.quantize": Entry(SQ(4, 12).quantize, {"x": (X / 100, ArgumentKind(is_finite_array, np.asarray))}),
    "Fixed.require": Entry(lambda raw: UQ(0, 8).require(raw, "values"), {"raw": (X, codes(None, *BYTES))}),
    "Network": Entry(
        lambda **parts: described(Network(**parts)),
        {
            "populations": (POPULATIONS, only(POPULATIONS), [list(POPULATIONS), (*POPULATIONS, 3), *THINGS]),
            "synapses": (
                (Synapse("x", "y"),),
                only((Synapse("x", "y"),)),
                [[Synapse("x", "y")], (Synapse("x", "z"),), [("x", "y")], *THINGS],
            ),
            "output": ("y", only("y"), ["x", "input", "", "ü", ["y"], np.array(["y"]), *SCALARS]),
            "schedule": (Schedule(), instance(Schedule)),
            "numerics": (Numerics(), instance(Numerics)),
        },
    ),
    "Network.conv": Entry(
        lambda image, maps, kernel, n, patch: described(Network.conv(image, (maps, kernel), n, patch=patch)),
        {
            "image": ((6, 4), only((6, 4), (6, 4, 2)), [[6, 4], (6, 4, 2), (6,), (5, 4), (6, 4, 0), "64"]),
            "maps": (3, whole(1, 1 << 18)),
            "kernel": (2, whole(1, 2)),
            "n": (5, whole(1, 1 << 18)),
            "patch": (2, whole(1, 2)),
        },
    ),
    "Network.chain": Entry(
        lambda n, m, **more: described(Network.chain(n, m, 2, **more)),
        {
            "n": (4, whole(1, 1021)),
            "m": (3, whole(1, 1021)),
            "learning_rate_scales": (
                (1.0, 0.5),
                optional(
                    ArgumentKind(
                        lambda v: np.shape(v) == (2,) and all(real(0, 1e6).fits(s) for s in v), tuple
                    )
                ),
                [(1, 2), [0.5, 2], (0, -1), (True, 1), ("1", "2"), (1,), *SCALARS],
            ),
            "feedback": (True, ArgumentKind(TYPES["boolean"], bool)),
            "schedule": (None, optional(instance(Schedule))),
        },
    ),
    "Network.attention": Entry(
        lambda tokens, width, heads, **more: described(Network.attention(tokens, width, heads, 2, **more)),
        {
            "tokens": (3, whole(1, 1022)),
            "width": (4, whole(1, 511)),
            "heads": (2, whole(1, 255)),
            "gain": (1, whole(0, 2)),
            "sharpness": (3, whole(2, 5)),
            "query_learning_rate_scale": (0.5, real(0, 1e6)),
        },
    ),
    "Network.initial_weights": Entry(
        NET.initial_weights,
        {
            "seed": (1, whole(0, (1 << 64) - 1)),
            "bias": (0.2, real(-1000, 1000)),
            "scale": (0.5, real(0, 1000)),
            "query": (0.3, real(0, 1000)),
        },
    ),
    **{
        model.__name__: Entry(
            lambda model=model, **given: (m := model(**given), (m.weights, m.counter, m.learns))[1],
            {
                "network": (NET, NETWORK if model is Kernel else instance(Network)),
                "weights": (WEIGHTS, optional(WEIGHT)),
                "learning_rate": (0.05, optional(RATE)),
                "counter": (3, whole(0, (1 << 32) - 1)),
                **({"threads": (2, optional(whole(1, 1024)))} if model is Kernel else {}),
            },
        )
        for model in (Kernel, Reference)
    },
    **{
        f"{name}.train": Entry(
            train(make),
            {
                "x": (X, codes((5, 4), *BYTES)),
                "labels": (LABELS, codes((5,), 0, 1)),
                "order": (ORDER, optional(codes((None,), 0, 4))),
            },
        )
        for name, make in LEARNERS
    },
    **{
        f"{name}.predict": Entry(lambda x, make=make: make().predict(x), {"x": (X, LEVELS)})
        for name, make in LEARNERS
    },
    "Kernel.settle": Entry(
        lambda x, y: kernel().settle(x, y).rates,
        {"x": (X, codes((5, 4), *BYTES)), "y": (TARGETS, optional(codes((5, 2), *BYTES)))},
    ),
    "Kernel.averages": Entry(
        lambda x, times: kernel().averages(x, times)[0],
        {
            "x": (X, LEVELS),
            "times": (
                np.array([1, 5]),
                codes((None,), 1, 1 << 18, lambda v: len(v) > 0 and bool((np.diff(v) > 0).all())),
                [[1, 2, 7], (3,), [0, 1], [3, 3], [5, 4], [1 << 19], *arrays(np.array([1, 5]))],
            ),
        },
    ),
    "Kernel.set_learning_rate": Entry(
        lambda learning_rate: kernel().set_learning_rate(learning_rate), {"learning_rate": (0.05, RATE)}
    ),
    "Kernel.load_weights": Entry(
        lambda weights: (k := kernel(), k.load_weights(weights), k.weights)[2], {"weights": (WEIGHTS, WEIGHT)}
    ),
    "Reference.train": Entry(
        lambda x, y: Reference(NET, WEIGHTS, learning_rate=0.05).train(x, y).prediction,
        {"x": (X[:1], codes((1, 4), *BYTES)), "y": (TARGETS[:1], codes((1, 2), *BYTES))},
    ),
    **{
        f"tokens of a {name}": Entry(
            lambda table, rows, off, asked=asked: asked.predict(None, tokens=TokenRows(table, rows, off)),
            {
                "table": (TABLE, codes((None, 4), *SIGNED, lambda v: len(v) > 5)),
                "rows": (ROWS, codes((6,), 0, 5)),
                "off": (
                    OFF,
                    codes(
                        (None,),
                        0,
                        6,
                        lambda v: (
                            len(v) > 0
                            and (v[0], v[-1]) == (0, 6)
                            and bool(((np.diff(v) >= 0) & (np.diff(v) <= 3)).all())
                        ),
                    ),
                    [*WRONG_OFFSETS, *arrays(OFF)],
                ),
            },
        )
        for name, asked in (
            ("Kernel", Kernel(ATTENTION, ASKED)),
            ("Chip", Chip(EngineModel(CONFIG), ATTENTION, ASKED)),
        )
    },
    "tokens that are none": Entry(
        lambda tokens: Kernel(ATTENTION, ASKED).predict(None, tokens=tokens),
        {
            "tokens": (
                TokenRows(TABLE, ROWS, OFF),
                instance(TokenRows),
                [(TABLE, ROWS, OFF), Tokens.of(SEQUENCES, 3), TABLE, *SCALARS],
            )
        },
    ),
    "TokenRows.take": Entry(
        lambda indices: tuple(TokenRows(TABLE, ROWS, OFF).take(indices)),
        {"indices": (np.array([2, 0]), codes((None,), 0, 2))},
    ),
    "Tokens.of": Entry(
        lambda **given: (t := Tokens.of(**given), (t.patterns, t.present))[1],
        {
            "sequences": (
                SEQUENCES,
                ArgumentKind(
                    lambda v: (
                        isinstance(v, list)
                        and len(v) > 0
                        and all(codes((None, 4), -(1 << 63), (1 << 63) - 1).fits(s) and len(s) < 4 for s in v)
                    )
                ),
                [[TABLE[:2]], [TABLE[:2] / 2], [TABLE], [TABLE[0]], [], [None], ["a"], *SCALARS],
            ),
            "size": (3, whole(3, 1024)),
        },
    ),
    "tokens of a Reference": Entry(
        lambda patterns, present: (
            Reference(ATTENTION, ASKED).infer(np.zeros((3, 0), int), Tokens(patterns, present)).prediction
        ),
        {
            "patterns": (Tokens.of(SEQUENCES, 3).patterns, codes((3, 3, 4), *SIGNED)),
            "present": (
                Tokens.of(SEQUENCES, 3).present,
                ArgumentKind(lambda v: np.array(v, object).shape == (3, 3) and np.asarray(v).dtype == bool),
            ),
        },
    ),
    "Hopfield": Entry(
        lambda patterns, **more: (h := Hopfield(patterns, **more), (h.patterns, h.sharpness))[1],
        {
            "patterns": (CODES * 32, codes((None, None), -4096, 4064, lambda v: v.size > 0)),
            "sharpness": (3, whole(2, 5)),
            "numerics": (Numerics(), instance(Numerics)),
        },
    ),
    "Hopfield.recall": Entry(
        lambda cue, steps: Hopfield.of(CODES).recall(cue, steps),
        {
            "cue": (CODES[0], codes((6,), -128, 127)),
            "steps": (
                3,
                optional(whole(0, 8)),
                [v for v in SCALARS if not is_integer(v) or abs(operator.index(v)) != 1 << 32],
            ),
        },
    ),
    "Hopfield.energy": Entry(
        lambda states: Hopfield.of(CODES).energy(states),
        {"states": (CODES, codes(None, -128, 127, lambda v: v.ndim > 0 and v.shape[-1] == 6))},
    ),
    "Compiled": Entry(
        lambda network, config: Compiled(network, config).config,
        {"network": (NET, NETWORK), "config": (CONFIG, instance(EngineConfig))},
    ),
    "Compiled.sample": Entry(
        MODEL.sample, {"x": (X[0], codes((4,), *BYTES)), "y": (TARGETS[0], optional(codes((2,), *BYTES)))}
    ),
    "Compiled.sample with tokens": Entry(
        lambda tokens: PLACED.sample([], tokens=tokens), {"tokens": (2, whole(0, 3))}
    ),
    "Compiled.token_words": Entry(
        lambda patterns: PLACED.token_words(patterns)[1],
        {"patterns": (SEQUENCES[0], codes((None, 4), *SIGNED, lambda v: len(v) <= 3))},
    ),
    "save": Entry(
        lambda path, network, weights: (networks.save(path, network, weights), networks.load(path)[1])[1],
        {
            "path": (
                "net.npz",
                only("net.npz", "a/b/net.npz", "x", "1"),
                ["a/b/net.npz", "x", ".", "/proc/x", "/dev/full/x", "a\0b", *SCALARS],
            ),
            "network": (NET, NETWORK),
            "weights": (WEIGHTS, WEIGHT),
        },
        about_files=True,
    ),
    "load": Entry(
        lambda path: networks.load(path)[1],
        {
            "path": (
                "there.npz",
                only("there.npz"),
                ["not there", ".", "/dev/null", "a\0b", __file__, *SCALARS],
            )
        },
        about_files=True,
    ),
}


#: arguments that make others invalid, which the message names
REQUIRED_BY_OTHERS = ("populations", "synapses")


# -- property --------------------------------------------------------------------------------------
def attempt(entry: Entry, arguments: dict[str, Any]) -> tuple[Any, Exception | None]:
    """Result or error; warnings count as errors, other exceptions fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return entry.call(**arguments), None
        except (ValueError, TypeError, OSError) as e:
            assert entry.about_files or not isinstance(e, OSError)
            message = str(e)
            assert message and "\n" not in message and len(message) < 400, message
            assert not type(e).__module__.startswith("numba"), message
            return None, e


def check(name: str, changed: dict[str, Any]) -> None:
    """Check one call with changed arguments."""
    entry = ENTRIES[name]
    fits = all(entry.kind(argument).fits(value) for argument, value in changed.items())
    try:
        result, error = attempt(entry, entry.good | changed)
        if error is None:
            assert fits or len(changed) > 1, "it was taken for something that it is not"
            if fits:
                plain = {argument: entry.kind(argument).plain(value) for argument, value in changed.items()}
                assert same(result, entry.call(**entry.good | plain))
        elif len(changed) == 1:
            assert not fits, f"it is right, and was refused: {error}"
            ((argument, value),) = changed.items()
            if argument not in REQUIRED_BY_OTHERS and isinstance(error, ValueError):
                assert entry.is_named(value, str(error)), f"it names neither: {error}"
    except Exception as e:
        e.add_note(f"{name}({', '.join(f'{n}={short_repr(v)}' for n, v in changed.items())})")
        raise


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks.save("there.npz", NET, WEIGHTS)


#: by default every fourth of the valid values, which take longer
@pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ENTRIES)
def test_single_argument(name, share):
    entry = ENTRIES[name]
    for argument in entry.arguments:
        fits = entry.kind(argument).fits
        pool = [v for k, v in enumerate(entry.pool(argument)) if k % share == 0 or not fits(v)]
        assert not all(map(fits, pool))
        for value in [entry.good[argument], *pool]:
            check(name, {argument: value})


@pytest.mark.long
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_two_invalid_arguments(data):
    """Also pairs that are invalid or valid only together."""
    name = data.draw(st.sampled_from(sorted(n for n, e in ENTRIES.items() if len(e.arguments) > 1)))
    chosen = data.draw(st.permutations(sorted(ENTRIES[name].arguments)))[:2]
    pools = {n: ENTRIES[name].pool(n) for n in chosen}
    check(name, {n: pool[data.draw(st.integers(0, len(pool) - 1))] for n, pool in pools.items()})


@tried(100, 3000)
def test_damaged_network(examples):
    content = Path("there.npz").read_bytes()
    refused = 0
    for seed in range(examples):
        Path("spoiled.npz").write_bytes(spoil(content, random.Random(seed)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                network, weights = networks.load("spoiled.npz")
            except ValueError as e:
                assert "spoiled.npz" in str(e) and "\n" not in str(e)  # noqa: PT017
                refused += 1
            else:
                assert network == NET and same(weights, WEIGHTS)
    assert 0 < refused
