"""Equilibrium Propagation in spiking networks: what users call.

    from equilif import Kernel, Network

Names are looked up when they are asked for, so that ``equilif --help`` loads neither NumPy nor Numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equilif_golden.fixed import Fixed, Numerics
    from equilif_golden.hopfield import Hopfield
    from equilif_golden.kernel import Kernel
    from equilif_golden.network import Network, Synapse, Tokens
    from equilif_golden.populations import Constant, Input, Lif, Population, Relay, Softmax
    from equilif_golden.reference import Reference
    from equilif_golden.schedule import Schedule

WHERE = {
    "Constant": "populations",
    "Fixed": "fixed",
    "Hopfield": "hopfield",
    "Input": "populations",
    "Kernel": "kernel",
    "Lif": "populations",
    "Network": "network",
    "Numerics": "fixed",
    "Population": "populations",
    "Reference": "reference",
    "Relay": "populations",
    "Schedule": "schedule",
    "Softmax": "populations",
    "Synapse": "network",
    "Tokens": "network",
}

__all__ = [
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
    "Schedule",
    "Softmax",
    "Synapse",
    "Tokens",
]


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module 'equilif' has no attribute {name!r}")
    return getattr(import_module(f"equilif_golden.{WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *WHERE})
