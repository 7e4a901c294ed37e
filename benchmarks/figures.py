"""Published figures: rows of figures.toml, which README and manual show.

Without options, the rows are listed whose paths differ from the commit at which they were measured.  Such
rows are allowed between releases; a release measures them again or removes them.  --run runs the command of a
row and replaces value, commit and date.

A page has the value of a row between `<!-- NAME -->` and `<!-- end of NAME -->`: within a line the value
alone, on separate lines with date, commit and command.
"""

from __future__ import annotations

import datetime
import json
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tomlkit

from benchmarks.common import ROOT, Data, choose
from equilif.hardware import boards
from equilif_golden import files

FILE = ROOT / "figures.toml"
ACCURACY = "accuracy"  #: table of the trained networks
MARKED = re.compile(r"<!-- ([a-z0-9.-]+) -->(.*?)<!-- end of \1 -->", re.S)
KILOWEIGHTS = 1024

Row = Mapping[str, Any]


# -- rows ------------------------------------------------------------------------------------------
def rows() -> dict[str, Row]:
    """All rows by name; a trained network is ``accuracy.NAME``."""
    known = tomllib.loads(FILE.read_text())
    networks = known.pop(ACCURACY)
    return {**{f"{ACCURACY}.{name}": row for name, row in networks.items()}, **known}


def value(row: Row) -> str:
    """Text of a value; of several seeds the mean and the range."""
    if "values" not in row:
        return str(row["value"]).strip()
    found = row["values"]
    mean = f"{sum(found) / len(found):.2f} %"
    if len(found) == 1:
        return f"{mean} (1 seed)"
    return f"{mean} ({min(found):.2f} to {max(found):.2f}, {len(found)} seeds)"


def command(row: Row, data: str = "D") -> str:
    """Command of a row for the folder of the data sets."""
    return str(row["command"]).replace("{data}", data)


def is_stale(row: Row) -> bool:
    """Whether the paths of a row differ from its commit, or the commit is not known."""
    done = subprocess.run(
        ["git", "diff", "--quiet", row["commit"], "--", *row["paths"]], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    return bool(done.returncode)


def measure(row: Row, data: Path | None) -> str | list[float]:
    """Run the command of a row: its value, or the accuracy in per cent for each seed."""
    if "{data}" in row["command"] and data is None:
        raise ValueError(f"{row['command']} needs --data, the folder of the data sets")
    words = shlex.split(command(row, shlex.quote(str(data and data.resolve()))))
    words = [sys.executable, *(words[1:] if words[0] == "python" else ["-m", *words])]
    with tempfile.TemporaryDirectory() as folder:
        if "values" in row:
            out = Path(folder) / "result.json"
            subprocess.run([*words, "--json", str(out), "--out", f"{folder}/run"], check=True, cwd=ROOT)
            found = json.loads(out.read_text())
            return [round(100 * r["epochs"][-1]["test_accuracy"], 2) for r in found.get("runs", [found])]
        output = subprocess.run(words, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    match = re.search(row.get("shows", r"(?s).+"), output)
    if match is None:
        raise ValueError(f"the output of {command(row)} does not have {row['shows']}")
    text = match[match.re.groups].strip()
    return f"\n```text\n{text}\n```" if "\n" in text else text


def remeasure(name: str, data: Path | None) -> None:
    """Replace value, commit and date of a row."""
    found = measure(rows()[name], data)
    content = tomlkit.parse(FILE.read_text())
    table, _, entry = name.rpartition(".")
    row: Any = content[table][entry] if table else content[entry]
    if isinstance(found, list):
        row["values"] = found
    else:
        row["value"] = tomlkit.string(found, multiline="\n" in found, literal="\n" in found)
    row["commit"] = subprocess.check_output(
        ["git", "rev-parse", "--short=9", "HEAD"], cwd=ROOT, text=True
    ).strip()
    row["date"] = datetime.datetime.now(datetime.UTC).date()
    files.write(FILE, tomlkit.dumps(content).encode())


# -- pages -----------------------------------------------------------------------------------------
def table(head: str, cells: Iterable[Sequence[object]]) -> str:
    """Markdown table; ``head``: the column titles, separated by `` | ``."""
    lines = [f"| {head} |", "|---" * (head.count(" | ") + 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in cells)])


def origin(row: Row) -> str:
    return f"{row['date']}, {row['commit']}"


def networks(known: Mapping[str, Row]) -> str:
    """Accuracies of all trained networks."""
    return table(
        "data | network | learned by | epochs | test accuracy | date, commit | command",
        (
            (r["data"], r["network"], r["learned_by"], r["epochs"], value(r), origin(r), f"`{command(r)}`")
            for r in known.values()
            if "values" in r
        ),
    )


def networks_of_readme(known: Mapping[str, Row]) -> str:
    """Accuracies of the networks that have a short name."""
    shown = [r for r in known.values() if "short" in r]
    dates = sorted(r["date"] for r in shown)
    head = "network | learned by | test accuracy, bit-accurate, batch 1"
    rows = table(head, ((r["short"], r["learned_by"], value(r)) for r in shown))
    note = "[results](docs/reference/results.md) has commits and commands"
    return f"{rows}\n\n*Measured {dates[0]} to {dates[-1]}; {note}.*"


def _f_max(row: Row) -> str:
    """f_max in MHz of the slowest seed."""
    return f"{min(row['f_max_by_seed'].values()):.1f}"


def boards_of_readme() -> str:
    """One row for boards with the same FPGA and engine."""
    alike: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in (r for r in boards.report() if "build" in r):
        board, _, device = row["title"].removesuffix(")").partition(" (")
        attention = ", attention" * row["attention"]
        engine = f"{row['lanes']} lanes, {row['weights'] // KILOWEIGHTS} K weights{attention}"
        alike[device, engine, row["network"]].append((board, _f_max(row)))
    rows = table(
        "board | engine | largest MNIST network | f_max",
        (
            (
                f"{', '.join(b for b, _ in built)} ({device})",
                engine,
                network,
                f"{', '.join(f for _, f in built)} MHz",
            )
            for (device, engine, network), built in alike.items()
        ),
    )
    return (
        f"{rows}\n\n*After place and route; [boards](docs/reference/boards.md) has the commit of each build.*"
    )


def board_table() -> str:
    """Engine, utilisation, clock and speed of every board."""
    cells, builds = [], []
    for row in (r for r in boards.report() if "build" in r):
        rates, cycles, logic = row["samples_per_second"], row["cycles"], row["logic"]
        cells.append(
            (
                f"[{row['title'].partition(' (')[0]}](boards/{row['board']}.md)",
                row["cost_usd"],
                row["lanes"],
                f"{row['weights']:,}",
                "".join(name[0].upper() for name in ("attention", "errors", "standalone") if row[name]),
                f"{100 * logic['used'] / logic['available']:.0f} %",
                _f_max(row),
                f"{row['clock_hz'] / 1e6:g}",
                row["network"],
                f"{cycles['training']:,.0f}",
                f"{rates['training']['engine']:,.0f}",
                f"{row['link']}: {rates['training']['both']:,.0f}",
            )
        )
        builds.append(f"{row['board']} {row['commit']} ({len(row['f_max_by_seed'])} seeds)")
    rows = table(
        "board | price ($) | lanes | weights | has | logic | f_max (MHz) | "
        "clock (MHz) | network | cycles | train/s, engine | train/s, link",
        cells,
    )
    return f"{rows}\n\n" + textwrap.fill(
        f"Commits of the builds: {', '.join(builds)}.", 110, break_on_hyphens=False
    )


def origins(text: str, known: Mapping[str, Row]) -> str:
    """Dates and commits of the figures within the lines of a page."""
    names = sorted({m[1] for m in MARKED.finditer(text) if m[1] in known and not m[2].startswith("\n")})
    shown = "; ".join(f"{name} {origin(known[name])}" for name in names)
    return textwrap.fill(f"Figures in the text: {shown}.", 110, break_on_hyphens=False)


def content(name: str, known: Mapping[str, Row], page: str, *, is_block: bool) -> str:
    """Text between two markers of a page; KeyError for an unknown name."""
    tables = {
        "measured": lambda: origins(page, known),
        "accuracy": lambda: networks(known),
        "accuracy-summary": lambda: networks_of_readme(known),
        "boards": board_table,
        "board-summary": boards_of_readme,
    }
    if name in tables:
        return tables[name]()
    row = known[name]
    if not is_block:
        return value(row)
    measured = textwrap.fill(f"*Measured {origin(row)}: `{command(row)}`.*", 110, break_on_hyphens=False)
    return f"{value(row)}\n\n{measured}"


def filled(text: str, known: Mapping[str, Row]) -> str:
    """A page with the values of the rows."""

    def put(found: re.Match[str]) -> str:
        name, old = found.groups()
        around = "\n\n" if old.startswith("\n") else ""
        new = content(name, known, text, is_block=bool(around))
        return f"<!-- {name} -->{around}{new}{around}<!-- end of {name} -->"

    return MARKED.sub(put, text)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main(
    *,
    run: Annotated[Sequence[str], "rows to measure again"] = (),
    data: Data | None = None,
    write: Annotated[bool, "put the rows into the pages"] = False,
    check: Annotated[bool, "exit code 1 if a page differs from the rows"] = False,
) -> int:
    for name in choose(run, rows(), "figure") if run else ():
        remeasure(name, data)
        print(f"{name}: {value(rows()[name])}", flush=True)
    known = rows()
    if check or write or run:
        changed = {page: new for page in pages() if (new := filled(text := page.read_text(), known)) != text}
        for page, new in changed.items():
            if check:
                print(f"{page.relative_to(ROOT)} differs: python -m benchmarks figures --write")
            else:
                files.write(page, new.encode())
        return int(check and bool(changed))
    stale = [name for name, row in known.items() if is_stale(row)]
    for name in stale:
        print(f"{name}: {origin(known[name])}; {command(known[name], 'DIR')}")
    print(f"{len(known)} figures, {len(stale)} stale")
    return 0
