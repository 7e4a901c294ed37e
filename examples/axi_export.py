"""The engine as a Verilog module behind AXI, in a design without Python.

    python examples/axi_export.py [FOLDER]

Writes the engine (as `equilif export FOLDER` does), and what a processor would write into it: program,
weights, constants and one sample, as hexadecimal files. The test bench examples/axi_testbench.v loads and
runs them in Icarus Verilog, and the class is compared with the golden model's.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from equilif import Kernel, Network
from equilif.data.sets import images
from equilif.hardware.export import Bus, export
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import assemble

TESTBENCH = Path(__file__).with_name("axi_testbench.v")
CONFIG = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=8, program_words=128, attention=False)
NETWORK = Network.chain(64, 8, 10)


def hexadecimal(path: Path, values: np.ndarray, digits: int) -> int:
    """Write one value per line; return the number of values."""
    mask = (1 << 4 * digits) - 1
    path.write_text("".join(f"{int(v) & mask:0{digits}x}\n" for v in values.ravel()))
    return values.size


def prepare(folder: Path, golden: Kernel, x: np.ndarray) -> dict[str, int]:
    """Write all files; return the parameters of the test bench."""
    export(folder, CONFIG, Bus.axi)
    compiled = Compiled(NETWORK, CONFIG)
    first_constant, constants = compiled.constants()
    # a value has two halves, for the two nudged phases: inputs and constants are the same in both
    return {
        "PROGRAM_WORDS": hexadecimal(folder / "program.hex", np.array(assemble(compiled.program(0.0))), 8),
        "WEIGHTS": hexadecimal(folder / "weights.hex", compiled.weight_words(golden.weights), 4),
        "CONSTANTS": hexadecimal(folder / "constants.hex", constants * 257, 4),
        "INPUTS": hexadecimal(folder / "inputs.hex", compiled.sample(x) * 257, 4),
        "FIRST_CONSTANT": first_constant,
        "FIRST_INPUT": compiled.sample_first,
    }


def simulate(folder: Path, parameters: dict[str, int]) -> dict[str, int]:
    """Run the test bench: the class, and the clock cycles of the run."""
    defines = [f"-Ptestbench.{name}={value}" for name, value in parameters.items()]
    for command in (
        ["iverilog", "-g2005", "-o", "testbench", *defines, str(TESTBENCH), "equilif.v"],
        ["vvp", "-n", "testbench"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", done.stdout, re.M)}


def main(folder: str | None = None) -> tuple[int, int]:
    digits = images.digits()
    golden = Kernel(NETWORK, learning_rate=0.05)
    golden.train(digits.x_train, digits.y_train)
    x = digits.x_test[0]
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(folder or temporary).resolve()
        result = simulate(target, prepare(target, golden, x))
    expected = int(golden.predict(x[None])[0])
    print(f"class {result['class']} in {result['cycles']:,} clock cycles; golden model: {expected}")
    return result["class"], expected


if __name__ == "__main__":
    main(*sys.argv[1:])
