"""Jobs: new or resumed runs, each in its folder, one for each seed.

job = Job("train", Path("results/digits"), started(Request(data="digits")))
with job.runs() as runs:
    parallel.train(runs, ...)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from equilif.data import Name
from equilif.training.resolve import Request, resolve
from equilif.training.run import Run, read
from equilif.training.settings.tables import MAX_SEED, check_seed
from equilif.training.storage.folder import CURVE, RunFolder, folder_of, seed_folders
from equilif.training.storage.history import CHECKPOINT, HISTORY, NETWORK
from equilif.training.storage.records import other_version
from equilif_golden.kernel import Kernel

MAX_SEEDS = 1000

Make = Callable[..., Any]  #: of a learner, of network, weights, learning_rate and counter
Note = Callable[[str], Any]


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True)
class Job:
    """One run, or a run for each seed of a range.

    command : that trains: "train", "train-rates" or "train-text"
    out : folder of the run; of several runs the folder of their folders
    start : function that makes the new runs; its argument makes the learner
    seed : seed, or range of seeds; None: that of the settings
    resume : True resumes, False replaces the run in the folder, None refuses to replace one
    source : expected data of a resumed run: name, path, or paths of a text
    folder : folder of the files of a data set with a name
    epochs : new number of epochs of a resumed run; None: unchanged
    fixed : options that a resumed run keeps; ValueError if one is given
    leads : whether this process writes the files, of several that train the same run
    """

    command: str
    out: Path
    start: Callable[[Make], list[Run]]
    seed: int | range | None = None
    resume: bool | None = None
    source: Name | Path | Sequence[Path] | None = None
    folder: Path | None = None
    epochs: int | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    leads: bool = True

    def __post_init__(self) -> None:
        fixed = [f"--{name}" for name, value in self.fixed.items() if value is not None]
        if self.resume and fixed:
            raise ValueError(f"a resumed run keeps its settings: leave out {', '.join(fixed)}")

    @cached_property
    def seed_folders(self) -> list[Path]:
        """Folders of the runs of several seeds; none for a single run."""
        if self.resume:
            return seed_folders(self.out)
        return [folder_of(self.out, seed) for seed in self.seed] if isinstance(self.seed, range) else []

    @property
    def folders(self) -> list[Path]:
        return self.seed_folders or [self.out]

    @contextmanager
    def runs(self, make: Make = Kernel, note: Note = _silent) -> Iterator[dict[Path, Run]]:
        """The runs by their folders, which are locked.  ValueError if a folder holds another run, or none to
        resume; nothing is changed then.

        ``note``: called with what the user should know of a resumed run.
        """
        state = NETWORK if self.command == "train" else CHECKPOINT
        if self.resume and not self.seed_folders:
            RunFolder(self.out).require_run(state)
        with ExitStack() as held:
            if self.seed_folders:
                held.enter_context(RunFolder(self.out)).require_no_run()
            places = [held.enter_context(RunFolder(f, leads=self.leads)) for f in self.folders]
            for place in places:
                place.check(HISTORY, NETWORK, state, CURVE)
            if self.resume:
                runs = self._resumed(make, note)
            else:
                for place in places:
                    place.require_free(overwrite=self.resume is False)
                runs = self.start(make)
                for place in places:
                    place.clear()
            yield dict(zip(self.folders, runs, strict=True))
            for run in runs:
                run.backend.close()

    def _resumed(self, make: Make, note: Note) -> list[Run]:
        """The runs of these folders, which are of the same data."""
        first, *others = self.folders
        saved = read(first)
        command = saved.preset.command
        if command != self.command:
            raise ValueError(
                f"the run in {self.out} is one of `equilif {command}`: resume it with that command"
            )
        own = saved.about is not None
        if own and self.folder is not None:
            raise ValueError("--data is the folder of a named data set: give the path of the run's own data")
        moved = None if isinstance(self.source, Name) or not own else self.source
        name = None if moved or self.source is None else str(self.source)
        options: dict[str, Any] = {"epochs": self.epochs, "make": make}
        run = Run.resume(first, moved or self.folder, name=name, **options)
        if message := other_version(saved.version):
            note(message)
        return [run, *(Run.resume(f, run.data, name=run.data.name, **options) for f in others)]


def started(
    request: Request, seed: int | range | None = None, note: Note = _silent
) -> Callable[[Make], list[Run]]:
    """Start of a job from a request: a run, or one of each seed."""

    def start(make: Make) -> list[Run]:
        found = resolve(request)
        for text in found.notes:
            note(text)
        seeds = seed if isinstance(seed, range) else [seed]
        return [Run.start(found.description, found.data, number, make) for number in seeds]

    return start


def seeds(text: str | None) -> int | range | None:
    """A seed, or the seeds FIRST-LAST; ValueError for something else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"seed must be in 0..{MAX_SEED}, or several of them FIRST-LAST, not {text}")
    first = check_seed(int(found[1]))
    if found[2] is None:
        return first
    last = check_seed(int(found[2]))
    if not 0 <= last - first < MAX_SEEDS:
        raise ValueError(f"--seed FIRST-LAST is 1 to {MAX_SEEDS} seeds, not {text}")
    return range(first, last + 1)
