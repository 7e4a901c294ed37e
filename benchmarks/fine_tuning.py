"""Class-incremental learning: train rates without one class, deploy, learn the class on chip by EP.

    python -m benchmarks.fine_tuning digits --rtl -1
        all updates in RTL as well, compared
    python -m benchmarks.fine_tuning mnist --data DIR --rtl 200
        the first 200 updates in RTL as well
    python -m benchmarks.fine_tuning mnist --data DIR --run DIR
        use a run of `equilif train-rates mnist --set rates.excluded_classes=9`

Training without a class drives its output below 0.  If a nudge cannot reach the threshold from there, the
output cannot learn; --revive reinitialises its weights.  Each epoch on chip has every training sample of the
new class (up to --new) once, and --replay times as many random samples of the others. --rtl compares the
golden kernel with RTL in Verilator: predictions, spike counts, rates, and weights at checkpoints and at the
end.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from equilif import results
from equilif.data.dataset import DataSet
from equilif.hardware.verify import Plan, compare
from equilif.training.presets import RATES
from equilif.training.run import Run
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=RATES)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--held", type=int, default=9)
    parser.add_argument("--new", type=int, default=1000)
    parser.add_argument("--replay", type=float, default=3.0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=0.02,
        help="learning rate of the first epoch; decays linearly to a tenth",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--revive", action="store_true", help="reinitialise the output of the new class")
    parser.add_argument(
        "--rtl",
        type=int,
        default=0,
        help="number of updates in RTL; -1: all, and all test samples",
    )
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    if options.run:
        run = Run.resume(options.run, options.data)
        if run.plan.rates is None or options.held not in run.plan.excluded_classes:
            parser.error(f"the run in {options.run} was not trained without class {options.held}")
    else:
        run = Run.start(
            RATES[options.name].changed(excluded_classes=[options.held]), options.data, options.seed
        )
        while not run.done:
            record = run.epoch()
            print(f"epoch {record.epoch}: {record.test_accuracy:.2%} of all test samples in real numbers")
    network, weights = run.network, run.weights
    data = run.data
    order = orders(
        data, options.held, new=options.new, replay=options.replay, epochs=options.epochs, seed=options.seed
    )
    etas = [options.learning_rate * (1 - 0.9 * e / max(1, options.epochs - 1)) for e in range(options.epochs)]

    history = [accuracy(Kernel(network, weights), data, options.held)]
    if options.revive:
        weights = revived(network, weights, options.held, options.seed)
    kernel = Kernel(network, weights, learning_rate=etas[0])
    for eta, samples in zip(etas, order, strict=True):
        kernel.set_learning_rate(eta)
        kernel.train(data.x_train, data.y_train, samples)
        history.append(accuracy(kernel, data, options.held))
    for epoch, a in enumerate(history):
        when = f"after {epoch} epochs on chip" if epoch else "deployed"
        print(
            f"{when:24} class {options.held} {a['new']:7.2%}   others {a['others']:7.2%}   "
            f"all {a['all']:7.2%}"
        )
    found: dict[str, Any] = {
        "data": data.name,
        "sizes": run.sizes,
        "held": options.held,
        "updates": sum(map(len, order)),
        "new": int(min(options.new, (data.y_train == options.held).sum())),
        "etas": etas,
        "replay": options.replay,
        "history": history,
        "machine": results.machine(),
    }
    if options.rtl:
        left = options.rtl if options.rtl > 0 else sum(map(len, order))
        plan = []
        for eta, samples in zip(etas, order, strict=True):
            if left > 0:
                plan.append((eta, samples[:left], lambda: (data.x_train, data.tokens_train)))
                left -= len(samples)
        n_test = len(data.x_test) if options.rtl < 0 else min(options.rtl, len(data.x_test))
        report = compare(network, weights, engine_for(network, lanes=options.lanes), data, Plan(plan, n_test))
        same = options.rtl > 0 or all((report.weights[n] == w).all() for n, w in kernel.weights.items())
        c = report.compared
        print(
            f"RTL, {options.lanes} lanes: {report.mismatch or '0 mismatches'} in "
            f"{c.predictions:,} predictions, {c.rates:,} rates, {c.weights:,} weight words "
            f"({report.training.samples:,} updates, {report.inference.samples:,} test samples)"
        )
        found["rtl"] = report.to_dict()
        if report.mismatch or not same:
            raise SystemExit(1)
    if options.json:
        results.write_json(options.json, found)


if __name__ == "__main__":
    main()
