"""Backend of a run: the holder of the weights, which learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from equilif.data.sets.characters import Text
from equilif.data.sets.dataset import DataSet
from equilif.training.settings.description import Description
from equilif.training.storage.history import EpochRecord, History, Mark, Progress
from equilif_golden.network import Network, Weights

D = TypeVar("D", DataSet, Text)


@dataclass
class Backend(ABC, Generic[D]):
    """Holder of the weights of a run.

    plan, seed, data : settings of the run, its seed, and its data
    files : names of the files that it saves besides network.npz
    weights : raw weights, as in network.npz
    counter : number of weight updates
    samples, test_samples : number of samples of an epoch and of a test
    machine : properties of the machine that its speed depends on
    leads : whether this process writes the files, of several that train the same run
    """

    plan: Description
    seed: int
    data: D

    files: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def start(cls, plan: Description, data: D, seed: int, make: Callable[..., Any]) -> Self:
        """Start a run; ``make``: what learns by Equilibrium Propagation, of network, weights,
        ``learning_rate`` and ``counter``; it is called when all else is right.
        """

    @classmethod
    @abstractmethod
    def resume(
        cls, folder: Path, saved: History, plan: Description, data: D, make: Callable[..., Any]
    ) -> tuple[Self, int]:
        """Resume from the files of ``folder``; also the number of save points up to them."""

    @property
    @abstractmethod
    def network(self) -> Network: ...
    @property
    @abstractmethod
    def weights(self) -> Weights: ...
    @property
    @abstractmethod
    def counter(self) -> int: ...
    @property
    @abstractmethod
    def samples(self) -> int: ...
    @property
    def test_samples(self) -> int:
        return len(self.data.x_test) if isinstance(self.data, DataSet) else 0

    @property
    def leads(self) -> bool:
        return True

    @property
    def machine(self) -> Mapping[str, Any]:
        return {}

    def prepare(self) -> None:
        """Do what takes long only once."""

    @abstractmethod
    def epoch(
        self, number: int, at: Mark, report: Callable[[Progress], None], *, test: bool = True
    ) -> EpochRecord:
        """An epoch, counted from 0, or what is left of it after ``at``; ``report`` is called after parts.

        ``test``: whether to measure the accuracy on the test part.
        """

    def save(self, folder: Path, epochs: int) -> None:
        """Save its files after this number of epochs."""

    def close(self) -> None:
        """Release what the backend holds."""
