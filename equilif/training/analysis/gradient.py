"""Integer weight updates compared with those of other methods of learning, and with the gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from equilif.data import Name, own
from equilif.training.resolve import Request, resolve
from equilif.training.run import Run
from equilif.training.settings.presets import PRESETS
from equilif_golden.extras import needs
from equilif_golden.network import Network, Weights

with needs("torch"):
    from equilif_golden.real.layers import layer_report
    from equilif_golden.real.methods import method_report
    from equilif_golden.real.twin import gradient_report

EPOCHS = 3  #: of the trained network


@dataclass(frozen=True)
class GradientComparison:
    """Reports by network; ``samples``: of the updates (training), ``tests``: of the populations.

    ``reports``: of networks that learn by nudged phases; ``methods`` and ``layers``: of all.
    """

    data: str
    samples: int
    tests: int
    reports: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, Any]]
    layers: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def _check(request: Request, epochs: int | None, seed: int | None) -> None:
    source = own.chosen(request.data) if isinstance(request.data, str) else request.data
    if request.reading.get("attention") or isinstance(source, Name) and PRESETS[source].memory:
        raise ValueError(f"gradient does not support attention layers, {request.data} has one")
    if request.network and (epochs is not None or seed is not None):
        raise ValueError("--network is not trained: leave out --epochs and --seed")
    if request.network and (request.hidden or request.changes):
        raise ValueError("--network has its layers and settings: leave out --hidden and --set")


def compare(
    request: Request,
    *,
    epochs: int | None = None,
    samples: int = 1437,
    seed: int | None = None,
    progress: Callable[[str], Any] = lambda stage: None,
) -> GradientComparison:
    """Compare on as many training and test samples: a saved network, or an untrained and a trained one."""
    _check(request, epochs, seed)
    found = resolve(request)
    data = found.data
    trained = EPOCHS if epochs is None else epochs
    cases: dict[str, tuple[Network, Weights]] = {}
    if request.network:
        cases[request.network.name] = found.network, found.weights()
    else:
        run = Run.start(found.description.changed(epochs=max(trained, found.description.epochs)), data, seed)
        cases["untrained"] = run.network, run.weights
        for epoch in range(trained):
            progress(f"epoch {epoch + 1}")
            run.epoch()
        cases[f"{trained} epoch{'s' * (trained > 1)}"] = run.network, run.weights
    x, y = data.x_train[:samples], data.y_train[:samples]
    x_test, y_test = data.x_test[:samples], data.y_test[:samples]
    reports, methods, layers = {}, {}, {}
    for name, (network, weights) in cases.items():
        progress(f"updates, {name}")
        methods[name] = method_report(network, weights, x, y)
        if not network.schedule.errors:
            reports[name] = gradient_report(network, weights, x, y)
        layers[name] = layer_report(network, weights, x_test, y_test)
    return GradientComparison(data.name, len(x), len(x_test), reports, methods, layers, found.notes)
