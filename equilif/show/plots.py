"""Figures.  The palette of Okabe and Ito is safe for all common kinds of colour vision."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from equilif.training.analysis.attention import AttentionSample
from equilif.training.analysis.neighbours import Neighbours
from equilif.training.analysis.recall import Recall
from equilif.training.analysis.trace import Trace
from equilif.training.storage.folder import figure_path as figure_path
from equilif_golden import files
from equilif_golden.extras import needs

if TYPE_CHECKING:
    from equilif.data.own.build import LoadedData
    from equilif.training.analysis.deploy import Deployment  # needs torch

with needs("plot"):
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

BLUE = "#0072B2"
VERMILLION = "#D55E00"
INK = "#222222"
GREY = "#6E6E6E"
LIGHT = "#E4E4E4"
SERIES = (
    (BLUE, "o"),
    (VERMILLION, "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
)
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "equilif",  # the same figure, the same file
}
SCALE = 256  #: rates are in 1/256


def write(figure: Figure, path: Path) -> None:
    """A figure as PNG, SVG or PDF, by the end of its name; the same figure gives the same file."""
    kind = path.suffix[1:].lower()
    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    figure.savefig(buffer, format=kind, dpi=150, bbox_inches="tight", facecolor="white", metadata=undated)
    files.write(path, buffer.getvalue())


@contextmanager
def drawing(path: Path, width: float, height: float, **options: Any) -> Iterator[Figure]:
    """A figure in the style of all, in inches; it is written at the end."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), **options)
        yield figure
        write(figure, path)


def ruled(axes: Axes) -> None:
    """Horizontal lines below the curves."""
    axes.grid(axis="y", color=LIGHT, linewidth=0.8)
    axes.set_axisbelow(True)


class EpochMetrics(Protocol):
    """Values of an epoch in a learning curve."""

    @property
    def epoch(self) -> int: ...
    @property
    def train_accuracy(self) -> float: ...
    @property
    def test_accuracy(self) -> float: ...


def learning_curve(history: Sequence[EpochMetrics], title: str, path: Path) -> None:
    """Accuracy by epoch."""
    with drawing(path, 5.6, 3.4) as figure:
        axes = figure.subplots()
        accuracies(axes, history)
        axes.set_title(f"{title}: {100 * history[-1].test_accuracy:.1f} % of the test set right", loc="left")


def accuracies(axes: Axes, history: Sequence[EpochMetrics]) -> None:
    """Running training accuracy and test accuracy by epoch."""
    epochs = [r.epoch for r in history]
    for values, name, colour, marker in (
        ([r.train_accuracy for r in history], "training, running", BLUE, "s"),
        ([r.test_accuracy for r in history], "test", VERMILLION, "o"),
    ):
        axes.plot(
            epochs,
            [100 * v for v in values],
            color=colour,
            marker=marker if len(epochs) <= 40 else None,
            markersize=3.5,
            linewidth=1.4,
            label=name,
        )
    axes.set(xlabel="epoch", ylabel="accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ruled(axes)
    axes.legend(loc="lower right")


def confusion(matrix: npt.NDArray[np.int64], title: str, path: Path) -> None:
    """Counts by true class (rows) and predicted class (columns): right ones in blue, wrong ones in red."""
    n = len(matrix)
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    with drawing(path, 4.8, 4.6) as figure:
        axes = figure.subplots()
        for right, colours in ((True, "Blues"), (False, "Oranges")):
            part = np.eye(n, dtype=bool) == right
            shown = np.ma.masked_array(share if right else np.sqrt(share), ~part | (matrix == 0))
            axes.imshow(shown, cmap=colours, vmin=0, vmax=1.15 if right else 0.6)
        for i in range(n):
            for k in range(n):
                if matrix[i, k]:
                    dark = share[i, k] > 0.55 if i == k else share[i, k] > 0.15
                    axes.text(
                        k,
                        i,
                        str(matrix[i, k]),
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if dark else INK,
                    )
        axes.set(xlabel="predicted class", ylabel="true class", xticks=range(n), yticks=range(n))
        axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
        axes.grid(which="minor", color=LIGHT, linewidth=0.8)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title, loc="left")


def samples(found: LoadedData, path: Path, *, classes: int = 12, each: int = 8) -> None:
    """The first training samples of each class, a row a class: images, or lines of series and rows."""
    about = found.about
    names = about.labels[:classes]
    values = found.raw.numbers
    low = float(np.nanmin(values))
    high = max(float(np.nanmax(values)), low + 1e-9)
    with drawing(path, 1.2 + 0.7 * each, 0.75 * len(names)) as figure:
        grid = figure.subplots(len(names), each, squeeze=False)
        for row, name in enumerate(names):
            shown = found.raw.take(np.flatnonzero(found.raw.labels == name)[:each])
            for column in range(each):
                axes = grid[row, column]
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if column < len(shown.labels):
                    one = shown.take(np.array([column])).numbers.astype(np.float64)
                    if len(about.shape) < 2:
                        axes.plot(one if about.encoding.kind == "series" else one[0], linewidth=0.8)
                        axes.set_ylim(low, high)
                    else:
                        axes.imshow(
                            (_pixels(one, about.shape) - low) / (high - low), cmap="gray", vmin=0, vmax=1
                        )
            grid[row, 0].set_ylabel(name[:20], rotation=0, ha="right", va="center", labelpad=8)


def _pixels(x: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """An image to be drawn, grey or in colour; of other channels the first, of events their sum over time."""
    if len(shape) > 3:
        summed = x.reshape(-1, *shape[-2:]).sum(axis=0)
        full: npt.NDArray[np.float64] = summed * (x.max() / summed.max(initial=1e-9))
        return full
    drawn = shape if shape[2:] in ((), (1,), (3,)) else shape[:2]
    image: npt.NDArray[np.float64] = x.reshape(*shape[:2], -1)[..., : int(np.prod(drawn[2:]))]
    return image.squeeze(-1) if image.shape[2] == 1 else image


def settling(traces: Sequence[tuple[str, Trace]], path: Path) -> None:
    """One sample through the free, +beta and -beta phases, a column for each network.

    Above is a raster of the spikes, below are the rates of the output.
    """
    first = traces[0][1]
    side = round(len(first.x) ** 0.5)
    with drawing(path, 2.3 + 4.3 * len(traces), 6.2) as figure:
        grid = GridSpec(
            2,
            1 + len(traces),
            figure,
            width_ratios=[1.55, *[4] * len(traces)],
            height_ratios=[1.35, 1],
            hspace=0.12,
            wspace=0.16,
        )
        if side * side == len(first.x):
            picture = figure.add_subplot(grid[0, 0])
            picture.imshow(first.x.reshape(side, side), cmap="gray_r", vmin=0, vmax=255)
            picture.set(xticks=[], yticks=[])
            picture.set_anchor("N")
            picture.set_title(f"input: a {first.label}", loc="left")
            picture.spines[:].set_visible(True)
        _legend(figure.add_subplot(grid[0, 0]), first)
        for column, (name, trace) in enumerate(traces, 1):
            raster = figure.add_subplot(grid[0, column])
            rates = figure.add_subplot(grid[1, column], sharex=raster)
            phases(raster, rates, trace, labels=column == 1)
            predicted = int(trace.result.prediction[0])
            raster.set_title(
                f"{name}: predicts {predicted}{'' if predicted == trace.label else ', wrong'}",
                loc="left",
                pad=16,
            )


def recall(result: Recall, path: Path) -> None:
    """Images as they were stored, as they were shown in part and as each memory brought them back.

    An image is a column.  Below them is the energy of the integer state by update.
    """
    rows = (
        ("stored", "stored", None),
        ("cue", "cue", None),
        ("fixed", "memory,\nfixed point", result.fixed),
        ("real", "memory,\nfloating point", result.real),
        ("hebb", "classical,\nHebbian", result.hebb),
    )
    n = len(result.images["stored"])
    side = round(result.pixels**0.5)
    shape = result.shape or (side, side)
    if np.prod(shape) != result.pixels:
        raise ValueError(f"only square images can be drawn, {result.pixels} pixels are not square")
    edge = round(result.pixels * (1 - result.blank)) / np.prod(shape[1:]) - 0.5  # first blank row
    with drawing(path, 1.9 + 0.85 * n, 6.6) as figure:
        grid = GridSpec(
            len(rows) + 1, n, figure, height_ratios=[*[1] * len(rows), 1.7], hspace=0.08, wspace=0.08
        )
        for row, (name, label, score) in enumerate(rows):
            for column, image in enumerate(result.images[name]):
                axes = figure.add_subplot(grid[row, column])
                axes.imshow(_pixels(image, shape), cmap="gray_r", vmin=0, vmax=1)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(visible=True, color=LIGHT)
                if name == "cue":
                    axes.axhline(edge, color=VERMILLION, linewidth=1.2)
                if column == 0:
                    axes.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
                if column == n - 1 and score:
                    axes.text(
                        1.12,
                        0.5,
                        f"{100 * score.nearest:.1f} %",
                        transform=axes.transAxes,
                        va="center",
                        color=BLUE if name == "fixed" else INK,
                        fontweight="bold" if name == "fixed" else "normal",
                    )
        figure.suptitle(
            f"{result.stored:,} images of {result.data}, the lower {100 * result.blank:.0f} % blank; "
            "right: brought back",
            x=0.125,
            y=0.915,
            ha="left",
            fontsize=10,
        )
        axes = figure.add_subplot(grid[-1, :])
        for energies in result.energies:
            axes.plot(energies, color=BLUE, marker="o", markersize=3.5, linewidth=1.2, alpha=0.8)
        axes.set(xlabel="update", ylabel="energy", ymargin=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=LIGHT, linewidth=0.8)
        box = axes.get_position()
        axes.set_position((box.x0, box.y0 - 0.03, box.width, box.height))


def attention(samples: Sequence[AttentionSample], title: str, path: Path, *, most: int = 40) -> None:
    """A row of heads by tokens for each sample; of a long one the ``most`` tokens that are looked at most."""
    with drawing(
        path, 9.5, 0.6 + sum(1.3 + 0.09 * len(a.p) for a in samples), layout="constrained"
    ) as figure:
        rows = np.atleast_1d(figure.subplots(len(samples)))
        for axes, a in zip(rows, samples, strict=True):
            shown = a.strongest(most)
            image = axes.imshow(a.p[:, shown], cmap="Blues", aspect="auto", vmin=0, vmax=a.p.max())
            axes.set(xticks=range(len(shown)), yticks=[0, len(a.p) - 1], ylabel="head")
            axes.set_xticklabels([a.words[k] for k in shown], rotation=90, fontsize=7)
            axes.set_yticklabels(["1", str(len(a.p))])
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            of = (
                f", the {len(shown)} of {len(a.words)} tokens looked at most"
                if len(shown) < len(a.words)
                else ""
            )
            axes.set_title(f"sample {a.index}, class {a.label}, predicted {a.prediction}{of}", loc="left")
            figure.colorbar(image, ax=axes, pad=0.01, aspect=10, label="p")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)


def self_attention(
    layers: Mapping[str, npt.NDArray[np.float64]], text: str, path: Path, *, most: int = 48
) -> None:
    """A row of maps for each population, one for each head: attention of every character to the others.

    ``layers``: (heads, n, n) by population.  Of a long text the last ``most`` characters.
    """
    shown = [{"\n": "\u21b5", " ": "\u00b7"}.get(c, c) for c in text[-most:]]
    n = len(shown)
    heads = max(len(p) for p in layers.values())
    side = 0.9 + 0.055 * n
    with drawing(path, 0.8 + side * heads, 0.6 + side * len(layers), layout="constrained") as figure:
        for row, (name, p) in zip(
            figure.subplots(len(layers), heads, squeeze=False), layers.items(), strict=True
        ):
            for k, axes in enumerate(row):
                axes.set_axis_off()
                if k >= len(p):
                    continue
                axes.set_axis_on()
                image = axes.imshow(p[k, -n:, -n:], cmap="Blues", vmin=0, vmax=1)
                axes.set(xticks=range(n), yticks=range(n))
                axes.set_xticklabels(shown, fontsize=6 if n <= 32 else 4)
                axes.set_yticklabels(shown, fontsize=6 if n <= 32 else 4)
                axes.tick_params(length=0, pad=1)
                axes.set_title(f"{name}, head {k + 1}", loc="left", fontsize=8)
        figure.colorbar(image, ax=figure.axes, pad=0.01, aspect=30, label="attention of a row to a column")


def neighbours(found: Sequence[Neighbours], title: str, path: Path) -> None:
    """A row for each word: its nearest ones before and after learning."""
    with drawing(path, 9.5, 1.0 + 0.32 * len(found)) as figure:
        axes = figure.add_axes((0.02, 0, 0.96, 1))
        axes.set_axis_off()
        top = 1 - 0.75 / figure.get_figheight()
        step = 0.32 / figure.get_figheight()
        for x, head in ((0, "word"), (0.18, "nearest before learning"), (0.59, "nearest after learning")):
            axes.text(x, top, head, weight="bold", transform=axes.transAxes)
        for k, one in enumerate(found, 1):
            y = top - k * step
            axes.text(0, y, one.word, color=BLUE, transform=axes.transAxes)
            axes.text(0.18, y, ", ".join(one.before), transform=axes.transAxes)
            axes.text(0.59, y, ", ".join(one.after), transform=axes.transAxes)
        figure.suptitle(title, x=0.02, ha="left", fontsize=10)


def deployment(found: Deployment, title: str, path: Path) -> None:
    """Accuracy by time steps, and that of the rates.

    Where average rates converge, also their error by time, with and without a leak.
    """
    with drawing(path, 9.5 if found.convergence else 4.8, 3.6, layout="constrained") as figure:
        left, *rest = figure.subplots(1, 1 + bool(found.convergence), squeeze=False)[0]
        steps = [s.steps for s in found.spiking]
        left.axhline(100 * found.rates, color=BLUE, linewidth=2, alpha=0.6, label="quantised, exact rates")
        left.axhline(100 * found.real, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="floating point")
        left.plot(
            steps,
            [100 * s.accuracy for s in found.spiking],
            color=VERMILLION,
            marker="o",
            markersize=3.5,
            linewidth=1.4,
            label="spikes",
        )
        left.set(
            xscale="log",
            xlabel="time steps",
            ylabel="accuracy (%)",
            xticks=steps,
            xticklabels=map(str, steps),
        )
        left.minorticks_off()
        left.set_title(title, loc="left")
        left.legend(loc="lower right")
        if c := found.convergence:
            (right,) = rest
            for leak, errors in c.errors.items():
                right.loglog(
                    c.times,
                    errors,
                    color=VERMILLION if leak == 0 else BLUE,
                    alpha=1 if leak == 0 else 0.3 + 0.15 * (5 - leak),
                    marker="o",
                    markersize=2.5,
                    linewidth=1.2,
                )
                right.annotate(
                    "no leak" if leak == 0 else f"leak 1/{1 << leak}",
                    (c.times[-1], errors[-1]),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
            right.set(xlabel="time steps T", ylabel="mean |rate - fixed point|")
            right.set_title(f"average rates: error ~ T^{c.slope:.2f} without a leak", loc="left")
        for axes in (left, *rest):
            ruled(axes)


def pareto(
    rows: Sequence[Mapping[str, Any]],
    front: Callable[[Sequence[Mapping[str, Any]]], Sequence[int]],
    cost: str,
    title: str,
    path: Path,
) -> None:
    """Accuracy against ``cost``: a colour and a mark for each engine, the points on its ``front`` joined.

    The points on the front of all engines are named.
    """
    with drawing(path, 7.2, 4.4) as figure:
        axes = figure.subplots()
        for k, engine in enumerate(dict.fromkeys(r["engine"] for r in rows)):
            colour, mark = SERIES[k % len(SERIES)]
            here = [r for r in rows if r["engine"] == engine]
            best = [here[j] for j in front(here)]
            axes.step(
                [r[cost] for r in best],
                [100 * r["accuracy"] for r in best],
                where="post",
                color=colour,
                linewidth=1,
                alpha=0.6,
                zorder=1,
            )
            axes.scatter(
                [r[cost] for r in here],
                [100 * r["accuracy"] for r in here],
                s=22,
                color=colour,
                marker=mark,
                label=engine,
                linewidths=0,
                zorder=2,
            )
        several = len({r["width"] for r in rows}) > 1
        for r in (rows[j] for j in front(rows)):
            axes.annotate(
                f"{r['network']}, {r['phases']}{', ' + str(r['width']) + ' bit' if several else ''}",
                (r[cost], 100 * r["accuracy"]),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=7,
                ha="left",
                va="bottom",
            )
        unit = "microseconds" if cost.endswith("_us") else "cycles"
        axes.set(
            xscale="log",
            xlabel=f"{unit} a sample, {cost.split('_')[0].split()[0]}",
            ylabel="test accuracy (%)",
        )
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.08, y=0.1)
        axes.grid(color=LIGHT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_title(title, loc="left")
        axes.legend(loc="lower right")


def _legend(axes: Axes, trace: Trace) -> None:
    axes.set_axis_off()
    raw = trace.network.schedule.raw(trace.network.numerics)
    lines = (
        (f"target, output {trace.label}", VERMILLION),
        ("other outputs", BLUE),
        ("hidden neurons", INK),
        (f"shaded: the {raw.window} steps\nin which a rate is\nmeasured", GREY),
        (f"β = −{trace.network.schedule.beta:g} starts again\nfrom the state after\nstep {raw.free}", GREY),
    )
    y = 0.5
    for text, colour in lines:
        axes.text(-0.02, y, text, transform=axes.transAxes, va="top", fontsize=8, color=colour)
        y -= 0.05 * (1 + text.count("\n")) + 0.02


def _raster(axes: Axes, trace: Trace, *, labels: bool) -> None:
    """Populations from the input side (bottom) to the output (top), a small gap between them."""
    at = 0.0
    ticks = []
    names = []
    for p in trace.network.lif:
        spikes = trace.spikes[p.name]
        output = p.name == trace.network.output
        # ten outputs beside many hidden neurons would be a thin strip
        height = 2.2 if output else 1.0
        for k in range(p.size):
            steps = np.flatnonzero(spikes[:, k])
            y = at + (k + 0.5) * height
            colour = VERMILLION if output and k == trace.label else BLUE if output else INK
            axes.vlines(steps + 0.5, y - 0.42 * height, y + 0.42 * height, color=colour, linewidth=1.3)
        ticks.append(at + p.size * height / 2)
        name = "output" if output else "hidden" if len(trace.network.lif) == 2 else p.name
        names.append(f"{name}\n{p.size} neurons")
        if output:
            axes.annotate(
                f"{trace.label}",
                (len(spikes) + 0.4, at + (trace.label + 0.5) * height),
                va="center",
                color=VERMILLION,
                annotation_clip=False,
                fontweight="bold",
            )
        at += p.size * height + 3
    axes.set(ylim=(-1, at - 2), yticks=ticks, xlim=(0, len(spikes)))
    axes.set_yticklabels(names if labels else [], rotation=90, va="center", ha="center")
    axes.tick_params(axis="y", length=0, pad=14)
    axes.tick_params(axis="x", labelbottom=False, length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _rates(axes: Axes, trace: Trace, *, labels: bool) -> None:
    raw = trace.network.schedule.raw(trace.network.numerics)
    cuts = sorted({0, raw.free, raw.free + raw.nudged, len(trace.rates)})
    shown = np.argsort([k == trace.label for k in range(trace.network.n_outputs)], kind="stable")
    for first, last in zip(cuts[:-1], cuts[1:], strict=True):
        steps = np.arange(first, last) + 1
        for k in shown:
            target = k == trace.label
            axes.plot(
                steps,
                trace.rates[first:last, k] / SCALE,
                color=VERMILLION if target else BLUE,
                linewidth=2 if target else 0.9,
                alpha=1 if target else 0.75,
                solid_capstyle="butt",
                clip_on=False,
                zorder=3 if target else 2,
            )
    axes.set(xlabel="time step", ylim=(0, 1), yticks=[0, 0.5, 1])
    axes.annotate(
        f"{trace.label}",
        (cuts[-1] + 0.4, trace.rates[-1, trace.label] / SCALE),
        va="center",
        color=VERMILLION,
        annotation_clip=False,
        fontweight="bold",
    )
    if labels:
        axes.set_ylabel("output rate (spikes a step)")
    else:
        axes.set_yticklabels([])
    axes.set_xticks(cuts)


def phases(raster: Axes, rates: Axes, trace: Trace, *, labels: bool) -> None:
    """A sample's spikes and output rates, the boundaries and names of its phases, and the windows in which
    rates are measured.  ``labels``: of the vertical axes.
    """
    _raster(raster, trace, labels=labels)
    _rates(rates, trace, labels=labels)
    raw = trace.network.schedule.raw(trace.network.numerics)
    at = 0
    beta = trace.network.schedule.beta
    nudged = ((f"β = +{beta:g}", raw.nudged), (f"β = −{beta:g}", raw.nudged))
    for name, length in (("free", raw.free), *(nudged if raw.nudged else ())):
        rates.axvspan(at + length - raw.window, at + length, color=LIGHT, alpha=0.6, linewidth=0, zorder=0)
        raster.text(
            at + length / 2,
            1.005,
            name,
            transform=raster.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
            color=INK,
        )
        at += length
        if at < len(trace.rates):
            for axes in (raster, rates):
                axes.axvline(at, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
