"""Define a network that is not a chain: any graph of populations.

    python examples/own_network.py

Each half of a digit has its own hidden population. The output has synapses from both hidden populations and
from both halves:

    upper ──┬──► seen_upper ──┐
            └─────────────────┤
                              ├──► output
            ┌─────────────────┤
    lower ──┴──► seen_lower ──┘

Synapses between spiking populations are symmetric, so all of them train by the same rule. own_network.toml
is the same network as a file.
"""

import numpy as np

from equilif import Constant, Input, Kernel, Lif, Network, Synapse
from equilif.data.sets import images
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel

RATE = 0.02


def network() -> Network:
    """Spiking populations are updated in this order; 32 pixels are half a digit."""
    populations = (
        Input("upper", 32),
        Input("lower", 32),
        Constant("bias", 1),
        Lif("seen_upper", 32),
        Lif("seen_lower", 32),
        Lif("output", 10),
    )
    synapses = [
        Synapse("upper", "seen_upper"),
        Synapse("lower", "seen_lower"),
        Synapse("upper", "output"),
        Synapse("lower", "output"),
        Synapse("seen_upper", "output"),
        Synapse("seen_lower", "output"),
    ]
    synapses += [Synapse("bias", p.name) for p in populations if isinstance(p, Lif)]
    return Network(populations, tuple(synapses), output="output")


def main(epochs: int = 8) -> Kernel:
    digits = images.digits()
    x = digits.x_train  # a sample is split over the inputs in their order
    golden = Kernel(network(), learning_rate=RATE)
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(x))
        golden.train(x, digits.y_train, order)
    print(f"{golden.accuracy(digits.x_test, digits.y_test):.1%} of the test digits")

    # the same graph as a program for an engine model with 8 lanes: the bits of the hardware
    chip = Chip(EngineModel(EngineConfig(lanes=8)), network(), learning_rate=RATE)
    again = Kernel(network(), learning_rate=RATE)
    for model in (chip, again):
        model.train(x[:20], digits.y_train[:20])
    same = all((chip.weights[name] == w).all() for name, w in again.weights.items())
    print(f"on an engine of 8 lanes: {'the same' if same else 'OTHER'} weights after 20 samples")
    return golden


if __name__ == "__main__":
    main()
