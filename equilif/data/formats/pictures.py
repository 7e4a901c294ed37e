"""Images in folders, one for each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from equilif.data.formats.base import Columns, Content, Part
from equilif.data.formats.folders import Files
from equilif.data.reading import reading
from equilif.extras import needs
from equilif_golden.network import MOST_NEURONS

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FILES = Files((".png", ".jpg", ".jpeg"), "PNG or JPEG image")
GREY = ("1", "L")
COLOURED = "images in colour: three inputs a pixel"  #: a note
COLOUR = ("RGB", "P", "CMYK", "YCbCr")


class ImageFolders:
    """``cat/1.png``, ``dog/7.jpg``: a folder is a class; or the same below ``train`` and ``test``.

    Images are PNG or JPEG of one size, read by Pillow; grey stays grey, and when one is in colour, all are.
    """

    name = "images"
    what = "a folder of class folders of PNG or JPEG images"
    labelled = False

    def claims(self, path: Path) -> bool:
        return path.is_dir()

    def read(self, path: Path, columns: Columns) -> Content:
        listed = FILES.listed(path)
        with needs("images"):
            from PIL import Image
        first = listed[0][0][0]
        shape: tuple[int, ...] = ()
        notes = []
        colour = False
        for found in listed:
            for file, _ in found:
                with reading(file, "an image"), Image.open(file) as image:
                    _check(image, file, shape, first)
                    shape = (image.height, image.width)
                    colour = colour or image.mode not in GREY
        made = [self._part(found, "RGB" if colour else "L") for found in listed]
        if colour:
            shape = (*shape, 3)
            notes.append(COLOURED)
        test = made[1] if len(made) > 1 else None
        return Content(made[0], test, shape=shape, alike=True, notes=(*notes, *FILES.left_out(path)))

    def _part(self, found: list[tuple[Path, str]], mode: str) -> Part:
        from PIL import Image

        pixels: list[npt.NDArray[Any]] = []
        for file, _ in found:
            with reading(file, "a whole image"), Image.open(file) as image:
                pixels.append(np.asarray(image.convert(mode), np.uint8).ravel())
        return Part(np.stack(pixels), np.array([name for _, name in found]))


def _check(image: Picture, file: Path, shape: tuple[int, ...], first: Path) -> None:
    """Size and kind of an image, before its pixels are unpacked; ValueError otherwise."""
    size = (image.height, image.width)
    if size[0] * size[1] * 3 > MOST_NEURONS:
        raise ValueError(f"it has {size[1]} x {size[0]} pixels, too many for a network: make it smaller")
    if shape and size != shape:
        raise ValueError(
            f"it has {size[1]} x {size[0]} pixels, {first} has {shape[1]} x {shape[0]}: make all of one size"
        )
    if image.mode not in GREY + COLOUR or "transparency" in image.info:
        raise ValueError(
            f"its pixels are of kind {image.mode}: save it as 8-bit grey or RGB, without transparency"
        )
