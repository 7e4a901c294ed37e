"""Learning rate of the paper, eta, to gain and shift of every synapse.

The rule multiplies differences of rate products by eta / (2 beta), or products of rates and errors by eta,
which the hardware holds as gain and shift (equilif_golden.blocks.plasticity).
"""

from __future__ import annotations

from equilif_golden.blocks.plasticity import GAIN_MAX, SHIFTS, Step, learning_step
from equilif_golden.fixed import check_float
from equilif_golden.network import Network
from equilif_golden.places import PlacedError
from equilif_golden.synapses import Synapse

NO_RATE = "no learning rate: give learning_rate, or call set_learning_rate"


def learning_steps(network: Network, learning_rate: float) -> dict[str, Step]:
    """Gain and shift of every synapse at a learning rate; 0 freezes the weights.

    ValueError if the network is not trainable, or if the rate is above the largest or below the smallest that
    changes a weight.
    """
    learning_rate = check_float(learning_rate, "learning_rate", 0, float("inf"))
    if learning_rate:
        network.require_trainable()
    factor = learning_rate / divisor(network)
    fraction = network.numerics.fraction
    try:
        steps = {
            s.name: learning_step(factor * _scale(network, s), fraction=fraction) for s in network.plastic
        }
    except ValueError:
        largest = largest_rate(network)
        raise PlacedError(
            f"learning rate {learning_rate:g} is above the largest one, {largest:.4g}", ("learning_rate",)
        ) from None
    if learning_rate and not any(step.gain for step in steps.values()):
        raise PlacedError(
            f"learning rate {learning_rate:g} is below half of the smallest step, so no weight would "
            f"ever change; the smallest effective rate is {smallest_rate(network):g}",
            ("learning_rate",),
        )
    return steps


def divisor(network: Network) -> float:
    """Learning rate over the factor of the rule: 2 beta of nudged phases.  Errors have no beta: 1, or 2 where
    they have both signs.
    """
    if network.schedule.errors:
        return 2.0 if network.attention_layers else 1.0
    return 2 * network.schedule.beta


def _scale(network: Network, s: Synapse) -> float:
    """Learning rate of a synapse relative to that of the network: factor of its energy, or for errors their
    unit.
    """
    return s.learning_rate_scale * network.energy_scale(s.post) / network.error_scale(s.post)


def largest_rate(network: Network) -> float:
    """Largest learning rate, which gives a synapse the largest gain of the rule."""
    return _rate(network, Step(GAIN_MAX, SHIFTS[0]))


def smallest_rate(network: Network) -> float:
    """Smallest learning rate, to three digits, that changes a weight; infinite if none does.

    :func:`learning_step` rounds half a step and less to 0.
    """
    return float(f"{1.01 * _rate(network, Step(1, SHIFTS[-1])) / 2:.3g}")


def _rate(network: Network, step: Step) -> float:
    """Learning rate at which the synapse with the largest factor has this step."""
    scale = max((_scale(network, s) for s in network.plastic), default=0.0)
    factor = step.rate(network.numerics.fraction)
    return divisor(network) * factor / scale if scale else float("inf")
