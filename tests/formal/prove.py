"""Proofs of RTL properties for all inputs, by Yosys (synthesis to gates) and ABC (model checking).

A proof is a design with the block, free inputs, claims and assumptions.  Three methods:

    always      combinational: all inputs at once.  Complete.
    flushed     pipelines: a number of cycles from any register state.  Complete, since older state has left
                the pipeline.
    reached     designs with state: from reset on, unbounded, by property-directed reachability (PDR).

Covers are conditions that must be reachable; otherwise the proof would be vacuous.  Failures: a false claim,
an unreachable cover, a timeout.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsInt

import pytest
from amaranth import Cat, ClockDomain, ClockSignal, Const, Instance, Module, Mux, ResetSignal, Shape, Signal
from amaranth.back import rtlil
from amaranth.hdl import Value, ValueLike
from amaranth.lib import wiring
from amaranth.sim import Simulator, SimulatorContext

from equilif_sim.verilated import Synthesis
from tests.formal.assumptions import ASSUMPTIONS

needs_prover = pytest.mark.skipif(
    not (shutil.which("yosys") and shutil.which("yosys-abc")), reason="needs Yosys and its ABC"
)
#: time limit of a prover in seconds
MAX_SECONDS = 1200
#: cells that Amaranth numbers differently in each design
NUMBERED = r"^(\s*cell \S+ \\\w+)\$\d+$"
#: separator of ABC's answers
MARK = "next_answer"
GATES = (
    "hierarchy -top top",
    "proc -noopt",
    "flatten",
    "setundef -anyseq",
    "opt_expr",
    "opt_clean",
    "memory -nordff",
    "async2sync",
    "techmap",
    "opt_expr",
    "opt_clean",
    "dffunmap",
    "simplemap",
    "aigmap",
    "opt_clean",
)


class NotProven(AssertionError):
    """A claim is false, or the prover found no answer."""


@dataclass(frozen=True)
class Proven:
    """Result of a proof."""

    prop: str
    block: str
    method: str
    covers: tuple[str, ...]
    assumes: tuple[str, ...]
    seconds: float


class Proof:
    """A property of a block.  ``m``: the module for additional logic.

    ``resets``: reset may also occur later.
    """

    def __init__(self, prop: str, block: str, *, resets: bool = False):
        self.prop = prop
        self.block = block
        self.m = Module()
        self.m.domains.sync = ClockDomain("sync")
        clk = Signal(name="clk")
        self.ports: dict[str, Signal] = {"clk": clk}
        self.m.d.comb += ClockSignal().eq(clk)
        self.m.d.comb += ResetSignal().eq(self.any(1, "rst") if resets else 0)
        self.claims: dict[str, Value] = {}
        self.covers: dict[str, Value] = {}
        self.assumed: dict[str, Value] = {}
        self.insides: dict[str, str] = {}
        self.netlists: list[tuple[Synthesis, str]] = []

    # -- free inputs ------------------------------------------------------------------------------
    def any(self, shape: Shape | int, name: str) -> Signal:
        """A free signal."""
        assert name not in self.ports, name
        self.ports[name] = signal = Signal(shape, name=name)
        return signal

    def constant(self, shape: Shape | int, name: str) -> Value:
        """A free constant."""
        given = self.any(shape, name)
        first = Signal(init=1, name=f"{name}_first")
        kept = Signal(shape, name=f"{name}_kept", reset_less=True)
        value = Signal(shape, name=f"{name}_value")
        domain = ClockDomain(f"{name}_domain", reset_less=True)  # reset does not change it
        setattr(self.m.domains, domain.name, domain)
        self.m.d.comb += [ClockSignal(domain.name).eq(self.ports["clk"]), value.eq(given)]
        with self.m.If(~first):
            self.m.d.comb += value.eq(kept)
        self.m.d[domain.name] += [first.eq(0), kept.eq(value)]
        return value

    def free(self, block: wiring.Component, name: str = "block", but: Iterable[str] = ()) -> None:
        """Add a block; all inputs except ``but`` are free."""
        self.m.submodules[name] = block
        for path, member, value in block.signature.flatten(block):
            port = "__".join(map(str, path))
            if member.flow is wiring.In and port not in but:
                target = Value.cast(value)
                self.m.d.comb += target.eq(self.any(target.shape(), port))

    def netlist(self, block: wiring.Component, synthesis: Synthesis) -> dict[str, Signal]:
        """Outputs, by name, of a synthesised copy of a block in the design.

        It shares inputs, clock and reset; cells behave as their simulation models.
        """
        name = f"netlist_{len(self.netlists)}"
        text = synthesis.netlist(block, name)
        given: dict[str, ValueLike] = {"clk": ClockSignal(), "rst": ResetSignal()}
        ports: dict[str, ValueLike] = {f"i_{k}": v for k, v in given.items() if f"input {k};" in text}
        outputs = {}
        for path, member, value in block.signature.flatten(block):
            port = "__".join(map(str, path))
            if member.flow is wiring.In:
                ports[f"i_{port}"] = Value.cast(value)
            else:
                outputs[port] = Signal(Value.cast(value).shape(), name=f"{name}_{port}")
                ports[f"o_{port}"] = outputs[port]
        self.m.submodules[name] = Instance(name, **ports)
        self.netlists.append((synthesis, text))
        return outputs

    def inside(self, path: str, shape: Shape | int) -> Signal:
        """A signal inside a block.

        ``path`` begins with the submodule; a cell that shares its name with a signal has the suffix
        ``_cell``.
        """
        name = f"inside_{len(self.insides)}"
        self.insides[name] = path
        return self.any(shape, name)

    def before(self, value: ValueLike, cycles: int = 1) -> Value:
        """A delayed value."""
        late = Value.cast(value)
        for _ in range(cycles):
            held = Signal(late.shape(), name=f"before_{len(self.ports)}", reset_less=True)
            self.m.d.sync += held.eq(late)
            late = held
        return late

    # -- claims ------------------------------------------------------------------------------------
    def assume(self, name: str, value: ValueLike) -> None:
        """Assume one of tests.formal.assumptions.ASSUMPTIONS in every cycle."""
        assert name in ASSUMPTIONS, f"{name} is not in the list of assumptions"
        earlier = self.assumed.get(name)
        new = Value.cast(value).bool()
        self.assumed[name] = new if earlier is None else earlier & new

    def claim(self, name: str, value: ValueLike) -> None:
        self.claims[name] = Value.cast(value).bool()

    def cover(self, name: str, value: ValueLike) -> None:
        self.covers[name] = Value.cast(value).bool()

    # -- methods -----------------------------------------------------------------------------------
    def always(self) -> Proven:
        """Combinational proof (complete)."""
        return self._prove("SAT, all inputs", {"_claims": "iprove"}, "sat")

    def flushed(self, cycles: int) -> Proven:
        """Pipeline proof (complete if the pipeline forgets after ``cycles`` cycles).

        Unrolled from any register state; claims hold in the last cycle.
        """
        last = f"frames -F {cycles + 1}; comb; cone -O {cycles}"
        method = f"SAT, {cycles + 1} cycles from any state"
        return self._prove(method, {"_claims": f"{last}; iprove"}, f"{last}; sat", cycles=cycles)

    def induced(self, cycles: int = 1, *, reach: int = 40) -> Proven:
        """Proof from reset on by k-induction.

        ``reach``: cycles within which covers are reached.
        """
        step = f"frames -F {cycles + 1}; comb; cone -O {cycles}; iprove"
        method = f"induction over {cycles} cycle{'s' if cycles > 1 else ''}, from reset"
        how = {"_begins": f"bmc3 -F {cycles + 1}", "_step": step}
        return self._prove(method, how, f"bmc3 -F {reach}", cycles=cycles)

    def reached(self, *, reach: int = 40, simplify: str = "") -> Proven:
        """Proof from reset on by PDR.  ``simplify``: ABC commands before it."""
        how = f"{simplify}; pdr" if simplify else "pdr"
        return self._prove("PDR, from reset", {"_begins": how}, f"bmc3 -F {reach}")

    def corresponds(self, *, reach: int = 40) -> Proven:
        """Proof from reset on by signal correspondence, for two equivalent designs.

        ABC finds equal signals by induction and merges them; claims must then follow from any state.
        """
        how = {"_begins": "scorr -C 100000; comb; cone -O 0; iprove"}
        return self._prove("signal correspondence, from reset", how, f"bmc3 -F {reach}")

    # -- inside ------------------------------------------------------------------------------------
    def _outputs(self, cycles: int, *, begins: bool) -> None:
        """Add the outputs of the design.

        Never high: ``_claims`` (a claim is false while all assumptions hold and have held for ``cycles``
        cycles), ``_begins`` (the same from reset on), ``_step`` (after as many cycles without a false claim).
        ``_seen_0`` and the others must be reachable.
        """
        assert self.claims and self.covers, "a proof claims something, and covers something"
        m = self.m
        domain = ClockDomain("monitor", reset_less=True)
        m.domains.monitor = domain
        m.d.comb += ClockSignal("monitor").eq(self.ports["clk"])
        good = Signal(name="good")
        holds = Signal(name="assumed")
        broken = Signal(name="broken")
        m.d.comb += [holds.eq(Cat(self.assumed.values()).all()), good.eq(Cat(self.claims.values()).all())]
        m.d.monitor += broken.eq(broken | ~holds)
        since = holds & ~broken  # from reset on
        lately: Value = holds  # from any state on
        was_good: Value = Const(1)
        past = Cat(good, holds)
        for k in range(cycles):
            late = Signal(2, name=f"past_{k + 1}")
            m.d.monitor += late.eq(past)
            past = late
            was_good = was_good & late[0]
            lately = lately & late[1]
        outputs = {"_claims": lately & ~good, "_begins": since & ~good, "_step": lately & ~good & was_good}
        seen = since if begins else lately
        outputs |= {f"_seen_{k}": seen & value for k, value in enumerate(self.covers.values())}
        for name, value in outputs.items():
            assert name not in self.ports, name
            self.ports[name] = Signal(name=name)
            m.d.comb += self.ports[name].eq(value)

    def _prove(self, method: str, how: Mapping[str, str], covering: str, *, cycles: int = 0) -> Proven:
        began = time.monotonic()
        self._outputs(cycles, begins="_begins" in how)
        commands = dict(how) | {f"_seen_{k}": covering for k in range(len(self.covers))}
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            text = rtlil.convert(self.m, name="top", ports=list(self.ports.values()), emit_src=False)
            (work / "top.il").write_text(re.sub(NUMBERED, r"\1_cell", text, flags=re.M))
            self._gates(work, list(commands))
            results = _abc(work, commands)
        what = f"{self.block}: {self.prop}"
        for name in how:
            if "Status = 1 " not in results[name] and "No output asserted in" not in results[name]:
                raise NotProven(f"{what}: {name[1:]} of {', '.join(self.claims)}\n{results[name]}")
        for name, cover in zip(list(commands)[len(how) :], self.covers, strict=True):
            if "Status = 0 " not in results[name]:
                raise NotProven(f"{what}: nothing reaches {cover}\n{results[name]}")
        seconds = round(time.monotonic() - began, 2)
        proven = Proven(self.prop, self.block, method, tuple(self.covers), tuple(self.assumed), seconds)
        return proven

    def _gates(self, work: Path, outputs: Sequence[str]) -> None:
        """Write an AIGER file for the cone of each output."""
        flat = GATES.index("flatten") + 1
        passes = []
        for k, (synthesis, text) in enumerate(self.netlists):
            (work / f"netlist_{k}.v").write_text(text)
            (work / f"cells_{k}.v").write_text(synthesis.library())
            defines = " ".join(f"-D{name}" for name in synthesis.defines)
            # only cells in use get a model: one of a large memory takes minutes
            passes += [f"read_verilog -defer {defines} cells_{k}.v", f"read_verilog netlist_{k}.v"]
            passes += [f"hierarchy -top netlist_{k}", "proc", "flatten", "opt_clean", "memory_collect"]
            passes += [f"write_rtlil netlist_{k}.il", "design -reset"]
        passes += ["read_rtlil top.il", *(f"read_rtlil netlist_{k}.il" for k in range(len(self.netlists)))]
        passes += GATES[:flat]
        for port, path in self.insides.items():
            passes += [f"delete -input top/{port}", f"cd top; connect -nounset -set {port} {path}; cd .."]
        passes += [*GATES[flat:], "design -save gates"]
        for name in outputs:
            passes += ["design -load gates", f"delete -port o:* o:{name} %d", "opt_clean"]
            passes += [f"write_aiger -zinit -symbols {name}.aig"]
        _run(["yosys", "-q", "-p", "; ".join(passes)], work)


def _abc(work: Path, checks: Mapping[str, str]) -> dict[str, str]:
    """Answer of ABC for each output, with its counterexample."""
    lines = [
        f"read_aiger {name}.aig; strash; {commands}; print_status; write_cex -n {name}.txt; echo {MARK}"
        for name, commands in checks.items()
    ]
    answers = _run(["yosys-abc", "-q", "; ".join(lines)], work).split(MARK)[:-1]
    results = dict(zip(checks, answers, strict=True))
    for name in checks:
        found = work / f"{name}.txt"
        if found.exists():
            results[name] += _cycles(found.read_text())
    return results


def _cycles(found: str) -> str:
    """Non-zero inputs by cycle, from lines name[bit]_cycle@0=0 or name[bit]@cycle=0."""
    cycles: dict[int, dict[str, int]] = {}
    line = r"^([\w.$]+?)(?:\[(\d+)\])?(?:_(\d\d))?@(\d+)=(\d)"
    for name, bit, unrolled, cycle, value in re.findall(line, found, re.M):
        inputs = cycles.setdefault(int(unrolled or cycle), {})
        inputs[name] = inputs.get(name, 0) | int(value) << int(bit or 0)
    return "\n".join(
        f"cycle {cycle}: " + ", ".join(f"{name} {value:#x}" for name, value in inputs.items() if value)
        for cycle, inputs in sorted(cycles.items())
    )


def _run(command: list[str], work: Path) -> str:
    """Output of a tool, standard error included."""
    with subprocess.Popen(
        command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=MAX_SECONDS)
        except BaseException as e:
            process.kill()
            if isinstance(e, subprocess.TimeoutExpired):
                raise NotProven(f"no answer within {MAX_SECONDS} s: {command[-1]}") from e
            raise
    if process.returncode:
        raise NotProven(f"{command[0]} failed:\n{output}")
    return output


# -- formulas --------------------------------------------------------------------------------------
def agree(
    formula: Callable[..., Sequence[Value]],
    inputs: Mapping[str, Shape | int],
    golden: Callable[..., Iterable[SupportsInt]],
    cases: Iterable[Mapping[str, int]],
) -> int:
    """Compare a formula of the proofs with the golden definition; number of cases."""
    m = Module()
    given = {name: Signal(shape, name=name) for name, shape in inputs.items()}
    outputs = []
    for k, value in enumerate(formula(**given)):
        outputs.append(Signal(value.shape(), name=f"out{k}"))
        m.d.comb += outputs[-1].eq(value)
    count = 0

    async def bench(context: SimulatorContext) -> None:
        nonlocal count
        for case in cases:
            for name, value in case.items():
                context.set(given[name], value)
            got = [context.get(out) for out in outputs]
            want = [int(value) for value in golden(**case)]
            assert got == want, f"{case}: the formula says {got}, the golden model {want}"
            count += 1

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    assert count
    return count


def clipped(value: Value, lo: int, hi: int) -> Value:
    """Saturation as in the golden model, with comparators."""
    lowest, highest = (Const(limit, value.shape()) for limit in (lo, hi))
    return Mux(value < lowest, lowest, Mux(value > highest, highest, value))
