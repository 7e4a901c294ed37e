"""Entry points of the Python API with invalid arguments.

Property: a call with wrong shapes, types or ranges raises ValueError or TypeError (OSError for files) with a
one-line message.  A valid value in another form (a list, another type of integer, another order in memory)
gives the result of the plain value.  No other exception, warning, crash or wrong result.

Cases: every argument of every entry point with unusual and invalid values; with ``./run regress`` pairs of
them and more damaged files.  Fields of descriptions: tests/test_hostile_tables.py.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
from tests.hostile import SCALARS, Fits, attempt, fits, is_integer, schema_of, spoil, tried


# -- validity --------------------------------------------------------------------------------------
def whole(lo: int, hi: int) -> Fits:
    return lambda v: fits(schema_of(int, lo, hi), v)


def real(lo: float, hi: float) -> Fits:
    return lambda v: fits(schema_of(float, lo, hi), v)


def one_of(*values: int) -> Fits:
    return lambda v: is_integer(v) and int(v) in values


def truth(v: Any) -> bool:
    return isinstance(v, bool | np.bool_)


def text(*values: str) -> Fits:
    return lambda v: isinstance(v, str) and v in values


def codes(shape: tuple[int | None, ...] | None, lo: int, hi: int) -> Fits:
    """An array of integers; None: any length, or any shape."""

    def check(v: Any) -> bool:
        try:
            a = np.asarray(v)
        except ValueError:
            return False
        if np.ma.is_masked(v) or shape is not None and a.ndim != len(shape):
            return False
        if any(want is not None and n != want for n, want in zip(a.shape, shape or a.shape, strict=True)):
            return False
        if not a.size:
            return shape is not None or isinstance(v, list | np.ndarray)
        return a.dtype.kind in "iu" and lo <= int(a.min()) and int(a.max()) <= hi

    return check


def reals(v: Any) -> bool:
    """An array of finite real numbers."""
    try:
        a = np.asarray(v)
    except ValueError:
        return False
    return not np.ma.is_masked(v) and (not a.size or a.dtype.kind in "fiu" and bool(np.isfinite(a).all()))


def sequence(check: Callable[[Sequence[Any]], bool]) -> Fits:
    return lambda v: isinstance(v, list | tuple) and check(v)


def nothing_or(other: Fits) -> Fits:
    return lambda v: v is None or other(v)


def instance(kind: type) -> Fits:
    return lambda v: isinstance(v, kind)


# -- values ----------------------------------------------------------------------------------------
def arrays(good: Any) -> list[Any]:
    """An array in other shapes, types and ranges, some of them valid."""
    a = np.asarray(good)
    frozen = a.copy()
    frozen.flags.writeable = False
    types = (">i8", np.int16, object, float, str, complex, bool)
    filled: list[Any] = [np.nan, -np.inf, 1 << 40, np.uint64(2**64 - 7), np.datetime64("2020-01-01")]
    return [
        *(a.tolist(), frozen, np.repeat(a, 2, axis=0)[::2], np.asfortranarray(a), memoryview(a.copy())),
        *(a.astype(kind) for kind in types),
        *(np.full(a.shape, value) for value in filled),
        *(a / 255, a + 0.9, a > 1, a.astype(int) - 1000, a.astype(int) + 40000),
        *(np.zeros(a.shape, [("a", int)]), np.ma.masked_array(a, mask=np.ones(a.shape, bool))),
        *(np.ma.masked_array(a), a[None], a[..., None], a.ravel(), a.T, a[:0], a[:1], np.concatenate([a, a])),
        *(np.zeros((0, 7)), [[1, 2], [3]], (row for row in a), {1, 2}),
        *SCALARS,
    ]


def plain(value: Any) -> Any:
    """A valid value as plain numbers and lists."""
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, str | bool | np.bool_ | type(None)) or dataclasses.is_dataclass(value):
        return value
    if isinstance(value, TokenRows):
        return value
    if is_integer(value) and not isinstance(value, np.ndarray):
        return int(value)
    if isinstance(value, list | tuple):
        return type(value)(plain(part) for part in value)
    return np.asarray(value).tolist() if np.size(value) and hasattr(value, "__array__") else value


def same(a: Any, b: Any) -> bool:
    """Whether two results are equal; models by their weights, counter and learning."""
    if isinstance(a, Mapping):
        return set(a) == set(b) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, Kernel | Reference):
        return same((a.weights, a.counter, a.learns), (b.weights, b.counter, b.learns))
    if isinstance(a, Hopfield):
        return same((a.patterns, a.sharpness), (b.patterns, b.sharpness))
    if isinstance(a, Tokens):
        return same((a.patterns, a.present), (b.patterns, b.present))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b) and repr(a) == repr(b)


# -- entry points ----------------------------------------------------------------------------------
@dataclass
class Entry:
    """A function; by argument: a valid value, and a predicate of the others."""

    call: Callable[..., Any]
    arguments: dict[str, tuple[Any, Fits]]
    pools: dict[str, list[Any]] = field(default_factory=dict)
    about_files: bool = False

    @property
    def good(self) -> dict[str, Any]:
        return {name: good for name, (good, _) in self.arguments.items()}

    def pool(self, name: str) -> list[Any]:
        good = self.good[name]
        return self.pools.get(name, arrays(good) if isinstance(good, np.ndarray) else SCALARS)


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
SEQUENCES = [TABLE[ROWS[a:b]] for a, b in itertools.pairwise(OFF)]
TOKENS = Tokens.of(SEQUENCES, 3)
CODES = RNG.integers(-100, 100, (3, 6))
CONFIG = EngineConfig(lanes=2, program_words=1024)
MODEL = Compiled(NET, CONFIG)
PLACED = Compiled(ATTENTION, CONFIG)
POPULATIONS = (Population("x", 2, "input"), Population("y", 2))
SYNAPSES = (Synapse("x", "y"),)
THINGS = [Numerics(), Schedule(), NET, Population("x", 1), Numerics, *SCALARS]
NAMES = ["x", "input", "lif", "y", "", "a b", "ü", ["y"], np.array(["y"]), *SCALARS]

SAMPLES = codes((5, 4), 0, 255)
CLASSES = codes((5,), 0, 1)
WORDS = codes((None, 4), -32768, 32767)
#: smallest learning rate that changes weights, see equilif_golden.learning
MIN_RATE = 6.2e-5
RATE = nothing_or(lambda v: real(0, 0.12)(v) and (float(v) == 0 or float(v) > MIN_RATE))
COUNTER = whole(0, (1 << 32) - 1)


def weights_pool() -> list[Any]:
    """Weights with a changed array or name."""
    name = "hidden1-output"
    w = WEIGHTS[name]
    spoiled = [WEIGHTS | {name: a} for a in arrays(w)]
    without = {n: w for n, w in WEIGHTS.items() if n != name}
    return [*spoiled, without, WEIGHTS | {"more": w}, WEIGHTS | {3: w}, list(WEIGHTS.items()), *SCALARS]


def weights_fit(v: Any) -> bool:
    if not isinstance(v, Mapping) or set(v) != set(WEIGHTS):
        return False
    return all(codes(NET.shape(s), -32768, 32767)(v[s.name]) for s in NET.synapses)


def rising(lo: int, hi: int) -> Fits:
    """Integers lo .. hi in rising order."""

    def check(v: Any) -> bool:
        return codes((None,), lo, hi)(v) and len(v) > 0 and bool((np.diff(np.asarray(v, int)) > 0).all())

    return check


def offsets(v: Any) -> bool:
    if not codes((None,), 0, 6)(v) or not len(v) or (v[0], v[-1]) != (0, 6):
        return False
    lengths = np.diff(np.asarray(v, int))
    return bool((lengths >= 0).all() and (lengths <= 3).all())


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


def of_models(make: Callable[..., Any]) -> dict[str, Entry]:
    """Methods that kernel and chip share."""
    return {
        "train": Entry(
            train(make),
            {
                "x": (X, SAMPLES),
                "labels": (LABELS, CLASSES),
                "order": (ORDER, nothing_or(codes((None,), 0, 4))),
            },
        ),
        "predict": Entry(lambda x: make().predict(x), {"x": (X, codes((None, 4), 0, 255))}),
        "accuracy": Entry(
            lambda x, labels: float(make().accuracy(x, labels)),
            {"x": (X, SAMPLES), "labels": (LABELS, CLASSES)},
        ),
    }


def of_tokens(asked: Kernel | Chip) -> Entry:
    return Entry(
        lambda table, rows, off: asked.predict(None, tokens=TokenRows(table, rows, off)),
        {
            "table": (TABLE, lambda v: WORDS(v) and len(v) > 5),
            "rows": (ROWS, codes((6,), 0, 5)),
            "off": (OFF, offsets),
        },
    )


WEIGHT_POOL = {"weights": weights_pool()}
MODELS = {
    "network": (NET, instance(Network)),
    "weights": (WEIGHTS, nothing_or(weights_fit)),
    "learning_rate": (0.05, RATE),
    "counter": (3, COUNTER),
}
ENTRIES: dict[str, Entry] = {
    "Schedule.raw": Entry(
        lambda threshold, beta: tuple(Schedule(threshold=threshold, beta=beta).raw()),
        {
            "threshold": (1.0, lambda v: real(0, 2)(v) and float(v) in (2.0**-k for k in range(-1, 6))),
            "beta": (0.5, lambda v: real(0, 2)(v) and float(v) * 4096 >= 0.5),
        },
    ),
    "Fixed.quantize": Entry(lambda x: SQ(4, 12).quantize(x), {"x": (X / 100, reals)}),
    "Fixed.require": Entry(lambda raw: UQ(0, 8).require(raw, "values"), {"raw": (X, codes(None, 0, 255))}),
    "Fixed.real": Entry(lambda raw: UQ(0, 8).real(raw), {"raw": (X, codes(None, -(1 << 63), (1 << 63) - 1))}),
    "Network": Entry(
        Network,
        {
            "populations": (POPULATIONS, sequence(lambda v: tuple(v) == POPULATIONS)),
            "synapses": (SYNAPSES, sequence(lambda v: tuple(v) == SYNAPSES)),
            "output": ("y", text("y")),
            "schedule": (Schedule(), instance(Schedule)),
            "numerics": (Numerics(), instance(Numerics)),
        },
        {
            "populations": [list(POPULATIONS), (Population("x", 2), 3), [None], *THINGS],
            "synapses": [list(SYNAPSES), (Synapse("x", "z"),), [("x", "y")], *THINGS],
            "output": NAMES,
            "schedule": THINGS,
            "numerics": THINGS,
        },
    ),
    "Network.conv": Entry(
        lambda image, maps, kernel, n, patch: Network.conv(image, (maps, kernel), n, patch=patch),
        {
            "image": ((6, 4), sequence(lambda v: list(v) in ([6, 4], [6, 4, 2]))),
            "maps": (3, whole(1, 1 << 18)),
            "kernel": (2, one_of(1, 2)),
            "n": (5, whole(1, 1 << 18)),
            "patch": (2, one_of(1, 2)),
        },
        {"image": [[6, 4], (6, 4, 2), (6,), (5, 4), (6, 4, 0), "64", np.array([6, 4])]},
    ),
    "Network.chain": Entry(
        lambda n, m, **options: Network.chain(n, m, 2, **options),
        {
            "n": (4, whole(1, 1021)),
            "m": (3, whole(1, 1021)),
            "learning_rate_scales": (
                (1.0, 0.5),
                nothing_or(lambda v: np.shape(v) == (2,) and all(real(0, 1e6)(s) for s in v)),
            ),
            "feedback": (True, truth),
            "schedule": (None, nothing_or(instance(Schedule))),
        },
        {
            "learning_rate_scales": [(1, 2), [0.5, 2], (0, -1), (True, 1), ("1", "2"), (1,), *SCALARS],
            "schedule": THINGS,
        },
    ),
    "Network.attention": Entry(
        lambda tokens, width, heads, **more: Network.attention(tokens, width, heads, 2, **more),
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
    "Network.check_weights": Entry(NET.check_weights, {"weights": (WEIGHTS, weights_fit)}, WEIGHT_POOL),
    "Kernel": Entry(
        Kernel, MODELS | {"threads": (2, nothing_or(whole(1, 1024)))}, {"network": THINGS} | WEIGHT_POOL
    ),
    "Reference": Entry(Reference, MODELS, {"network": THINGS} | WEIGHT_POOL),
    **{f"Kernel.{name}": entry for name, entry in of_models(kernel).items()},
    **{f"Chip.{name}": entry for name, entry in of_models(chip).items()},
    "Kernel.settle": Entry(
        lambda x, y: kernel().settle(x, y).rates,
        {"x": (X, SAMPLES), "y": (TARGETS, nothing_or(codes((5, 2), 0, 255)))},
    ),
    "Kernel.averages": Entry(
        lambda x, times: np.array(kernel().averages(x, times)[0]),
        {"x": (X, codes((None, 4), 0, 255)), "times": (np.array([1, 5]), rising(1, 1 << 18))},
        {"times": [[1, 2, 7], (3,), [0, 1], [3, 3], [5, 4], [1 << 19], *arrays(np.array([1, 5]))]},
    ),
    "Kernel.set_learning_rate": Entry(
        lambda learning_rate: kernel().set_learning_rate(learning_rate),
        {"learning_rate": (0.05, lambda v: v is not None and RATE(v))},
    ),
    "Kernel.load_weights": Entry(
        lambda weights: (k := kernel(), k.load_weights(weights), k.weights)[2],
        {"weights": (WEIGHTS, weights_fit)},
        WEIGHT_POOL,
    ),
    "Kernel.counter": Entry(
        lambda value: (k := kernel(), setattr(k, "counter", value), k.counter)[2], {"value": (5, COUNTER)}
    ),
    "Reference.infer": Entry(
        lambda x: Reference(NET, WEIGHTS).infer(x).prediction, {"x": (X, codes((None, 4), 0, 255))}
    ),
    "Reference.train": Entry(
        lambda x, y: Reference(NET, WEIGHTS, learning_rate=0.05).train(x, y).prediction,
        {"x": (X[:1], codes((1, 4), 0, 255)), "y": (TARGETS[:1], codes((1, 2), 0, 255))},
    ),
    "tokens of a Kernel": of_tokens(Kernel(ATTENTION, ASKED)),
    "tokens of a Chip": of_tokens(Chip(EngineModel(CONFIG), ATTENTION, ASKED)),
    "tokens that are none": Entry(
        lambda tokens: Kernel(ATTENTION, ASKED).predict(None, tokens=tokens),
        {"tokens": (TokenRows(TABLE, ROWS, OFF), instance(TokenRows))},
        {"tokens": [(TABLE, ROWS, OFF), TOKENS, TABLE, *SCALARS]},
    ),
    "TokenRows.take": Entry(
        lambda indices: TokenRows(TABLE, ROWS, OFF).take(indices),
        {"indices": (np.array([2, 0]), codes((None,), 0, 2))},
    ),
    "Tokens.of": Entry(
        Tokens.of,
        {
            "sequences": (
                SEQUENCES,
                lambda v: (
                    isinstance(v, list)
                    and len(v) > 0
                    and all(codes((None, 4), -(1 << 63), (1 << 63) - 1)(s) and len(s) <= 3 for s in v)
                ),
            ),
            "size": (3, whole(3, 1024)),
        },
        {"sequences": [[TABLE[:2]], [TABLE[:2] / 2], [TABLE], [TABLE[0]], [], [None], ["a"], *SCALARS]},
    ),
    "tokens of a Reference": Entry(
        lambda patterns, present: (
            Reference(ATTENTION, ASKED).infer(np.zeros((3, 0), int), Tokens(patterns, present)).prediction
        ),
        {
            "patterns": (TOKENS.patterns, codes((3, 3, 4), -32768, 32767)),
            "present": (
                TOKENS.present,
                lambda v: np.array(v, object).shape == (3, 3) and np.asarray(v).dtype == bool,
            ),
        },
    ),
    "Hopfield": Entry(
        Hopfield,
        {
            "patterns": (CODES * 32, lambda v: codes((None, None), -4096, 4064)(v) and np.size(v) > 0),
            "sharpness": (3, whole(2, 5)),
            "numerics": (Numerics(), instance(Numerics)),
        },
        {"numerics": THINGS},
    ),
    "Hopfield.of": Entry(
        Hopfield.of, {"codes": (CODES, lambda v: codes((None, None), -128, 127)(v) and np.size(v) > 0)}
    ),
    "Hopfield.recall": Entry(
        lambda cue, steps: Hopfield.of(CODES).recall(cue, steps),
        {"cue": (CODES[0], codes((6,), -128, 127)), "steps": (3, nothing_or(whole(0, 8)))},
        {"steps": [v for v in SCALARS if not is_integer(v) or abs(int(v)) != 1 << 32]},
    ),
    "Compiled": Entry(
        lambda network, config: Compiled(network, config).network,
        {"network": (NET, lambda v: v is NET), "config": (CONFIG, instance(EngineConfig))},
        {"network": THINGS, "config": THINGS},
    ),
    "Compiled.sample": Entry(
        MODEL.sample,
        {"x": (X[0], codes((4,), 0, 255)), "y": (TARGETS[0], nothing_or(codes((2,), 0, 255)))},
    ),
    "Compiled.sample with tokens": Entry(
        lambda tokens: PLACED.sample([], tokens=tokens), {"tokens": (2, whole(0, 3))}
    ),
    "Compiled.weight_words": Entry(
        lambda weights: MODEL.weights(MODEL.weight_words(weights)),
        {"weights": (WEIGHTS, weights_fit)},
        WEIGHT_POOL,
    ),
    "Compiled.token_words": Entry(
        lambda patterns: PLACED.token_words(patterns)[1],
        {"patterns": (SEQUENCES[0], lambda v: WORDS(v) and len(v) <= 3)},
    ),
    "save": Entry(
        lambda path, network, weights: (networks.save(path, network, weights), networks.load(path))[1],
        {
            "path": ("net.npz", text("a/b/net.npz", "x", "1")),
            "network": (NET, lambda v: v is NET),
            "weights": (WEIGHTS, weights_fit),
        },
        # it writes: relative paths, and some that cannot be written
        {"path": ["a/b/net.npz", "x", ".", "/proc/x", "/dev/full/x", "a\0b", *SCALARS], "network": THINGS}
        | WEIGHT_POOL,
        about_files=True,
    ),
    "load": Entry(
        networks.load,
        {"path": ("there.npz", text("there.npz"))},
        {"path": ["not there", ".", "/dev/null", "a\0b", __file__, *SCALARS]},
        about_files=True,
    ),
}


# -- property --------------------------------------------------------------------------------------
def called(entry: Entry, arguments: dict[str, Any]) -> tuple[Any, Exception | None]:
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


def check(entry: Entry, spoiled: dict[str, Any]) -> None:
    """Check one call."""
    valid = all(entry.arguments[name][1](value) for name, value in spoiled.items())
    result, error = called(entry, entry.good | spoiled)
    if error is not None:
        assert len(spoiled) > 1 or not valid, f"it is right, and was refused: {error}"
        return
    assert valid or len(spoiled) > 1, "it was taken for something that it is not"
    if valid:
        expected, error = called(entry, entry.good | {n: plain(v) for n, v in spoiled.items()})
        assert error is None and same(result, expected), "its form changes the result"


CASES = [
    (name, argument, k)
    for name, e in ENTRIES.items()
    for argument in e.arguments
    for k in range(len(e.pool(argument)))
]
#: cases by default: some for every argument
SHARE = 4


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks.save("there.npz", NET, WEIGHTS)


def test_number_of_cases():
    assert len(CASES[::SHARE]) > 1000 and len(CASES) > 4000


@pytest.mark.parametrize("share", [SHARE, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ENTRIES)
def test_single_argument(name, share):
    entry = ENTRIES[name]
    check(entry, {})
    cases = [(argument, k) for other, argument, k in CASES[::share] if other == name]
    assert {argument for argument, _ in cases} == set(entry.arguments)
    for argument, k in cases:
        value = entry.pool(argument)[k]
        try:
            check(entry, {argument: value})
        except Exception as e:
            e.add_note(f"{name}({argument}={short_repr(value)}), value {k} of its pool")
            raise


@tried(20, 5000)
def test_two_invalid_arguments(examples):
    """Also pairs that are invalid or valid only together."""
    pairs = [(e, n) for e in ENTRIES.values() for n in itertools.combinations(e.arguments, 2)]

    def pair(index: int, seeds: tuple[int, int]) -> None:
        entry, names = pairs[index]
        pools = {n: entry.pool(n) for n in names}
        check(entry, {n: pools[n][seed % len(pools[n])] for n, seed in zip(names, seeds, strict=True)})

    number = st.integers(0, 1000)
    attempt(pair, st.integers(0, len(pairs) - 1), st.tuples(number, number), examples=examples)


@tried(100, 3000)
def test_damaged_network(examples):
    """A ValueError that names the file, or the same network."""
    intact = Path("there.npz").read_bytes()

    def damaged(seed: int) -> None:
        Path("spoiled.npz").write_bytes(spoil(intact, random.Random(seed)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = networks.load("spoiled.npz")
            except ValueError as e:
                assert "spoiled.npz" in str(e) and "\n" not in str(e)
            else:
                assert found[0] == NET and same(found[1], WEIGHTS)

    attempt(damaged, st.integers(0, 1 << 32), examples=examples)
