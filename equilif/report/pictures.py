"""Pictures of a report, as data inside the page.

Charts are SVG, drawn once in the colours of equilif.show.plots and given a second time in colours for a dark
page.  Images are small PNG whose pixels the browser enlarges.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from equilif.report.inputs import Reals
from equilif.show import plots
from equilif.training.analysis.trace import Trace
from equilif_golden.extras import needs

with needs("plot"):
    import matplotlib
    from matplotlib import image
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

#: colours of a light page, and what they are on a dark one
DARK = {
    plots.INK: "#E6E6E6",
    plots.GREY: "#9AA0A6",
    plots.LIGHT: "#3A3F45",
    plots.BLUE: "#56B4E9",
    plots.VERMILLION: "#FF8A4C",
}
MAX_POINTS = 1500  #: of a waveform
WIDTH = 4.7  #: inches: text of 9 points is readable on a telephone too
STYLE = {
    **plots.STYLE,
    "svg.fonttype": "none",
    "svg.hashsalt": "equilif",
    "font.family": "sans-serif",
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Chart:
    """A drawing for a light and for a dark page, as addresses of data."""

    light: str
    dark: str
    alt: str


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _chart(figure: Figure, alt: str) -> Chart:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that matplotlib's font has not: the browser's has it
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    light = buffer.getvalue()
    dark = light
    for colour, instead in DARK.items():
        dark = dark.replace(colour.lower(), instead.lower())
    return Chart(_data("svg+xml", light.encode()), _data("svg+xml", dark.encode()), alt)


# -- charts ----------------------------------------------------------------------------------------
def learning_curve(history: Sequence[plots.EpochMetrics], alt: str) -> Chart:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9))
        plots.accuracies(figure.subplots(), history)
        return _chart(figure, alt)


def settling(trace: Trace, alt: str) -> Chart:
    """Spikes and output rates of one sample."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.2))
        grid = figure.add_gridspec(2, 1, height_ratios=[1.35, 1], hspace=0.12)
        raster = figure.add_subplot(grid[0])
        plots.phases(raster, figure.add_subplot(grid[1], sharex=raster), trace, labels=True)
        return _chart(figure, alt)


def stream(
    samples: npt.NDArray[np.generic],
    rate: int,
    codes: npt.NDArray[np.generic],
    words: Sequence[tuple[float, float, str]],
    alt: str,
) -> Chart:
    """Waveform (n,) at ``rate`` and spectrogram (frames, bands) of 8 bits, with start, end and name of
    words; or readings (n, channels) of 12 bits, and inputs of windows.
    """
    seconds = len(samples) / rate
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2 * WIDTH, 3.4))
        wave, bands = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 1.4], "hspace": 0.1}
        )
        size = max(1, -(-len(samples) // MAX_POINTS))
        if samples.ndim == 1:
            parts = np.array_split(samples, range(size, len(samples), size))
            at = np.arange(len(parts)) * (size / rate)
            low, high = ([float(f(p)) / 32768 for p in parts] for f in (np.min, np.max))
            wave.fill_between(at, low, high, color=plots.BLUE, linewidth=0.4)
        else:
            wave.plot(np.arange(0, len(samples), size) / rate, samples[::size], linewidth=0.5)
        colours = np.broadcast_to(to_rgba(plots.BLUE), (*codes.T.shape, 4)).copy()
        colours[..., 3] = codes.T.astype(np.float64) / max(1.0, float(codes.max(initial=0)))
        bands.imshow(
            colours,
            aspect="auto",
            origin="lower",
            interpolation="none",
            extent=(0.0, seconds, 0.5, codes.shape[1] + 0.5),
        )
        for start, end, name in words:
            wave.axvspan(start, end, color=plots.VERMILLION, alpha=0.18 if name else 0.07, linewidth=0)
            if name and start < seconds:
                middle = (start + end) / 2
                wave.text(middle, 1.02, _short(name, 12), transform=wave.get_xaxis_transform(), ha="center")
        sound = samples.ndim == 1
        wave.set(ylabel="signal" if sound else "readings", xlim=(0, seconds))
        bands.set(ylabel="band" if sound else "input", xlabel="time (s)")
        return _chart(figure, alt)


def rows(values: Reals, names: Sequence[str], ticks: Sequence[tuple[int, int, str]], alt: str) -> Chart:
    """A heat map (names, columns) of numbers of both signs; ``ticks``: first column, columns and name of
    groups of them.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.7 + 0.19 * len(names)))
        axes = figure.subplots()
        axes.imshow(signed(values), aspect="auto", interpolation="none")
        axes.set(yticks=range(len(names)), xticks=[first + (n - 1) / 2 for first, n, _ in ticks])
        axes.set_yticklabels([_short(name) for name in names])
        axes.set_xticklabels([_short(name, 9) for _, _, name in ticks])
        for first, *_ in ticks[1:]:
            axes.axvline(first - 0.5, color=plots.GREY, linewidth=0.6)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return _chart(figure, alt)


def attention(shares: Reals, words: Sequence[str], alt: str) -> Chart:
    """A heat map (heads, tokens) of attention weights."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.0 + 0.12 * len(shares)))
        axes = figure.subplots()
        axes.imshow(signed(shares), aspect="auto", interpolation="none")
        axes.set(xticks=range(len(words)), yticks=[0, len(shares) - 1], ylabel="query")
        axes.set_xticklabels([_short(word, 14) for word in words], rotation=90)
        axes.set_yticklabels(["1", str(len(shares))])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return _chart(figure, alt)


def _short(name: str, limit: int = 22) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


# -- images ----------------------------------------------------------------------------------------
def signed(values: Reals) -> npt.NDArray[np.float64]:
    """Colours (..., 4) of numbers: blue below zero, vermillion above, and more solid the larger."""
    largest = float(np.abs(values).max()) or 1.0
    colours = np.where((values < 0)[..., None], to_rgba(plots.BLUE), to_rgba(plots.VERMILLION))
    colours[..., 3] = np.abs(values) / largest
    return colours


def picture(values: npt.NDArray[np.generic], shape: tuple[int, ...]) -> str:
    """A sample of 8-bit values as an image: grey, or in colours where it has three of them."""
    pixels = values.astype(np.float64).reshape(*shape[:2], -1) / 255
    if pixels.shape[2] != 3:
        pixels = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
    return _png(pixels)


def field(values: npt.NDArray[np.generic], shape: tuple[int, ...]) -> str:
    """Numbers of both signs (values,) as an image, such as the weights of a neuron; colours are summed."""
    return _png(signed(values.astype(np.float64).reshape(*shape[:2], -1).sum(axis=2)))


def patterns(values: npt.NDArray[np.generic]) -> str:
    """Tokens of a sequence (n, width), time from left to right."""
    return _png(signed(values.astype(np.float64).T[::-1]))


def _png(pixels: npt.NDArray[np.float64]) -> str:
    buffer = io.BytesIO()
    image.imsave(buffer, np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8), format="png")
    return _data("png", buffer.getvalue())
