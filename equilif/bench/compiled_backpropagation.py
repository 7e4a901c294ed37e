"""Compiled baseline of the speed benchmark: stochastic gradient descent in Numba, batch 1.

The network of equilif.bench.backpropagation with one hidden layer, in 32-bit floating point, ``fastmath``.
Both directions skip inputs that are zero.  As in the golden kernel, arrays are aligned and the next sample is
prefetched.
Weights of the hidden layer are read by rows, four at a time, and those of the output layer by rows of the
outputs, so that all inner loops are vector code.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from equilif.bench.throughput import LEARNING_RATES
from equilif.data.base.arrays import Bytes
from equilif.data.sets.dataset import DataSet
from equilif.training.settings.presets import PRESETS
from equilif_golden.executor import prefetch
from equilif_golden.vectors import new_array

F32 = npt.NDArray[np.float32]

fast = numba.njit(fastmath=True, error_model="numpy", boundscheck=False, nogil=True)


@fast
def forward(x, active, values, w1, b1, w2, b2, hidden, output):  # type: ignore[no-untyped-def]
    """Rates of the hidden layer and output probabilities of a sample; number of inputs that are not zero."""
    n = 0
    for i in range(len(x)):
        active[n] = i
        n += x[i] != 0
    for e in range(n):
        values[e] = np.float32(x[active[e]]) * np.float32(1 / 255)
    for k in range(len(hidden)):
        hidden[k] = b1[k]
    e = 0
    while e + 4 <= n:
        a, b, c, d = w1[active[e]], w1[active[e + 1]], w1[active[e + 2]], w1[active[e + 3]]
        u, v, y, z = values[e], values[e + 1], values[e + 2], values[e + 3]
        for k in range(len(hidden)):
            hidden[k] += (u * a[k] + v * b[k]) + (y * c[k] + z * d[k])
        e += 4
    while e < n:
        a, u = w1[active[e]], values[e]
        for k in range(len(hidden)):
            hidden[k] += u * a[k]
        e += 1
    for k in range(len(hidden)):
        hidden[k] = max(hidden[k], np.float32(0))
    for j in range(len(output)):
        total = b2[j]
        row = w2[j]
        for k in range(len(hidden)):
            total += row[k] * hidden[k]
        output[j] = total
    top = output.max()
    total = np.float32(0)
    for j in range(len(output)):
        output[j] = np.exp(output[j] - top)
        total += output[j]
    for j in range(len(output)):
        output[j] /= total
    return n


@fast
def train_samples(x, y, order, rate, w1, b1, w2, b2, work):  # type: ignore[no-untyped-def]
    """Samples one by one."""
    active, values, hidden, gradient, output = work
    for sample in range(len(order)):
        j = order[sample]
        if sample + 1 < len(order):
            prefetch(x.shape[1], x, y, order[sample + 1])
        n = forward(x[j], active, values, w1, b1, w2, b2, hidden, output)
        output[y[j]] -= np.float32(1)
        for k in range(len(hidden)):
            gradient[k] = np.float32(0)
        for i in range(len(output)):
            d = rate * output[i]
            b2[i] -= d
            row = w2[i]
            for k in range(len(hidden)):
                gradient[k] += d * row[k]
                row[k] -= d * hidden[k]
        for k in range(len(hidden)):
            gradient[k] = gradient[k] if hidden[k] > 0 else np.float32(0)
            b1[k] -= gradient[k]
        for e in range(n):
            row, u = w1[active[e]], values[e]
            for k in range(len(hidden)):
                row[k] -= u * gradient[k]


@fast
def predict_samples(x, w1, b1, w2, b2, work, found):  # type: ignore[no-untyped-def]
    """Classes of samples, into ``found``."""
    active, values, hidden, _, output = work
    for j in range(len(x)):
        forward(x[j], active, values, w1, b1, w2, b2, hidden, output)
        found[j] = np.argmax(output)


def aligned(*shape: int) -> F32:
    """Zeros from the start of a cache line."""
    n = math.prod(shape)
    return new_array(n, np.float32)[:n].reshape(shape)


class CompiledBackpropagation:
    """Learner with the initial distribution of weights that PyTorch has."""

    def __init__(self, data: DataSet, seed: int, rate: float | None = None):
        (n_hidden,) = PRESETS[data.name].hidden
        rng = np.random.default_rng(seed)
        n, m = data.n_features, data.n_classes
        self.data = data
        self.put(data.x_train, data.y_train)

        def uniform(fan_in: int, *shape: int) -> F32:
            w = aligned(*shape)
            w[:] = rng.uniform(-(fan_in**-0.5), fan_in**-0.5, shape)
            return w

        self.weights = (
            uniform(n, n, n_hidden),
            uniform(n, n_hidden),
            uniform(n_hidden, m, n_hidden),
            uniform(n_hidden, m),
        )
        sizes = (n + 1, n_hidden, n_hidden, m)
        self.work = (np.zeros(n + 1, np.int64), *map(aligned, sizes))
        self.rate = np.float32(LEARNING_RATES[data.name][1] if rate is None else rate)
        self.train(np.arange(0))  # compiles

    def put(self, x: Bytes, y: npt.NDArray[np.int64]) -> None:
        """Replace the training samples."""
        self.x, self.y = x, y.astype(np.int64)

    def begin(self, epoch: int) -> None:
        """The learning rate stays."""

    def train(self, order: npt.NDArray[np.int64], x: Bytes | None = None) -> None:
        train_samples(self.x if x is None else x, self.y, order, self.rate, *self.weights, self.work)

    def predict(self, x: Bytes) -> npt.NDArray[np.int64]:
        """Class of each sample."""
        found = np.zeros(len(x), np.int64)
        predict_samples(x, *self.weights, self.work, found)
        return found

    def accuracy(self) -> float:
        return float(np.mean(self.predict(self.data.x_test) == self.data.y_test))
