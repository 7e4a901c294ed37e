"""Networks of convolutions for images: their usual shapes, and how they learn unless told otherwise.

    equilif train mnist --hidden conv:16 --hidden conv:32         28x28 as 14x14x4 - 12x12x16 - 4x4x32 - 10

The first of several convolutions looks at 3x3 positions.  The others also pool: they go in steps of 2, with
the largest kernel up to 6x6 that leaves 4x4 positions; where none does, they are 3x3 too.  Large images are
folded first, 2x2 pixels to a position.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from equilif.data import Name, images
from equilif.data.dataset import DataSet
from equilif.training.preset import Preset
from equilif.training.presets import PRESETS
from equilif.training.sketch import Sketch
from equilif_golden.blocks.geometry import positions
from equilif_golden.fixed import whole
from equilif_golden.network import MOST_NEURONS, Network
from equilif_golden.schedule import Schedule

FOLDED = 16  #: sides of this length and more are folded, when they are even
FIRST = 3  #: kernel of the first of several convolutions
POOLING = range(6, 2, -1)  #: kernels that pool
LEAST = 4  #: positions that one leaves, each way


class Asked(NamedTuple):
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
                whole(int(number), f"conv:{text}: {name}", 1, MOST_NEURONS)
                for name, number in zip(names, text.split(":"), strict=False)
            )
        )


#: nudged phases have a window, and a step for each population until the first hears of the nudge
SCHEDULE = Schedule(free=8, nudged=6, window=4)
LONGER = Schedule(free=16, nudged=12, window=8)
#: of one convolution, which hears the nudge a step after the output has
NEAREST = Schedule(free=8, nudged=4, window=4)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How such a network learns.

    ``rates``: relative learning rates of the first convolution, of the others and hidden populations, and of
    an output that hears ``fan_in`` neurons; one that hears more learns more slowly in proportion.
    """

    epochs: int
    eta: float
    decay: float
    shift: float = 0.0
    flip: float = 0.0
    rates: tuple[float, float, float] = (0.6, 0.2, 0.3)
    fan_in: int = 512
    schedule: Schedule = SCHEDULE
    bias: float = 0.1
    scale: float = 0.5


NETWORKS = ("rates", "fan_in")  #: what of a recipe is in the network
RECIPES = {
    "digits": Recipe(epochs=100, eta=0.04, decay=0.05, shift=0.3),
    "mnist": Recipe(epochs=16, eta=0.04, decay=0.03, shift=0.75),
    "fashion": Recipe(epochs=14, eta=0.03, decay=0.03, flip=0.5, rates=(0.4, 0.2, 0.3), schedule=LONGER),
}
#: of a single convolution before the output.  It hears the nudge at first hand and most of its neurons are
#: silent, so both layers can take larger steps than those of several; it is wide, so it starts from less
SINGLE = {
    "digits": Recipe(
        epochs=60,
        eta=0.03,
        decay=0.05,
        shift=0.3,
        rates=(0.6, 0.6, 0.9375),  # .3 for the 1,600 neurons of 5x5x64
        schedule=NEAREST,
        bias=0.0,
        scale=0.3,
    ),
    "fashion": Recipe(
        epochs=16,
        eta=0.03,
        decay=0.02,
        shift=0.25,
        rates=(0.8, 0.8, 0.8),
        fan_in=2304,  # .2 for the 9,216 neurons of 12x12x64
        bias=0.0,
        scale=0.3,
    ),
}
#: for other images, by what they show
OTHER = Recipe(epochs=20, eta=0.03, decay=0.03, schedule=LONGER)


def layers(image: Sequence[int], asked: Sequence[Asked]) -> tuple[int, list[tuple[int, int, int]]]:
    """Side of a patch, and (maps, kernel, stride) of every convolution of an image (height, width, ...)."""
    sides = tuple(image[:2])
    patch = 2 if min(sides) >= FOLDED and all(side % 2 == 0 for side in sides) else 1
    sides = tuple(side // patch for side in sides)
    found = []
    for k, layer in enumerate(asked):
        pools = k > 0 or len(asked) == 1
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
        if all((positions(side, kernel, 2) or 0) >= LEAST for side in sides):
            return kernel, 2
    return min(FIRST, *sides), 1


def require_images(name: Name) -> Preset:
    """The preset of a data set of this name; ValueError when its samples are no images."""
    if name not in images.NAMES:
        raise ValueError(f"conv: is for images, {name} holds none: leave it out")
    return PRESETS[name]


def network(data: DataSet, asked: Sequence[Asked], hidden: Sequence[int] = (), **options: Any) -> Network:
    """Convolutions, hidden populations and the output; ``options`` of Network.conv.

    ValueError for data that are no images.
    """
    if data.image is None:
        raise ValueError(f"conv: is for images, {data.name} holds none: leave it out")
    patch, made = layers(data.image, asked)
    return Network.conv(data.image, *made, *hidden, data.n_classes, patch=patch, **options)


def _recipe(name: str, *, single: bool) -> Recipe:
    several = RECIPES.get(name, OTHER)
    return SINGLE.get(name, several) if single else several


def preset(data: DataSet, asked: Sequence[Asked], hidden: Sequence[int] = ()) -> Preset:
    """The network, and how it learns.

    ValueError for data that are no images.
    """
    recipe = _recipe(data.name, single=len(asked) == 1 and not hidden)
    first, later, output = recipe.rates
    last = network(data, asked, hidden).lif[-2].size
    rates = (
        first,
        *(later,) * (len(asked) + len(hidden) - 1),
        round(output * min(1.0, recipe.fan_in / last), 3),
    )
    made = network(data, asked, hidden, rate_scales=rates)
    options = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe) if f.name not in NETWORKS}
    return Preset(
        data=data.name,
        hidden=(),
        graph=Sketch.of(made, sized=False),
        form="linear",
        **options,
    )
