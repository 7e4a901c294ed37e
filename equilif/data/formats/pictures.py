"""Images in folders, one for each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.data.base.reading import reading
from equilif.data.formats.base import Columns, Content, Part
from equilif.data.formats.folders import Files
from equilif_golden.extras import needs
from equilif_golden.network import MAX_NEURONS

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FILES = Files((".png", ".jpg", ".jpeg"), "PNG or JPEG image")
IMAGE = "a PNG or JPEG image to learn from"
KINDS = ("PNG", "JPEG")  #: formats that Pillow may open, whatever the name of a file
ORIENTATION = 0x0112  #: tag of EXIF
DEPTH = 24  #: byte of a PNG file with the bits of a value
GREY = ("1", "L")
COLOURED = "images in colour: three inputs a pixel"  #: a note
COLOUR = ("RGB", "P", "CMYK", "YCbCr")


class ImageFolders:
    """``cat/1.png``, ``dog/7.jpg``: a folder is a class; or the same below ``train`` and ``test``.

    Images are PNG or JPEG of one size and 8 bits, read by Pillow and turned upright by their EXIF
    orientation; grey stays grey, and when one is in colour, all are.
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
        colour = False
        for found in listed:
            for file, _ in found:
                with reading(file, IMAGE), Image.open(file, formats=KINDS) as image:
                    _check(image, file)
                    colour = colour or image.mode not in GREY
        stacks = [_upright([file for file, _ in found], "RGB" if colour else "L") for found in listed]
        first = stacks[0].pixels[0]
        for found, stack in zip(listed, stacks, strict=True):
            for (file, _), pixels in zip(found, stack.pixels, strict=True):
                if pixels.shape != first.shape:
                    height, width = pixels.shape[:2]
                    raise ValueError(
                        f"{file} has {width} x {height} pixels, {listed[0][0][0]} has {first.shape[1]} x "
                        f"{first.shape[0]}: make all of one size"
                    )
        made = [
            Part(np.stack(stack.pixels).reshape(len(found), -1), np.array([name for _, name in found]))
            for found, stack in zip(listed, stacks, strict=True)
        ]
        notes = [COLOURED] if colour else []
        if turned := sum(stack.turned for stack in stacks):
            notes.append(f"{turned:,} images turned upright, as their EXIF orientation says")
        test = made[1] if len(made) > 1 else None
        return Content(made[0], test, shape=first.shape, alike=True, notes=(*notes, *FILES.left_out(path)))


class _Stack(NamedTuple):
    """Images (height, width) or (height, width, 3) each, and how many of them were turned upright."""

    pixels: list[npt.NDArray[np.uint8]]
    turned: int


def _upright(files: list[Path], mode: str) -> _Stack:
    from PIL import Image, ImageOps

    pixels = []
    turned = 0
    for file in files:
        with reading(file, f"whole, or not {IMAGE}"), Image.open(file, formats=KINDS) as image:
            turned += image.getexif().get(ORIENTATION, 1) in range(2, 9)
            pixels.append(np.asarray(ImageOps.exif_transpose(image).convert(mode), np.uint8))
    return _Stack(pixels, turned)


def _check(image: Picture, file: Path) -> None:
    """Size and mode of an image before it is unpacked; ValueError if unsupported."""
    if image.height * image.width * 3 > MAX_NEURONS:
        raise ValueError(
            f"it has {image.width} x {image.height} pixels, too many for a network: make it smaller"
        )
    with file.open("rb") as f:
        head = f.read(DEPTH + 1)
    deep = image.format == "PNG" and head[DEPTH:] == b"\x10"  # Pillow cuts RGB of 16 bits to 8
    if deep or image.mode not in GREY + COLOUR or "transparency" in image.info:
        kind = "16 bits" if deep else f"kind {image.mode}"
        raise ValueError(f"its pixels are of {kind}: save it as 8-bit grey or RGB, without transparency")
    if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
        raise ValueError("it is animated: save one picture of it")
