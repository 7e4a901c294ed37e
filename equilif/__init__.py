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
    from equilif_golden.network import Network, Population, Synapse, Tokens
    from equilif_golden.reference import Reference
    from equilif_golden.schedule import Schedule

WHERE = {
    "Fixed": "fixed",
    "Hopfield": "hopfield",
    "Kernel": "kernel",
    "Network": "network",
    "Numerics": "fixed",
    "Population": "network",
    "Reference": "reference",
    "Schedule": "schedule",
    "Synapse": "network",
    "Tokens": "network",
}

__all__ = [
    "Fixed",
    "Hopfield",
    "Kernel",
    "Network",
    "Numerics",
    "Population",
    "Reference",
    "Schedule",
    "Synapse",
    "Tokens",
]


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module 'equilif' has no attribute {name!r}")
    return getattr(import_module(f"equilif_golden.{WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *WHERE})
