"""Resources of a network: sizes, weights, steps, memory, and the boards that fit it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from equilif.data.encoding import Encoding
from equilif.training.settings.description import Description
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.placement import Placement
from equilif_golden.extras import MissingExtra
from equilif_golden.lazy import lazy
from equilif_golden.network import Network, Synapse
from equilif_golden.schedule import Schedule

with lazy():  # optional packages
    from equilif.hardware import boards

#: engines that a network is placed on, to count tiles
LANES = (4, 8, 16)


@dataclass(frozen=True)
class PopulationInfo:
    """A population: ``size`` and ``fan_in`` are None while the data say them;
    ``biases`` are the constant populations among its sources.
    """

    name: str
    kind: str
    size: int | None
    fan_in: int | None
    biases: tuple[str, ...]
    heads: int | None
    shape: tuple[int, ...] | None = None  #: height, width, maps
    energy: bool = False  #: self-attention that answers the populations that it attends over


@dataclass(frozen=True)
class SynapseInfo(Synapse):
    """A synapse with its weights: rows belong to ``pre``; None while the data say them.

    ``loaded``: it holds the tokens of each sample.  ``table``: they are rows of a table, which may learn.
    ``learns``: training changes its weights.
    """

    rows: int | None = None
    columns: int | None = None
    loaded: bool = False
    shared: int = 1  #: positions of maps that have the same weights
    table: bool = False
    learns: bool = True

    @property
    def weights(self) -> int | None:
        return None if self.rows is None or self.columns is None else self.rows * self.columns


@dataclass(frozen=True)
class NetworkResources:
    """A network taken apart.  ``network`` is None while its data say a size; ``fits`` is None then, and
    without the packages that know the boards.
    """

    name: str
    description: Description
    network: Network | None
    populations: tuple[PopulationInfo, ...]
    synapses: tuple[SynapseInfo, ...]
    fits: tuple[boards.Fit, ...] | None

    @classmethod
    def of(
        cls,
        name: str,
        description: Description,
        network: Network | None = None,
        encoding: Encoding | None = None,
    ) -> NetworkResources:
        """``network``: with the sizes of data; without it, of those that the description has.  ``encoding``:
        of its samples.
        """
        d = description
        if network is None and not d.open:
            network = d.network()
        populations = tuple(
            PopulationInfo(
                label,
                g.kind,
                g.size if network is None else network[label].size,
                None if network is None else network.fan_in(network[label]),
                tuple(
                    s.pre for s in d.synapses if s.post == label and d.population[s.pre].kind == "constant"
                ),
                g.heads,
                g.shape,
                bool(g.energy),
            )
            for label, g in d.population.items()
        )
        smallest = network or d.smallest
        synapses = []
        for s in d.synapses:
            geometry = smallest.geometry(s)
            rows: int | None
            columns: int | None
            rows, columns = smallest.shape(s)
            table = s == smallest.table
            if network is None and geometry is None:
                rows = None if table else d.population[s.pre].size
                columns = None if d.population[s.pre].kind == "attention" else d.population[s.post].size
            loaded = bool(d.population[s.pre].dynamic_patterns)
            shared = geometry.post.positions if geometry else 1
            synapses.append(
                SynapseInfo(
                    s.pre,
                    s.post,
                    **s.options,
                    rows=rows,
                    columns=columns,
                    loaded=loaded,
                    shared=shared,
                    table=table,
                    learns=smallest.trainable and (table or not loaded) and s.learning_rate_scale > 0,
                )
            )
        return cls(name, d, network, populations, tuple(synapses), fits(network, encoding))

    # -- numbers -----------------------------------------------------------------------------------
    @property
    def schedule(self) -> Schedule:
        return self.description.schedule

    @property
    def steps(self) -> dict[str, int]:
        """Time steps of a sample, at most."""
        return {"inference": self.schedule.free, "training": self.schedule.training_steps}

    @property
    def untrainable(self) -> str:
        """Reason why the weights cannot learn; empty if they can."""
        return (self.network or self.description.smallest).untrainable

    @property
    def weights(self) -> int | None:
        return None if self.network is None else self.network.n_weights

    @property
    def bits(self) -> int | None:
        """Bits of all weights, without the padding of tiles."""
        return (
            None if self.network is None else self.network.n_weights * self.description.numerics.weight_width
        )

    @property
    def with_the_host(self) -> int:
        """Weights that no engine holds: the embedding table."""
        return 0 if self.network is None else self.network.n_table

    def tiles(self) -> dict[int, int]:
        """Tiles of lanes x lanes weights on an engine of any size, by lanes."""
        network = self.network
        return (
            {} if network is None else {n: Placement(network, EngineConfig(lanes=n)).all_tiles for n in LANES}
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "network": self.name,
            "populations": [dataclasses.asdict(p) for p in self.populations],
            "synapses": [{**dataclasses.asdict(s), "weights": s.weights} for s in self.synapses],
            "output": self.description.output,
            "learns_by": self.description.learned_by,
            "phases": dataclasses.asdict(self.schedule),
            "steps": self.steps,
            "weights": self.weights,
            "bits": self.bits,
            "tiles": {str(lanes): n for lanes, n in self.tiles().items()},
            "boards": None if self.fits is None else [f.to_dict() for f in self.fits],
        }


def fits(network: Network | None, encoding: Encoding | None) -> tuple[boards.Fit, ...] | None:
    """Fit of a network on each board; None without sizes, or where the boards are not installed."""
    if network is None:
        return None
    try:
        return tuple(boards.fits(network, encoding))
    except MissingExtra:
        return None
