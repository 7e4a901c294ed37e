"""Train a board on your table.

    python examples/own_table.py wine.csv kind                  a board in simulation
    python examples/own_table.py wine.csv kind /dev/ttyUSB1     a real one

The golden model trains on the same samples; in the end both have the same weights.
"""

import sys

import numpy as np

from equilif import Kernel, Network
from equilif.data import own
from equilif.data.sets.dataset import DataSet
from equilif.hardware import boards
from equilif.host import ports
from equilif.host.client import Client
from equilif.host.simulate import Simulated
from equilif_golden.engine.chip import Chip

RATE = 0.05
EPOCHS = 3


def learn(data: DataSet, client: Client, hidden: int = 32) -> tuple[Chip, Kernel]:
    """Train the board of the client and the golden model on the same samples."""
    network = Network.chain(data.n_features, hidden, data.n_classes)
    chip = Chip(client, network, learning_rate=RATE)
    golden = Kernel(network, learning_rate=RATE)
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(data.y_train))
        for model in (chip, golden):
            model.train(data.x_train, data.y_train, order)
    return chip, golden


def main(table: str, label: str, port: str | None = None) -> None:
    # reads, splits off a test part, and scales every column to the 0..255 of an input
    data = own.load(table, label=label)
    if port is None:
        print("compiling the board (a minute, once)")
        client = Client(Simulated(boards.find("icebreaker")).board)
        client.identify()
    else:
        client = ports.connect(port)
    chip, golden = learn(data, client)
    same = all((chip.weights[name] == w).all() for name, w in golden.weights.items())
    print(f"test accuracy of the board {chip.accuracy(data.x_test, data.y_test):.1%}")
    print(f"weights of board and golden model are {'equal' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
