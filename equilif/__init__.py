"""Equilibrium Propagation in spiking networks: what users call.

    from equilif import Kernel, Network

Names are looked up when they are asked for, so that ``equilif --help`` loads neither NumPy nor Numba.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equilif.classifier import Classifier
    from equilif.data.own import load as load_data
    from equilif.data.own import of as make_data
    from equilif.stream import StreamLearner
    from equilif.training.resolve import Request, resolve
    from equilif.training.run import Run
    from equilif_golden.fixed import Fixed, Numerics
    from equilif_golden.hopfield import Hopfield
    from equilif_golden.kernel import Kernel
    from equilif_golden.network import Network, Synapse, Tokens
    from equilif_golden.populations import Attention, Constant, Input, Lif, Population, Relay, SelfAttention
    from equilif_golden.reference import Reference
    from equilif_golden.replay import ClassMeans, Reservoir
    from equilif_golden.schedule import Schedule

#: module and name there
WHERE = {
    "Attention": ("equilif_golden.populations", "Attention"),
    "ClassMeans": ("equilif_golden.replay", "ClassMeans"),
    "Classifier": ("equilif.classifier", "Classifier"),
    "Constant": ("equilif_golden.populations", "Constant"),
    "Fixed": ("equilif_golden.fixed", "Fixed"),
    "Hopfield": ("equilif_golden.hopfield", "Hopfield"),
    "Input": ("equilif_golden.populations", "Input"),
    "Kernel": ("equilif_golden.kernel", "Kernel"),
    "Lif": ("equilif_golden.populations", "Lif"),
    "Network": ("equilif_golden.network", "Network"),
    "Numerics": ("equilif_golden.fixed", "Numerics"),
    "Population": ("equilif_golden.populations", "Population"),
    "Reference": ("equilif_golden.reference", "Reference"),
    "Relay": ("equilif_golden.populations", "Relay"),
    "Request": ("equilif.training.resolve", "Request"),
    "Reservoir": ("equilif_golden.replay", "Reservoir"),
    "Run": ("equilif.training.run", "Run"),
    "Schedule": ("equilif_golden.schedule", "Schedule"),
    "SelfAttention": ("equilif_golden.populations", "SelfAttention"),
    "StreamLearner": ("equilif.stream", "StreamLearner"),
    "Synapse": ("equilif_golden.network", "Synapse"),
    "Tokens": ("equilif_golden.network", "Tokens"),
    "load_data": ("equilif.data.own", "load"),
    "make_data": ("equilif.data.own", "of"),
    "resolve": ("equilif.training.resolve", "resolve"),
}

__all__ = [
    "Attention",
    "ClassMeans",
    "Classifier",
    "Constant",
    "Fixed",
    "Hopfield",
    "Input",
    "Kernel",
    "Lif",
    "Network",
    "Numerics",
    "Population",
    "Reference",
    "Relay",
    "Request",
    "Reservoir",
    "Run",
    "Schedule",
    "SelfAttention",
    "StreamLearner",
    "Synapse",
    "Tokens",
    "load_data",
    "make_data",
    "resolve",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("equilif")
    if name not in WHERE:
        raise AttributeError(f"module 'equilif' has no attribute {name!r}")
    module, there = WHERE[name]
    return getattr(import_module(module), there)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
