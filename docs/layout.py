"""Draw the imports between folders, from the code: ``python docs/layout.py`` writes docs/layout.svg.

A box is a folder of a package, or a module next to folders.  A box is above everything that it imports, so
every arrow points down.  Arrows implied by others (A to B to C implies A to C) and imports inside functions
are left out.  ``tests/repository/test_docs.py`` compares the picture with the code.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "equilif_golden": ROOT / "golden" / "equilif_golden",
    "equilif_hdl": ROOT / "hdl" / "equilif_hdl",
    "equilif_sim": ROOT / "sim" / "equilif_sim",
    "equilif_boards": ROOT / "boards" / "equilif_boards",
    "equilif": ROOT / "equilif",
}
COLOURS = {
    "equilif_golden": "#f2d48f",
    "equilif_hdl": "#b7d7b0",
    "equilif_sim": "#b5d3ea",
    "equilif_boards": "#dcc6e6",
    "equilif": "#f3c4b8",
}

#: folders that hold nothing but their packages
EMPTY = {"equilif_golden", "equilif_hdl", "equilif_sim", "equilif"}
#: where a package's boxes stand, from left to right
COLUMNS = {
    "equilif_golden": (0.0, 4.4),
    "equilif_hdl": (4.5, 6.6),
    "equilif_sim": (6.8, 10.0),
    "equilif_boards": (10.2, 11.2),
    "equilif": (11.4, 16.4),
}

Edges = Counter[tuple[str, str]]


def modules() -> dict[str, Path]:
    """Dotted name of every module -> its file."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the project that a file imports when it is imported itself."""
    tree = ast.parse(path.read_text())
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) or _only_for_types(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in lazy:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                name = deeper if deeper in known else node.module
                if name in known:
                    yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def box(module: str) -> str:
    """The box that a module lies in: its folder, or itself where it stands beside folders."""
    package, *rest = module.split(".")
    if package == "equilif_boards" or not rest:
        return package
    return f"{package}.{rest[0]}"


def edges() -> Edges:
    """Number of imports from one box to another."""
    known = modules()
    found: Edges = Counter()
    for module, path in known.items():
        for name in imported(path, known):
            ends = box(module), box(name)
            if ends[0] != ends[1] and ends[1] not in EMPTY:
                found[ends] += 1
    return found


def direct(found: Edges) -> Edges:
    """Those edges that no way over a third box implies."""
    after: dict[str, set[str]] = {}
    for start, to in found:
        after.setdefault(start, set()).add(to)

    def beyond(start: str) -> set[str]:
        reached: set[str] = set()
        left = list(after.get(start, ()))
        while left:
            b = left.pop()
            if b not in reached:
                reached.add(b)
                left += after.get(b, ())
        return reached

    implied = {(a, c) for a in after for b in after[a] for c in beyond(b)}
    return Counter({edge: n for edge, n in found.items() if edge not in implied})


def floors(found: Edges) -> dict[str, int]:
    """Floor of every box, from 0; ValueError when boxes import each other in a circle."""
    boxes = {b for edge in found for b in edge}
    below = {b: {to for (start, to) in found if start == b} for b in boxes}
    known: dict[str, int] = {}
    while len(known) < len(boxes):
        ready = [b for b in boxes - set(known) if below[b] <= set(known)]
        if not ready:
            raise ValueError(f"these import each other in a circle: {', '.join(sorted(boxes - set(known)))}")
        for b in ready:
            known[b] = 1 + max((known[to] for to in below[b]), default=-1)
    return known


def draw(target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = edges()
    floor = floors(found)
    rows: dict[tuple[str, int], list[str]] = {}
    for b in sorted(floor):
        rows.setdefault((b.split(".")[0], floor[b]), []).append(b)
    place = {}
    for (package, level), boxes in rows.items():
        left, right = COLUMNS[package]
        for k, b in enumerate(boxes):
            place[b] = (left + (k + 0.5) * (right - left) / len(boxes), level)
    widest = max(right for _, right in COLUMNS.values())
    top = max(floor.values())
    figure, axes = plt.subplots(figsize=(0.95 * widest, 0.8 * (top + 1)))
    for (start, to), n in direct(found).items():
        (x0, y0), (x1, y1) = place[start], place[to]
        arrow = axes.annotate(
            "",
            (x1, y1 + 0.2),
            (x0, y0 - 0.2),
            arrowprops={"arrowstyle": "-|>", "color": "#777", "lw": min(0.6 + 0.06 * n, 2.0), "alpha": 0.7},
        )
        # tests/repository/test_docs.py compares these names with the code
        arrow.arrow_patch.set_gid(f"{start}:{to}")
    for b, (x, y) in place.items():
        package, _, name = b.partition(".")
        style = {"boxstyle": "round,pad=0.35", "fc": COLOURS[package], "ec": "#555", "lw": 0.7}
        axes.text(x, y, name or package, ha="center", va="center", fontsize=9, bbox=style, zorder=3)
    for package, (left, right) in COLUMNS.items():
        axes.text((left + right) / 2, top + 0.8, package, ha="center", fontsize=10, weight="bold")
    axes.set_xlim(0, widest)
    axes.set_ylim(-0.5, top + 1)
    axes.axis("off")
    plt.rcParams["svg.hashsalt"] = "equilif"
    figure.savefig(target, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_name("layout.svg"))
