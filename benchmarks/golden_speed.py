"""Speed of bit-accurate training: samples a second on one core, 784-128-10, three phases and the update of
every weight included.

    python -m benchmarks.golden_speed                      random images with the density of MNIST's
    python -m benchmarks.golden_speed --data DIR           MNIST itself, from its IDX files
    python -m benchmarks.golden_speed --json FILE          result with the machine that it was measured on

The bar is 10,000 samples a second.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from dataclasses import asdict
from pathlib import Path

import numba
import numpy as np

from equilif.data import images as data
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network

SIZES = (784, 128, 10)
DENSITY = 0.19  # of non-zero pixels in MNIST's training images (19.1 %)
LEARNING_RATE = 0.01
BAR = 10_000


def samples(folder: Path | None, n: int) -> tuple[np.ndarray, np.ndarray, str]:
    """(n, 784) images, (n,) labels and what they are."""
    if folder is not None:
        d = data.load("mnist", folder)
        return d.x_train[:n], d.y_train[:n], "mnist"
    rng = np.random.default_rng(0)
    x = rng.integers(1, 256, (n, SIZES[0])) * (rng.random((n, SIZES[0])) < DENSITY)
    return x.astype(np.uint8), rng.integers(0, SIZES[-1], n), f"random, {DENSITY:.0%} non-zero"


def measure(x: np.ndarray, labels: np.ndarray, repeats: int) -> tuple[list[float], float]:
    """Samples a second of CPU time, ``repeats`` times from the same initial weights, and spikes a sample."""
    network = Network.chain(*SIZES)
    Kernel(network, lr=LEARNING_RATE).train(x[:1], labels[:1])  # compile
    speeds, spikes = [], 0.0
    for _ in range(repeats):
        kernel = Kernel(network, lr=LEARNING_RATE)
        start = time.process_time()
        epoch = kernel.train(x, labels)
        speeds.append(len(x) / (time.process_time() - start))
        spikes = epoch.spikes / epoch.samples
    return speeds, spikes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    x, labels, what = samples(args.data, args.samples)
    speeds, spikes = measure(x, labels, args.repeats)
    median = statistics.median(speeds)
    print(
        f"{median:,.0f} samples a second (median of {args.repeats}: {', '.join(f'{s:,.0f}' for s in sorted(speeds))})"
    )
    print(
        f"{'-'.join(map(str, SIZES))}, {what}, {len(x):,} samples, {spikes:.0f} spikes a sample; "
        f"the bar of {BAR:,} is {'reached' if median >= BAR else 'MISSED'}"
    )
    if args.json:
        args.json.write_text(
            json.dumps(
                {
                    "samples_per_second": median,
                    "runs": speeds,
                    "bar": BAR,
                    "sizes": SIZES,
                    "data": what,
                    "samples": len(x),
                    "spikes_per_sample": spikes,
                    "schedule": asdict(Network.chain(*SIZES).schedule),
                    "machine": platform.machine(),
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                    "numba": numba.__version__,
                },
                indent=2,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
