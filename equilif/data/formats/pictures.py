"""Images in folders, one for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.formats.base import Content, Part
from equilif.data.reading import reading
from equilif.extras import needs
from equilif_golden.network import MOST_NEURONS

ENDINGS = (".png", ".jpg", ".jpeg")
PARTS = {"train", "test"}
GREY = ("1", "L")
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

    def read(self, path: Path, label: str | None) -> Content:
        folders = _folders(path)
        own = {f.name for f in folders} == PARTS
        parts = [path / "train", path / "test"] if own else [path]
        listed = [_listed(part) for part in parts]
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
            notes.append("images in colour: three inputs a pixel")
        left = sum(_others(part) for part in parts)
        if left:
            notes.append(f"{left} files that are no PNG or JPEG were left out")
        return Content(made[0], made[1] if own else None, shape=shape, alike=True, notes=tuple(notes))

    def _part(self, found: list[tuple[Path, str]], mode: str) -> Part:
        from PIL import Image

        pixels: list[npt.NDArray[Any]] = []
        for file, _ in found:
            with reading(file, "a whole image"), Image.open(file) as image:
                pixels.append(np.asarray(image.convert(mode), np.uint8).ravel())
        return Part(np.stack(pixels), np.array([name for _, name in found]))


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _folders(path: Path) -> list[Path]:
    return [p for p in _visible(path) if p.is_dir()]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and path.is_file()


def _listed(path: Path) -> list[tuple[Path, str]]:
    """Images and their classes; ValueError when a class has none."""
    folders = _folders(path)
    if not folders:
        raise ValueError(f"{path} has no folders: it needs one for each class, with its images in it")
    found = []
    for folder in folders:
        images = [p for p in _visible(folder) if _is_image(p)]
        if not images:
            raise ValueError(
                f"{folder} has no PNG or JPEG image: each folder in {path} is a class and holds its images"
            )
        found += [(image, folder.name) for image in images]
    return found


def _others(path: Path) -> int:
    """Files that are not read."""
    within = [p for folder in _folders(path) for p in _visible(folder)]
    return sum(not _is_image(p) for p in within) + sum(not p.is_dir() for p in _visible(path))


def _check(image: Any, file: Path, shape: tuple[int, ...], first: Path) -> None:
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
