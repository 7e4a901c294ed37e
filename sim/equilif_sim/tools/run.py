"""Elaborate a component to Verilog and run a cocotb bench on it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from amaranth.back import verilog
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import Icarus, Runner, Verilator

from equilif_golden.engine.config import EngineConfig
from equilif_sim.tools import verilator

Simulator = Literal["icarus", "verilator"]
#: environment variable with the configuration for the simulator, as JSON
CONFIG = "EQUILIF_BENCH"
#: environment variable: a bench tries all of its cases, not a sample
THOROUGH = "EQUILIF_THOROUGH"


class SimulationFailed(AssertionError):
    """The build or a bench failed, or no bench ran; the message ends with the end of the log."""


class _SelectiveVerilator(Verilator):
    """Make only the signals of a control file visible to the bench: three times faster, and compiled in a
    third of the time as one translation unit.
    """

    def _build_command(self) -> Any:
        to_cpp, make = super()._build_command()
        to_cpp = [word for word in to_cpp if word != "--public-flat-rw"]
        return [to_cpp, [*make, "VM_PARALLEL_BUILDS=0", "OPT_FAST=-O1"]]


def simulate(
    dut: Any,
    bench: str,
    build_dir: Path,
    *,
    simulator: Simulator | None = None,
    config: Any = None,
    seed: int = 0,
    only: str | None = None,
    visible: str | None = None,
    waves: bool = False,
    text: str | None = None,
    coverage: bool = False,
    thorough: bool = False,
) -> int:
    """Run module ``bench`` on ``dut`` and return the number of tests that passed.

    SimulationFailed if one failed.

    simulator   default: the environment variable SIM, else Icarus
    config      dataclass or mapping that the bench reads with :func:`bench_config`; default ``dut.config``
    seed        seed of cocotb and of ``random`` in the bench
    only        regular expression: run the tests of the bench that match
    visible     Verilator only: text of a control file (``public_flat_rw ...``) that names the signals which
                the bench accesses
    waves       write the waveforms below ``build_dir``
    text        Verilog of ``dut`` from elsewhere; its top module has the name of the class in lower case
    coverage    Verilator only: record the coverage of lines and toggles, in coverage.dat below ``build_dir``
    thorough    all combinations of stalls, and all random cases (:func:`is_thorough`)
    """
    simulator = simulator or os.environ.get("SIM", "icarus")  # type: ignore[assignment]
    if simulator not in ("icarus", "verilator"):
        raise ValueError(f"simulator must be icarus or verilator, not {simulator!r}")
    config = dut.config if config is None else config
    raw = dict(config) if isinstance(config, Mapping) else dataclasses.asdict(config)
    top = type(dut).__name__.lower()
    build_dir = build_dir.resolve()
    build_dir.mkdir(parents=True, exist_ok=True)
    source = build_dir / f"{top}.v"
    sources = [source]
    log = build_dir / f"{bench}.log"
    results = build_dir / f"{bench}.xml"
    text = text or verilog.convert(dut, name=top)
    runner: Runner = Icarus()
    arguments: list[str] = []
    environment = {"COCOTB_ANSI_OUTPUT": "0"}
    if simulator == "icarus":
        text = _evaluated_at_start(text)
    else:
        runner = _SelectiveVerilator() if visible else Verilator()
        arguments = ["-Wno-fatal", "--x-assign", "fast", "--x-initial", "fast"]
        arguments += ["--coverage-line", "--coverage-toggle"] if coverage else []
        environment |= verilator.environment()
    source.write_text(text)
    if visible and simulator == "verilator":
        sources.append(build_dir / "visible.vlt")
        sources[-1].write_text("`verilator_config\n" + visible)
    with environ(environment):
        try:
            # the makefile does not rebuild objects of another Verilator or other flags
            runner.build(
                sources=sources,
                hdl_toplevel=top,
                build_dir=build_dir / simulator,
                timescale=("1ns", "1ps"),
                waves=waves,
                build_args=arguments,
                clean=True,
                log_file=log,
            )
            runner.test(
                test_module=bench,
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",
                build_dir=build_dir / simulator,
                test_dir=build_dir,
                seed=seed,
                waves=waves,
                test_filter=only,
                results_xml=str(results),
                log_file=log,
                extra_env={CONFIG: json.dumps(raw), THOROUGH: "1" if thorough else ""},
            )
            n, failed = map(int, get_results(results))
        except (Exception, SystemExit) as e:  # the runner raises SystemExit
            raise SimulationFailed(f"{bench} on {simulator}: {e}\n{_tail(log)}") from e
    if failed or not n:
        raise SimulationFailed(f"{bench} on {simulator}: {failed} of {n} tests failed\n{_tail(log)}")
    return n


def bench_config() -> dict[str, Any]:
    """Configuration of :func:`simulate`, read in the simulator."""
    config: dict[str, Any] = json.loads(os.environ[CONFIG])
    return config


def is_thorough() -> bool:
    """Whether a bench tries all of its cases, read in the simulator."""
    return bool(os.environ.get(THOROUGH))


def cases(n: int) -> int:
    """Number of random cases of a bench: ``n`` if it is thorough, else a quarter."""
    return n if is_thorough() else -(-n // 4)


def engine_config(raw: Mapping[str, Any] | None = None) -> EngineConfig:
    """EngineConfig in the configuration, or in ``raw``, read in the simulator."""
    raw = bench_config() if raw is None else raw
    return EngineConfig.from_dict(raw)


def _evaluated_at_start(text: str) -> str:
    """Yosys adds a register to every ``always @*`` that shall wake it at time 0, but its initial value is
    there before the block waits: in Icarus a block whose inputs never change stays X.  A nonblocking
    assignment comes after all blocks have started.
    """
    return re.sub(r"reg (\\\$auto\$verilog_backend\S+)\s+= 0;", r"reg \1 ;  initial \1 <= 0;", text)


@contextmanager
def environ(changes: Mapping[str, str]) -> Iterator[None]:
    """Other environment variables, by which the runner finds its tools, and which the simulator inherits."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _tail(log: Path, lines: int = 60) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"
