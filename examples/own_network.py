"""A network of your own shape: any graph of populations, not chains alone.

    python examples/own_network.py

The left and the right half of a digit go to hidden neurons of their own. The output hears both, and both
halves themselves:

    left ───┬──► seen_left ───┐
            └─────────────────┤
                              ├──► output
            ┌─────────────────┤
    right ──┴──► seen_right ──┘

Every synapse from neuron to neuron works both ways, so all of them learn by the one rule.
"""

import numpy as np

from equilif import Constant, Input, Kernel, Lif, Network, Synapse
from equilif.data import images
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel

RATE = 0.02


def network() -> Network:
    """Populations that spike are updated in the order in which they stand here."""
    populations = (
        Input("left", 32),
        Input("right", 32),
        Constant("bias", 1),
        Lif("seen_left", 32),
        Lif("seen_right", 32),
        Lif("output", 10),
    )
    synapses = [
        Synapse("left", "seen_left"),
        Synapse("right", "seen_right"),
        Synapse("left", "output"),
        Synapse("right", "output"),
        Synapse("seen_left", "output"),
        Synapse("seen_right", "output"),
    ]
    synapses += [Synapse("bias", p.name) for p in populations if isinstance(p, Lif)]
    return Network(populations, tuple(synapses), output="output")


def halves(x: np.ndarray) -> np.ndarray:
    """8x8 images (n, 64) as their left halves, then their right ones: inputs stand side by side."""
    square = x.reshape(-1, 8, 8)
    return np.concatenate([square[:, :, :4].reshape(len(x), -1), square[:, :, 4:].reshape(len(x), -1)], 1)


def main(epochs: int = 8) -> Kernel:
    digits = images.digits()
    x = halves(digits.x_train)
    golden = Kernel(network(), lr=RATE)
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(x))
        golden.train(x, digits.y_train, order)
    print(f"{golden.accuracy(halves(digits.x_test), digits.y_test):.1%} of the test digits")

    # the same graph as a program on an engine's memories: what the hardware runs, and the same bits
    chip = Chip(EngineModel(EngineConfig(lanes=8)), network(), lr=RATE)
    again = Kernel(network(), lr=RATE)
    for model in (chip, again):
        model.train(x[:20], digits.y_train[:20])
    same = all((chip.weights[name] == w).all() for name, w in again.weights.items())
    print(f"on an engine of 8 lanes: {'the same' if same else 'OTHER'} weights after 20 samples")
    return golden


if __name__ == "__main__":
    main()
