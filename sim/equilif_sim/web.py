"""RTL of the engine as WebAssembly, for the page of ``equilif lab``: Verilator, then Emscripten.

The driver is that of equilif_sim.verilated with functions that run an instruction at a time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

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
double web_total(Sim *s) { return s->cycles; }  // exact in JavaScript, unlike 64-bit integers
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
    *"-O2 -std=gnu++20 -w -c -Iobj -DVERILATOR=1 -DVL_IGNORE_UNKNOWN_ARCH".split(),
    *"-DVM_COVERAGE=0 -DVM_SC=0 -DVM_TRACE=0".split(),
)
#: no JavaScript: the module imports a few functions of WASI
TO_WASM = (
    *"-O2 --no-entry -sINITIAL_MEMORY=16MB".split(),
    "-sEXPORTED_FUNCTIONS=" + ",".join(f"_{name}" for name in EXPORTS.split()),
)


def engine(config: EngineConfig) -> bytes:
    """WebAssembly of an engine; compiled or cached.  BuildFailed when a tool is missing or fails."""
    if shutil.which("emcc") is None:
        raise library.BuildFailed("emcc is not installed: ./run lab installs Emscripten")
    text = verilated.rtl(config)
    text = with_waves(text, {"sequencer": waves(text, config)["sequencer"]})
    driver, visible = verilated.driver_of(config, FUNCTIONS)
    visible += 'public_flat_rd -module "waves" -var "number_now"\n'
    visible += 'public_flat_rd -module "*dispatcher" -var "start"\n'
    environment = {**os.environ, **verilator.environment()}
    versions = [library.call([tool, "--version"], Path.cwd(), environment) for tool in ("verilator", "emcc")]
    cache = library.cache_folder(text, driver, visible, PLATFORM, *TO_OBJECT, *TO_WASM, *versions)
    file = cache / "engine.wasm"
    if not library.is_stored(file):
        library.require(file)
        with tempfile.TemporaryDirectory(prefix="equilif-") as temporary:
            library.store(file, _compile(Path(temporary), text, driver, visible, environment))
    return file.read_bytes()


def _compile(work: Path, text: str, driver: str, visible: str, environment: dict[str, str]) -> bytes:
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
    library.call(["emcc", *TO_WASM, "unit.o", "-o", "engine.wasm"], work, environment)
    return (work / "engine.wasm").read_bytes()
