"""Store images in an attention layer and recall each from its upper half.

    python examples/recall_images.py FOLDER     class folders of PNG or JPEG images of one size
    python examples/recall_images.py            100 digits of scikit-learn

`equilif recall FOLDER --stored 100` is the command for this; here are its parts.
"""

import sys

import numpy as np

from equilif import Hopfield
from equilif.data import own
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.training.analysis.recall import store
from equilif_golden.hopfield import STATE

SHARPNESS = 5  # the maximum: strong preference for the most similar image


def recall(data: DataSet, max_images: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Stored patterns, and the pattern recalled from the upper half of each: (n, pixels) codes."""
    x = data.x_train[:max_images]
    patterns, _, _ = store(x)  # mean removed, norm equal
    codes = STATE.quantize(patterns)
    memory = Hopfield.of(codes, sharpness=SHARPNESS)
    upper = np.arange(x.shape[1]) < x.shape[1] // 2
    # each retrieved state is the next query, until the state is constant
    return codes, np.array([memory.recall(code * upper)[-1] for code in codes])


def main(folder: str | None = None) -> float:
    data = own.load(folder) if folder else images.digits()
    stored, recalled = recall(data)
    nearest = (recalled @ stored.T).argmax(1)
    accuracy = float((nearest == np.arange(len(stored))).mean())
    print(f"{len(stored)} images of {stored.shape[1]} values: {accuracy:.1%} recalled from their upper half")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:])
