"""A network as a picture: populations are boxes, synapses are arrows; below it phases, memory and boards.

Inputs stand on the left.  A synapse that passes a column gets its own place there, so that it crosses no
box (layers and places as in Sugiyama et al. 1981).  All lengths are inches.
"""

from __future__ import annotations

import textwrap
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from equilif.hardware.resources import NetworkResources, PopulationInfo, SynapseInfo
from equilif.show.network import by_result
from equilif.show.plots import BLUE, GREY, INK, STYLE, VERMILLION, write
from equilif_golden.extras import needs

with needs("plot"):
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
    from matplotlib.path import Path as Curve
    from matplotlib.textpath import TextToPath

GREEN = "#009E73"
COLOURS = {
    "input": "#56B4E9",
    "lif": BLUE,
    "output": VERMILLION,
    "relay": GREEN,
    "attention": "#E69F00",
    "self_attention": "#CC79A7",
}
TITLES = {
    "input": "inputs",
    "lif": "spiking neurons",
    "output": "outputs",
    "relay": "queries",
    "attention": "patterns",
    "self_attention": "answers",
}
WIDTH = 1.6  #: of a box
HEIGHT = 0.72
GAP = 1.5  #: between columns
ROW = 1.0  #: of a box and the space around it
LANE = 0.45  #: of a synapse that passes a column
STORE = 0.3  #: more, below a memory: for the label of its patterns
EDGE = 0.3
LINE = 0.19  #: of text below the picture
LETTER = 0.0085  #: width of a letter by point of its size, about: to break lines
SMALLEST = 6.0  #: size of a text, in points
NARROWEST = 8.0
PARTS = (0.5, 0.35, 0.65, 0.25, 0.75, 0.42, 0.58)  #: of a curve where its label may stand

Point = tuple[float, float]
Boxed = tuple[float, float, float, float]  #: left, bottom, right, top


@dataclass
class DiagramLayout:
    """Layout; the middle of the figure is at y = 0.

    ``columns`` hold names of populations, and pairs (synapse, column) where a synapse passes.
    """

    columns: list[list[Any]] = field(default_factory=list)
    memories: frozenset[str] = frozenset()
    at: dict[Any, Point] = field(default_factory=dict)
    level: dict[str, int] = field(default_factory=dict)

    @property
    def height(self) -> float:
        return max(sum(map(self.room, column)) for column in self.columns)

    def room(self, spot: Any) -> float:
        """Height of a box or of a passing synapse, with the space around it."""
        return LANE if not isinstance(spot, str) else ROW + STORE * (spot in self.memories)

    @property
    def width(self) -> float:
        return len(self.columns) * (WIDTH + GAP) - GAP


def drawn(resources: NetworkResources) -> tuple[list[PopulationInfo], list[SynapseInfo]]:
    """Populations and synapses that are drawn: biases are a word in the box of their target."""
    constant = {p.name for p in resources.populations if p.kind == "constant"}
    return (
        [p for p in resources.populations if p.name not in constant],
        [s for s in resources.synapses if s.pre not in constant],
    )


# -- places ----------------------------------------------------------------------------------------
def plan(resources: NetworkResources) -> DiagramLayout:
    """Columns by the longest way from an input, and in each an order with few crossings."""
    populations, synapses = drawn(resources)
    kinds = {p.name: p.kind for p in populations}
    memories = {s.post: s.pre for s in synapses if kinds[s.pre] == "attention"}
    level = _levels([p.name for p in populations if p.kind != "attention"], synapses)
    level |= {softmax: level[relay] for relay, softmax in memories.items()}
    made = DiagramLayout(level=level, memories=frozenset(memories.values()))
    made.columns = [[] for _ in range(max(level.values()) + 1)]
    for p in populations:
        if p.kind != "attention":
            made.columns[level[p.name]].append(p.name)
    ways = {k: _way(k, s, level) for k, s in enumerate(synapses) if kinds[s.pre] != "attention"}
    for way in ways.values():
        for spot in way[1:-1]:
            made.columns[spot[1]].append(spot)
    _order(made.columns, list(ways.values()))
    for column in made.columns:
        for relay, softmax in memories.items():
            if relay in column:
                column.insert(column.index(relay), softmax)
    for k, column in enumerate(made.columns):
        y = sum(map(made.room, column)) / 2
        for spot in column:
            half = (LANE if not isinstance(spot, str) else ROW) / 2
            made.at[spot] = (k * (WIDTH + GAP) + WIDTH / 2, y - half)
            y -= made.room(spot)
    return made


def _levels(names: list[str], synapses: list[SynapseInfo]) -> dict[str, int]:
    """Column of each population; a synapse that closes a circle does not count."""
    forward: list[tuple[str, str]] = []
    for s in synapses:
        if s.pre in names and not _leads(s.post, s.pre, forward):
            forward.append((s.pre, s.post))
    level = dict.fromkeys(names, 0)
    for _ in names:
        for pre, post in forward:
            level[post] = max(level[post], level[pre] + 1)
    return level


def _leads(start: str, end: str, synapses: list[tuple[str, str]]) -> bool:
    seen = {start}
    todo = [start]
    while todo:
        name = todo.pop()
        new = {post for pre, post in synapses if pre == name} - seen
        seen |= new
        todo += new
    return end in seen


def _way(k: int, s: SynapseInfo, level: dict[str, int]) -> list[Any]:
    """Columns that synapse ``k`` passes, from left to right."""
    left, right = sorted((s.pre, s.post), key=level.__getitem__)
    return [left, *((k, column) for column in range(level[left] + 1, level[right])), right]


def _order(columns: list[list[Any]], ways: list[list[Any]]) -> None:
    """Sort each column by the mean place of what it is joined to, there and back a few times."""
    near = defaultdict(list)
    for way in ways:
        for a, b in pairwise(way):
            near[a].append(b)
            near[b].append(a)
    for turn in range(8):
        order = range(len(columns)) if turn % 2 == 0 else reversed(range(len(columns)))
        for k in order:
            beside = k - 1 if turn % 2 == 0 else k + 1
            if not 0 <= beside < len(columns):
                continue
            place = {spot: n / len(columns[beside]) for n, spot in enumerate(columns[beside])}

            def mean(spot: Any, place: dict[Any, float] = place) -> float:
                known = [place[other] for other in near[spot] if other in place]
                return sum(known) / len(known) if known else 0.5

            columns[k].sort(key=mean)


# -- the picture -----------------------------------------------------------------------------------
def draw(resources: NetworkResources, path: Path) -> None:
    """Write the picture, as the end of its name says: png, svg or pdf."""
    # a $ in a name begins no formula
    with matplotlib.rc_context({**STYLE, "text.parse_math": False}):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter that the font does not have
            write(figure(resources)[0], path)


def figure(resources: NetworkResources) -> tuple[Figure, list[Boxed]]:
    """The picture, and what its boxes and labels cover."""
    places = plan(resources)
    below = _below(resources, max(NARROWEST, places.width))
    width = max(NARROWEST, places.width) + 2 * EDGE
    under = 1.05 + LINE * sum(len(lines) for lines, _ in below)
    height = 0.45 + places.height + under
    made = Figure(figsize=(width, height))
    axes = made.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-EDGE, width - EDGE), ylim=(-places.height / 2 - under, places.height / 2 + 0.45))
    axes.set_axis_off()
    axes.text(0, places.height / 2 + 0.22, resources.name, fontsize=11, fontweight="bold", va="center")
    covered = _boxes(axes, resources, places)
    covered += _arrows(axes, resources, places, list(covered))
    top = -places.height / 2
    _phases(axes, resources, top - 0.35, width - 2 * EDGE)
    y = top - 0.95
    for lines, colour in below:
        for line in lines:
            axes.text(0, y, line, fontsize=8, va="center", color=colour)
            y -= LINE
    return made, covered


def _boxes(axes: Any, resources: NetworkResources, places: DiagramLayout) -> list[Boxed]:
    covered = []
    for p in drawn(resources)[0]:
        x, y = places.at[p.name]
        colour = COLOURS[p.kind]
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        for face, alpha in ((colour, 0.13), ("none", 1.0)):
            shape = FancyBboxPatch(
                corner,
                WIDTH,
                HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor=face,
                edgecolor=colour,
                linewidth=1.3,
                alpha=alpha,
                zorder=3,
            )
            axes.add_patch(shape)
        lines = [p.name, *_population_lines(p)]
        for n, line in enumerate(lines):
            size, text = _fitting(line, 9.5 if n == 0 else 8, bold=n == 0)
            axes.text(
                x,
                y + 0.18 * ((len(lines) - 1) / 2 - n),
                text,
                fontsize=size,
                fontweight="bold" if n == 0 else "normal",
                ha="center",
                va="center",
                color=INK,
                zorder=4,
            )
        covered.append((*corner, corner[0] + WIDTH, corner[1] + HEIGHT))
    return covered


def _population_lines(p: PopulationInfo) -> list[str]:
    """Lines of a box below its name."""
    size = "size by the data" if p.size is None else f"{p.size:,} {TITLES[p.kind]}"
    if p.kind == "relay":
        heads = p.heads or 1
        each = "" if p.size is None else f" of {p.size // heads:,}"
        size = f"{heads:,} quer{'y' if heads == 1 else 'ies'}{each}"
    if p.shape is not None:
        height, width, maps = p.shape
        size = f"{height}x{width}, {maps:,} map{'s' * (maps > 1)}"
    if p.kind == "self_attention":
        size += f", {p.heads or 1} heads"
    return [size, *([f"+ {', '.join(p.biases)}"] if p.biases else [])]


def _fitting(text: str, size: float, *, bold: bool) -> tuple[float, str]:
    """The size at which a text fits a box; what is too long even so is cut."""
    room = WIDTH - 0.12
    size = max(SMALLEST, min(size, size * room / _width(text, size, bold=bold)))
    if _width(text, size, bold=bold) <= room:
        return size, text
    while _width(f"{text}…", size, bold=bold) > room:
        text = text[:-1]
    return size, f"{text}…"


def _width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a text of one line, as drawn."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(TextToPath().get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def _arrows(axes: Any, resources: NetworkResources, places: DiagramLayout, taken: list[Boxed]) -> list[Boxed]:
    """Synapses and their labels; returns what the labels cover."""
    populations, synapses = drawn(resources)
    kinds = {p.name: p.kind for p in populations}
    ports = _ports(synapses, kinds, places)
    curves = {}
    for k, s in enumerate(synapses):
        if kinds[s.pre] == "attention":
            curves[k] = _upright(places.at[s.pre], places.at[s.post])
        else:
            curves[k] = _through(_way(k, s, places.level), ports, k, places)
    heads = [(x - 0.16, y - 0.06, x + 0.16, y + 0.06) for c in curves.values() for x, y in (c[0], c[-1])]
    covered: list[Boxed] = []
    one_way = {p.name for p in populations if p.kind == "self_attention" and not p.energy}
    for k, s in enumerate(synapses):
        points = curves[k]
        turned = places.level[s.pre] > places.level[s.post]
        axes.add_patch(
            FancyArrowPatch(
                path=_curve(points[::-1] if turned else points),
                arrowstyle="<|-|>"
                if s.feedback and kinds[s.pre] != "input" and not one_way & {s.pre, s.post}
                else "-|>",
                mutation_scale=9,
                linewidth=1.1,
                color=GREY,
                linestyle="-" if s.learns else (0, (4, 2)),
                zorder=2,
                shrinkA=0,
                shrinkB=0,
            )
        )
        label = _label(s)
        if label:
            others = [dot for j in curves if j != k for dot in _dots(curves[j])]
            box, at = _free(label, points, [*taken, *heads, *covered], others)
            covered.append(box)
            axes.text(
                *at,
                label,
                fontsize=7.5,
                ha="center",
                va="center",
                color=INK,
                linespacing=1.1,
                zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )
    return covered


def _dots(points: list[Point]) -> list[Boxed]:
    """A curve as small boxes."""
    resources = []
    for first in range(0, len(points) - 1, 3):
        for n in range(13):
            x, y = _point_of_curve(points[first : first + 4], n / 12)
            resources.append((x - 0.04, y - 0.04, x + 0.04, y + 0.04))
    return resources


def _label(s: SynapseInfo) -> str:
    """Weights of a synapse, and how fast it learns when it is not the network's."""
    if s.loaded and not s.table:
        return (
            f"up to {s.rows:,} tokens" if s.columns is None else f"up to {s.rows:,} tokens of {s.columns:,}"
        )
    lines = [] if s.weights is None else [f"{s.weights:,} weights"]
    if s.table:
        lines = ["embedding table" if s.weights is None else f"table, {s.rows:,} tokens of {s.columns:,}"]
    if s.text:
        lines.append(s.text)
    if not s.feedback:
        lines.append("one way")
    if not s.learns:
        lines.append("does not learn")
    elif s.learning_rate_scale != 1:
        lines.append(f"{s.learning_rate_scale:g} x learning rate")
    return "\n".join(lines)


def _ports(
    synapses: list[SynapseInfo], kinds: dict[str, str], places: DiagramLayout
) -> dict[tuple[int, str], float]:
    """Height at which each synapse meets each of its boxes: in the order of where it goes."""
    ends: dict[tuple[str, bool], list[tuple[float, int]]] = defaultdict(list)
    for k, s in enumerate(synapses):
        if kinds[s.pre] != "attention":
            way = _way(k, s, places.level)
            ends[way[0], True].append((places.at[way[1]][1], k))
            ends[way[-1], False].append((places.at[way[-2]][1], k))
    resources = {}
    for (name, _), others in ends.items():
        step = min(0.2, (HEIGHT - 0.2) / max(1, len(others) - 1))
        for n, (_, k) in enumerate(sorted(others)):
            resources[k, name] = places.at[name][1] + step * (n - (len(others) - 1) / 2)
    return resources


def _upright(softmax: Point, relay: Point) -> list[Point]:
    """Arrow from the lower edge of a memory to the upper edge of its relay."""
    a = (softmax[0], softmax[1] - HEIGHT / 2)
    b = (relay[0], relay[1] + HEIGHT / 2)
    return [a, a, b, b]


def _through(
    way: list[Any], ports: dict[tuple[int, str], float], k: int, places: DiagramLayout
) -> list[Point]:
    """Points of cubic curves from box to box, level at both ends of each."""
    points: list[Point] = []
    for a, b in pairwise(way):
        y = ports[k, a] if isinstance(a, str) else places.at[a][1]
        z = ports[k, b] if isinstance(b, str) else places.at[b][1]
        left = (places.at[a][0] + WIDTH / 2, y)
        right = (places.at[b][0] - WIDTH / 2, z)
        if points:
            last = points[-1]
            points += [last, left, left]  # straight on past a column
        else:
            points.append(left)
        points += [(left[0] + GAP / 2, y), (right[0] - GAP / 2, z), right]
    return points


def _curve(points: list[Point]) -> Curve:
    return Curve(points, [Curve.MOVETO, *[Curve.CURVE4] * (len(points) - 1)])


def _free(label: str, points: list[Point], taken: list[Boxed], curves: list[Boxed]) -> tuple[Boxed, Point]:
    """Position of a label on its curve that covers no box or label, and the other curves least."""
    lines = label.split("\n")
    w = max(_width(line, 7.5) for line in lines) + 0.04
    h = 0.125 * len(lines)
    # past a column there is room: a label of a long way stands there
    parts = [(first, t) for first in range(3, len(points) - 1, 6) for t in PARTS]
    parts += [(first, t) for first in range(0, len(points) - 1, 6) for t in PARTS]
    places = []
    for first, t in parts:
        x, y = _point_of_curve(points[first : first + 4], t)
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        hidden = sum(overlap(box, other) for other in taken), sum(overlap(box, other) for other in curves)
        places.append((hidden, box, (x, y)))
    best = min(places, key=lambda place: place[0])
    return best[1], best[2]


def _point_of_curve(controls: list[Point], t: float) -> Point:
    """Point of a cubic Bezier curve with these four control points, for t from 0 to 1."""
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    x = sum(w * p[0] for w, p in zip(weights, controls, strict=True))
    y = sum(w * p[1] for w, p in zip(weights, controls, strict=True))
    return x, y


def overlap(a: Boxed, b: Boxed) -> float:
    """Area that two boxes share."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, w) * max(0.0, h)


# -- below it --------------------------------------------------------------------------------------
def _phases(axes: Any, resources: NetworkResources, y: float, width: float) -> None:
    """The phases to scale; dark is the window in which rates are measured."""
    s = resources.schedule
    step = width / resources.steps["training"]
    x = 0.0
    free = f"{s.free} free steps" if s.fixed else f"at most {s.free} free steps"
    nudged = ((s.nudged, f"{s.nudged} at +beta", BLUE), (s.nudged, f"{s.nudged} at -beta", VERMILLION))
    for steps, name, colour in ((s.free, free, GREY), *(() if s.errors else nudged)):
        for start, length, alpha in ((x, steps, 0.18), (x + step * (steps - s.window), s.window, 0.3)):
            axes.add_patch(
                Rectangle((start, y - 0.12), step * length, 0.24, facecolor=colour, alpha=alpha, linewidth=0)
            )
        axes.text(x + 0.08, y, name, fontsize=8, va="center", color=INK)
        x += step * steps
    caption = f"a training sample, {s}; darker: the windows in which rates are measured"
    axes.text(0, y - 0.24, caption, fontsize=7.5, va="center", color=GREY)


def _below(resources: NetworkResources, width: float) -> list[tuple[list[str], str]]:
    """Lines of text and their colour: memory, and what the boards say."""
    letters = int(width / (LETTER * 8))
    if resources.weights is None or resources.bits is None:
        left = f"sizes of {', '.join(resources.description.open)} are left to the data"
        return [(textwrap.wrap(left, letters), GREY)]
    tiles = ", ".join(f"{n:,} of {lanes}x{lanes}" for lanes, n in resources.tiles().items())
    bits = resources.description.numerics.weight_width
    first = f"{resources.weights:,} weights of {bits} bits, {resources.bits / 8192:,.1f} KiB; tiles: {tiles}"
    caption = [(textwrap.wrap(first, letters), INK)]
    for (holds, text), builds in by_result(resources.fits or ()).items():
        line = f"{'✓' if holds else '✗'} {', '.join(builds)}: {text}"
        colour = GREEN if holds else VERMILLION
        caption.append((textwrap.wrap(line, letters, subsequent_indent="    "), colour))
    return caption
