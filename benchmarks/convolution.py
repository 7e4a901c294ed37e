"""What convolutions would take on the engine: the figures of docs/convolution.md.

They come from the spikes of a network that learnt MNIST.

    python -m benchmarks.convolution --data DIR [--epochs 1] [--samples 100] [--json FILE]

A convolution of 5 x 5 and the average of 2 x 2 of its results is one of 6 x 6 with stride 2
(equilif_golden.real.conv), so that no pooling is left.  On an image, whose pixels may come in any
order, it is one of 3 x 3 with stride 1 in 14 x 14 positions of 2 x 2 pixels each.

equilif_golden.real.trainer trains 28 x 28 - 16 maps of 12 x 12 - 32 maps of 4 x 4 - 10 as a symmetric
equilibrium.  Weights are rounded to the engine's, and spikes run through the three phases of a training
sample.  Cycles are commands, and groups that are fetched or walked.  What each instruction takes beside
them is found from a dense network, in RTL.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from equilif.data import images as data
from equilif.results import write_json
from equilif.training.presets import PRESETS
from equilif_golden.blocks.plasticity import DITHER_MASK, Step, learning_step
from equilif_golden.blocks.synapse import groups
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import engine_for
from equilif_golden.engine.isa import WALK
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.kernel import Kernel
from equilif_golden.network import ONE, Network
from equilif_golden.real.conv import ConvRates, pooled
from equilif_golden.real.trainer import Trainer, predict
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule

SCHEDULE = Schedule(free=24, nudged=12, window=8, beta=1.0)
LANES = (4, 16)


@dataclass(frozen=True)
class Convolution:
    """From (channels, side, side) to (maps, to, to) by kernels of k x k with a stride, without padding."""

    channels: int
    side: int
    maps: int
    k: int = 6
    stride: int = 2

    @property
    def to(self) -> int:
        return (self.side - self.k) // self.stride + 1

    @property
    def reach(self) -> int:
        """Positions along a side that hear a neuron of the source."""
        return -(-self.k // self.stride)

    def heard(self) -> np.ndarray:
        """How many positions hear each one (side, side)."""
        one = torch.ones(1, 1, self.k, self.k)
        every = torch.ones(1, 1, self.to, self.to)
        return functional.conv_transpose2d(every, one, stride=self.stride)[0, 0].numpy().astype(np.int64)

    # -- as a synapse kind: a kernel offset is a channels x maps matrix in tiles -------------------
    def tiles(self, lanes: int) -> int:
        return self.k**2 * groups(self.channels, lanes) * groups(self.maps, lanes)

    def forward(self, events: np.ndarray, lanes: int, *, clipped: bool) -> int:
        """Commands of events counted by position (side, side).

        Not ``clipped``: positions outside the map cost a cycle too.
        """
        return int((events * (self.heard() if clipped else self.reach**2)).sum()) * groups(self.maps, lanes)

    def backward(self, events: np.ndarray, lanes: int) -> int:
        """Commands of events counted by position (to, to), backwards."""
        return int(events.sum()) * self.k**2 * groups(self.channels, lanes)

    # -- unrolled ----------------------------------------------------------------------------------
    def unrolled(self, lanes: int) -> dict[str, int]:
        """Weights, and tiles of the matrix of all neurons by all neurons (channels innermost).

        ``dense``: all of them.  ``rows``: cut into rows of the maps, those that meet.  ``occupied``:
        tiles with a weight in them, which no instruction can walk.
        """
        n = self.side**2 * self.channels
        m = self.to**2 * self.maps
        row = self.side * self.channels
        column = self.to * self.maps
        ys = np.divmod(np.arange(self.side**2), self.side)
        yd = np.divmod(np.arange(self.to**2), self.to)
        meet = np.ones((self.side**2, self.to**2), bool)
        for s, d in zip(ys, yd, strict=True):
            offset = s[:, None] - self.stride * d[None, :]
            meet &= (offset >= 0) & (offset < self.k)
        positions = np.argwhere(meet)
        occupied: set[tuple[int, int]] = set()
        for a, b in positions:
            rows = range(a * self.channels // lanes, (a * self.channels + self.channels - 1) // lanes + 1)
            columns = range(b * self.maps // lanes, (b * self.maps + self.maps - 1) // lanes + 1)
            occupied |= {(i, j) for i in rows for j in columns}
        return {
            "weights": len(positions) * self.channels * self.maps,
            "dense": groups(n, lanes) * groups(m, lanes),
            "rows": self.to * self.k * groups(row, lanes) * groups(column, lanes),
            "occupied": len(occupied),
        }

    def walk_rows(self, events: np.ndarray, lanes: int) -> int:
        """Commands forward where rows are populations: an event walks the rows that hear its own."""
        return int((events * self.rows_heard()[:, None]).sum()) * groups(self.to * self.maps, lanes)

    def rows_heard(self) -> np.ndarray:
        y = np.arange(self.side)[:, None] - self.stride * np.arange(self.to)[None, :]
        heard: np.ndarray = ((y >= 0) & (y < self.k)).sum(axis=1)
        return heard


@dataclass
class Ran:
    """The phases of training samples, by population (n, maps, side, side)."""

    spikes: list[np.ndarray]  #: in all three phases
    plus: list[np.ndarray]  #: 8-bit rates at +beta
    minus: list[np.ndarray]  #: 8-bit rates at -beta
    free: np.ndarray  #: rates of the output after the free phase


def run(model: ConvRates, x: np.ndarray, labels: np.ndarray) -> Ran:
    """Spikes of the symmetric network with rounded weights, in integers.

    Only the products of pixels are rounded all at once.
    """
    raw = SCHEDULE.raw()
    one = 4096
    kernels = [torch.round(pooled(k.detach().double()) * one) for k in model.kernels]
    dense = torch.round(model.dense.detach().double() * one)
    biases = [torch.round(b.detach().double() * one) * (ONE / 256) for b in model.biases]
    image = torch.tensor(x, dtype=torch.float64).view(-1, 1, 28, 28)
    base = torch.floor(functional.conv2d(image, kernels[0], stride=2) / 256)
    n = len(x)
    target = torch.tensor(one_hot(labels, 10), dtype=torch.float64)
    sizes = [(n, *s) for s in model.shapes] + [(n, 10)]
    v = [torch.full(size, raw.threshold / 2, dtype=torch.float64) for size in sizes]
    s = [torch.zeros_like(a) for a in v]
    total = [torch.zeros_like(a) for a in v]

    def phase(
        v: list[Any], s: list[Any], steps: int, strength: int
    ) -> tuple[list[Any], list[Any], list[np.ndarray]]:
        v = list(v)
        s = list(s)
        charge = [-a for a in v]
        for left in range(steps, 0, -1):
            if left == raw.window:
                charge = [-a for a in v]
            for k in range(len(v)):
                if k == 0:
                    drive = base + functional.conv_transpose2d(s[1], kernels[1], stride=2)
                elif k == 1:
                    drive = functional.conv2d(s[0], kernels[1], stride=2) + (s[2] @ dense.T).view_as(s[1])
                else:
                    drive = s[1].flatten(1) @ dense
                    if strength:
                        drive = drive + torch.floor(strength * target / 256) - strength * s[2]
                drive = drive + torch.floor(biases[k] if k == 2 else biases[k][:, None, None])
                u = (v[k] + drive).clamp(-raw.threshold, 2 * raw.threshold)
                s[k] = (u >= raw.threshold).double()
                v[k] = u - raw.threshold * s[k]
                charge[k] = charge[k] + raw.threshold * s[k]
                total[k] += s[k]
        rates = [
            torch.floor((q + a) / 2**raw.rate_shift).clamp(0, 255).numpy().astype(np.int64)
            for q, a in zip(charge, v, strict=True)
        ]
        return v, s, rates

    v, s, free = phase(v, s, raw.free, 0)
    plus = phase(v, s, raw.nudged, raw.strength)[2]
    minus = phase(v, s, raw.nudged, -raw.strength)[2]
    return Ran([t.numpy().astype(np.int64) for t in total], plus, minus, free[2])


FIRST = Convolution(4, 14, 16, 3, 1)
SECOND = Convolution(16, 12, 32)


def at_positions(x: np.ndarray) -> np.ndarray:
    """Pixels above 0 (n, 14, 14) of images (n, 784), at the positions of FIRST."""
    pixels: np.ndarray = (x > 0).reshape(-1, 14, 2, 14, 2).sum(axis=(2, 4))
    return pixels


# -- cycles ----------------------------------------------------------------------------------------
def parts(ran: Ran, x: np.ndarray, lanes: int, *, clipped: bool = False) -> dict[str, float]:
    """Cycles of a training sample with convolutions as a synapse kind, mean over the samples."""
    first = FIRST
    second = SECOND
    n = len(x)
    out = groups(10, lanes)
    features = groups(512, lanes)
    steps = SCHEDULE.free + 2 * SCHEDULE.nudged
    pixels = at_positions(x)
    positions = groups(first.channels, lanes) * first.side**2
    alive = [(p | m) > 0 for p, m in zip(ran.plus, ran.minus, strict=True)]
    state = groups(16, lanes) * 144 + groups(32, lanes) * 16 + out
    at = [ran.spikes[0].sum(axis=1), ran.spikes[1].sum(axis=1)]  # spikes by position
    rates = [alive[0].sum(axis=1), alive[1].sum(axis=1)]
    # scans of a step: maps 1 forward, maps 2 both ways, output back
    fetched = groups(16, lanes) * 144 + 2 * groups(32, lanes) * 16 + out
    scanned = positions + groups(16, lanes) * 144 + groups(32, lanes) * 16

    def mean(commands: int) -> float:
        return commands / n

    return {
        "image, once": mean(first.forward(pixels.sum(axis=0), lanes, clipped=clipped)) + positions,
        "maps 1 to maps 2": mean(second.forward(at[0].sum(axis=0), lanes, clipped=clipped)),
        "maps 2 to maps 1": mean(second.backward(at[1].sum(axis=0), lanes)),
        "maps 2 and output": mean(int(ran.spikes[1].sum()) * out + int(ran.spikes[2].sum()) * features),
        "scans without events": steps * fetched,
        # STEP, NUDGE; MARK, MEASURE, SAVE, RESTORE, RESET
        "membranes": steps * (state + out) + 9 * state,
        "update, image": mean(first.forward(pixels.sum(axis=0), lanes, clipped=clipped)),
        "update, maps 1 to maps 2": mean(second.forward(rates[0].sum(axis=0), lanes, clipped=clipped)),
        "update, maps 2 to output": mean(int(alive[1].sum()) * out),
        "update, biases": groups(16, lanes) * 144 + groups(32, lanes) * 16 + out,
        # every event fetches its group anew
        "update, scans": scanned + mean(int(pixels.sum() + alive[0].sum() + alive[1].sum())),
    }


def unrolled(ran: Ran, x: np.ndarray, lanes: int) -> dict[str, dict[str, float]]:
    """Commands of the two convolutions in a training sample, by how they are unrolled.

    An unrolled weight learns for itself alone.
    """
    first = FIRST
    second = SECOND
    n = len(x)
    pixels = at_positions(x).sum(axis=0)
    spikes = [s.sum(axis=(0, 1)) for s in ran.spikes[:2]]
    rates = ((ran.plus[0] | ran.minus[0]) > 0).sum(axis=(0, 1))
    m1 = groups(2304, lanes)
    m2 = groups(512, lanes)
    dense = int(2 * pixels.sum()) * m1 + int(spikes[0].sum() + rates.sum()) * m2 + int(spikes[1].sum()) * m1
    rows = (
        2 * first.walk_rows(pixels, lanes)
        + second.walk_rows(spikes[0] + rates, lanes)
        + int(spikes[1].sum()) * 6 * groups(12 * 16, lanes)
    )
    kind = (
        2 * first.forward(pixels, lanes, clipped=True)
        + second.forward(spikes[0] + rates, lanes, clipped=True)
        + second.backward(spikes[1], lanes)
    )
    return {
        name: {"tiles": first_tiles + second_tiles, "commands": commands / n}
        for name, first_tiles, second_tiles, commands in (
            ("dense", first.unrolled(lanes)["dense"], second.unrolled(lanes)["dense"], dense),
            ("rows", first.unrolled(lanes)["rows"], second.unrolled(lanes)["rows"], rows),
            ("kind", first.tiles(lanes), second.tiles(lanes), kind),
        )
    }


def calibrate(lanes: int, samples: int = 20) -> dict[str, float]:
    """The same count for dense 64-64-10 on the digits, beside the cycles of the RTL.

    And the difference by instruction that is executed.
    """
    from equilif_sim.verilated import VerilatedEngine

    digits = data.load("digits")
    kernel = Kernel(Network.chain(64, 64, 10), lr=0.05)
    for _ in range(2):
        kernel.train(digits.x_train, digits.y_train)
    config = engine_for(kernel.network, lanes=lanes)
    counted = cycles = instructions = 0
    for j in range(samples):
        x = digits.x_train[j]
        y = one_hot(digits.y_train[j : j + 1], 10)[0]
        model = EngineModel(config)
        chip = Chip(model, kernel.network, kernel.weights, lr=0.05)
        model.write(Region.VALUE, chip.compiled.sample_first, chip.compiled.sample(x, y))
        for i in model.trace(learn=True):
            model.execute(i)
            counted += i.n_dst if i.op in WALK else i.n_src
            instructions += 1
        counted += model.accesses
        run = Chip(VerilatedEngine(config), kernel.network, kernel.weights, lr=0.05).sample(x, y)
        assert run.spikes == model.spikes and run.accesses == model.accesses, (
            "the model is fed otherwise than the RTL"
        )
        cycles += run.cycles
    return {
        "counted": counted / samples,
        "rtl": cycles / samples,
        "more, an instruction": (cycles - counted) / instructions,
    }


# -- the update ------------------------------------------------------------------------------------
def rounding(ran: Ran, step: Step, samples: int = 20) -> dict[str, float]:
    """Updates of the second convolution's kernels, in weight codes.

    They are rounded at every position and summed, or summed and rounded once.
    """
    second = SECOND
    mask = (1 << step.shift) - 1
    rng = np.random.default_rng(0)
    here = []
    once = []
    exact = []
    largest = 0
    for j in range(min(samples, len(ran.plus[0]))):
        for dy, dx in ((0, 0), (2, 3), (5, 5)):
            u = [
                a[0][j][:, dy : dy + 2 * second.to : 2, dx : dx + 2 * second.to : 2].reshape(16, -1)
                for a in (ran.plus, ran.minus)
            ]
            w = [a[1][j].reshape(32, -1) for a in (ran.plus, ran.minus)]
            d = u[0][:, None] * w[0][None] - u[1][:, None] * w[1][None]  # (16, 32, positions)
            largest = max(largest, int(np.abs(d.sum(axis=2)).max()))
            # one of its own for every position, as now
            dither = rng.integers(0, DITHER_MASK + 1, d.shape)
            here.append(((step.gain * d + (dither & mask)) >> step.shift).sum(axis=2))
            once.append((step.gain * d.sum(axis=2) + (dither[..., 0] & mask)) >> step.shift)
            exact.append(step.gain * d.sum(axis=2) / (1 << step.shift))
    a = np.concatenate([np.ravel(v) for v in here])
    b = np.concatenate([np.ravel(v) for v in once])
    e = np.concatenate([np.ravel(v) for v in exact])
    moved = np.abs(e) > 0
    return {
        "deviation of the update": float(e[moved].std()),
        "rounded at every position": float((a - e)[moved].std()),
        "mean of that": float((a - e)[moved].mean()),
        "rounded once": float((b - e)[moved].std()),
        "largest sum": largest,
    }


def bound(positions: int, gain: int) -> int:
    """Bits of a signed sum of gain (u+ v+ - u- v-) over positions."""
    return math.ceil(math.log2(positions * gain * 255**2 + 1)) + 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--samples", type=int, default=100, help="training samples whose spikes are counted")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    mnist = data.load("mnist", chosen.data)
    found: dict[str, Any] = {}
    model = ConvRates(28, (16, 32), 5, 10, tolerance=1e-3)
    trainer = Trainer(model, steps=chosen.epochs * -(-len(mnist.x_train) // 128), lr=2e-3)
    for epoch in range(chosen.epochs):
        trainer.epoch(
            mnist.x_train, mnist.y_train, np.random.default_rng((0, epoch)).permutation(len(mnist.x_train))
        )
    found["accuracy of rates"] = float((predict(model, mnist.x_test[:2000]) == mnist.y_test[:2000]).mean())
    x = mnist.x_train[: chosen.samples]
    y = mnist.y_train[: chosen.samples]
    test = run(model, mnist.x_test[:500], mnist.y_test[:500])
    found["accuracy of spikes, 500 test samples"] = float(
        (test.free.argmax(axis=1) == mnist.y_test[:500]).mean()
    )
    ran = run(model, x, y)
    found["spikes a sample"] = [float(s.sum()) / len(x) for s in ran.spikes]
    found["pixels above 0"] = float((x > 0).sum()) / len(x)
    found["largest weight, thresholds"] = max(float(pooled(k.detach()).abs().max()) for k in model.kernels)
    for lanes in LANES:
        clipped = parts(ran, x, lanes, clipped=True)
        found[f"P = {lanes}"] = {
            "cycles, clipped": clipped,
            "sum, clipped": sum(clipped.values()),
            "sum": sum(parts(ran, x, lanes).values()),
            "unrolled": unrolled(ran, x, lanes),
            "tiles": {
                "maps 1": FIRST.tiles(lanes),
                "maps 2": SECOND.tiles(lanes),
                "output": groups(512, lanes) * groups(10, lanes),
                "biases": groups(16, lanes) + groups(32, lanes) + groups(10, lanes),
            },
            "unrolled, first": FIRST.unrolled(lanes),
            "unrolled, second": SECOND.unrolled(lanes),
            "groups of values": groups(FIRST.channels, lanes) * FIRST.side**2 + groups(10, lanes) + 1,
            "groups with membranes": groups(16, lanes) * 144 + groups(32, lanes) * 16 + groups(10, lanes),
            "calibration": calibrate(lanes),
        }
    eta = PRESETS["mnist"].eta
    step = learning_step(eta / (2 * SCHEDULE.beta), fraction=12)
    found["step"] = step._asdict()
    found["rounding"] = rounding(ran, step)
    found["bits of a sum"] = {
        "maps 1": bound(144, 1),
        "maps 2": bound(16, 1),
        "maps 1, gain 31": bound(144, 31),
        "maps 2, gain 31": bound(16, 31),
    }
    print(json.dumps(found, indent=2))
    if chosen.json:
        write_json(chosen.json, found)


if __name__ == "__main__":
    main()
