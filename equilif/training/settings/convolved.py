"""Networks of convolutions for images: their usual shapes, and how they learn.

    equilif train mnist --hidden conv:16 --hidden conv:32         28x28 as 14x14x4 - 12x12x16 - 4x4x32 - 10

The first of several convolutions looks at 3x3 positions.  The others also pool: they go in steps of 2, with
the largest kernel up to 6x6 that leaves 4x4 positions; where none does, they are 3x3 too.  Large images are
folded first, 2x2 pixels to a position.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

from equilif.data import Name
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.training.settings import netfile, presets
from equilif.training.settings.description import Description
from equilif_golden.blocks.geometry import positions
from equilif_golden.fixed import check_int
from equilif_golden.network import MAX_NEURONS, Network

MAX_COLOURS = 4  #: of a square image, with transparency
FOLDED = 16  #: sides of this length and more are folded, when they are even
FIRST = 3  #: kernel of the first of several convolutions
POOLING = range(6, 2, -1)  #: kernels that pool
MIN_POSITIONS = 4  #: positions that one leaves, each way


class ConvSpec(NamedTuple):
    """A convolution as it is typed, MAPS, MAPS:KERNEL or MAPS:KERNEL:STRIDE; 0: left to the image."""

    maps: int
    kernel: int = 0
    stride: int = 0

    @classmethod
    def of(cls, text: str) -> Self:
        if not isinstance(text, str) or not re.fullmatch(r"\d+(:\d+){0,2}", text, re.ASCII):
            raise ValueError(
                "a convolution is conv:MAPS, conv:MAPS:KERNEL or conv:MAPS:KERNEL:STRIDE such as "
                f"conv:32:6:2, not {text!r}"
            )
        names = ("maps", "kernel", "stride")
        return cls(
            *(
                check_int(int(number), name, 1, MAX_NEURONS, f"conv:{text}")
                for name, number in zip(names, text.split(":"), strict=False)
            )
        )


#: initial weights of maps with feedback for training in floating point: they have many targets, and would all
#: be full on.  Chosen on 300 training images of the digits, 16 and 32 maps
MAPS_START = {"bias": 0.1, "scale": 0.25}
MAPS_LR = 1e-3  #: a larger one silences maps for good
#: how networks of convolutions learn, by data set: NAME-single of one convolution before the output, by
#: nudged phases, NAME of several layers, by errors, and NAME-phases of several, by nudged phases
FOLDER = presets.FOLDER / "conv"
OTHER = "other"  #: for other images


def layers(image: Sequence[int], specs: Sequence[ConvSpec]) -> tuple[int, list[tuple[int, int, int]]]:
    """Side of a patch, and (maps, kernel, stride) of every convolution of an image (height, width, ...)."""
    sides = tuple(image[:2])
    patch = 2 if min(sides) >= FOLDED and all(side % 2 == 0 for side in sides) else 1
    sides = tuple(side // patch for side in sides)
    found = []
    for k, layer in enumerate(specs):
        pools = k > 0 or len(specs) == 1
        kernel, stride = layer.kernel, layer.stride
        if not kernel:
            kernel, stride = _pooling(sides) if pools else (min(FIRST, *sides), 1)
        found.append((layer.maps, kernel, stride or 1))
        sides = tuple(positions(side, kernel, stride or 1) or 0 for side in sides)
        if not all(sides):
            break  # Network.conv says what is wrong
    return patch, found


def _pooling(sides: Sequence[int]) -> tuple[int, int]:
    """Kernel and stride that halve positions, about, where enough are left."""
    for kernel in POOLING:
        if all((positions(side, kernel, 2) or 0) >= MIN_POSITIONS for side in sides):
            return kernel, 2
    return min(FIRST, *sides), 1


def require_images(name: Name) -> None:
    """ValueError when the samples of a data set of this name are no images."""
    if name not in images.NAMES:
        raise ValueError(f"conv: is for images, {name} holds none: leave it out")


def network(data: DataSet, specs: Sequence[ConvSpec], hidden: Sequence[int] = (), **options: Any) -> Network:
    """Convolutions, hidden populations and the output; ``options`` of Network.conv.

    ValueError for data that are no images, and for images whose colours come first, as those of torch.
    """
    if data.image is None:
        raise ValueError(f"conv: is for images, {data.name} holds none: leave it out")
    height, width, *colours = data.image
    if height in (1, 3) and colours == [width] and width > MAX_COLOURS and not data.channels_first:
        raise ValueError(
            f"{data.name} has images of {height} rows, {width} columns and {width} colours: give them as "
            "(samples, height, width, colours), x.transpose(0, 2, 3, 1) of torch's"
        )
    patch, made = layers(data.image, specs)
    if data.channels_first:
        options["channels_first"] = True
    return Network.conv(data.image, *made, *hidden, data.n_classes, patch=patch, **options)


def recipe(name: str, *, single: bool, phases: bool = False) -> Description:
    """Training recipe of a convolutional network for a data set, from its file.

    The learning rates there are those of the first convolution, of the others and hidden populations, and of
    an output with the fan-in of the output of the file.
    """
    kind = "-single" if single else "-phases" if phases else ""
    names = [f"{n}{kind}" for n in (name, OTHER)]
    path = next(p for p in (FOLDER / f"{n}.toml" for n in names) if p.exists())
    return netfile.read(path).description


def preset(
    data: DataSet, specs: Sequence[ConvSpec], hidden: Sequence[int] = (), *, phases: bool = False
) -> Description:
    """The network, and how it learns; the learning rate of the output falls with its fan-in.

    phases : several layers learn by nudged phases in place of errors

    ValueError for data that are no images.
    """
    of = recipe(data.name, single=len(specs) == 1 and not hidden, phases=phases)
    *before, output = (s.learning_rate_scale for s in of.synapse if "bias" in s.from_)
    made = network(data, specs, hidden)
    part = min(1.0, of.smallest.lif[-2].size / made.lif[-2].size)
    later = (before[-1],) * (len(specs) + len(hidden) - 1)
    scales = (before[0], *later, round(output * part, 3))
    # finer steps are for shared weights: errors of populations all to all would saturate
    schedule = replace(of.schedule, error_gain=1) if hidden else of.schedule
    weaker = next((s.feedback_scale for s in of.synapse if s.feedback_scale != 1), 1.0)
    scaled = network(
        data,
        specs,
        hidden,
        learning_rate_scales=scales,
        schedule=schedule,
        feedback=of.feedback,
        feedback_scales=(weaker,) * (len(specs) + len(hidden)),
    )
    tables = of.content()
    return Description.of_network(scaled, data.name, learning=tables["learning"], start=tables["start"])


def rates(
    data: DataSet, specs: Sequence[ConvSpec], hidden: Sequence[int], base: Description, *, feedback: bool
) -> Description:
    """The network for training in floating point, with the phases and the settings of ``base``.

    Several layers without ``feedback`` can continue to learn from errors.
    """
    errors = not feedback and len(specs) + len(hidden) > 1
    schedule = replace(base.schedule, contrast="errors") if errors else base.schedule
    made = network(data, specs, hidden, schedule=schedule, feedback=feedback)
    settings = {**base.content()["rates"], "learning_rate": MAPS_LR}
    start = MAPS_START if feedback else {}
    return Description.of_network(made, data.name, rates=settings, start=start)
