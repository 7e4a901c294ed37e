"""Auto-association: images stored in a modern Hopfield memory, each asked for with a part of it blank.

Storage: the mean of the stored images is taken away, which makes 0 the neutral value.  Each image is then
scaled to one norm, or bright images would win every inner product: the largest norm at which no value leaves
-1 .. 127/128.  Values are rounded to signed 8-bit codes.

Beside the integers stand real arithmetic on the unrounded patterns, and the classical network: images as
signs (light or dark), Hebb's outer products without the diagonal, and neurons that are updated one after the
other (Hopfield 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.sets.dataset import MAX_SEED, DataSet
from equilif_golden.fixed import Raw, check_int
from equilif_golden.hopfield import MAX_STEPS, STATE, Hopfield

F64 = npt.NDArray[np.float64]
HALF = 0.5 / 128  #: of a code: what rounds to a pattern is that pattern
SWEEPS = 50  #: most updates of every neuron of the classical network
EXAMPLES = 8


@dataclass(frozen=True)
class Score:
    """Quality of the recall."""

    nearest: float  #: part of them whose final state overlaps most with the pattern asked for
    exact: float  #: part of them whose final state is that pattern
    error: float  #: mean of |state - pattern|^2 / |pattern|^2


@dataclass(frozen=True)
class Recall:
    """Stored images, and their recall by three associative memories."""

    data: str
    stored: int  #: images
    pixels: int  #: of an image
    blank: float  #: part of an image that its cue lacks
    sharpness: int  #: octaves
    steps: float  #: mean updates until nothing changes
    fixed: Score  #: in fixed point
    real: Score  #: in real arithmetic
    hebb: Score  #: of the classical network
    images: dict[str, F64]  #: stored, cue, fixed, real, hebb: (examples, pixels), 0 .. 1
    energies: list[list[float]]  #: by step, of each example
    shape: tuple[int, ...] = ()  #: of an image; (): square and grey

    def to_dict(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "stored": self.stored,
            "pixels": self.pixels,
            "blank": self.blank,
            "sharpness": self.sharpness,
            "steps": self.steps,
            **{name: vars(getattr(self, name)) for name in ("fixed", "real", "hebb")},
            "energies": self.energies,
        }


def check_images(data: DataSet) -> None:
    """ValueError unless a data set holds images."""
    shape = (1, 1) if data.about is None else data.about.shape
    if data.tokens_train is not None or len(shape) < 2 and data.about is not None:
        raise ValueError(f"recall stores images, {data.name} holds none: give images, or train it instead")


def store(x: npt.NDArray[np.uint8]) -> tuple[F64, F64, F64]:
    """Patterns (n, pixels) of equal norm in -1 .. 127/128, the mean image, and the scale (n, 1) of each.

    x / 255 = mean + pattern / scale.
    """
    real = x / 255
    mean = real.mean(axis=0)
    centred = real - mean
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    if not norm.all():
        raise ValueError("images to store must differ from their mean")
    unit = centred / norm
    scale = STATE.real(STATE.hi) / np.abs(unit).max() / norm
    return centred * scale, mean, scale


def run(
    data: DataSet,
    n: int = 1000,
    *,
    blank: float = 0.5,
    sharpness: int = 5,
    steps: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Recall:
    """Store ``n`` training images, ask for each with the lower part ``blank`` set to 0, and count.

    ``steps`` updates, or as many as change something.  ``progress`` gets the number of cues done.
    """
    check_int(n, "n", 2, len(data.x_train), "stored images")
    if not 0 <= blank < 1:
        raise ValueError(f"blank must be in [0, 1), not {blank}")
    if steps is not None:
        check_int(steps, "steps", 1, 1 << 20)
    check_int(seed, "seed", 0, MAX_SEED)
    rng = np.random.default_rng(seed)
    x = data.x_train[rng.choice(len(data.x_train), n, replace=False)]
    pixels = x.shape[1]
    seen = np.arange(pixels) < round(pixels * (1 - blank))
    patterns, mean, scale = store(x)
    codes = STATE.quantize(patterns)
    memory = Hopfield.of(codes, sharpness=sharpness)

    final = np.empty_like(codes)
    updates = []
    energies = []
    for j in range(n):
        states = memory.recall(codes[j] * seen, steps)
        final[j] = states[-1]
        updates.append(len(states) - 1 - (steps is None))  # the last one changed nothing
        if j < EXAMPLES:
            energies.append(memory.energy(states).tolist())
        progress(j + 1)

    real = _real(patterns, patterns * seen, memory.k, steps)
    signs = np.where(x >= 128, 1, -1)
    classical = _hebb(signs, signs * seen, rng)
    some = slice(0, EXAMPLES)

    def picture(state: F64) -> F64:
        return np.clip(mean + state[some] / scale[some], 0, 1)

    images = {
        "stored": x[some] / 255,
        "cue": picture(STATE.real(codes * seen)),
        "fixed": picture(STATE.real(final)),
        "real": picture(real),
        "hebb": (classical[some] + 1) / 2,
    }
    return Recall(
        data.name,
        n,
        pixels,
        blank,
        sharpness,
        float(np.mean(updates)),
        _score(final, codes),
        _score(real, patterns, HALF),
        _score(classical, signs),
        images,
        energies,
        data.shape,
    )


def _score(states: Raw | F64, patterns: Raw | F64, tolerance: float = 0.0) -> Score:
    """States of the cues in pattern order; ``tolerance``: of a value, for exact."""
    nearest = (states @ patterns.T).argmax(axis=1) == np.arange(len(patterns))
    exact = (np.abs(states - patterns) <= tolerance).all(axis=1)
    error = ((states - patterns) ** 2).sum(axis=1) / (patterns**2).sum(axis=1)
    return Score(float(nearest.mean()), float(exact.mean()), float(error.mean()))


def _real(patterns: F64, q: F64, k: float, steps: int | None) -> F64:
    """The same updates in floating point, all cues at once."""
    for _ in range(MAX_STEPS if steps is None else steps):
        a = k * q @ patterns.T
        p = np.exp(a - a.max(axis=1, keepdims=True))
        new = p / p.sum(axis=1, keepdims=True) @ patterns
        if steps is None and np.abs(new - q).max() < 1e-6:
            break
        q = new
    return q


def _hebb(patterns: Raw, cues: Raw, rng: np.random.Generator) -> Raw:
    """Asynchronous updates in random order until a sweep changes nothing."""
    x = patterns.astype(np.float64)
    s = cues.astype(np.float64)
    w = x.T @ x / len(x)
    np.fill_diagonal(w, 0)
    for _ in range(SWEEPS):
        before = s.copy()
        for j in rng.permutation(x.shape[1]):
            field = s @ w[:, j]
            s[:, j] = np.where(field == 0, s[:, j], np.sign(field))
        if (s == before).all():
            break
    return s.astype(np.int64)
