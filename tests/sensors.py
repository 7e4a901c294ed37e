"""Readings of a sensor of six channels."""

from __future__ import annotations

import numpy as np

CHANNELS = 6


STEPS = 96


CLASSES = ("fast", "slow", "still")


def recording(name, rng, samples=1):
    """Readings (samples x STEPS, CHANNELS) of a class."""
    t = np.arange(samples * STEPS)[:, None]
    period, height = {"fast": (5, 900), "slow": (40, 250), "still": (1, 0)}[name]
    wave = np.sin((t + rng.uniform(0, period)) * 2 * np.pi / period + np.arange(CHANNELS))
    x = 2048 + height * wave + rng.normal(0, 30, (len(t), CHANNELS))
    return np.rint(x).astype(np.int64)


def save_csv(path, x):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, x, fmt="%g", delimiter=",")
