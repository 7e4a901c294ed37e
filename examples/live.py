"""Learn from a stream of samples: predict each one, then learn it, here or on a board.

    python examples/live.py                 # the golden model
    python examples/live.py /dev/ttyUSB1    # a board, or one of `equilif simulate`

Replace ``stream`` by a sensor: anything that yields the numbers of a sample and its class.
"""

import sys
from collections import deque
from collections.abc import Iterator

import numpy as np

from equilif import Classifier
from equilif.data.sets import images


def stream() -> Iterator[tuple[np.ndarray, int]]:
    """Handwritten digits, 64 pixels in 0..255 each, in random order."""
    digits = images.digits()
    for k in np.random.default_rng(0).permutation(len(digits.y_train)):
        yield digits.x_train[k], int(digits.y_train[k])


def main(port: str | None = None, count: int = 1437) -> float:
    """Accuracy of the predictions of the last 200 samples, each made before the sample was learned."""
    model = Classifier(hidden=[32], learning_rate=0.1, input_range=(0, 255))
    right: deque[bool] = deque(maxlen=200)
    for k, (x, label) in zip(range(count), stream(), strict=False):
        if k:
            right.append(model.predict([x])[0] == label)
        model.partial_fit([x], [label], classes=range(10))
        if k == 0 and port:
            model.to_board(port)
        if k and k % 200 == 0:
            print(f"{k:5,} samples: {np.mean(right):.1%} of the last {len(right)} predicted correctly")
    return float(np.mean(right))


if __name__ == "__main__":
    main(*sys.argv[1:2])
