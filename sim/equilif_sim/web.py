"""RTL of the engine as WebAssembly, for the page of ``equilif lab``: Verilator, then Emscripten.

The driver is that of equilif_sim.verilated with functions that run an instruction at a time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from equilif_golden.engine.config import EngineConfig
from equilif_sim import library, verilated
from equilif_sim.tools import verilator
from equilif_sim.waves import waves, with_waves

#: functions of the driver: one run, and a run from instruction to instruction
FUNCTIONS = r"""
const uint64_t LIMIT = 100'000'000;
int web_run(Sim *s, int learn, uint32_t *result) { return sim_run(s, learn, LIMIT, result); }
void web_start(Sim *s, int learn) { HOST(start) = 1; HOST(learn) = learn; s->tick(); HOST(start) = 0; }
// Index of the instruction that begins, before its first effect; -1 at the end of the run.
int web_next(Sim *s) {
    while (HOST(busy)) {
        s->tick();
        if (s->top->rootp->engine__DOT__dispatcher__DOT__start)
            return s->top->rootp->engine__DOT__waves__DOT__number_now;
    }
    return -1;
}
uint32_t web_cycles(Sim *s) { return HOST(cycles); }
uint32_t web_total(Sim *s) { return s->cycles; }
"""
EXPORTS = "sim_new sim_write sim_read sim_peek web_run web_start web_next web_cycles web_total malloc"
#: what Verilator's runtime expects of a processor and of POSIX threads, of which it uses one
PLATFORM = r"""
#include <cstdint>
#include <pthread.h>
#include <sched.h>
extern "C" {
int pthread_getaffinity_np(pthread_t, unsigned long, cpu_set_t *) { return 1; }
int pthread_setaffinity_np(pthread_t, unsigned long, const cpu_set_t *) { return 1; }
int sched_getcpu() { return 0; }
}
"""
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
TO_OBJECT = (
    *"-O3 -std=gnu++20 -w -c -Iobj -DVERILATOR=1 -DVL_IGNORE_UNKNOWN_ARCH".split(),
    *"-DVM_COVERAGE=0 -DVM_SC=0 -DVM_TRACE=0".split(),
)
#: -O1: beyond it Emscripten calls a package of Node.js, which only the distribution's Node.js finds
TO_WASM = (
    *"-O1 -sMODULARIZE=1 -sEXPORT_NAME=createEngine -sENVIRONMENT=worker,node -sFILESYSTEM=0".split(),
    *"-sINITIAL_MEMORY=16MB -sEXPORTED_RUNTIME_METHODS=HEAPU8,HEAPU32".split(),
    "-sEXPORTED_FUNCTIONS=" + ",".join(f"_{name}" for name in EXPORTS.split()),
)


class WebEngine(NamedTuple):
    """WebAssembly of an engine, and Emscripten's JavaScript that starts it: ``createEngine``."""

    javascript: bytes
    wasm: bytes


def engine(config: EngineConfig) -> WebEngine:
    """The engine; compiled or cached.  BuildFailed when Verilator or Emscripten is missing or fails."""
    if shutil.which("emcc") is None:
        raise library.BuildFailed(
            "emcc is not installed: ./run lab installs Emscripten"
        )
    text = verilated.rtl(config)
    text = with_waves(text, {"sequencer": waves(text, config)["sequencer"]})
    driver, visible = verilated.driver_of(config, FUNCTIONS)
    visible += 'public_flat_rd -module "waves" -var "number_now"\n'
    visible += 'public_flat_rd -module "*dispatcher" -var "start"\n'
    environment = {**os.environ, **verilator.environment()}
    versions = [library.call([tool, "--version"], Path.cwd(), environment) for tool in ("verilator", "emcc")]
    cache = library.cache_folder(text, driver, visible, PLATFORM, *TO_OBJECT, *TO_WASM, *versions)
    files = [cache / name for name in ("engine.js", "engine.wasm")]
    if not all(map(library.is_stored, files)):
        for file in files:
            library.require(file)
        with tempfile.TemporaryDirectory(prefix="equilif-") as temporary:
            made = _compile(Path(temporary), text, driver, visible, environment)
        for file, content in zip(files, made, strict=True):
            library.store(file, content)
    return WebEngine(*(file.read_bytes() for file in files))


def _compile(work: Path, text: str, driver: str, visible: str, environment: dict[str, str]) -> WebEngine:
    for name, content in (("engine.v", text), ("driver.cpp", driver), ("visible.vlt", visible)):
        (work / name).write_text(content)
    library.call(["verilator", *library.to_cpp("engine")], work, environment)
    root = environment.get("VERILATOR_ROOT") or library.call(
        ["verilator", "--getenv", "VERILATOR_ROOT"], work, environment
    )
    include = Path(root.strip()) / "include"
    sources = ["driver.cpp", *sorted(f"obj/{p.name}" for p in (work / "obj").glob("*.cpp")), *RUNTIME]
    # one translation unit: the compiler sees driver and design together
    unit = PLATFORM + "".join(f'#include "{name}"\n' for name in sources)
    (work / "unit.cpp").write_text(unit)
    library.call(
        ["emcc", *TO_OBJECT, f"-I{include}", f"-I{include / 'vltstd'}", "unit.cpp", "-o", "unit.o"],
        work,
        environment,
    )
    library.call(["emcc", *TO_WASM, "unit.o", "-o", "engine.js"], work, environment)
    return WebEngine((work / "engine.js").read_bytes(), (work / "engine.wasm").read_bytes())
