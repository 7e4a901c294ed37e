"""Figures of docs/how_to/reproduce_the_paper.md and how_networks_learn.md: rates over time, the state of a
neuron, and what nudged phases and errors cost.

convergence : mean distance of average rates from their fixed point over time, of a pretrained network
memory      : state of a neuron during training, and that of backpropagation through time
cost        : cycles, spikes and accuracy of networks that learn by nudged phases or by errors
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from benchmarks.common import choose
from equilif import Request, Run, resolve
from equilif.data.sets import images
from equilif.show import console as show
from equilif.training.analysis.deploy import converge
from equilif.training.storage import saved
from equilif.training.storage.pretrained import model_path
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import engine_for
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.memories import memories
from equilif_golden.engine.model import EngineModel
from equilif_golden.network import Network
from equilif_golden.samples import one_hot

PRETRAINED = "digits-64"  #: trained by nudged phases, with feedback
SAMPLES = 100
TIMES = (5, 11, 23, 47, 97, 193, 389, 769, 1543, 3079)
SIZES = (784, 128, 10)
STEPS = (8, 16, 32, 64, 128)
LANES = 8
COUNTED = 20  #: samples whose cycles and spikes are counted
#: hidden layers of networks for the digits, each of which learns by both methods
LEARNED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("64-64-32-10", ("64", "32")),
    ("64-64-32-16-10", ("64", "32", "16")),
    ("convolutions of 8 and 16 maps", ("conv:8", "conv:16")),
)


def convergence() -> None:
    """Error of average rates by time steps, for each leak."""
    trained = saved.read(model_path(PRETRAINED))
    found = converge(trained.network, trained.weights, images.load("digits").x_test[:SAMPLES], TIMES)
    rows = [[f"{time:,}", *(f"{e[k]:.5f}" for e in found.errors.values())] for k, time in enumerate(TIMES)]
    leaks = ["no leak" if leak == 0 else f"leak 1/{1 << leak}" for leak in found.errors]
    title = f"mean |spikes / T - fixed point| after T steps, {PRETRAINED}, {SAMPLES} test samples"
    show.console.print(show.table(title, ["T", *leaks], rows))
    show.console.print(f"without a leak the error falls as T to the power of {found.slope:.2f}")


def memory() -> None:
    """Bits of a neuron.

    Backpropagation through time keeps the membrane, as wide as here, and the spike of every step.
    """
    state = memories(EngineConfig())
    kept = sum(m.width * (1 + m.saved) for m in state.values())
    step = state["a"].width + state["s"].width
    neurons = sum(p.size for p in Network.chain(*SIZES).lif)
    rows = [
        [
            f"{steps}",
            f"{kept}",
            f"{steps * step:,}",
            f"{steps * step / kept:.1f}",
            f"{kept * neurons / 8:,.0f}",
        ]
        for steps in STEPS
    ]
    columns = ["T", "bits of a neuron", "through time", "ratio", "bytes of all neurons"]
    title = (
        f"state during training of {'-'.join(map(str, SIZES))} in T time steps, without weights and inputs"
    )
    show.console.print(show.table(title, columns, rows))


def cost() -> None:
    """Accuracy after the training of the preset, then cycles and spikes of the first samples."""
    rows = []
    for name, hidden in LEARNED:
        for contrast in ("errors", "phases"):
            found = resolve(Request(data="digits", hidden=hidden, changes={"phases.contrast": contrast}))
            run = Run.start(found.description, found.data, seed=0)
            while not run.done:
                epoch = run.epoch()
            engine = EngineModel(engine_for(run.network, lanes=LANES))
            chip = Chip(engine, run.network, run.weights, learning_rate=found.description.rate(0))
            data = found.data
            inferred = [chip.sample(x) for x in data.x_test[:COUNTED]]
            targets = one_hot(data.y_train[:COUNTED], data.n_classes)
            learned = [chip.sample(x, y) for x, y in zip(data.x_train, targets, strict=False)]
            means = [
                f"{sum(getattr(r, count) for r in runs) / COUNTED:,.0f}"
                for runs in (inferred, learned)
                for count in ("cycles", "spikes")
            ]
            rows.append([name, found.description.learned_by, f"{100 * epoch.test_accuracy:.2f} %", *means])
    columns = ["network", "learned by", "accuracy", "inference", "spikes", "training", "spikes"]
    title = f"cycles and spikes on an engine with {LANES} lanes, mean of {COUNTED} samples of the digits"
    show.console.print(show.table(title, columns, rows))


PARTS = {"convergence": convergence, "memory": memory, "cost": cost}


def main(part: Annotated[Sequence[str], "convergence, memory or cost (default: all)"]) -> None:
    for name in choose(part, PARTS, "part"):
        PARTS[name]()
