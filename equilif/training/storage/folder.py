"""The folder of a run: one run at a time writes into it, and a run that is there is not overwritten unasked.

While a run is under way its folder holds a lock, which the operating system releases however the process
ends, and a note that says who holds it.  Both are hidden files and gone afterwards.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from equilif.training.names import HISTORY, RUN
from equilif.training.storage.history import History, saved_history
from equilif_golden import files
from equilif_golden.extras import needs

with needs("cli"):
    from filelock import FileLock, Timeout

LOCK = ".equilif-lock"
OWNER = ".equilif-owner"
POINTS = "points"  #: folder of the points of a sweep
SEED = "seed-"  #: folder of one of several runs begins so: seed-3
#: figures (equilif.show.plots); see figure_path
CURVE = "learning_curve.png"
CONFUSION = "confusion.png"
SETTLING = "settling.png"
RECALL = "recall.png"
ATTENTION = "attention.png"
NEIGHBOURS = "neighbours.png"
DEPLOYMENT = "deployment.png"
PARETO = "pareto.png"
SAMPLES = "samples.png"
#: formats of figures, and the variable that holds the format of this process and those that it starts
FORMATS = ("png", "svg", "pdf")
FORMAT = "EQUILIF_FIGURES"
#: the page of `equilif report`
REPORT = "report.html"
#: of `equilif demo`
RESULTS = "results.json"
BITSTREAM = "bitstream.json"
LOG = "bitstream.log"
#: what is made of a run
MADE = (
    *(
        str(Path(name).with_suffix(f".{format}"))
        for name in (CURVE, CONFUSION, SETTLING, DEPLOYMENT, ATTENTION, NEIGHBOURS)
        for format in FORMATS
    ),
    REPORT,
    RESULTS,
    BITSTREAM,
    LOG,
)


def figure_path(folder: Path, name: str) -> Path:
    """File of a figure in the format of `equilif --figures`."""
    return (folder / name).with_suffix(f".{os.environ.get(FORMAT, FORMATS[0])}")


def folder_of(out: Path, seed: int) -> Path:
    """Folder of the run of one seed."""
    return out / f"{SEED}{seed}"


def seed_folders(out: Path) -> list[Path]:
    """Folders of the runs of a seed range below ``out``, by number."""
    numbers = {p: p.name.removeprefix(SEED) for p in out.glob(f"{SEED}*") if (p / HISTORY).exists()}
    return sorted((p for p, n in numbers.items() if n.isdecimal()), key=lambda p: int(numbers[p]))


class RunFolder:
    """A folder, locked for the run that enters it; ValueError when another run is in it.

        with RunFolder(Path("results/digits")) as folder:
            folder.require_free(overwrite=False)    # a run that is there stays
            ...                                     # everything that can be refused
            folder.clear()                          # with ``overwrite`` it goes now

    ``leads``: of several processes that make the same run, one locks and clears the folder for all.
    """

    def __init__(self, path: Path, *, leads: bool = True):
        self.path = path
        self.leads = leads
        self._made: list[Path] = []
        self._replace = False
        self._lock = FileLock(path / LOCK)

    def __enter__(self) -> Self:
        if not self.leads:
            return self
        try:
            files.changes(self.path / name for name in RUN)
            self._make()
            self._lock.acquire(timeout=0)
            files.write(self.path / OWNER, json.dumps(_me()).encode())
        except Timeout:
            raise ValueError(
                f"{self.path} is in use by {self._owner()}: wait until it has ended, or give another --out"
            ) from None
        except OSError as e:
            self._leave()
            raise ValueError(f"nothing can be written into {self.path}: {e.strerror or e}") from e
        files.sweep(self.path, (*RUN, *MADE, OWNER))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _make(self) -> None:
        """The folder, and those above it that are missing."""
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._made.insert(0, folder)
        if not self.path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder")

    def _leave(self) -> None:
        """Take lock and note away, and the folders that were made for nothing."""
        if self._lock.is_locked:
            (self.path / OWNER).unlink(missing_ok=True)
            (self.path / LOCK).unlink(missing_ok=True)
            self._lock.release()
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # it holds something
                break

    def _owner(self) -> str:
        """Owner of the lock, as far as it is known."""
        try:
            o = json.loads((self.path / OWNER).read_bytes())
            owner = f"process {o['pid']} on {o['host']}, `{o['command']}`, since {o['start']}"
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "another run"
        return " ".join(owner.split())

    # -- what is there -----------------------------------------------------------------------------
    def require_run(self, name: str) -> None:
        """ValueError unless there is a run to go on with, which has a file ``name``."""
        if not (self.path / name).exists():
            raise ValueError(f"there is no run to resume in {self.path}: it has no {name}")

    def require_free(self, *, overwrite: bool, owner: str | None = None) -> None:
        """ValueError unless a new run may begin here: nothing is there, or it may be replaced.

        ``owner``: command whose earlier runs may be replaced unasked.
        """
        if not self.leads:
            return
        if (self.path / POINTS).is_dir():
            raise ValueError(f"{self.path} holds a sweep: give another --out")
        if seed_folders(self.path):
            raise ValueError(f"{self.path} holds runs of several seeds: give another --out")
        names = [name for name in RUN if os.path.lexists(self.path / name)]
        if not names or self._only_begun(names):
            return
        what, found = self._described(names)
        self._replace = overwrite or owner is not None and found is not None and found.command == owner
        if not self._replace:
            resume = f"equilif {found.preset.command} --resume --out" if found else ""
            raise ValueError(
                f"{self.path} holds {what}: "
                + (f"resume it with `{resume} {shlex.quote(str(self.path))}`, " if found else "")
                + "use --overwrite to replace it, or give another --out"
            )
        for name in (*RUN, *MADE):
            if (self.path / name).is_dir():
                raise ValueError(f"{self.path / name} is a folder, it is not overwritten: give another --out")

    def _only_begun(self, names: Sequence[str]) -> bool:
        """Whether a run was interrupted before it saved a network, so that it cannot be resumed."""
        if list(names) != [HISTORY]:
            return False
        try:
            found = saved_history(self.path)
        except (OSError, ValueError):
            return False
        return found is not None and not found.begun

    def _described(self, names: Sequence[str]) -> tuple[str, History | None]:
        """Description of the run in the folder, and its history where that can be read."""
        try:
            found = saved_history(self.path)
        except (OSError, ValueError) as e:
            return f"files of a run, {', '.join(names)} ({e})", None
        if found is None:
            return ", ".join(names), None
        done = (
            f"a run of {found.data}, {found.sizes}, {len(found.epochs)} of {found.preset.epochs} epochs done"
        )
        right = f", {found.epochs[-1].test_accuracy:.2%} right" if found.epochs else ""
        return done + right, found

    def require_no_run(self) -> None:
        """ValueError when there is a run: a sweep, or runs of several seeds, have a folder of their own."""
        names = [name for name in RUN if os.path.lexists(self.path / name)]
        if names:
            raise ValueError(f"{self.path} holds {self._described(names)[0]}: give another --out")

    def check(self, *names: str) -> None:
        """Try files that will be written only at the end; OSError names the one that cannot be."""
        for name in names:
            files.check(self.path / name)

    def clear(self) -> None:
        """Remove the run that may be replaced, and all that was made of it: nothing stale stays."""
        if self._replace:
            for name in (*RUN, *MADE):
                (self.path / name).unlink(missing_ok=True)


def _me() -> dict[str, object]:
    """Identification of this process for others that meet the lock."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "command": shlex.join(["equilif" if program == "__main__.py" else program, *sys.argv[1:]]),
        "start": datetime.now().isoformat(" ", "seconds"),
    }
