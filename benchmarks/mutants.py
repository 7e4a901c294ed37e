"""Mutation testing of the RTL.

A target is a block with its bench, an engine with random programs, or a complete design with the tests of
standalone training.  Mutants are drawn uniformly from the source lines.  A mutant is killed when the bench
finds a mismatch or takes more than twice the time of the original, which must pass before and after.  Results
are in build/benchmarks/mutants.json, so a stopped campaign continues; another commit begins a new one.
"""

from __future__ import annotations

import dataclasses
import gc
import re
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from amaranth import UnusedElaboratable
from amaranth.back import rtlil

from benchmarks import common, mutant_programs
from benchmarks.campaign import ENGINES
from benchmarks.common import choose
from benchmarks.mutant_programs import PROGRAMS
from equilif.show.console import counted
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.blocks.plasticity import SHIFTS
from equilif_golden.blocks.rate import RATE_SHIFTS
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.fixed import DEFAULT
from equilif_golden.front_end.filter_bank import SUM_WIDTH
from equilif_golden.link.flash import SECTOR
from equilif_golden.link.protocol import MAX_SAMPLES
from equilif_golden.sdram import ClockedSdram
from equilif_hdl.blocks.lif import Lif
from equilif_hdl.blocks.plasticity import Plasticity
from equilif_hdl.blocks.rate import Measure, RateChange
from equilif_hdl.blocks.relay import Relay
from equilif_hdl.blocks.softmax import Softmax
from equilif_hdl.engine.activity import Activity
from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.engine import Engine
from equilif_hdl.engine.geometry import Geometry
from equilif_hdl.engine.lane import Lane
from equilif_hdl.engine.scan import Scanner
from equilif_hdl.engine.sequencer import Sequencer
from equilif_hdl.engine.walk import Walker
from equilif_hdl.engine.weights import WeightArray
from equilif_hdl.front_end.adc import AdcReader
from equilif_hdl.front_end.button import Button
from equilif_hdl.front_end.channels import Channels
from equilif_hdl.front_end.filter_bank import FilterBank
from equilif_hdl.front_end.log2 import Log2
from equilif_hdl.front_end.queue import WordQueue
from equilif_hdl.front_end.segmentation import Segmentation
from equilif_hdl.front_end.tokens import Tokens
from equilif_hdl.link.bus import AxiEngine
from equilif_hdl.link.flash import FlashController
from equilif_hdl.link.frame import Framer
from equilif_hdl.link.reservoir import WordReservoir
from equilif_hdl.link.udp import Udp
from equilif_hdl.top import Top
from equilif_sim.board import FASTEST, IDLE_TIMEOUT_BITS, SimulatedBoard
from equilif_sim.engine.external import WithSdram
from equilif_sim.equivalence import Contract, equivalent
from equilif_sim.forked import BENCH, COUNT, PASSED, VERDICTS
from equilif_sim.library import compiled
from equilif_sim.link.engine_stub import HostBench
from equilif_sim.link.slip import Slip
from equilif_sim.link.uart import Uart
from equilif_sim.mutate import INPUT, Mutant, mutants, sample, switched
from equilif_sim.sdram import SdramBench, small
from equilif_sim.sdram_chip import WORDS
from equilif_sim.tools.run import environ, simulate
from tests.cache_trials import CACHED, cache_trials
from tests.engines import CONFIGS, DEEP, ENGINE, NARROW, ODD, SINGLE_PORT, WIDE
from tests.standalone import AREA
from tests.standalone import CONFIG as ALONE
from tests.standalone_trials import TRIALS

TABLE = common.BUILD / "mutants.json"
PACKAGE = "equilif_hdl"
MORE_PROGRAMS = 3000  #: for mutants that survive those


# -- targets ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Target:
    """A target. ``make``: the design. ``bench``: its cocotb module, empty for an engine with random programs.
    ``config``: settings of the bench, an engine, or the SDRAM of a complete design. ``only``: its tests.
    ``files``: sources of the mutants, by default all of the design. ``excludes``: a target whose lines are
    excluded. ``trials``: tests of a complete design in place of a bench.
    """

    make: Callable[[], Any]
    bench: str = ""
    config: Any = None
    only: str | None = None
    files: tuple[str, ...] = ()
    excludes: Target | None = None
    trials: tuple[Callable[[SimulatedBoard], object], ...] = ()


def _attributes(make: Callable[[], Any], *names: str) -> dict[str, Any]:
    """Attributes of a design."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        block = make()
        found = {name: getattr(block, name) for name in names}
        del block
        gc.collect()
    return found


def _plasticity(registers: Sequence[str], signed: bool, numerics: Any) -> Target:
    make = partial(Plasticity, numerics, **dict.fromkeys(registers, True), signed_values=signed)
    shape = _attributes(make, "latency", "multiplied")
    config = {**dataclasses.asdict(numerics), "signed": signed, **shape}
    return Target(make, "blocks.plasticity", config, files=("blocks/plasticity.py", "fixed.py"))


def _lane(config: EngineConfig, index: int) -> Target:
    settings = {"engine": dataclasses.asdict(config), "index": index}
    return Target(
        lambda: Lane(config, index), "engine.lane", settings, files=("engine/lane.py", "engine/isa.py")
    )


def _of(block: Callable[[Any], Any], bench: str, config: Any, *own: str, only: str | None = None) -> Target:
    return Target(lambda: block(config), bench, config, only, own)


def _host(config: EngineConfig) -> Target:
    build_id = 0xDBC0_1234
    settings = {
        "engine": dataclasses.asdict(config),
        "n_bad": 300,
        "frame_bytes": 160,
        "max_samples": MAX_SAMPLES,
        "build_id": build_id,
    }
    return Target(
        lambda: HostBench(config, build_id=build_id, frame_bytes=160, max_samples=MAX_SAMPLES),
        "link.host",
        settings,
        files=("link/host.py",),
    )


def _bus() -> Target:
    config = EngineConfig(
        lanes=4, tiles=24, value_groups=16, state_groups=8, program_words=128, pipeline=Pipeline.SPRAM
    )
    settings = {"engine": dataclasses.asdict(config), "seed": 1, "programs": 1, "accesses": 120}
    return Target(lambda: AxiEngine(config, build_id=0xC0FFEE), "link.bus", settings, files=("link/bus.py",))


def _option(name: str, engine: str) -> Target:
    """An engine, in the lines that it has for an option alone."""
    config = CONFIGS[engine]
    off: dict[str, Any] = {name: False}
    without = dataclasses.replace(config, **off)
    return Target(lambda: Engine(config), config=config, excludes=Target(lambda: Engine(without)))


def _standalone(*own: str, excludes: Target | None = None) -> Target:
    return Target(
        lambda: Top(ALONE, transport=FASTEST, flash=AREA, idle_timeout_bits=IDLE_TIMEOUT_BITS),
        files=own,
        excludes=excludes,
        trials=tuple(TRIALS.values()),
    )


def _engine(name: str, *own: str) -> Target:
    """An engine of the campaign under random programs."""
    config = ENGINES[name]
    return Target(lambda: mutant_programs.design(config), config=config, files=own)


def _flash_cache() -> Target:
    chip = "EM638325"
    sdram = ClockedSdram(chip, 90_000_000)
    options: dict[str, Any] = {"flash": AREA, "idle_timeout_bits": IDLE_TIMEOUT_BITS, "sdram": sdram}
    return Target(
        lambda: WithSdram(Top(ALONE, transport=FASTEST, **options), sdram),
        config=sdram,
        files=("link/flash_cache.py",),
        trials=tuple(cache_trials(CACHED[chip])),
    )


SHORT = {"hop": 3, "offset": 40}  #: a hop, as in the default tests
READINGS = {"clock_hz": 8_000_000, "sck_hz": 1_000_000, "channels": 3, "width": 12}
SUM = {"width": SUM_WIDTH + 1}
WINDOWS = {"channels": 3, "window": 4, "windows": 2}
SDRAM = SdramBench(small("MT48LC16M16", columns=64), 95_000_000)
#: parts of the engine without benches
CONTROL = ("access", "argmax", "control", "dispatch", "lanes", "port", "stages", "state")
TARGETS: dict[str, Target] = {
    "lif": _of(Lif, "blocks.lif", DEFAULT),
    "lif, narrow": _of(Lif, "blocks.lif", NARROW),
    "plasticity": _plasticity([], False, DEFAULT),
    "plasticity, signed, registers": _plasticity(["multiplied", "added"], True, NARROW),
    "rate": _of(Measure, "blocks.rate", DEFAULT, only="rates"),
    "rate, moved": Target(RateChange, "blocks.rate", {}, "changes"),
    "relay": _of(Relay, "blocks.relay", DEFAULT),
    "softmax": _of(
        Softmax, "blocks.softmax", dataclasses.replace(ENGINE, numerics=NARROW), only="softmaxes|every"
    ),
    "activity": _of(
        Activity, "engine.activity", dataclasses.replace(ENGINE, **{**EVERYTHING, "counters": True})
    ),
    "geometry": _of(Geometry, "engine.geometry", dataclasses.replace(ENGINE, convolution=True)),
    "lane": _lane(WIDE, 11),
    "lane, single port": _lane(dataclasses.replace(SINGLE_PORT, **EVERYTHING), 1),
    "scan": _of(Scanner, "engine.scan", DEEP),
    "scan, single port": _of(Scanner, "engine.scan", SINGLE_PORT),
    "checker": _of(Checker, "engine.checker", ODD, "engine/checker.py"),
    "sequencer": _of(Sequencer, "engine.sequencer", ENGINE),
    "walk": _of(Walker, "engine.walk", ENGINE),
    "walk, single port": _of(Walker, "engine.walk", SINGLE_PORT),
    "weights": _of(WeightArray, "engine.weights", DEEP),
    "weights, single port": _of(WeightArray, "engine.weights", SINGLE_PORT),
    "slip": Target(Slip, "link.slip", {}),
    "uart": Target(lambda: Uart(13), "link.uart", {"divisor": 13}),
    "frame": Target(lambda: Framer(frame_bytes=45), "link.frame", {"frame_bytes": 45}),
    "host": _host(ODD),
    "bus": _bus(),
    "filter bank": Target(
        lambda: FilterBank(**SHORT), "front_end.filter_bank", SHORT, files=("front_end/filter_bank.py",)
    ),
    "log2": Target(lambda: Log2(**SUM), "front_end.log2", SUM),
    "segmentation": Target(Segmentation, "front_end.segmentation", {"scenes": 320}),
    "adc": Target(lambda: AdcReader(**READINGS), "front_end.adc", READINGS),
    "channels": Target(lambda: Channels(**WINDOWS), "front_end.channels", WINDOWS),
    "tokens": Target(Tokens, "front_end.tokens", {}),
    "queue": Target(WordQueue, "front_end.queue", {"phases": 24}),
    "button": Target(lambda: Button(5), "front_end.button", {"divisor": 5, "ticks": 3000}),
    "udp": Target(
        lambda: Udp().line(),
        "link.udp",
        {"period_ps": 10_000, "frames": 30},
        "frames_of_all_kinds",
        ("link/udp.py", "link/ethernet.py", "link/udp_receiver.py", "link/udp_transmitter.py"),
    ),
    "reservoir": Target(WordReservoir, "link.reservoir", {"rooms": 3}),
    "flash cache": _flash_cache(),
    "standalone": _standalone("link/standalone.py"),
    "sdram": Target(lambda: SDRAM, "sdram", SDRAM.config, files=("sdram.py",)),
    "flash": Target(lambda: FlashController(AREA), "link.flash", dataclasses.asdict(AREA)),
    "host, standalone": _standalone("link/host.py", excludes=_host(ODD)),
    "mover": _engine("P4-SDRAM", "engine/external.py"),
    "table unit": _engine("P4-SDRAM", "engine/tables.py"),
    "control": _engine("P4-wide", *(f"engine/{name}.py" for name in CONTROL)),
    "self-attention": _option("self_attention", "P4-wide"),
    "self-attention, single port": _option("self_attention", "P4-SPRAM"),
    "errors": _option("errors", "P4-wide"),
    "errors, single port": _option("errors", "P4-SPRAM"),
    **{
        f"engine {name}": Target(lambda config=config: Engine(config), config=config)  # type: ignore[misc]
        for name, config in CONFIGS.items()
    },
}

#: of blocks: what their docstrings demand and allow
CONTRACTS = {
    "lif": Contract(
        "threshold != 0 && (threshold & (threshold - 1)) == 0 && neg_threshold == -threshold"
        f" && (leak == 0 || leak >= {LEAKS[1]} && leak <= {LEAKS[-1]})",
        {"threshold": "1", "leak": "1"},
    ),
    "scanner": Contract(
        "!(busy_own && start)",
        dict.fromkeys(["spiking", "second", "learning", "by_minus"], "busy_own")
        | dict.fromkeys(
            ["memory__spikes", "memory__plus", "memory__minus"],
            "memory__hold_before && !memory__fetch_before",
        ),
        {"o__payload": "o__valid_own"},
    ),
    "measure": Contract(held=[{"shift": shift} for shift in RATE_SHIFTS]),
    "plasticity": Contract(held=[{"shift": shift} for shift in SHIFTS]),
    "wordreservoir": Contract(f"(first & {SECTOR - 1}) == 0"),
    "checker": Contract("!(busy_own && step)", {"word": "busy_own"}),
    "filterbank": Contract(used={"clipped": "frame_own", "stuck": "frame_own"}),
}


# -- one target ------------------------------------------------------------------------------------
@dataclass
class MutantVerdict:
    """``killed``: by the bench.  ``equivalent``: proof method; empty without one, None when not tried."""

    change: str
    source: str
    killed: bool
    equivalent: str | None = None

    @property
    def mutant(self) -> Mutant:
        return Mutant(self.change, self.source)


@dataclass
class Found:
    """Verdicts of a target; ``seconds``: total CPU time."""

    seed: int
    seconds: float = 0.0
    verdicts: list[MutantVerdict] = field(default_factory=list)


def design(target: Target) -> tuple[str, str, Any]:
    dut = target.make()
    top = type(dut).__name__.lower() if target.bench else "board" if target.trials else "engine"
    return rtlil.convert(dut, name=top), top, dut


def run(target: Target, count: int, seed: int, known: Iterable[Mutant] = ()) -> list[MutantVerdict]:
    """Run further mutants."""
    text, top, dut = design(target)
    seen = set(known)
    found = [m for m in mutants(text, top, PACKAGE) if m not in seen]
    others = {m.source for m in mutants(*design(target.excludes)[:2], PACKAGE)} if target.excludes else ()
    chosen = sample(
        found, count, seed, lambda m: m.source not in others and (not target.files or m.file in target.files)
    )
    return judged(target, text, top, dut, chosen)


def rerun_in_engine(name: str, found: Found) -> None:
    """Run survivors of the bench of a block in a complete engine under random programs.

    Only mutants that exist in the engine at the same line are run.
    """
    target = TARGETS[name]
    given = target.config
    if isinstance(given, Mapping) and "engine" in given:
        given = EngineConfig.from_dict(given["engine"])
    if not isinstance(given, EngineConfig):
        given = ENGINE
    config = dataclasses.replace(given, counters=True)
    text = rtlil.convert(Engine(config), name="engine")
    theirs = {(m.block, _without_module(m), m.source): m for m in mutants(text, "engine", PACKAGE)}
    left = [v for v in found.verdicts if not v.killed and not v.equivalent]
    pairs = [(v, theirs.get((v.mutant.block, _without_module(v.mutant), v.source))) for v in left]
    there = [(v, m) for v, m in pairs if m]
    if there:
        codes = mutant_programs.run(config, switched(text, "engine", [m for _, m in there]), len(there))
        alive = _lives(codes, len(there))
        for (v, _), lives in zip(there, alive, strict=True):
            v.killed = not lives


def _without_module(mutant: Mutant) -> str:
    return re.sub(r"-module \S+ ", "", mutant.change)


def rerun(name: str, found: Found) -> None:
    """Run survivors again with the present bench."""
    target = TARGETS[name]
    left = [v for v in found.verdicts if not v.killed and not v.equivalent]
    if left:
        now = judged(target, *design(target), [v.mutant for v in left], MORE_PROGRAMS)
        for v, new in zip(left, now, strict=True):
            v.killed = new.killed


def judged(
    target: Target, text: str, top: str, dut: Any, chosen: Sequence[Mutant], programs: int = PROGRAMS
) -> list[MutantVerdict]:
    if target.trials:
        alive = _trials(target, switched(text, top, chosen), len(chosen))
    elif target.bench:
        alive = _bench(target, switched(text, top, chosen, register=True), dut, len(chosen))
    else:
        codes = mutant_programs.run(target.config, switched(text, top, chosen), len(chosen), programs)
        alive = _lives(codes, len(chosen))
    return [MutantVerdict(*m, killed=not lives) for m, lives in zip(chosen, alive, strict=True)]


def _bench(target: Target, verilog: str, dut: Any, n: int) -> list[bool]:
    with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
        verdicts = Path(folder) / "verdicts"
        bench = f"equilif_sim.{target.bench}"
        with environ({BENCH: bench, COUNT: str(n), VERDICTS: str(verdicts)}):
            simulate(
                dut,
                "equilif_sim.forked",
                Path(folder),
                simulator="icarus",
                config=target.config,
                only=target.only,
                text=verilog,
                thorough=True,
            )
        codes = [int(line) for line in verdicts.read_text().splitlines()]
    return _lives(codes, n)


def _lives(codes: Sequence[int], n: int) -> list[bool]:
    first, *others = (code == PASSED for code in codes)
    if not first or len(others) != n:
        raise AssertionError("the design as it was does not pass")
    return others


class SwitchedBoard(SimulatedBoard):
    """A complete design with mutants."""

    def __init__(self, verilog: str, sdram: ClockedSdram | None):
        self._verilog = verilog + WORDS if sdram else verilog
        super().__init__(ALONE, flash=AREA, build_id=0, sdram=sdram)

    def _compiled(self, text: str, driver: str) -> Path:
        become = f'extern "C" void board_mutant(Board *b, int mutant) {{ b->top->{INPUT} = mutant; }}\n'
        return compiled("board", self._verilog, driver + become)

    def become(self, mutant: int) -> None:
        self._lib.board_mutant(self._board, mutant)
        self.reset()


def _trials(target: Target, verilog: str, n: int) -> list[bool]:
    board = SwitchedBoard(verilog, target.config)

    def passes() -> bool:
        for trial in target.trials:
            trial(board)
        return True

    codes = mutant_programs.exit_codes(n, board.become, passes)
    return _lives(codes, n)


# -- all -------------------------------------------------------------------------------------------
def read() -> dict[str, Found]:
    """Verdicts at the present commit."""
    content = common.read(TABLE)
    if content.get("commit") != common.commit():
        return {}
    return {
        name: Found(one["seed"], one["seconds"], [MutantVerdict(*v) for v in one["verdicts"]])
        for name, one in content["targets"].items()
    }


def write(found: Mapping[str, Found]) -> None:
    """Write the record, one mutant per line."""
    content = {name: dataclasses.asdict(found[name]) for name in TARGETS if name in found}
    for one in content.values():
        one["verdicts"] = [list(verdict.values()) for verdict in one["verdicts"]]
    common.write(TABLE, {"commit": common.commit(), "targets": content}, 4)


def spent() -> float:
    u = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in u)


def campaign(names: Sequence[str], count: int, seed: int, chunk: int) -> None:
    found = read()
    wanted = {name: count - len(found[name].verdicts) if name in found else count for name in names}
    with counted("mutants", sum(max(0, n) for n in wanted.values())) as progress:
        done = 0
        for name in names:
            one = found.setdefault(name, Found(seed))
            while wanted[name] > 0:
                before = spent()
                begun = time.monotonic()
                new = run(
                    TARGETS[name],
                    min(chunk, wanted[name]),
                    seed + len(one.verdicts),
                    [v.mutant for v in one.verdicts],
                )
                one.seconds += spent() - before
                one.verdicts += new
                write(found)
                if not new:
                    break
                wanted[name] -= len(new)
                done += len(new)
                progress(done)
                killed = sum(v.killed for v in new)
                print(f"{name}: {killed} of {len(new)}, {time.monotonic() - begun:.0f} s", flush=True)


def prove_equivalence(names: Sequence[str], seconds: int, *, unproven: bool = False) -> None:
    """Try to prove that survivors are equivalent."""
    found = read()
    open_ones = [
        (n, v)
        for n in names
        if n in found
        for v in found[n].verdicts
        if not v.killed and (v.equivalent is None or unproven and not v.equivalent)
    ]
    texts: dict[str, str] = {}
    with counted("survivors", len(open_ones)) as progress:
        for k, (name, verdict) in enumerate(open_ones, 1):
            if name not in texts:
                texts = {name: design(TARGETS[name])[0]}
            verdict.equivalent = equivalent(texts[name], verdict.mutant, seconds, CONTRACTS)
            write(found)
            progress(k)


# -- summary ---------------------------------------------------------------------------------------
def summary(name: str, one: Found) -> str:
    """Counts of a target, and its survivors that are not proven equivalent."""
    killed = sum(v.killed for v in one.verdicts)
    proven = sum(bool(v.equivalent) for v in one.verdicts)
    left = [v.mutant.name for v in one.verdicts if not v.killed and not v.equivalent]
    counts = f"{len(one.verdicts)} mutants, {killed} killed, {proven} equivalent, {one.seconds:.0f} s"
    return "\n    ".join([f"{name}: {counts}", *left])


def main(
    *,
    block: Annotated[Sequence[str], "targets (default: all)"] = (),
    count: Annotated[int, "mutants per target"] = 60,
    chunk: Annotated[int, "mutants per design"] = 200,
    seed: int = 1,
    equivalence: Annotated[bool, "no further mutants: prove survivors equivalent"] = False,
    seconds: Annotated[int, "time limit of a proof in seconds"] = 10,
    in_engine: Annotated[bool, "run survivors in a complete engine"] = False,
    survivors: Annotated[bool, "run survivors again"] = False,
    unproven: Annotated[bool, "include survivors without a proof so far"] = False,
) -> None:
    names = choose(block, TARGETS, "target")
    found = read()
    for step, wanted in ((rerun, survivors), (rerun_in_engine, in_engine)):
        for name in names if wanted else ():
            if name in found and (TARGETS[name].bench or step is rerun):
                step(name, found[name])
                write(found)
    if not (survivors or in_engine):
        if not equivalence:
            campaign(names, count, seed, chunk)
        prove_equivalence(names, seconds, unproven=unproven)
    print("\n".join(summary(name, one) for name, one in read().items() if name in names))
