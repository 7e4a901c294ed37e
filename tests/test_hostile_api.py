"""Entry points of the Python API with invalid arguments.

Property: a call with wrong shapes, types or ranges raises ValueError or TypeError (OSError for files) with a
one-line message, and a ValueError names an argument or its value; a valid call gives the right result.  No
other exception, warning, crash or wrong result.

Cases: every argument of every entry point with unusual and invalid values; in the long tests pairs of them,
and randomly damaged files.  A predicate per argument defines validity, the reference in plain integers the
result.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
import random
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
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


def whole(lo: int, hi: int, *but: int) -> Fits:
    return lambda v: is_integer(v) and lo <= operator.index(v) <= hi and operator.index(v) not in but


def one_of(*values: int) -> Fits:
    return lambda v: is_integer(v) and operator.index(v) in values


def real(lo: float, hi: float) -> Fits:
    return lambda v: is_real(v) and lo <= float(v) <= hi


def codes(shape: tuple[int | None, ...], lo: int, hi: int) -> Fits:
    """An array of integers; None: any length."""

    def fits(v: Any) -> bool:
        try:
            a = np.asarray(v)
        except ValueError:
            return False
        if np.ma.is_masked(v) or a.ndim != len(shape):
            return False
        if any(want is not None and n != want for n, want in zip(a.shape, shape, strict=True)):
            return False
        if not a.size:
            return True
        return a.dtype.kind in "iu" and lo <= int(a.min()) and int(a.max()) <= hi

    return fits


def reals(v: Any) -> bool:
    """An array of finite real numbers."""
    try:
        a = np.asarray(v)
    except ValueError:
        return False
    return not np.ma.is_masked(v) and (not a.size or a.dtype.kind in "fiu" and bool(np.isfinite(a).all()))


def nothing_or(fits: Fits) -> Fits:
    return lambda v: v is None or fits(v)


def instance(kind: type) -> Fits:
    return lambda v: isinstance(v, kind)


# -- values ----------------------------------------------------------------------------------------


# -- entry points ----------------------------------------------------------------------------------
#: terms of arguments in messages
TERMS = {
    "x": ("inputs", "a sample must", "values"),
    "y": ("targets", "a target must"),
    "raw": ("values",),
    "codes": ("patterns",),
    "off": ("offsets",),
    "n": ("size",),
    "tokens": ("size",),
    "table": ("patterns",),
    "maps": ("convolution",),
    "present": ("presences", "inhomogeneous"),
    "value": ("counter",),
    "path": ("null byte", "file"),
    "learning_rate": ("learning rate",),
    "learning_rate_scales": ("learning_rate_scale",),
    "query_learning_rate_scale": ("learning_rate_scale",),
    "sequences": ("sequence", "patterns"),
}


@dataclass
class Entry:
    """A function, valid arguments, predicates of other valid values, and a check of the result."""

    call: Callable[..., Any]
    good: dict[str, Any]
    fits: dict[str, Fits]
    right: Callable[..., bool]
    pools: dict[str, list[Any]] = field(default_factory=dict)
    about_files: bool = False

    def pool(self, name: str) -> list[Any]:
        good = self.good[name]
        usual = arrays(good) if isinstance(good, np.ndarray) else SCALARS
        return self.pools.get(name) or POOLS.get(name) or usual

    def is_named(self, value: Any, message: str) -> bool:
        """Whether a message contains an argument, by its name or its term, or the invalid value."""
        words = (word for name in self.good for word in (name, *TERMS.get(name, ())))
        return short_repr(value) in message or any(re.search(rf"\b{word}\b", message) for word in words)


def kept(result: Any, **arguments: Any) -> bool:
    """The description contains the arguments as plain numbers."""
    for name, value in arguments.items():
        found = getattr(result, name)
        plain = type(found) in (int, float, bool, str, tuple, type(None)) or dataclasses.is_dataclass(found)
        if not plain or not same(found, value):
            return False
    return True


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return set(a) == set(b) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, float):
        return a == float(b)
    if isinstance(a, tuple):
        return a == tuple(b)
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
    [0, 3, 4, 7],
    [0, 4, 3, 6],
    [0, -3, 4, 6],
    [1, 3, 4, 6],
    [0, 3, 4, 5],
    [1000000, 3, 4, 6],
    [0, 100000000, 4, 6],
    [0, 2**63 - 1, 4, 6],
]
SEQUENCES = [TABLE[ROWS[a:b]] for a, b in itertools.pairwise(OFF)]
CODES = RNG.integers(-100, 100, (3, 6))
CONFIG = EngineConfig(lanes=2, program_words=1024)
MODEL = Compiled(NET, CONFIG)
PLACED = Compiled(ATTENTION, CONFIG)


def learned(x: Any, labels: Any, order: Any = None) -> Reference:
    """Equal to the reference after the same training."""
    r = Reference(NET, WEIGHTS, learning_rate=0.05)
    for j in np.arange(len(x)) if order is None else np.asarray(order, int):
        r.train(np.asarray(x, int)[[j]], one_hot(np.asarray(labels, int)[[j]], 2))
    return r


def train(make: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, labels: Any, order: Any) -> Any:
        model = make(learning_rate=0.05)
        did = model.train(x, labels, order)
        return model.weights, model.counter, did.samples

    return call


def trained_right(result: Any, x: Any, labels: Any, order: Any) -> bool:
    r = learned(x, labels, order)
    n = len(x) if order is None else len(order)
    return same(result[0], r.weights) and result[1:] == (r.counter, n)


def predicted(x: Any) -> np.ndarray:
    return Reference(NET, WEIGHTS).infer(np.asarray(x, int).reshape(-1, 4)).prediction


def tokens_right(result: Any, table: Any, rows: Any, off: Any) -> bool:
    t, r, o = np.asarray(table), np.asarray(rows, int), np.asarray(off, int)
    sequences = [t[r[a:b]] for a, b in itertools.pairwise(o)]
    if not sequences:
        return len(result) == 0
    reference = Reference(ATTENTION, ASKED)
    return same(
        result, reference.infer(np.zeros((len(sequences), 0), int), Tokens.of(sequences, 3)).prediction
    )


def offsets(v: Any) -> bool:
    return (
        codes((None,), 0, 6)(v)
        and len(v) > 0
        and v[0] == 0
        and v[-1] == 6
        and bool((np.diff(np.asarray(v, int)) >= 0).all() and (np.diff(np.asarray(v, int)) <= 3).all())
    )


def averages_right(result: Any, x: Any, times: Any) -> bool:
    """Equal to the spikes of the reference where it applies."""
    network = dataclasses.replace(NET, schedule=Schedule(free=511, nudged=4, window=4))
    raster = Reference(network, WEIGHTS).infer(x, record=True).raster
    spikes = np.concatenate(list(raster.values()), axis=2)
    return len(result) == len(times) and all(
        same(found, spikes[: int(t)].sum(axis=0) / int(t))
        for found, t in zip(result, times, strict=True)
        if t <= 511
    )


def chip(**options: Any) -> Chip:
    return Chip(EngineModel(CONFIG), NET, WEIGHTS, **options)


def kernel(**options: Any) -> Kernel:
    return Kernel(NET, WEIGHTS, **options)


def weights_of(pool: Any) -> list[Any]:
    """Weights with a changed array or name."""
    name = "hidden1-output"
    spoiled = [WEIGHTS | {name: a} for a in arrays(pool)]
    return [
        *spoiled,
        {n: w for n, w in WEIGHTS.items() if n != name},
        WEIGHTS | {"more": pool},
        WEIGHTS | {3: pool},
        list(WEIGHTS.items()),
        *SCALARS,
    ]


def weights_fit(v: Any) -> bool:
    if not isinstance(v, Mapping) or set(v) != set(WEIGHTS):
        return False
    return all(codes(NET.shape(s), -32768, 32767)(v[s.name]) for s in NET.synapses)


def quantized(x: Any) -> list[int]:
    """Quantisation in exact arithmetic."""
    exact = [math.floor(Fraction(float(v)) * 4096 + Fraction(1, 2)) for v in np.ravel(x)]
    return [min(max(v, -32768), 32767) for v in exact]


def hopfield_states(cue: Any, steps: Any = 3) -> np.ndarray:
    """The same operations in another order: pattern by pattern."""
    memory = Hopfield.of(CODES)
    states = [np.asarray(cue, int)]
    for _ in range(511 if steps is None else operator.index(steps)):
        states.append(memory.step(states[-1]))
        if steps is None and (states[-1] == states[-2]).all():
            break
    return np.stack(states)


#: smallest learning rate that changes weights, see equilif_golden.learning
MIN_RATE = 6.2e-5
RATE = nothing_or(lambda v: real(0, 0.12)(v) and (float(v) == 0 or float(v) > MIN_RATE))
COUNTER = whole(0, (1 << 32) - 1)
THINGS = [Numerics(), Schedule(), NET, Population("x", 1), Numerics, *SCALARS]


def same_model(
    result: Any, weights: Any = WEIGHTS, learning_rate: Any = 0.05, counter: Any = 3, **_: Any
) -> bool:
    right = weights if weights is not None else NET.initial_weights()
    return (
        same(result.weights, right)
        and result.counter == operator.index(counter)
        and result.learns == (learning_rate is not None)
    )


PARTS: dict[str, Any] = {
    "populations": (Population("x", 2, "input"), Population("y", 2)),
    "synapses": (Synapse("x", "y"),),
    "output": "y",
    "schedule": Schedule(),
    "numerics": Numerics(),
}
NAMES = ["x", "input", "lif", "y", "", "a b", "ü", ["y"], np.array(["y"]), *SCALARS]

#: values of arguments that several entry points have
POOLS = {
    "weights": weights_of(WEIGHTS["hidden1-output"]),
    **dict.fromkeys(("network", "schedule", "numerics", "config"), THINGS),
}
LEARNERS = (("Kernel", kernel), ("Chip", chip))
ENTRIES: dict[str, Entry] = {
    "Schedule.raw": Entry(
        lambda threshold, beta: Schedule(threshold=threshold, beta=beta).raw(),
        {"threshold": 1.0, "beta": 0.5},
        {
            "threshold": lambda v: real(0, 2)(v) and float(v) in (2.0**-k for k in range(-1, 6)),
            "beta": lambda v: real(0, 2)(v) and float(v) * 4096 >= 0.5,
        },
        lambda r, threshold, beta: (
            (r.threshold, r.strength)
            == (4096 * float(threshold), round(4096 * float(threshold) * float(beta)))
        ),
    ),
    "Fixed.quantize": Entry(
        lambda x: SQ(4, 12).quantize(x),
        {"x": X / 100},
        {"x": reals},
        lambda r, x: np.shape(r) == np.shape(x) and r.ravel().tolist() == quantized(x),
    ),
    "Fixed.require": Entry(
        lambda raw: UQ(0, 8).require(raw, "values"),
        {"raw": X},
        {"raw": lambda v: any(codes((None,) * n, 0, 255)(v) for n in range(5))},
        lambda r, raw: same(r, raw) and r.dtype == np.int64,
    ),
    "Fixed.real": Entry(
        lambda raw: UQ(0, 8).real(raw),
        {"raw": X},
        {"raw": lambda v: any(codes((None,) * n, -(1 << 63), (1 << 63) - 1)(v) for n in range(5))},
        lambda r, raw: same(r * 256, raw),
    ),
    "Network": Entry(
        Network,
        PARTS,
        {
            "populations": lambda v: isinstance(v, list | tuple) and tuple(v) == PARTS["populations"],
            "synapses": lambda v: isinstance(v, list | tuple) and tuple(v) == PARTS["synapses"],
            "output": lambda v: isinstance(v, str) and v == "y",
            "schedule": instance(Schedule),
            "numerics": instance(Numerics),
        },
        kept,
        {
            "populations": [list(PARTS["populations"]), (Population("x", 2), 3), [None], *THINGS],
            "synapses": [list(PARTS["synapses"]), (Synapse("x", "z"),), [("x", "y")], *THINGS],
            "output": NAMES,
        },
    ),
    "Network.conv": Entry(
        lambda image, maps, kernel, n, patch: Network.conv(image, (maps, kernel), n, patch=patch),
        {"image": (6, 4), "maps": 3, "kernel": 2, "n": 5, "patch": 2},
        {
            "image": lambda v: isinstance(v, list | tuple) and list(v) in ([6, 4], [6, 4, 2]),
            "maps": whole(1, 1 << 18),
            "kernel": one_of(1, 2),
            "n": whole(1, 1 << 18),
            "patch": one_of(1, 2),
        },
        lambda r, image, maps, kernel, n, patch: (
            r.inputs[0].image == ((*image, 1) if len(image) == 2 else tuple(image))
            and (r.lif[0].shape.maps, r.lif[1].size, r.synapses[0].kernel) == (maps, n, kernel)
        ),
        {"image": [[6, 4], (6, 4, 2), (6,), (5, 4), (6, 4, 0), "64", np.array([6, 4])]},
    ),
    "Network.chain": Entry(
        lambda n, m, learning_rate_scales, feedback, schedule: Network.chain(
            n, m, 2, learning_rate_scales=learning_rate_scales, feedback=feedback, schedule=schedule
        ),
        {"n": 4, "m": 3, "learning_rate_scales": (1.0, 0.5), "feedback": True, "schedule": None},
        {
            "n": whole(1, 1021),
            "m": whole(1, 1021),
            "learning_rate_scales": nothing_or(
                lambda v: np.shape(v) == (2,) and all(real(0, 1e6)(s) for s in v)
            ),
            "feedback": TYPES["boolean"],
            "schedule": nothing_or(instance(Schedule)),
        },
        lambda r, n, m, learning_rate_scales, feedback, schedule: (
            [p.size for p in r.populations] == [n, 1, m, 2]
            and [s.learning_rate_scale for s in r.synapses][::2]
            == ([1, 1] if learning_rate_scales is None else list(learning_rate_scales))
            and r.synapses[2].feedback == feedback
            and r.schedule == (Schedule() if schedule is None else schedule)
            and all(type(p.size) is int for p in r.populations)
        ),
        {
            "learning_rate_scales": [(1, 2), [0.5, 2], (0, -1), (True, 1), ("1", "2"), (1,), *SCALARS],
        },
    ),
    "Network.attention": Entry(
        lambda tokens, width, heads, **more: Network.attention(tokens, width, heads, 2, **more),
        {"tokens": 3, "width": 4, "heads": 2, "gain": 1, "sharpness": 3, "query_learning_rate_scale": 0.5},
        {
            "tokens": whole(1, 1022),
            "width": whole(1, 511),
            "heads": whole(1, 255),
            "gain": whole(0, 2),
            "sharpness": whole(2, 5),
            "query_learning_rate_scale": real(0, 1e6),
        },
        lambda r, tokens, width, heads, gain, sharpness, query_learning_rate_scale: (
            [p.size for p in r.populations] == [1, tokens, heads * width, 2]
            and r["query"].heads == heads
            and (r["query"].gain, r["memory"].sharpness, r.synapses[1].learning_rate_scale)
            == (gain, sharpness, query_learning_rate_scale)
        ),
    ),
    "Network.initial_weights": Entry(
        NET.initial_weights,
        {"seed": 1, "bias": 0.2, "scale": 0.5, "query": 0.3},
        {
            "seed": whole(0, (1 << 64) - 1),
            "bias": real(-1000, 1000),
            "scale": real(0, 1000),
            "query": real(0, 1000),
        },
        lambda r, seed, bias, scale, query: (
            same(
                r,
                NET.initial_weights(
                    operator.index(seed), bias=float(bias), scale=float(scale), query=float(query)
                ),
            )
            and r["bias-output"].ravel().tolist() == quantized([float(bias)] * 2)
        ),
    ),
    "Network.check_weights": Entry(
        NET.check_weights,
        {"weights": WEIGHTS},
        {"weights": weights_fit},
        lambda r, weights: same(r, weights),
    ),
    **{
        model.__name__: Entry(
            model,
            {"network": NET, "weights": WEIGHTS, "learning_rate": 0.05, "counter": 3, **more},
            {
                "network": instance(Network),
                "weights": nothing_or(weights_fit),
                "learning_rate": RATE,
                "counter": COUNTER,
                "threads": nothing_or(whole(1, 1024)),
            },
            same_model,
        )
        for model, more in ((Kernel, {"threads": 2}), (Reference, {}))
    },
    **{
        f"{name}.train": Entry(
            train(make),
            {"x": X, "labels": LABELS, "order": ORDER},
            {
                "x": codes((5, 4), 0, 255),
                "labels": codes((5,), 0, 1),
                "order": nothing_or(codes((None,), 0, 4)),
            },
            trained_right,
        )
        for name, make in LEARNERS
    },
    **{
        f"{name}.predict": Entry(
            lambda x, make=make: make().predict(x),
            {"x": X},
            {"x": codes((None, 4), 0, 255)},
            lambda r, x: same(r, predicted(x)),
        )
        for name, make in LEARNERS
    },
    "Kernel.settle": Entry(
        lambda x, y: kernel().settle(x, y),
        {"x": X, "y": TARGETS},
        {"x": codes((5, 4), 0, 255), "y": nothing_or(codes((5, 2), 0, 255))},
        lambda r, x, y: same(
            r.rates[:, 0 if y is None else 2],
            np.concatenate(
                list(
                    (
                        Reference(NET, WEIGHTS).infer(x).free
                        if y is None
                        else Reference(NET, WEIGHTS).train(x, y, learn=False).minus
                    ).values()
                ),
                axis=1,
            ),
        ),
    ),
    "Kernel.accuracy": Entry(
        lambda x, labels: kernel().accuracy(x, labels),
        {"x": X, "labels": LABELS},
        {"x": codes((5, 4), 0, 255), "labels": codes((5,), 0, 1)},
        lambda r, x, labels: r == np.mean(predicted(x) == np.asarray(labels)),
    ),
    "Kernel.averages": Entry(
        lambda x, times: kernel().averages(x, times)[0],
        {"x": X, "times": np.array([1, 5])},
        {
            "x": codes((None, 4), 0, 255),
            "times": lambda v: (
                codes((None,), 1, 1 << 18)(v) and len(v) > 0 and bool((np.diff(np.asarray(v, int)) > 0).all())
            ),
        },
        averages_right,
        {"times": [[1, 2, 7], (3,), [0, 1], [3, 3], [5, 4], [1 << 19], *arrays(np.array([1, 5]))]},
    ),
    "Kernel.set_learning_rate": Entry(
        lambda learning_rate: kernel().set_learning_rate(learning_rate),
        {"learning_rate": 0.05},
        {"learning_rate": lambda v: v is not None and RATE(v)},
        lambda r, learning_rate: r is None,
    ),
    "Kernel.load_weights": Entry(
        lambda weights: (k := kernel(), k.load_weights(weights), k.weights)[2],
        {"weights": WEIGHTS},
        {"weights": weights_fit},
        lambda r, weights: same(r, weights),
    ),
    "Kernel.counter": Entry(
        lambda value: (k := kernel(), setattr(k, "counter", value), k.counter)[2],
        {"value": 5},
        {"value": COUNTER},
        lambda r, value: r == value and type(r) is int,
    ),
    "Reference.infer": Entry(
        lambda x: Reference(NET, WEIGHTS).infer(x).prediction,
        {"x": X},
        {"x": codes((None, 4), 0, 255)},
        lambda r, x: same(r, Kernel(NET, WEIGHTS).predict(x)),
    ),
    "Reference.train": Entry(
        lambda x, y: Reference(NET, WEIGHTS, learning_rate=0.05).train(x, y).prediction,
        {"x": X[:1], "y": TARGETS[:1]},
        {"x": codes((1, 4), 0, 255), "y": codes((1, 2), 0, 255)},
        lambda r, x, y: same(r, predicted(x)),
    ),
    **{
        f"tokens of a {name}": Entry(
            lambda table, rows, off, asked=asked: asked.predict(None, tokens=TokenRows(table, rows, off)),
            {"table": TABLE, "rows": ROWS, "off": OFF},
            {
                "table": lambda v: codes((None, 4), -32768, 32767)(v) and len(v) > 5,
                "rows": codes((6,), 0, 5),
                "off": offsets,
            },
            tokens_right,
            {"off": [*WRONG_OFFSETS, *arrays(OFF)]},
        )
        for name, asked in (
            ("Kernel", Kernel(ATTENTION, ASKED)),
            ("Chip", Chip(EngineModel(CONFIG), ATTENTION, ASKED)),
        )
    },
    "tokens that are none": Entry(
        lambda tokens: Kernel(ATTENTION, ASKED).predict(None, tokens=tokens),
        {"tokens": TokenRows(TABLE, ROWS, OFF)},
        {"tokens": instance(TokenRows)},
        lambda r, tokens: tokens_right(r, *tokens),
        {"tokens": [(TABLE, ROWS, OFF), Tokens.of(SEQUENCES, 3), TABLE, *SCALARS]},
    ),
    "TokenRows.take": Entry(
        lambda indices: TokenRows(TABLE, ROWS, OFF).take(indices),
        {"indices": np.array([2, 0])},
        {"indices": codes((None,), 0, 2)},
        lambda r, indices: (
            [r.sample(j).tolist() for j in range(r.n_samples)] == [SEQUENCES[j].tolist() for j in indices]
        ),
    ),
    "Tokens.of": Entry(
        Tokens.of,
        {"sequences": SEQUENCES, "size": 3},
        {
            "sequences": lambda v: (
                isinstance(v, list)
                and len(v) > 0
                and all(codes((None, 4), -(1 << 63), (1 << 63) - 1)(s) and len(s) <= 3 for s in v)
            ),
            "size": whole(3, 1024),
        },
        lambda r, sequences, size: (
            r.present.sum(axis=1).tolist() == [len(s) for s in sequences]
            and r.patterns.shape == (len(sequences), size, 4)
        ),
        {"sequences": [[TABLE[:2]], [TABLE[:2] / 2], [TABLE], [TABLE[0]], [], [None], ["a"], *SCALARS]},
    ),
    "tokens of a Reference": Entry(
        lambda patterns, present: (
            Reference(ATTENTION, ASKED).infer(np.zeros((3, 0), int), Tokens(patterns, present)).prediction
        ),
        {"patterns": Tokens.of(SEQUENCES, 3).patterns, "present": Tokens.of(SEQUENCES, 3).present},
        {
            "patterns": codes((3, 3, 4), -32768, 32767),
            "present": lambda v: np.array(v, object).shape == (3, 3) and np.asarray(v).dtype == bool,
        },
        lambda r, patterns, present: r.shape == (3,),
    ),
    "Hopfield": Entry(
        Hopfield,
        {"patterns": CODES * 32, "sharpness": 3, "numerics": Numerics()},
        {
            "patterns": lambda v: codes((None, None), -4096, 4064)(v) and np.size(v) > 0,
            "sharpness": whole(2, 5),
            "numerics": lambda v: isinstance(v, Numerics),
        },
        lambda r, patterns, sharpness, numerics: same(r.patterns, patterns) and r.sharpness == sharpness,
    ),
    "Hopfield.of": Entry(
        Hopfield.of,
        {"codes": CODES},
        {"codes": lambda v: codes((None, None), -128, 127)(v) and np.size(v) > 0},
        lambda r, codes: same(r.patterns, np.asarray(codes, int) * 32),
    ),
    "Hopfield.recall": Entry(
        lambda cue, steps: Hopfield.of(CODES).recall(cue, steps),
        {"cue": CODES[0], "steps": 3},
        {"cue": codes((6,), -128, 127), "steps": nothing_or(whole(0, 8))},
        lambda r, cue, steps: same(r, hopfield_states(cue, steps)),
        {"steps": [v for v in SCALARS if not is_integer(v) or abs(operator.index(v)) != 1 << 32]},
    ),
    "Hopfield.energy": Entry(
        lambda states: Hopfield.of(CODES).energy(states),
        {"states": CODES},
        {"states": lambda v: any(codes((*[None] * n, 6), -128, 127)(v) for n in range(4))},
        lambda r, states: np.shape(r) == np.shape(states)[:-1],
    ),
    "Compiled": Entry(
        Compiled,
        {"network": NET, "config": CONFIG},
        {"network": lambda v: v is NET, "config": instance(EngineConfig)},
        lambda r, network, config: r.network is network,
    ),
    "Compiled.sample": Entry(
        lambda x, y: MODEL.sample(x, y),
        {"x": X[0], "y": TARGETS[0]},
        {"x": codes((4,), 0, 255), "y": nothing_or(codes((2,), 0, 255))},
        lambda r, x, y: r.tolist() == [*np.asarray(x, int), *([] if y is None else np.asarray(y, int))],
    ),
    "Compiled.sample with tokens": Entry(
        lambda tokens: PLACED.sample([], tokens=tokens),
        {"tokens": 2},
        {"tokens": whole(0, 3)},
        lambda r, tokens: r.tolist() == [255] * int(tokens) + [0] * (4 - int(tokens)),
    ),
    "Compiled.weight_words": Entry(
        lambda weights: MODEL.weights(MODEL.weight_words(weights)),
        {"weights": WEIGHTS},
        {"weights": weights_fit},
        lambda r, weights: same(r, weights),
    ),
    "Compiled.token_words": Entry(
        lambda patterns: PLACED.token_words(patterns)[1],
        {"patterns": SEQUENCES[0]},
        {"patterns": lambda v: codes((None, 4), -32768, 32767)(v) and len(v) <= 3},
        lambda r, patterns: (
            np.sort(r[r != 0]).tolist() == sorted(v for v in np.ravel(patterns).tolist() if v)
        ),
    ),
    "save": Entry(
        networks.save,
        {"path": "net.npz", "network": NET, "weights": WEIGHTS},
        {
            "path": lambda v: isinstance(v, str) and v in ("a/b/net.npz", "x", "1"),
            "network": lambda v: v is NET,
            "weights": weights_fit,
        },
        lambda r, path, network, weights: same(networks.load(path)[1], weights),
        {
            "path": ["a/b/net.npz", "x", ".", "/proc/x", "/dev/full/x", "a\0b", *SCALARS],
        },
        about_files=True,
    ),
    "load": Entry(
        networks.load,
        {"path": "there.npz"},
        {"path": lambda v: isinstance(v, str) and v == "there.npz"},
        lambda r, path: r[0] == NET and same(r[1], WEIGHTS),
        {"path": ["not there", ".", "/dev/null", "a\0b", __file__, *SCALARS]},
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


def check(entry: Entry, spoiled: dict[str, Any]) -> bool:
    """Check one call; true if it succeeded."""
    arguments = entry.good | spoiled
    fits = all(entry.fits[argument](value) for argument, value in spoiled.items())
    result, error = attempt(entry, arguments)
    if error is None:
        assert fits or len(spoiled) > 1, "it was taken for something that it is not"
        assert entry.right(result, **arguments)
    elif len(spoiled) == 1:
        assert not fits, f"it is right, and was refused: {error}"
        argument, value = next(iter(spoiled.items()))
        if argument not in REQUIRED_BY_OTHERS and isinstance(error, ValueError):
            assert entry.is_named(value, str(error)), f"it names neither: {error}"
    return error is None


CASES = [
    (name, argument, k)
    for name, e in ENTRIES.items()
    for argument in e.good
    for k in range(len(e.pool(argument)))
]
#: valid values take longer: by default every fourth is tried
SHARE = 4


def quick(name: str) -> list[tuple[str, str, int]]:
    """Every invalid value of every argument, and some of the valid ones."""
    entry = ENTRIES[name]
    return [
        case
        for k, case in enumerate(CASES)
        if case[0] == name and (k % SHARE == 0 or not entry.fits[case[1]](entry.pool(case[1])[case[2]]))
    ]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks.save("there.npz", NET, WEIGHTS)


@pytest.mark.parametrize("name", ENTRIES)
def test_valid_arguments(name):
    assert check(ENTRIES[name], {})


def one_wrong(cases: list[tuple[str, str, int]]) -> None:
    for name, argument, k in cases:
        entry = ENTRIES[name]
        value = entry.pool(argument)[k]
        try:
            check(entry, {argument: value})
        except Exception as e:
            e.add_note(f"{name}({argument}={short_repr(value)}), value {k} of its pool")
            raise


@pytest.mark.parametrize("name", ENTRIES)
def test_single_argument(name):
    cases = quick(name)
    one_wrong(cases)
    assert {argument for _, argument, _ in cases} == set(ENTRIES[name].good)


def test_number_of_cases():
    assert sum(len(quick(name)) for name in ENTRIES) > 4000 and len(CASES) > 5000


@pytest.mark.long
@pytest.mark.parametrize("name", ENTRIES)
def test_every_invalid_argument(name):
    one_wrong([case for case in CASES if case[0] == name])


@pytest.mark.long
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_two_invalid_arguments(data):
    """Also pairs that are invalid or valid only together."""
    entry = ENTRIES[data.draw(st.sampled_from(sorted(n for n, e in ENTRIES.items() if len(e.good) > 1)))]
    names = data.draw(st.lists(st.sampled_from(sorted(entry.good)), min_size=2, max_size=2, unique=True))
    check(entry, {n: entry.pool(n)[data.draw(st.integers(0, len(entry.pool(n)) - 1))] for n in names})


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
