"""A run: one folder, one history, one way to go on, whichever backend learns.

A run can be interrupted and resumed without changing a bit.  A folder holds ``history.json``, what the
backend needs to go on (Equilibrium Propagation: the weights of network.npz; in floating point: rates.pt),
and ``network.npz``.  The history is written first and names every place at which the run was
saved, so after an interruption between two files the backend tells where it stands.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from equilif import results
from equilif.data.sets.characters import Text
from equilif.data.sets.dataset import DataSet
from equilif.training.backends.backend import Backend
from equilif.training.backends.phases import EquilibriumPropagation, Learner
from equilif.training.settings.description import Description
from equilif.training.storage.history import (
    HISTORY,
    NETWORK,
    EpochRecord,
    History,
    Mark,
    Progress,
    digest,
    saved_history,
)
from equilif.training.storage.records import about_data, check_name
from equilif_golden import network as networks
from equilif_golden.kernel import Kernel
from equilif_golden.lazy import lazy
from equilif_golden.network import Network, Weights

with lazy():  # they need torch
    from equilif.training.backends import rates, text

START = Mark(0, 0, 0, 0.0, 0, "")  #: of an epoch


def _backend(plan: Description) -> type[Backend[Any]]:
    """The class of backends for a plan; torch is imported where it is needed."""
    if plan.text:
        return text.NextCharacter
    if plan.rates:
        return rates.ImplicitDifferentiation
    return EquilibriumPropagation


@dataclass
class Run:
    """A training run: backend and history.

    ``marks``: of the epoch under way, where it was saved.  ``command``: what began it; a run that is resumed
    is its user's own.  ``version``: of equilif that saved it last, None for a run that was not resumed.
    """

    backend: Backend[Any]
    history: list[EpochRecord] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    command: str = "train"
    version: str | None = None
    #: whether a folder has it as it is
    _saved: bool = field(default=False, init=False, repr=False)

    @classmethod
    def start(
        cls,
        plan: Description,
        data: DataSet | Text | Path | None = None,
        seed: int | None = None,
        make: Callable[..., Learner] = Kernel,
        *,
        command: str | None = None,
    ) -> Self:
        """A new run, by the method that the plan has a table of.

        ``data``: the data set or text, or the folder of the data set that the plan names.  ``make``: what
        learns by Equilibrium Propagation, of network, weights, ``learning_rate`` and ``counter``.
        """
        if isinstance(data, Text) != (plan.text is not None):
            raise ValueError("a network with [text] learns a text, one with [learning] or [rates] a data set")
        loaded = data if isinstance(data, DataSet | Text) else plan.load(data)
        usual = 0 if plan.text or plan.rates else plan.seeds[0]
        first = usual if seed is None else seed
        return cls(_backend(plan).start(plan, loaded, first, make), command=command or plan.command)

    @classmethod
    def resume(
        cls,
        folder: Path,
        data: DataSet | Text | Path | Sequence[Path] | None = None,
        *,
        name: str | None = None,
        epochs: int | None = None,
        make: Callable[..., Learner] = Kernel,
    ) -> Self:
        """The run that was saved in ``folder``.

        ``data``: the folder of its data set, the path of its user's own data or the paths of its text when
        they have moved, or the data set or text itself; ValueError when it is another one.
        ``name``: of the data set, where a certain one is asked for.  ``epochs`` lengthens or shortens the
        run, and with it the fall of the learning rate.
        """
        saved = read(folder)
        check_name(folder, saved.data, name)
        plan = saved.preset.changed(epochs=epochs)
        loaded = saved.load(folder, data)
        made, places = _backend(plan).resume(folder, saved, plan, loaded, make)
        history = list(saved.epochs[:places])
        marks = list(saved.marks[: max(0, places - len(saved.epochs))])
        return cls(made, history, marks, command=plan.command, version=saved.version)

    @property
    def plan(self) -> Description:
        return self.backend.plan

    @property
    def seed(self) -> int:
        return self.backend.seed

    @property
    def data(self) -> Any:
        """The data set, or the text."""
        return self.backend.data

    @property
    def network(self) -> Network:
        return self.backend.network

    @property
    def weights(self) -> Weights:
        return self.backend.weights

    @property
    def sizes(self) -> str:
        """Populations from the inputs to the outputs."""
        m = self.network.dynamic_attention
        first: object = self.data.n_features
        if m:
            first = f"{m.attention.size} tokens of {m.relay.width} x {m.relay.heads} heads"
        elif len(self.network.inputs) == 1 and self.network.inputs[0].shape:
            first = self.network.inputs[0].shape
        hidden = [p.shape or p.size for p in self.network.lif if p.name != self.network.output]
        return "-".join(map(str, (first, *hidden, self.network.n_outputs)))

    @property
    def done(self) -> bool:
        return len(self.history) >= self.plan.epochs

    def begin(self, folder: Path) -> None:
        """Save a run that has done nothing yet, so that it can be resumed, and one that goes on, as its files
        may be of different places.
        """
        if self._saved:
            return
        if self.history or self.marks:
            self.save(folder)
        else:
            self._mark(START, folder)

    def epoch(
        self,
        progress: Callable[[Progress], None] = lambda p: None,
        *,
        folder: Path | None = None,
        every: float = 30.0,
        test: bool = True,
    ) -> EpochRecord:
        """The next epoch, or what is left of the one under way, and the accuracy on the test set after it.

        With a ``folder`` the run is saved there at its beginning, after every epoch, and within it about
        every ``every`` seconds where the backend can.  Without ``test`` no
        accuracy is measured; such a run has no folder.
        """
        if folder and not test:
            raise ValueError("a run in a folder is tested after each epoch: leave out test=False, or folder")
        if folder:
            self.begin(folder)
        saved = time.perf_counter()
        marked: Weights | None = None

        def report(p: Progress) -> None:
            nonlocal saved, marked
            progress(p)
            # at the end too: the history names the epoch's weights only after network.npz has them
            if folder and p.mark and (p.samples == p.total or time.perf_counter() - saved >= every):
                marked = self._mark(p.mark, folder)
                saved = time.perf_counter()

        at = self.marks[-1] if self.marks else START
        done = self.backend.epoch(len(self.history), at, report, test=test)
        weights = marked or self.weights
        done = dataclasses.replace(done, counter=self.backend.counter, weights=digest(weights))
        self.history.append(done)
        self.marks.clear()
        self._saved = bool(marked)
        if folder and marked:  # all but the history is there
            results.write_json(folder / HISTORY, self.to_dict())
        elif folder:
            self.save(folder, weights)
        return done

    def train(self, *, test: bool = True) -> EpochRecord:
        """All epochs that are left, without a folder; the last one."""
        while not self.done:
            self.epoch(test=test)
        return self.history[-1]

    def _mark(self, at: Mark, folder: Path) -> Weights:
        """Save the run within an epoch; the weights."""
        weights = self.weights
        self.marks.append(dataclasses.replace(at, counter=self.backend.counter, weights=digest(weights)))
        self.save(folder, weights)
        return weights

    def to_dict(self) -> dict[str, Any]:
        """Content of history.json."""
        return History(
            data=self.data.name,
            data_digest=self.data.digest,
            version=results.version(),
            command=self.command,
            sizes=self.sizes,
            seed=self.seed,
            preset=self.plan,
            machine={**results.machine(), **self.backend.machine},
            epochs=tuple(self.history),
            marks=tuple(self.marks),
            about=self.data.about,
        ).to_dict()

    def save(self, folder: Path, weights: Weights | None = None) -> None:
        """All files; an interruption at any point leaves a folder that can be resumed."""
        if not self.backend.leads:
            return
        weights = weights or self.weights
        results.write_json(folder / HISTORY, self.to_dict())
        self.backend.save(folder, len(self.history))
        networks.save(folder / NETWORK, self.network, weights, about_data(self.data))
        self._saved = True


def read(folder: Path) -> History:
    """The history of the run in ``folder``, to go on with; ValueError names the file that is damaged."""
    found = saved_history(folder)
    if found is None:
        raise ValueError(f"there is no run in {folder}: it has no {HISTORY}")
    return found
