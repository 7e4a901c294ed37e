"""Waves of the first samples of a comparison, and layouts that show them (equilif_sim.waves)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from equilif_golden import files
from equilif_golden.engine.chip import Chip
from equilif_golden.extras import needs

with needs("hdl,sim"):
    from equilif_sim import waves
    from equilif_sim.verilated import VerilatedEngine, rtl

SAMPLES = 2  #: of which waves are written: a training sample of MNIST takes ten thousands of cycles


def check(path: Path) -> None:
    """ValueError or OSError unless waves and layouts can be written."""
    if path.suffix not in waves.SUFFIXES:
        raise ValueError(f"--waves must be a file that ends in {' or '.join(waves.SUFFIXES)}, not {path}")
    for file in (path, *waves.companion_files(path).values()):
        files.check(file)


class WaveRecorder:
    """Writes what a chip does from now on, for SAMPLES samples or until it is closed.

    The chip is on a VerilatedEngine of the format of ``path``.  The files are written when it is over.
    """

    def __init__(self, chip: Chip, path: Path):
        assert isinstance(chip.engine, VerilatedEngine)
        self.path = path
        self.engine = chip.engine
        self.compiled = chip.compiled
        self._left = SAMPLES
        self._folder = tempfile.TemporaryDirectory(prefix="equilif-")
        self._file = Path(self._folder.name) / path.name
        self.engine.record(self._file)

    def sample(self) -> None:
        """A sample is over."""
        self._left -= 1
        if self._left == 0:
            self.close()

    def close(self) -> None:
        """Write the files, unless that was done."""
        if not self._file.exists():
            return
        self.engine.record(None)
        shown = waves.waves(rtl(self.engine.config), self.engine.config)
        layouts = waves.companion_files(self.path)
        files.write(self.path, self._file.read_bytes())
        files.write(layouts["gtkwave"], waves.gtkwave(self.path, shown).encode())
        files.write(layouts["program"], waves.program(self.engine.program, self.compiled).encode())
        files.write(layouts["operations"], waves.operations().encode())
        files.write(layouts["surfer"], waves.surfer(shown).encode())
        self._folder.cleanup()


def written(path: Path) -> list[Path]:
    """All files of waves."""
    return [path, *waves.companion_files(path).values()]
