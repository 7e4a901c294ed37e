"""Running scale: integers against Python's, and real numbers of any size."""

from __future__ import annotations

import numpy as np
import pytest

from equilif.data.encoding.scaling import LEVEL_BITS, Running
from equilif_golden.front_end.running_scale import FRACTION, MEMORY_BITS, RunningScale


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def reference(column: list[int]) -> list[tuple[int, int]]:
    """Inputs of a column, each by the scale that includes it."""
    mean = deviation = 0
    found = []
    for n, value in enumerate(column, 1):
        weight = 2 ** min(MEMORY_BITS, len(f"{n:b}") - 1)
        step = value * 2**FRACTION - mean
        mean += step // weight
        deviation = 0 if n == 1 else deviation + (abs(step) - deviation) // weight
        unit = max(deviation, 2**FRACTION)
        distance = value * 2**FRACTION - mean
        found.append(tuple(min(max((255 * d + unit) // (2 * unit), 0), 255) for d in (distance, -distance)))
    return found


@pytest.mark.parametrize("low, high", [(-(1 << 31), (1 << 31) - 1), (0, 4095), (-3, 3), (7, 7)])
def test_integers(low, high, rng):
    x = rng.integers(low, high + 1, (600, 2))
    x[300:] = np.clip(x[300:] + (high - low) // 3, low, high)  # the mean moves
    scale = RunningScale(0, *np.zeros((2, 2), np.int64))
    found = []
    for row in x:
        scale = scale.follow(row)
        found.append(scale.inputs(row[None])[0][0].reshape(2, 2))
    assert (np.array(found) == np.stack([reference(c) for c in x.T.tolist()], axis=1)).all()


def test_mean_of_equal_weights(rng):
    x = rng.integers(-(1 << LEVEL_BITS), 1 << LEVEL_BITS, (5000, 3))
    scale = RunningScale.of(x)
    columns = [[v << FRACTION for v in c] for c in x.T.tolist()]
    means = [sum(c) // len(c) for c in columns]
    assert scale.mean.tolist() == means
    assert scale.deviation.tolist() == [
        sum(abs(v - m) for v in c) // len(c) for c, m in zip(columns, means, strict=True)
    ]


@pytest.mark.parametrize("factor", [2.0**-3, 2.0**40, -(2.0**20)])
def test_units_do_not_matter(factor, rng):
    """Inputs are the same in another unit, but for rounding; the two inputs change places with the sign."""
    x = rng.normal(50, 20, (400, 2))
    _, (one, clipped) = Running.begin(2).follow(x)
    _, (other, _) = Running.begin(2).follow(factor * x)
    other = other.reshape(400, 2, 2)[..., :: int(np.sign(factor))].reshape(400, 4)
    assert np.abs(one.astype(int) - other).max() <= 1 and clipped < 40
    assert 30 < one[100:].mean() < 100


@pytest.mark.parametrize("outlier", [1e6, -1e9])
def test_outlier_fades(outlier, rng):
    x = rng.normal(0, 1, (7_000, 1))
    scale, _ = Running.begin(1).follow(x[:300])
    before = scale.apply(x[:300]).x
    scale, _ = scale.follow(np.array([[outlier]]))
    assert np.ptp(scale.apply(x[:300]).x, axis=0).max() <= 1
    scale, _ = scale.follow(x)
    assert np.abs(scale.apply(x[:300]).x.astype(int) - before).max() < 60
    assert scale.apply(np.array([[1e38], [-1e38]])).x.tolist() == [[255, 0], [0, 255]]
    scale, (largest, _) = scale.follow(np.array([[1e38]]))
    assert largest.tolist() == [[255, 0]] and scale.scaling().columns[0].mean == pytest.approx(1e38 / 256)


def test_constant_column():
    scale, (x, clipped) = Running.begin(2).follow(np.full((50, 2), [0.0, 101_325.7]))
    assert not x.any() and not clipped
    assert all(c.low < c.mean < c.high for c in scale.scaling().columns)


@pytest.mark.parametrize(
    "change",
    [{"mean": (1 << 60,)}, {"exponent": (31,)}, {"deviation": (-1,)}, {"mean": (0.5,)}, {"mean": (0, 0)}],
)
def test_invalid_scales(change):
    (name,) = change
    with pytest.raises(ValueError, match=name):
        Running(**{"samples": 1, "exponent": (0,), "mean": (0,), "deviation": (0,)} | change)
