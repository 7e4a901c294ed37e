"""A sensor whose readings drift, and whose machine gets new states: what a network keeps with replay.

    python examples/changing_sensor.py sensor.csv                  # the readings, for `equilif stream`
    python examples/changing_sensor.py sensor.csv learned.png      # and a picture of old and new states

The machine is idle or runs; after a third of the time it is only worn or loose; in the last third all four
states occur.  All readings drift by three deviations.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from equilif.stream import StreamLearner

STATES = ("idle", "running", "worn", "loose")
BANDS = 8  #: energies of vibration, the features
SAMPLES = 3000
TESTED = 50  #: readings of each state, for the picture
DRIFT = 3.0


def reading(rng: np.random.Generator, state: int, time: float) -> dict[str, float]:
    """Energies at a time from 0 to 1."""
    means = np.random.default_rng(7).normal(0, 2.5, (len(STATES), BANDS))
    values = means[state] + DRIFT * time + rng.normal(0, 1, BANDS)
    return {f"band {k + 1}": round(float(v), 3) for k, v in enumerate(values)}


def stream():
    """Readings with their states, in the order of time."""
    rng = np.random.default_rng(0)
    for k in range(SAMPLES):
        part = 3 * k // SAMPLES
        state = int(rng.integers(2 * (part == 1), 4 - 2 * (part == 0)))
        yield reading(rng, state, k / SAMPLES), STATES[state]


def accuracies(learner: StreamLearner, time: float) -> tuple[float, float]:
    """Accuracy of the old and of the new states at a time."""
    rng = np.random.default_rng(1)
    right = [
        np.mean([learner.predict_one(reading(rng, k, time)) == name for _ in range(TESTED)])
        for k, name in enumerate(STATES)
    ]
    return float(np.mean(right[:2])), float(np.mean(right[2:]))


def courses(every: int = 100) -> dict[str, list[tuple[float, float]]]:
    """Accuracies over time, with replay and without."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name, replay in (("with replay", 200), ("without", 0)):
        learner = StreamLearner(hidden=32, replay=replay)
        found[name] = []
        for k, (x, state) in enumerate(stream()):
            learner.learn_one(x, state)
            if k % every == every - 1:
                found[name].append(accuracies(learner, k / SAMPLES))
    return found


def draw(found: dict[str, list[tuple[float, float]]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for name, style in (("with replay", "-"), ("without", "--")):
        old, new = 100 * np.array(found[name]).T
        at = SAMPLES / len(old) * np.arange(1, len(old) + 1)
        axes.plot(at, old, style, color="C0", label=f"idle, running: {name}")
        axes.plot(at, new, style, color="C1", label=f"worn, loose: {name}")
    for k in (1, 2):
        axes.axvline(k * SAMPLES / 3, color="0.8", zorder=0)
    axes.set(xlabel="readings learned", ylabel="accuracy (%)", ylim=(-3, 103), xlim=(0, SAMPLES))
    for k, text in enumerate(("only idle, running", "only worn, loose", "all four states")):
        axes.text((k + 0.5) * SAMPLES / 3, 104.5, text, ha="center", fontsize=9)
    axes.legend(loc="center left", fontsize=8)
    figure.savefig(path, dpi=150)


def main(table: str, picture: str | None = None) -> None:
    rows = [[*x.values(), state] for x, state in stream()]
    with Path(table).open("w", newline="") as f:
        csv.writer(f).writerows([[*(f"band {k + 1}" for k in range(BANDS)), "state"], *rows])
    if picture:
        draw(courses(), picture)


if __name__ == "__main__":
    main(*sys.argv[1:3])
