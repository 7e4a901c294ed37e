"""Images of your own, stored in an associative memory and recalled from their upper halves.

    python examples/recall_images.py FOLDER     class folders of PNG or JPEG images of one size
    python examples/recall_images.py            100 digits of scikit-learn

`equilif recall FOLDER --stored 100` does this at the command line; here are the parts that it is made of.
"""

import sys

import numpy as np

from equilif import Hopfield
from equilif.data import images, own
from equilif.data.dataset import DataSet
from equilif.training.recall import store
from equilif_golden.hopfield import STATE

SHARPNESS = 5  # how much the most similar image is preferred; the largest


def recall(data: DataSet, most: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Patterns that were stored, and what came back for the upper half of each: (n, pixels) codes."""
    x = data.x_train[:most]
    patterns, _, _ = store(x)  # without their mean, and all of one norm
    codes = STATE.quantize(patterns)
    memory = Hopfield.of(codes, sharpness=SHARPNESS)
    upper = np.arange(x.shape[1]) < x.shape[1] // 2
    # a state is asked as a query again until it stands still
    return codes, np.array([memory.recall(code * upper)[-1] for code in codes])


def main(folder: str | None = None) -> float:
    data = own.load(folder) if folder else images.digits()
    stored, found = recall(data)
    nearest = (found @ stored.T).argmax(1)
    right = float((nearest == np.arange(len(stored))).mean())
    print(f"{len(stored)} images of {stored.shape[1]} values: {right:.1%} recalled from their upper half")
    return right


if __name__ == "__main__":
    main(*sys.argv[1:])
