"""Equilibrium Propagation in spiking networks: what users call.

    from equilif import Kernel, Network

Names are looked up when they are asked for, so that ``equilif --help`` loads neither NumPy nor Numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equilif.data.own import load as load_data
    from equilif.data.own import of as make_data
    from equilif_golden.fixed import Fixed, Numerics
    from equilif_golden.hopfield import Hopfield
    from equilif_golden.kernel import Kernel
    from equilif_golden.network import Network, Synapse, Tokens
    from equilif_golden.populations import Attention, Constant, Input, Lif, Population, Relay
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
    "Attention": "populations",
    "Synapse": "network",
    "Tokens": "network",
}
#: of equilif.data.own: data of one's own
OWN = {"load_data": "load", "make_data": "of"}

__all__ = [
    "Attention",
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
    "Synapse",
    "Tokens",
    "load_data",
    "make_data",
]


def __getattr__(name: str) -> Any:
    if name in OWN:
        return getattr(import_module("equilif.data.own"), OWN[name])
    if name not in WHERE:
        raise AttributeError(f"module 'equilif' has no attribute {name!r}")
    return getattr(import_module(f"equilif_golden.{WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *WHERE, *OWN})
