"""List recorded results whose inputs have changed since their commit.

A record is a file written by a command, or an entry of one.  Its key `commit` has the commit of the
measurement, with a `+` if inputs had uncommitted changes.  Older records have the commit that added them
(`recorded`); otherwise the last commit of the file counts.  Full records are in build/records, which CI keeps
as an artifact; the tree has summaries.

Needs the standard library and git only.  A commit is *unknown* if an entry has none or the clone lacks it.
"""

from __future__ import annotations

import datetime
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from benchmarks.claims import CLAIMS, SIMULATED
from benchmarks.registry import RECORDS, Record

ROOT = Path(__file__).parents[1]
SUMMARIES = ROOT / "benchmarks" / "summaries"
FULL = ROOT / "build" / "records"


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


def stamp(inputs: Iterable[str] = SIMULATED) -> dict[str, str]:
    """Date and commit for a new measurement; the commit is empty outside a repository."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    commit = _git("rev-parse", "--short=9", "HEAD") or ""
    changed = bool(commit and _git("status", "--porcelain", "--", *inputs))
    return {"date": today, "commit": commit + "+" * changed}


class RecordState(NamedTuple):
    """``changed``: changed input files; None if the commit is unknown."""

    record: str
    entry: str
    commit: str
    changed: str | None

    @property
    def is_current(self) -> bool:
        return self.changed == ""


@cache
def _recorded(file: str) -> str:
    """The last commit that changed a file; empty if unknown."""
    if _git("rev-parse", "--is-shallow-repository") != "false":
        return ""  # the oldest commit of a shallow clone seems to have changed every file
    return _git("log", "-1", "--format=%h", "--", file) or ""


@cache
def _changed(commit: str, inputs: tuple[str, ...]) -> str | None:
    if not commit or _git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        return None
    return _git("diff", "--shortstat", commit, "--", *inputs)


def state(record: Record, entry: str, inputs: Sequence[str], known: Mapping[str, Any]) -> RecordState:
    """Changes of the inputs of a record or entry since its commit."""
    measured = known.get("commit", "")
    since = measured.rstrip("+") or known.get("recorded", "")
    if not since and not record.entries:  # the last change of a file may concern another entry
        since = _recorded(record.file)
    shown = measured or (f"recorded {since}" if since else "-")
    return RecordState(record.name, entry, shown, _changed(since, tuple(inputs)))


def states(records: Iterable[Record] = RECORDS) -> Iterator[RecordState]:
    """States of all records and entries."""
    inputs_of_claims = {claim.name: claim.inputs for claim in CLAIMS}
    for record in records:
        try:
            content = read(ROOT / record.file)
        except ValueError:
            content = {}
        if not record.entries:
            yield state(record, "", record.inputs, content)
            continue
        for entry, known in content.get(record.entries, {}).items():
            if record.part:
                known = known.get(record.part)
            if known is None:
                continue
            yield state(record, entry, record.inputs or inputs_of_claims.get(entry, SIMULATED), known)


def main(*, all_: Annotated[bool, "list current records as well"] = False) -> None:
    every = list(states())
    for record in RECORDS:
        together: dict[tuple[str, str | None], list[str]] = defaultdict(list)
        for s in every:
            if s.record == record.name and (all_ or not s.is_current):
                together[s.commit, s.changed].append(s.entry)
        if together:
            print(f"{record.name}: {record.command.format(entry='ENTRY')}")
        for (commit, changed), entries in together.items():
            since = "unknown" if changed is None else changed or "current"
            print(f"    {commit}: {since}" + f": {'; '.join(entries)}" * bool(entries[0]))
    current = sum(s.is_current for s in every)
    unknown = sum(s.changed is None for s in every)
    print(f"{len(every)} results: {current} current, {unknown} with unknown commit")
