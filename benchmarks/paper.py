"""Figures of docs/how_to/reproduce_the_paper.md: rates over time, and the state of a neuron.

convergence : mean distance of average rates from their fixed point over time, of a pretrained network
memory      : state of a neuron during training, and that of backpropagation through time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from benchmarks.registry import choose
from equilif.data.sets import images
from equilif.show import console as show
from equilif.training.analysis.deploy import converge
from equilif.training.storage import saved
from equilif.training.storage.pretrained import model_path
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.memories import memories
from equilif_golden.network import Network

PRETRAINED = "digits-64"  #: trained by nudged phases, with feedback
SAMPLES = 100
TIMES = (5, 11, 23, 47, 97, 193, 389, 769, 1543, 3079)
SIZES = (784, 128, 10)
STEPS = (8, 16, 32, 64, 128)


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


PARTS = {"convergence": convergence, "memory": memory}


def main(part: Annotated[Sequence[str], "convergence or memory (default: both)"]) -> None:
    for name in choose(part, PARTS, "part"):
        PARTS[name]()
