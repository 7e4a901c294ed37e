"""Networks of convolutions for images of any size: only the number of maps of each has to be said.

A 5x5 convolution and the average of each 2x2 of its results are one kernel of 6x6 in steps of 2; for small
images it is 3x3, so 4x4.  The first of them is over the image, which is folded in patches of 2x2 where that
is possible: then it is a kernel of half the side, and all channels of a patch lie in lanes side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from equilif.data.dataset import DataSet
from equilif_golden.blocks.geometry import positions
from equilif_golden.network import Network

SMALL = 16  #: pixels of the shorter side of an image that gets the smaller kernels
#: (side, stride) of kernels, the first that ends at both edges is taken
KERNELS = {False: ((6, 2), (5, 2), (3, 1)), True: ((4, 2), (3, 2), (2, 1))}


class Layers(NamedTuple):
    """Of Network.conv: ``patch`` of the input, and (maps, kernel, stride) of every convolution."""

    patch: int
    convolutions: tuple[tuple[int, int, int], ...]


def layers(image: tuple[int, int, int], maps: Sequence[int]) -> Layers:
    """For images of (height, width, colours); ValueError when they are too small for so many."""
    sides = image[:2]
    kernels = KERNELS[min(sides) <= SMALL]
    found: list[tuple[int, int, int]] = []
    patch = 1
    for n in maps:
        fitting = (k for k in kernels if all(positions(side, *k) for side in sides))
        kernel, stride = next(fitting, (0, 0))
        if not kernel:
            raise ValueError(
                f"images of {image[0]}x{image[1]} pixels take {len(found)} convolutions, not {len(maps)}: "
                f"after these {sides[0]}x{sides[1]} positions are left"
            )
        left = [positions(side, kernel, stride) or 0 for side in sides]
        if not found and not any(n % 2 for n in (kernel, stride, *sides)):
            patch = 2
            kernel //= 2
            stride //= 2
        found.append((n, kernel, stride))
        sides = (left[0], left[1])
    return Layers(patch, tuple(found))


def network(d: DataSet, maps: Sequence[int], hidden: Sequence[int] = (), **options: Any) -> Network:
    """The network of a data set's images: convolutions of so many ``maps``, then hidden populations of these
    sizes.  ``options`` as of Network.conv.

    ValueError when the samples are no images, or too small.
    """
    if d.image is None:
        raise ValueError(f"convolutions are of images, {d.name} holds none: leave out --conv")
    patch, convolutions = layers(d.image, maps)
    return Network.conv(d.image, *convolutions, *hidden, d.n_classes, patch=patch, **options)
