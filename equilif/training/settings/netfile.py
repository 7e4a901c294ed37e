"""A network in a file: populations, synapses, phases and learning, as TOML.

    [population.input]
    kind = "input"

    [population.hidden]
    size = 64

    [population.output]
    kind = "output"

    [[synapse]]
    from = ["input", "bias"]
    to = "hidden"
    ...

docs/reference/network_files.md has all keys.  A file with an error raises a PlacedError of one line that
names file, line and key.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equilif.data.sets.characters import Text
from equilif.data.sets.dataset import DataSet
from equilif.training.names import reads_run
from equilif.training.settings.description import Description
from equilif.training.settings.tables import (
    METHODS,
    PLAIN_INPUT,
    TABLES,
    NumbersTable,
    PopulationTable,
    SynapseTable,
    Tables,
    keys,
    synapse_of,
)
from equilif_golden import files
from equilif_golden import network as networks
from equilif_golden.network import Network
from equilif_golden.places import Place, PlacedError
from equilif_golden.schedule import Schedule

SUFFIX = ".toml"
MAX_BYTES = 1 << 20  #: of a file
#: what a line is marked by to find it: a character without a meaning, of those that a comment may have
MARK = "\ue000"
COLUMN = 30  #: of the comments in a file that is written
#: what a kind of population is, for those who read a file
KINDS = {
    "input": "the values of a sample",
    "constant": "constant rate 1: its synapses are biases",
    "lif": "",
    "output": "nudged towards the class; its most active neuron is the answer",
    "relay": "queries to an attention layer, and its answers",
    "self_attention": "attention of positions of maps to each other",
    "attention": "attention layer: patterns, and the softmax over their matches",
}
OPEN = {
    "input": "as many as a sample has values",
    "output": "as many as there are classes",
    "relay": "heads times the width of a token",
}
TABLE = "the patterns learn: they are rows of a table, as large as the data's"


# -- reading ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class NetFile:
    """A file that was read, and its text."""

    path: Path
    text: str
    description: Description

    @contextmanager
    def places(self) -> Iterator[None]:
        """A ValueError from here is one of this file, with the line of its place."""
        try:
            yield
        except ValueError as e:
            raise _located(self.path, self.text, e) from e

    def network(self, d: DataSet | Text | None = None) -> Network:
        """The network, for these data; without them every population needs a size."""
        with self.places():
            return self.description.network(d)

    def preset(self, data: str, *, text: bool = False) -> Description:
        """Description for training on a data set or text of this name; ValueError without [learning] or
        [text].
        """
        with self.places():
            _ = self.description.require_text() if text else self.description.require_learning()
            return self.description.for_data(data)


def network_of(path: Path) -> Network:
    """The network of a network file or of a saved network; ValueError names the file."""
    if path.suffix == SUFFIX:
        return read(path).network()
    reads_run(path.parent)
    return networks.load(path)[0]


def read(path: str | Path, data: str = "this network") -> NetFile:
    """The network of a file, for ``data``; ValueError names file, line and key of what is wrong."""
    path = Path(path)
    files.reads(path)
    with path.open("rb") as f:
        content = f.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is not a network file: it is larger than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content[: e.start].count(b"\n") + 1
        raise _at(path, line, "it is not UTF-8 text, so it is not a network file") from e
    try:
        raw = tomllib.loads(text)
    except RecursionError as e:
        raise ValueError(f"{path} is not a network file: it is nested too deeply") from e
    except ValueError as e:
        raise _syntax(path, text, str(e)) from e
    try:
        return NetFile(path, text, _described(raw, data))
    except PlacedError as e:
        raise _located(path, text, e) from e


#: keys of [phases] that a file may have without effect only with their defaults
CHECKED = ("error_gain", "min_windows")


def _described(content: Tables, data: str) -> Description:
    """The description of a file; PlacedError for a key without effect."""
    found = Description.of(content, data)
    for key in CHECKED:
        if _idle(found, key):
            raise PlacedError(found.schedule.idle(key), ("phases", key))
    return found


def _idle(description: Description, key: str) -> bool:
    """Whether a key of [phases] has a value other than its default, and no effect."""
    schedule = description.schedule
    return bool(getattr(schedule, key) != getattr(Schedule(), key) and schedule.idle(key))


def _syntax(path: Path, text: str, message: str) -> ValueError:
    """Error about a file that is not valid TOML.

    Before Python 3.14 the line is in the text of tomllib's error only.
    """
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message, re.S)
    if found is None:
        return ValueError(f"{path} is not a network file: {message}")
    line = int(found[2] or max(1, len(text.splitlines())))
    what = found[1].replace("Cannot overwrite a value", "this key is there twice")
    return _at(path, line, f"it is not valid TOML: {what[0].lower()}{what[1:]}")


def _located(path: Path, text: str, error: ValueError) -> PlacedError:
    """An error with file and line, by the place of its value."""
    place = error.place if isinstance(error, PlacedError) else ()
    return _at(path, line_of(text, place), str(error), place)


def _at(path: Path, line: int | None, problem: str, place: Place = ()) -> PlacedError:
    """Error about a line of a file; None: about the whole file."""
    at = f"{path}, line {line}" if line else str(path)
    return PlacedError(f"{at}: {problem}", place, file=path, line=line)


def line_of(text: str, place: Place) -> int | None:
    """The line of a key or table, or of what it is in; None for the whole file, or without tomlkit.

    tomlkit keeps a file as it was written: a comment that is put at the place is found in its text.
    """
    try:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError
        from tomlkit.items import AoT, Array, InlineTable, Table
    except ModuleNotFoundError:
        return None
    # longer than what the file may have of it
    mark = MARK * (1 + max(map(len, re.findall(f"{MARK}+", text)), default=0))
    for n in range(len(place), 0, -1):
        try:
            document = tomlkit.parse(text)
            at: Any = document
            for key in place[:n]:
                if isinstance(at, InlineTable):
                    break
                at = at.item(key) if hasattr(at, "item") else at[key]
            while isinstance(at, AoT) or isinstance(at, Table) and at.is_super_table():
                at = at[0] if isinstance(at, AoT) else at.item(next(iter(at)))  # it has no line itself
            at.comment(mark)
        except (TOMLKitError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
            continue
        marked = document.as_string()
        if mark in marked:
            more = at.as_string().rstrip().count("\n") if isinstance(at, Array) else 0
            return marked[: marked.index(mark)].count("\n") + 1 - more
    return None


# -- writing ---------------------------------------------------------------------------------------
def written(description: Description, *, heading: Sequence[str] = (), brief: bool = False) -> str:
    """A file of it, with comments; ``heading``: lines above all; ``brief``: without defaults."""
    d = description
    method = next((name for name in METHODS if getattr(d, name)), None)
    learns = f", and how it learns {d.data}" if method else ""
    first = [f"# A network{learns}.", *(f"# {line}" for line in heading)]
    populations = [_population(name, g) for name, g in d.population.items()]
    synapses = [_joint(s) for s in d.synapse]
    parts = [
        "\n".join(map(_one_line, first)) + "\n",
        "# Populations, in the order in which they are updated.\n" + populations[0],
        *populations[1:],
        "# Synapses: spikes go both ways, through the same weights.\n" + synapses[0],
        *synapses[1:],
        _lines("phases", d, brief=brief),
    ]
    if d.numbers != NumbersTable():
        parts.append(_lines("numbers", d, brief=brief))
    if method:
        relay = any(g.kind == "relay" for g in d.population.values())
        parts.append(_lines(method, d, brief=brief))
        if not d.text:
            parts.append(_lines("start", d, () if relay else ("query",), brief=brief))
    if d.loading:
        lines = [f"{_name(k)} = {toml(v)}" for k, v in d.loading.items()]
        parts.append("\n".join(["[loading]", *lines]) + "\n")
    return "\n".join(filter(None, parts))


def _population(name: str, group: PopulationTable) -> str:
    lines = [f"[population.{_name(name)}]"]
    silent = [("kind", "lif"), *PLAIN_INPUT]
    if group.shape is not None or group.kind == "constant":
        silent.append(("size", 1 if group.shape is None else group.size))
    for key, value in group.model_dump(exclude_none=True).items():
        if (key, value) not in silent:
            note = KINDS[group.kind] if key == "kind" else TABLE if (key, value) == ("table_rows", 0) else ""
            lines.append(_line(key, value, note))
    if group.size is None:
        lines.append(f"# size: {OPEN[group.kind]}")
    return "\n".join(lines) + "\n"


def _joint(synapse: SynapseTable) -> str:
    """A synapse, without what its defaults say."""
    names = synapse.from_
    given: dict[str, Any] = {"from": names if len(names) > 1 else names[0], "to": synapse.to}
    given |= synapse_of(names[0], synapse).given
    return "\n".join(["[[synapse]]", *(f"{key} = {toml(value)}" for key, value in given.items())]) + "\n"


def _lines(name: str, description: Description, without: Sequence[str] = (), *, brief: bool = False) -> str:
    """A table, each key with what it means; a key of no value is a comment.  ``brief``: without defaults, and
    empty if nothing is left.
    """
    table = getattr(description, name)
    lines = []
    for key, text in keys(name).items():
        value = getattr(table, key)
        note = text.meaning
        if name == "phases" and key in CHECKED and _idle(description, key):
            continue
        if key not in without and not (brief and value == type(table).model_fields[key].default):
            lines.append(f"# {key} = ...  {note}".rstrip() if value is None else _line(key, value, note))
    return "\n".join([f"[{name}]", *lines]) + "\n" if lines else ""


def _line(key: str, value: Any, note: str) -> str:
    line = f"{key} = {toml(value)}"
    return f"{line:<{COLUMN}}# {note}" if note else line


def _one_line(text: str) -> str:
    """A text in a comment."""
    return "".join(c if c.isprintable() else " " for c in text)


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value)


# -- documentation ---------------------------------------------------------------------------------
def table() -> str:
    """All keys, as sections of Markdown with a table each: docs/reference/network_files.md."""
    rows: list[str] = []
    for name, kind in TABLES.items():
        what = " ".join(str(kind.__doc__).split())
        rows += ["", f"### {name}", "", what, ""]
        rows += ["| key | default | values | meaning |", "|---|---|---|---|"]
        for key, text in keys(name).items():
            code = re.fullmatch(r'[\d.\[\], -]+|true|false|".*"', text.default)
            default = f"`{text.default}`" if code else text.default or "required"
            meaning = text.meaning.replace("*", "\\*")
            rows.append(f"| `{key}` | {default} | {text.values} | {meaning} |")
    return "\n".join(rows[1:])


if __name__ == "__main__":
    print(table())
