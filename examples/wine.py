"""Write a table to try: 178 wines with 13 measurements each, and the kind.

    python examples/wine.py wine.csv

The measurements are those of scikit-learn's wine (UCI, three growers in one region of Italy).
"""

import csv
import sys
from pathlib import Path

from sklearn.datasets import load_wine


def write(path: Path) -> None:
    wine = load_wine()
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*wine.feature_names, "kind"])
        for values, kind in zip(wine.data, wine.target, strict=True):
            table.writerow([*values, wine.target_names[kind]])


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "wine.csv"))
