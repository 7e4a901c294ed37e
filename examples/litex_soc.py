"""The engine in a LiteX SoC: a RISC-V processor trains it with the C driver, in simulation.

    python examples/litex_soc.py [FOLDER]

Builds a SoC (VexRiscv, ROM, RAM, engine), compiles examples/litex_soc.c with the driver by
riscv64-unknown-elf-gcc, and runs it in Verilator.  The processor learns 20 digits and predicts 4.  Every
prediction, rate and weight in its RAM is compared with the golden model's.
"""

import ctypes
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from litex.build.generic_platform import Pins
from litex.build.io import CRG
from litex.build.sim import SimPlatform
from litex.soc.integration.export import get_linker_regions, get_mem_header
from litex.soc.integration.soc_core import SoCCore

from equilif import Kernel, Network
from equilif.data.sets import images
from equilif.hardware.driver import DriverNetwork
from equilif.hardware.litex import EquilifEngine
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import dither_position
from equilif_golden.samples import one_hot
from equilif_sim.library import compiled

HERE = Path(__file__).parent
CPU = "vexriscv"  #: another one needs its package, such as pythondata-cpu-picorv32
ROM_BYTES, RAM_BYTES = 32 << 10, 512 << 10
CONFIG = EngineConfig(lanes=4)
NETWORK = Network.chain(64, 64, 10)
LEARNING_RATE = 0.05
NUM_LEARNED, NUM_PREDICTED = 20, 4
PROGRAM = ("litex_soc.c", "litex_soc.ld")
COMPILER = "riscv64-unknown-elf-gcc"
OPTIONS = "-std=c99 -ffreestanding -O2 -ffunction-sections -Wall -Wextra -Werror -DEQUILIF_MEMORY_MAPPED"
LINK = "-nostdlib -Wl,--gc-sections"
FINISHED = 1000  #: value of report.progress when the program has ended
MAX_CYCLES = 20_000_000
MAX_SECONDS = 60  #: of a tool

SIMULATOR = r"""
#include "Vsoc.h"
#include "Vsoc___024root.h"
#include "verilated.h"
#include <cstring>
#include <memory>
#define MEMORY(name) top->rootp->soc__DOT__##name
// Runs a program until report.progress, the first word of RAM, is `finished`.  `ends`: the cycles of its
// changes.  Returns the number of changes, -1 if there are more than `n`, -2 after `max_cycles`.
extern "C" int run(const uint32_t *rom, int words, uint32_t finished, uint64_t max_cycles, uint64_t *ends,
                   int n, uint32_t *ram) {
    VerilatedContext context;
    std::unique_ptr<Vsoc> top(new Vsoc(&context));
    memcpy(&MEMORY(rom)[0], rom, 4 * words);
    int changes = 0;
    uint32_t progress = MEMORY(sram)[0];
    for (uint64_t cycle = 0; cycle < max_cycles; cycle++) {
        top->sys_rst = cycle < 4;
        top->sys_clk = 0; top->eval();
        top->sys_clk = 1; top->eval();
        if (MEMORY(sram)[0] == progress) continue;
        progress = MEMORY(sram)[0];
        if (changes == n) return -1;
        ends[changes++] = cycle;
        if (progress == finished) {
            memcpy(ram, &MEMORY(sram)[0], sizeof MEMORY(sram));
            return changes;
        }
    }
    return -2;
}
"""
VISIBLE = (
    '`verilator_config\npublic_flat_rw -module "soc" -var "rom"\npublic_flat_rw -module "soc" -var "sram"\n'
)


class Soc(SoCCore):
    def __init__(self, folder: Path, network: DriverNetwork):
        platform = SimPlatform("SIM", [("sys_clk", 0, Pins(1)), ("sys_rst", 0, Pins(1))])
        super().__init__(
            platform,
            clk_freq=int(25e6),
            cpu_type=CPU,
            integrated_rom_size=ROM_BYTES,
            integrated_sram_size=RAM_BYTES,
            with_uart=False,
            with_timer=False,
        )
        self.crg = CRG(platform.request("sys_clk"), platform.request("sys_rst"))
        self.engine = EquilifEngine(platform, CONFIG, folder, network=network)
        self.bus.add_slave("engine", self.engine.bus, self.engine.region())
        self.irq.add("engine")

    def verilog(self) -> str:
        """SoC, processor and engine; the simulator fills the memories."""
        self.finalize()
        soc = self.platform.get_verilog(self, name="soc").main_source
        sources = [Path(source[0]).read_text() for source in self.platform.sources]
        return "\n".join([re.sub(r"^\s*\$readmemh\(.*\);$", "", soc, flags=re.M), *sources])


@dataclass
class Result:
    report: np.ndarray  #: what the processor has left in RAM, one element per sample
    expected: np.ndarray  #: the same by the golden model
    cycles: np.ndarray  #: of the load, then of each sample: driver and engine
    code_bytes: int  #: of the driver

    def differences(self) -> dict[str, int]:
        """Number of values that differ, by field."""
        return {
            name: int((self.report[name] != self.expected[name]).sum()) for name in self.expected.dtype.names
        }


def firmware(folder: Path, soc: Soc, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Words of the ROM, and bytes of code of the driver."""
    rows = ",\n".join("{" + ",".join(map(str, row)) + "}" for row in x)
    (folder / "samples.h").write_text(
        f"#define NUM_LEARNED {NUM_LEARNED}u\n#define FINISHED {FINISHED}u\n"
        f"static const uint8_t labels[] = {{{','.join(map(str, labels))}}};\n"
        f"static const uint8_t inputs[][{x.shape[1]}] = {{{rows}}};\n"
    )
    (folder / "mem.h").write_text(get_mem_header(soc.mem_regions))
    (folder / "regions.ld").write_text(get_linker_regions(soc.mem_regions))
    for name in PROGRAM:
        (folder / name).write_text((HERE / name).read_text())

    def call(command: str) -> str:
        done = subprocess.run(
            command.split(), cwd=folder, check=True, stdout=subprocess.PIPE, text=True, timeout=MAX_SECONDS
        )
        return done.stdout

    target = soc.cpu.gcc_flags
    call(f"{COMPILER} {target} {OPTIONS} -c equilif.c litex_soc.c")
    call(f"{COMPILER} {target} {LINK} -T litex_soc.ld litex_soc.o equilif.o -lgcc -o program")
    call("riscv64-unknown-elf-objcopy -O binary -j .text program program.bin")
    content = (folder / "program.bin").read_bytes()
    code_bytes, *_ = call("riscv64-unknown-elf-size equilif.o").splitlines()[1].split()
    return np.frombuffer(content + bytes(-len(content) % 4), "<u4"), int(code_bytes)


def simulate(soc: Soc, rom: np.ndarray, steps: int) -> tuple[np.ndarray, bytes]:
    """Cycles in which the program has ended a step, at most ``steps``, and the RAM; RuntimeError if it has
    not finished.
    """
    library = ctypes.CDLL(str(compiled("soc", soc.verilog(), SIMULATOR, VISIBLE, ["--flatten"])))
    ends = np.zeros(steps, np.uint64)
    ram = ctypes.create_string_buffer(RAM_BYTES)
    rom = np.ascontiguousarray(rom)
    done = library.run(
        rom.ctypes.data_as(ctypes.c_void_p),
        len(rom),
        FINISHED,
        ctypes.c_uint64(MAX_CYCLES),
        ends.ctypes.data_as(ctypes.c_void_p),
        steps,
        ram,
    )
    if done < 0:
        raise RuntimeError(f"the program has not finished within {MAX_CYCLES:,} cycles and {steps} steps")
    return ends[:done].astype(np.int64), ram.raw


def sample_type(network: DriverNetwork) -> np.dtype:
    """``struct sample`` of the C program, padding included."""
    return np.dtype(
        [
            ("prediction", "<u4"),
            ("counter", "<u4"),
            ("rates", "<u2", network.fields["num_rates"]),
            ("weights", "<i2", network.fields["num_weights"]),
        ],
        align=True,
    )


def golden_report(golden: Kernel, x: np.ndarray, labels: np.ndarray, sample: np.dtype) -> np.ndarray:
    """Predictions, rates, weights and dither counter of the model, after each sample."""
    report = np.zeros(len(x), sample)
    placed = Compiled(NETWORK, CONFIG)
    for k, each in enumerate(report):
        one, label = x[k : k + 1], labels[k : k + 1]
        target = one_hot(label, NETWORK.n_outputs) if k < NUM_LEARNED else None
        free, plus, minus = golden.rates(one, target)[0][0]
        each["prediction"] = golden.predict(one)[0]
        each["rates"] = free * 257 if target is None else plus + 256 * minus
        if target is not None:
            golden.train(one, label)
        each["weights"] = placed.weight_words(golden.weights).ravel()
        each["counter"] = dither_position(golden.counter)
    return report


def run(folder: Path) -> Result:
    digits = images.digits()
    n = NUM_LEARNED + NUM_PREDICTED
    x, labels = digits.x_train[:n], digits.y_train[:n]
    golden = Kernel(NETWORK, learning_rate=LEARNING_RATE)
    network = DriverNetwork.compile(NETWORK, golden.weights, CONFIG, learning_rate=LEARNING_RATE)
    soc = Soc(folder, network)
    rom, code_bytes = firmware(folder, soc, x, labels)
    ends, ram = simulate(soc, rom, 2 + 2 * n)
    sample = sample_type(network)
    error = int.from_bytes(ram[4:8], "little")
    if error:
        raise RuntimeError(f"the driver has returned error {error} (enum equilif_result)")
    report = np.frombuffer(ram, sample, n, 8)
    # steps are: load, then driver and report of each sample, then the end
    cycles = np.append(ends[0], np.diff(ends)[:-1:2])
    return Result(report, golden_report(golden, x, labels, sample), cycles, code_bytes)


def main(folder: str | None = None) -> Result:
    if not shutil.which(COMPILER):
        sys.exit(f"error: {COMPILER} is not installed: apt-get install gcc-riscv64-unknown-elf")
    logging.basicConfig(level=logging.WARNING)  # LiteX describes the SoC at length
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(folder or temporary).resolve()
        target.mkdir(parents=True, exist_ok=True)
        result = run(target)
    load, samples = result.cycles[0], result.cycles[1:]
    print(f"cycles: load {load:,}, learn {samples[:NUM_LEARNED].mean():,.0f} a sample,", end=" ")
    print(f"predict {samples[NUM_LEARNED:].mean():,.0f}; code of the driver: {result.code_bytes:,} bytes")
    print("differences from the golden model:", result.differences())
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
