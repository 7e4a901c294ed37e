"""A figure for a paper, as vector PDF and SVG: the learning curve over several seeds.

    python examples/paper_figure.py [FOLDER]

The line is the mean of three seeds, the band one standard deviation.  The figure has the width of a column of
an IEEE paper (3.5 inches) and a font of 8 points; text remains text in both files.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from equilif.data.sets import images
from equilif.training.run import Run
from equilif.training.settings.presets import PRESETS

STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # TrueType, as publishers ask for
    "svg.fonttype": "none",
}
SEEDS = (0, 1, 2)


def learning_curves(epochs: int) -> np.ndarray:
    """Test accuracy in percent, (seeds, epochs)."""
    digits = images.digits()
    preset = PRESETS["digits"].changed(epochs=epochs)
    runs = [Run.start(preset, digits, seed=seed) for seed in SEEDS]
    return np.array([[100 * run.epoch().test_accuracy for _ in range(epochs)] for run in runs])


def draw(curves: np.ndarray, folder: Path) -> list[Path]:
    """Write the figure in both formats."""
    epochs = np.arange(1, curves.shape[1] + 1)
    mean, deviation = curves.mean(0), curves.std(0, ddof=1)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(3.5, 2.2), layout="constrained")
        axes.plot(epochs, mean, color="black", linewidth=1)
        axes.fill_between(epochs, mean - deviation, mean + deviation, color="0.8", linewidth=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel("test accuracy (%)")
        axes.set_xlim(1, epochs[-1])
        axes.set_title(f"digits 64-64-10, {len(curves)} seeds, mean and standard deviation", fontsize=8)
        files = [folder / f"learning_curve.{kind}" for kind in ("pdf", "svg")]
        for file in files:
            figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else {"CreationDate": None})
        plt.close(figure)
    return files


def main(folder: str = ".", epochs: int = 15) -> list[Path]:
    Path(folder).mkdir(parents=True, exist_ok=True)
    curves = learning_curves(epochs)
    files = draw(curves, Path(folder))
    print(f"{curves[:, -1].mean():.2f} % after {epochs} epochs; wrote {', '.join(map(str, files))}")
    return files


if __name__ == "__main__":
    main(*sys.argv[1:])
