"""Another neuron, tried in Python before anything is compiled or built: reset to zero, not by subtraction.

    python examples/new_neuron.py

A subclass of the reference model overrides one method, ``neuron``; a learning rule is the method ``update``.
Populations, phases and rates stay as they are.
"""

import numpy as np

from equilif import Network, Reference
from equilif.data import images


class ResetToZero(Reference):
    def neuron(self, population, v, drive):
        v, spike = super().neuron(population, v, drive)
        return np.where(spike, 0, v), spike


def main(count: int = 1437) -> dict[str, float]:
    """Test accuracy with both neurons, after ``count`` digits once."""
    digits = images.digits()
    targets = 255 * np.eye(10, dtype=int)
    accuracy = {}
    for name, model in (("reset by subtraction", Reference), ("reset to zero", ResetToZero)):
        network = model(Network.chain(64, 32, 10), learning_rate=0.05)
        for x, label in zip(digits.x_train[:count], digits.y_train, strict=False):
            network.train(x[None], targets[[label]])
        accuracy[name] = float(np.mean(network.infer(digits.x_test).prediction == digits.y_test))
        print(f"{name}: test accuracy {accuracy[name]:.1%} after {count:,} samples")
    return accuracy


if __name__ == "__main__":
    main()
