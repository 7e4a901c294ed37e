"""Other neurons, tried in Python before anything is compiled or built: reset to zero, and adaptation.

    python examples/new_neuron.py

A subclass of the reference model overrides one method, ``neuron``; a learning rule is the method ``update``.
A neuron that remembers more than its membrane names it in ``neuron_state``; the model resets it with every
sample, and starts both nudged phases with that of the free phase.  Populations, phases and rates stay as they
are.
"""

import numpy as np

from equilif import Network, Reference
from equilif.data.sets import images


class ResetToZero(Reference):
    def neuron(self, population, v, drive):
        v, spike = super().neuron(population, v, drive)
        return np.where(spike, 0, v), spike


class Adaptive(Reference):
    """Each spike reduces the drive of the next steps, by an amount that halves every step."""

    def neuron_state(self, population, batch):
        return {"fatigue": np.zeros((batch, population.size), np.int64)}

    def neuron(self, population, v, drive):
        state = self.state[population.name]
        v, spike = super().neuron(population, v, drive - state["fatigue"])
        state["fatigue"] = state["fatigue"] // 2 + self.raw.threshold // 8 * spike
        return v, spike


MODELS = {"reset by subtraction": Reference, "reset to zero": ResetToZero, "adaptation": Adaptive}


def main(count: int = 1437) -> dict[str, float]:
    """Test accuracy with each neuron, after ``count`` digits once."""
    digits = images.digits()
    targets = 255 * np.eye(10, dtype=int)
    accuracy = {}
    for name, model in MODELS.items():
        network = model(Network.chain(64, 32, 10), learning_rate=0.05)
        for x, label in zip(digits.x_train[:count], digits.y_train, strict=False):
            network.train(x[None], targets[[label]])
        accuracy[name] = network.accuracy(digits.x_test, digits.y_test)
        print(f"{name}: test accuracy {accuracy[name]:.1%} after {count:,} samples")
    return accuracy


if __name__ == "__main__":
    main()
