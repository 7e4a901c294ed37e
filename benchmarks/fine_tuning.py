"""Class-incremental learning: train rates without one class, deploy, learn the class on chip by EP.

Training without a class drives its output below 0.  If a nudge cannot reach the threshold from there, the
output cannot learn; --revive reinitialises its weights.  --run takes a run of `equilif train-rates NAME --set
rates.excluded_classes=9` in place of a new one.  Each epoch on chip has every training sample of the
new class (up to --new) once, and --replay times as many random samples of the others. --rtl compares the
golden kernel with RTL in Verilator: predictions, spike counts, rates, and weights at checkpoints and at the
end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from benchmarks.common import Data, Epochs, choose
from equilif.data.sets.dataset import DataSet
from equilif.hardware.verify import VerificationPlan, compare
from equilif.training.backends.phases import EpochPlan, EpochSamples
from equilif.training.run import Run
from equilif.training.settings.presets import RATES
from equilif_golden.engine.compiler import engine_for
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Weights


def accuracy(kernel: Kernel, data: DataSet, held: int) -> dict[str, float]:
    """Accuracy on the test samples of the class, of the others and of all."""
    right = kernel.predict(data.x_test) == data.y_test
    new = data.y_test == held
    return {"new": float(right[new].mean()), "others": float(right[~new].mean()), "all": float(right.mean())}


def revived(network: Network, weights: Weights, held: int, seed: int) -> Weights:
    """``weights`` with new initial weights of the output ``held``.

    The initial weights differ from those of the training, which the hidden code has learned to suppress.
    """
    fresh = network.initial_weights(seed + 1)
    out = {n: w.copy() for n, w in weights.items()}
    for s in network.synapses:
        if s.post == network.output:
            out[s.name][:, held] = fresh[s.name][:, held]
    return out


def orders(data: DataSet, held: int, *, new: int, replay: float, epochs: int, seed: int) -> list[Raw]:
    """Training samples of every epoch, in order."""
    out = []
    fresh = np.flatnonzero(data.y_train == held)[:new]
    others = np.flatnonzero(data.y_train != held)
    for epoch in range(epochs):
        rng = np.random.default_rng((seed, epoch, 2))
        again = rng.choice(others, min(len(others), round(replay * len(fresh))), replace=False)
        out.append(rng.permutation(np.concatenate([fresh, again])))
    return out


def without_class(name: str, data: Path | None, run: Path | None, held: int, seed: int) -> Run:
    """The given run, or a new one, trained without class ``held``."""
    if run:
        found = Run.resume(run, data)
        if found.plan.rates is None or held not in found.plan.excluded_classes:
            raise ValueError(f"the run in {run} was not trained without class {held}")
        return found
    found = Run.start(RATES[name].changed(excluded_classes=[held]), data, seed)
    while not found.done:
        record = found.epoch()
        print(f"epoch {record.epoch}: {record.test_accuracy:.2%} of all test samples in real numbers")
    return found


def compare_rtl(
    kernel: Kernel, start: Weights, data: DataSet, epochs: list[EpochPlan], updates: int, lanes: int
) -> dict[str, Any]:
    """Compare ``updates`` updates from the weights ``start`` on with RTL; -1: all, and the weights of the
    ``kernel`` after them.
    """
    left = updates if updates > 0 else sum(len(e.order) for e in epochs)
    plan = []
    for epoch in epochs:
        if left > 0:
            plan.append(epoch._replace(order=epoch.order[:left]))
            left -= len(epoch.order)
    n_test = len(data.x_test) if updates < 0 else min(updates, len(data.x_test))
    network = kernel.network
    report = compare(network, start, engine_for(network, lanes=lanes), data, VerificationPlan(plan, n_test))
    same = updates > 0 or all((report.weights[n] == w).all() for n, w in kernel.weights.items())
    c = report.compared
    print(
        f"RTL, {lanes} lanes: {report.mismatch or '0 mismatches'} in "
        f"{c.predictions:,} predictions, {c.rates:,} rates, {c.weights:,} weight words "
        f"({report.training.samples:,} updates, {report.inference.samples:,} test samples)"
    )
    return {"rtl": report.to_dict(), "mismatches": int(bool(report.mismatch) or not same)}


def main(
    name: Annotated[str, "preset of train-rates"],
    *,
    data: Data | None = None,
    run: Annotated[Path | None, "folder of a run"] = None,
    held: Annotated[int, "the new class"] = 9,
    new: Annotated[int, "training samples of the new class"] = 1000,
    replay: Annotated[float, "samples of the others for each new one"] = 3.0,
    epochs: Epochs = 6,
    learning_rate: Annotated[float, "learning rate of the first epoch; decays linearly to a tenth"] = 0.02,
    seed: int = 0,
    revive: Annotated[bool, "reinitialise the output of the new class"] = False,
    rtl: Annotated[int, "number of updates in RTL; -1: all, and all test samples"] = 0,
    lanes: int = 4,
) -> dict[str, Any]:
    (preset,) = choose([name], RATES, "preset")
    deployed = without_class(preset, data, run, held, seed)
    network, weights, d = deployed.network, deployed.weights, deployed.data
    order = orders(d, held, new=new, replay=replay, epochs=epochs, seed=seed)
    etas = [learning_rate * (1 - 0.9 * e / max(1, epochs - 1)) for e in range(epochs)]
    history = [accuracy(Kernel(network, weights), d, held)]
    if revive:
        weights = revived(network, weights, held, seed)
    kernel = Kernel(network, weights, learning_rate=etas[0])
    for eta, samples in zip(etas, order, strict=True):
        kernel.set_learning_rate(eta)
        kernel.train(d.x_train, d.y_train, samples)
        history.append(accuracy(kernel, d, held))
    for epoch, a in enumerate(history):
        when = f"after {epoch} epochs on chip" if epoch else "deployed"
        print(f"{when:24} class {held} {a['new']:7.2%}   others {a['others']:7.2%}   all {a['all']:7.2%}")
    found: dict[str, Any] = {
        "data": d.name,
        "sizes": deployed.sizes,
        "held": held,
        "updates": sum(map(len, order)),
        "new": int(min(new, (d.y_train == held).sum())),
        "etas": etas,
        "replay": replay,
        "history": history,
    }
    if rtl:
        plans = [
            EpochPlan(eta, at, lambda: EpochSamples(d.x_train, d.tokens_train))
            for eta, at in zip(etas, order, strict=True)
        ]
        found |= compare_rtl(kernel, weights, d, plans, rtl, lanes)
    return found
