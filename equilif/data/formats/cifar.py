"""CIFAR-10 and CIFAR-100 in their binary version."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from equilif.data import cifar
from equilif.data.formats.base import Columns, Content, Part
from equilif.data.formats.pictures import COLOURED


class Cifar:
    """Unpacked folder or archive of ``cifar-10-binary.tar.gz`` or ``cifar-100-binary.tar.gz``."""

    name = "cifar"
    what = "CIFAR-10 or CIFAR-100 in its binary version"
    labelled = False

    def claims(self, path: Path) -> bool:
        return cifar.is_there(path)

    def read(self, path: Path, columns: Columns) -> Content:
        found = cifar.read(path)
        names = np.array(found.names)
        train, test = (Part(part.x, names[part.y]) for part in (found.train, found.test))
        return Content(train, test, shape=cifar.SHAPE, alike=True, notes=(COLOURED,))
