"""Folders with a subfolder for each class, or the same below ``train`` and ``test``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from equilif_golden.files import RESULTS

RUN = "history.json"  #: in the folder of a run
PARTS = {"train", "test"}
#: endings of files that are recordings in a class folder, or a table with all samples
TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class Files:
    """Kinds of files that are samples: their ``endings``, and ``what`` they are, for messages."""

    endings: tuple[str, ...]
    what: str

    def among(self, path: Path) -> bool:
        """Whether a folder has such a file in one of its classes."""
        found = (p for pattern in ("*/*", "train/*/*", "test/*/*") for p in path.glob(pattern))
        return path.is_dir() and any(map(self.takes, found))

    def takes(self, path: Path) -> bool:
        return path.suffix.lower() in self.endings and not path.name.startswith(".") and path.is_file()

    def listed(self, path: Path) -> list[list[tuple[Path, str]]]:
        """Files and their classes of the one part that there is, or of training and test part."""
        return [self._part(part) for part in self._parts(path)]

    def _parts(self, path: Path) -> list[Path]:
        """Folders of training and test part, or the folder itself."""
        own = {f.name for f in self._folders(path)} == PARTS
        return [path / "train", path / "test"] if own else [path]

    def _folders(self, path: Path) -> list[Path]:
        """Folders of classes.  What commands write is none: the folder of a run, and RESULTS without samples
        in itself.
        """
        folders = (p for p in _visible(path) if p.is_dir() and not (p / RUN).exists())
        return [p for p in folders if p.name != RESULTS or any(map(self.takes, _visible(p)))]

    def _part(self, path: Path) -> list[tuple[Path, str]]:
        """ValueError when a class has no file."""
        folders = self._folders(path)
        if not folders:
            raise ValueError(_no_classes(path))
        found = []
        for folder in folders:
            files = [p for p in _visible(folder) if self.takes(p)]
            if not files:
                raise ValueError(
                    f"{folder} has no {self.what}: each folder in {path} is a class and holds its files"
                )
            found += [(file, folder.name) for file in files]
        return found

    def left_out(self, path: Path) -> list[str]:
        """A note when there are files that are not read."""
        n = 0
        for part in self._parts(path):
            within = [p for folder in self._folders(part) for p in _visible(folder)]
            n += sum(not self.takes(p) for p in within) + sum(not p.is_dir() for p in _visible(part))
        return [f"{n} files that are no {self.what} were left out"] if n else []


def require_classes(path: Path) -> None:
    """ValueError for a folder without class folders."""
    if not any(p.is_dir() for p in _visible(path)):
        raise ValueError(_no_classes(path))


def _no_classes(path: Path) -> str:
    """Advice for a folder without class folders."""
    files = [p for p in _visible(path) if p.is_file()]
    if not files:
        return f"{path} has no folders: it needs one for each class, with its files in it"
    found = (
        f"{path} has {len(files):,} files and no class folders: put the files of each class into a folder of "
        f"its name, such as {path / 'CLASS' / files[0].name}"
    )
    table = next((p for p in files if p.suffix.lower() in TABLES), None)
    return (
        f"{found}; or give a table, a sample in each row, by its file: {table} --label COLUMN"
        if table
        else found
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
