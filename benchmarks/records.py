"""List recorded results that are older than what they depend on.

A record is a file written by a command, or an entry of one.  Its key `inputs` has the digests of what it
depends on (benchmarks/inputs.py); it is current while they are those of the tree.  `commit` has the commit of
the measurement, with a `+` if the tree had uncommitted changes, `recorded` of older records the commit that
added them.  Full records are in build/records, which CI keeps as an artifact; the tree has summaries.
"""

from __future__ import annotations

import datetime
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from benchmarks import inputs
from benchmarks.inputs import FOLDERS, digest
from benchmarks.registry import RECORDS, Record

ROOT = inputs.ROOT
SUMMARIES = ROOT / "benchmarks" / "summaries"
FULL = ROOT / "build" / "records"
DESIGN = ("golden", "hdl")  #: folders whose commits make a record old
NO_CODE = (":(exclude)*.json", ":(exclude)*.md")
NOT_MEASURED = "not measured"


# -- files -----------------------------------------------------------------------------------------
def read(path: Path) -> dict[str, Any]:
    """Content of a record; empty without one."""
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def write(path: Path, content: Any, depth: int = 2) -> None:
    """Write a record with one line per entry down to ``depth``, for readable diffs."""
    from equilif_golden import files

    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, (_lines(content, depth) + "\n").encode())


def _lines(value: Any, depth: int, indent: str = "") -> str:
    if not depth or not value or not isinstance(value, dict | list):
        return json.dumps(value)
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_lines(item, depth - 1, inner)}" for key, item in value.items()]
        begin, end = "{}"
    else:
        items = [_lines(item, depth - 1, inner) for item in value]
        begin, end = "[]"
    return f"{begin}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{end}"


# -- commits ---------------------------------------------------------------------------------------
def _git(*arguments: str) -> str | None:
    """Output of git; None if it fails or there is no git or repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return None if done.returncode else done.stdout.strip()


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def stamp(record: str, entry: str = "") -> dict[str, Any]:
    """Date, commit and inputs for a new measurement; the commit is empty outside a repository."""
    commit = _git("rev-parse", "--short=9", "HEAD") or ""
    changed = bool(commit and _git("status", "--porcelain", "-uno", "--", *FOLDERS.values(), *NO_CODE))
    return {"date": today(), "commit": commit + "+" * changed, "inputs": digest(record, entry)}


class RecordState(NamedTuple):
    """``changed``: changed kinds of inputs; None if they cannot be computed here."""

    record: str
    entry: str
    commit: str
    date: str
    changed: str | None
    seconds: float | None = None

    @property
    def is_current(self) -> bool:
        return self.changed == ""

    @property
    def is_measured(self) -> bool:
        return self.changed != NOT_MEASURED

    @property
    def age(self) -> int:
        """Commits of RTL and golden model since the measurement; 0 if current or unknown."""
        commit = self.commit.removeprefix("recorded ").rstrip("+")
        if self.is_current or not self.is_measured or len(commit) < 7:
            return 0
        return int(_git("rev-list", "--count", f"{commit}..HEAD", "--", *DESIGN) or 0)


def state(record: Record, entry: str, known: Mapping[str, Any]) -> RecordState:
    """What has changed of the inputs of a record or entry."""
    commit = known.get("commit") or (f"recorded {known['recorded']}" if "recorded" in known else "-")
    measured = known.get("inputs", {})
    try:
        now = digest(record.name, entry)
    except ImportError:  # a package of another installation
        changed: str | None = None
    else:
        kinds = (kind for kind in now.keys() | measured.keys() if now.get(kind) != measured.get(kind))
        changed = ", ".join(sorted(kinds)) if measured else "no digest"
    return RecordState(record.name, entry, commit, known.get("date", ""), changed, known.get("seconds"))


def states(records: Iterable[Record] = RECORDS) -> Iterator[RecordState]:
    """States of all records and entries."""
    for record in records:
        content = read(ROOT / record.file)
        if not record.entries:
            yield state(record, "", content)
            continue
        entries = content.get(record.entries, {})
        for entry, known in entries.items():
            if found := known.get(record.part) if record.part else known:
                yield state(record, entry, found)
        for entry in _names(record.known):
            if entry not in entries:
                yield RecordState(record.name, entry, "-", "", NOT_MEASURED)


def _names(place: str) -> Iterable[str]:
    """Names in a table of benchmarks, if its packages are installed."""
    module, _, name = place.partition(".")
    try:
        return getattr(import_module(f"benchmarks.{module}"), name) if place else ()
    except ImportError:
        return ()


def main(*, all_: Annotated[bool, "list current records as well"] = False) -> None:
    every = list(states())
    for record in RECORDS:
        together: dict[str, list[str]] = defaultdict(list)
        for s in every:
            if s.record == record.name and (all_ or not s.is_current):
                changed = "not known here" if s.changed is None else s.changed or "current"
                together[changed if not s.is_measured else f"{s.commit}: {changed}"].append(s.entry)
        if together:
            print(f"{record.name}: {record.command()}")
        for what, entries in together.items():
            print(f"    {what}" + f": {'; '.join(entries)}" * bool(entries[0]))
    measured = [s for s in every if s.is_measured]
    current, unknown = (sum(map(f, measured)) for f in (lambda s: s.is_current, lambda s: s.changed is None))
    print(
        f"{len(measured)} results: {current} current, {unknown} not known here; "
        f"{len(every) - len(measured)} not measured"
    )
