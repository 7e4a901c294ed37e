"""Early exit of the free phase, from the schedule to the cycles."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from equilif.training.storage.history import HISTORY, NETWORK
from equilif_golden.blocks.rate import moved
from equilif_golden.engine.activity import cost_of_mode
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import OPERATIONS, Groups, Instruction, MeasureMode, NextMode, Op, ResultMode
from equilif_golden.engine.listing import carried_out, listing
from equilif_golden.engine.model import EngineModel
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, load, save
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_hdl.blocks.rate import RateChange
from equilif_sim.tools.run import simulate
from equilif_sim.verilated import VerilatedEngine
from tests.cli import BOARD, error_of, run
from tests.engines import ROOMY, cycles, walk
from tests.networks import SKIPS, memory_case

CONFIG = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16, program_words=60)
HALT = Op.HALT()
REPEAT = Op.REPEAT(3)
NEXT = Op.NEXT()
MARK = Op.MARK(Groups(0, 1))
#: at 4 lanes: 3 + 1 + 2 + 1 groups, 1 for the target
NET = Network.chain(10, 7, 3)


def test_cost_of_rate_monitoring():
    mode = OPERATIONS[Op.MEASURE].modes[MeasureMode.WATCH]
    assert cost_of_mode(mode, replace(CONFIG, early_exit=True)) == {"value_reads": 1, "additions": 1}
    assert cost_of_mode(mode, CONFIG) == {}


# -- schedule --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Schedule(free=10, early_exit=8), "free 10"),
        (lambda: Schedule(early_exit=8, min_windows=4), "min_windows"),
        (lambda: Schedule(early_exit=8, min_windows=1), "min_windows"),
        (lambda: Schedule(early_exit=8, free=4), "free"),
    ],
)
def test_invalid_schedules(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_schedule_end():
    assert str(Schedule(early_exit=8)).endswith("; free phase until all rates move by no more than 8/256")
    assert str(Schedule(early_exit=8, watch="output")).endswith("the output rates move by no more than 8/256")
    assert Schedule(early_exit=8, min_windows=3).with_fixed_phases() == Schedule(min_windows=3)
    assert Schedule(early_exit=8).with_fixed_phases().fixed and not Schedule(early_exit=8).fixed


def test_numpy_tolerance(tmp_path):
    network = Network.chain(5, 3, schedule=Schedule(free=16, early_exit=np.uint8(3)))
    save(tmp_path / "net.npz", network, network.initial_weights())
    assert load(tmp_path / "net.npz")[0] == Network.chain(5, 3, schedule=Schedule(free=16, early_exit=3))


# -- arithmetic ------------------------------------------------------------------------------------
@pytest.mark.parametrize("tolerance", [0, 1, 100, 254, 255])
def test_moved_is_distance(tolerance):
    a, b = np.meshgrid(np.arange(256), np.arange(256))
    assert (moved(a, b, tolerance=tolerance) == (np.maximum(a, b) - np.minimum(a, b) > tolerance)).all()
    assert not moved(0, tolerance, tolerance=tolerance) and not moved(tolerance, 0, tolerance=tolerance)


def test_rtl_of_the_arithmetic(tmp_path):
    bench = "equilif_sim.blocks.rate"
    assert simulate(RateChange(), bench, tmp_path, config={}, simulator="icarus", only="changes") == 1


# -- programs --------------------------------------------------------------------------------------
def test_early_exit_needs_engine_option():
    net = replace(NET, schedule=Schedule(early_exit=8))
    with pytest.raises(CapacityError, match=r"EngineConfig\.early_exit"):
        Compiled(net, EngineConfig(lanes=4))
    Compiled(net, EngineConfig(lanes=4, early_exit=True, attention=False))


@pytest.mark.parametrize("watch", ["all", "output"])
def test_early_exit_is_of_free_phase(watch):
    """Only the free phase monitors rates, and its loop may exit from the second window on."""
    plain, early_exit = (
        Compiled(replace(NET, schedule=s), EngineConfig(lanes=4, early_exit=True)).program(0.05)
        for s in (Schedule(), Schedule(early_exit=9, watch=watch))
    )
    assert early_exit[early_exit.index(Op.HALT(infer=True)) :] == plain[plain.index(Op.HALT(infer=True)) :]
    seen, ends = (
        [i for i in early_exit if i.op == op and i.mode & mode]
        for op, mode in ((Op.MEASURE, MeasureMode.WATCH), (Op.NEXT, NextMode.EARLY_EXIT))
    )
    groups = Compiled(NET, EngineConfig(lanes=4)).groups
    assert [(i.dst, i.n_dst, i.gain) for i in seen] == [
        (0, 3, 9) if watch == "all" else (groups["output"].first, 1, 9)
    ]
    assert [i.count for i in ends] == [2]
    assert not [i for i in plain if i.op == Op.NEXT and i.mode]


def test_listing_of_early_exit():
    network = replace(NET, schedule=Schedule(free=16, early_exit=4))
    compiled = Compiled(network, EngineConfig(lanes=4, early_exit=True))
    lines = [" ".join(line.split()) for line in listing(compiled.program(0.01), compiled).splitlines()]
    assert [line.split(maxsplit=1)[1] for line in lines if "early" in line] == ["next left 3, early_exit"]


def test_max_instructions():
    program = [REPEAT, MARK, Op.NEXT(left=3, early_exit=True), HALT]
    assert carried_out(program, replace(CONFIG, early_exit=True), learn=False) == 3


@pytest.mark.parametrize(
    "moves, count, runs",
    [
        ([False] * 5, 5, 1),
        ([False] * 5, 4, 2),
        ([False] * 5, 0, 5),
        ([True, True, False, True, True], 5, 3),
        ([True, False, True, True, True], 3, 5),
        ([True] * 5, 5, 5),
    ],
)
def test_loop_exit(moves, count, runs):
    """A loop exits when no rate has changed since the last check and few enough iterations are left; without
    the option all of them run.
    """
    watch = Instruction(op=Op.MEASURE, mode=MeasureMode.WATCH, dst=0, n_dst=1, shift=2)
    end = replace(NEXT, mode=NextMode.EARLY_EXIT, count=count)
    for config in (replace(CONFIG, early_exit=True), CONFIG):
        engine = EngineModel(config, [replace(REPEAT, count=5), watch, end, MARK, HALT])
        for again in range(2):  # a run begins with nothing moved
            ran = []
            for instruction in engine.trace(learn=False):
                ran.append(instruction)
                engine.moved |= instruction == watch and moves[len(ran) - 1]
            assert ran == [watch] * (runs if config.early_exit else 5) + [MARK], (config.early_exit, again)
            assert engine.shortened == (config.early_exit and runs < 5)


def test_moved_compares_previous_rate():
    """A change of V.plus beyond the tolerance in any lane counts; V.minus and host writes do not."""
    watch = Instruction(
        op=Op.MEASURE,
        mode=MeasureMode.WATCH | ResultMode.PLUS | ResultMode.MINUS,
        dst=1,
        n_dst=2,
        shift=2,
        gain=7,
    )
    for before, want in ((100, False), (93, False), (107, False), (92, True), (108, True), (0, True)):
        engine = EngineModel(replace(CONFIG, early_exit=True), [watch, HALT])
        engine.q[:] = 400  # a rate of 100
        engine.plus[1:3], engine.minus[:] = 100, 7
        engine.plus[2, 3] = before
        engine.run(learn=False)
        assert engine.moved == want and (engine.plus[1:3] == 100).all() and not engine.plus[0].any()
        engine.run(learn=False)
        assert not engine.moved


# -- RTL -------------------------------------------------------------------------------------------
EARLY_ENDS = {
    "all settle": dataclasses.replace(
        SKIPS, schedule=Schedule(free=40, nudged=6, window=4, leak=3, early_exit=24)
    ),
    "output settles": Network.chain(
        20, 17, 9, 5, schedule=Schedule(free=32, window=4, early_exit=20, watch="output", min_windows=3)
    ),
    "memory settles": Network.attention(
        9, 6, 2, 7, 5, schedule=Schedule(free=64, nudged=16, window=8, early_exit=10)
    ),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("lanes", [4, 8, pytest.param(16, marks=pytest.mark.regress)])
@pytest.mark.parametrize("name", EARLY_ENDS)
def test_early_exit_equals_kernel(name, lanes):
    """Rates of all phases, predictions, spikes and weights are equal; early exits take fewer cycles."""
    network = EARLY_ENDS[name]
    rng = np.random.default_rng(5)
    _, x, labels, tokens = memory_case(network, rng, 12)
    kernel = Kernel(network, network.initial_weights(3), learning_rate=0.05)
    rtl = Chip(VerilatedEngine(replace(ROOMY, lanes=lanes)), network, kernel.weights, learning_rate=0.05)
    took = []
    for j, y in enumerate(one_hot(labels, network.n_outputs)):
        rates, spikes, steps = kernel.settle(x[[j]], y[None], tokens=tokens[j])
        inferred = rtl.sample(x[j], tokens=tokens[j])
        assert inferred.prediction == kernel.predict(x[[j]], tokens=tokens[j])[0]
        assert np.array_equal(rtl.rates()[0], rates[0, 0])
        result = rtl.sample(x[j], y, tokens=tokens[j])
        assert (result.prediction, result.spikes) == (inferred.prediction, spikes[0])
        assert np.array_equal(rtl.rates(), rates[0, 1:])
        assert kernel.train(x[[j]], labels[[j]], tokens=tokens[j]).steps == steps[0]
        for synapse, w in rtl.weights.items():
            assert np.array_equal(w, kernel.weights[synapse]), (j, synapse)
        took.append((int(steps[0]), inferred.cycles))
    assert len({steps for steps, _ in took}) > 1 and min(took)[1] < max(took)[1], took


def test_cycles_of_early_exit(engine):
    """A NEXT that may exit its loop waits for the lanes; without the option it does not."""
    config = engine.config
    early_exit = config.early_exit

    def loop(n, n_dst, count):
        measure = Instruction(
            op=Op.MEASURE, mode=MeasureMode.WATCH | ResultMode.PLUS, gain=255, shift=2, dst=0, n_dst=n_dst
        )
        return cycles(
            engine,
            Instruction(op=Op.REPEAT, count=n),
            measure,
            Instruction(op=Op.NEXT, mode=NextMode.EARLY_EXIT, count=count),
        )

    for n_dst in range(1, 9):
        once = loop(1, n_dst, 0)
        more = loop(2, n_dst, 0) - once
        assert not early_exit or (once, more) == (7 + walk(config, n_dst), walk(config, n_dst))
        assert loop(5, n_dst, 5) == (once if early_exit else once + 4 * more)
        assert loop(5, n_dst, 3) == once + (2 if early_exit else 4) * more


# -- files -----------------------------------------------------------------------------------------
# -- commands --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ("train", "--set", "phases.early_exit=8", "--set", "phases.free=10"),
            "free 10 must be a multiple of 4",
        ),
        (
            ("train", "--set", "phases.early_exit=8"),
            "early_exit cannot shorten a free phase of 8 steps: it has at least 2 windows",
        ),
        (("verify", "--early-exit", "8"), "give a longer one, such as free = 24"),
        (("verify", "--early-exit", "8", "--free", "24", "--board", BOARD), "EngineConfig.early_exit"),
        (("train", "--set", "phases.watch=output"), "watch says which rates end a phase early"),
        (("verify", "digits", "--watch", "output"), "give early_exit too"),
    ],
)
def test_bad_options(arguments, message, tmp_path):
    assert message in error_of(*arguments, *(("--out", tmp_path / "out") if arguments[0] == "train" else ()))
    assert not list(tmp_path.iterdir())


def test_watch_needs_early_exit(digits_run):
    assert "give early_exit too" in error_of("evaluate", digits_run / NETWORK, "--watch", "output")
    run("evaluate", digits_run / NETWORK, "--early-exit", 8, "--free", 24, "--watch", "output")


def test_early_exit_output(digits_run, tmp_path):
    """Steps per sample and the saving, which grows with the tolerance; training reports its steps, also when
    resumed.
    """
    saving = []
    for tolerance in (0, 16, 255):
        options = f"--early-exit {tolerance} --free 24 --watch output --overwrite --json"
        output = run("evaluate", digits_run / NETWORK, *options.split(), tmp_path / "e.json")
        found = json.loads((tmp_path / "e.json").read_text())
        assert sum(found["steps"].values()) == 360 and found["most_steps"] == 24
        assert found["steps_per_sample"] == sum(int(k) * n for k, n in found["steps"].items()) / 360
        assert found["saving"] == 1 - found["steps_per_sample"] / 24
        assert (
            f"{found['steps_per_sample']:.1f} steps a sample of at most 24: {found['saving']:.1%} saved"
            in output
        )
        saving.append(found["saving"])
    assert 0 <= saving[0] < saving[1] < saving[2] == 1 - 8 / 24
    options = "--set phases.early_exit=16 --set phases.free=24 --epochs 1 --out"
    output = run("train", "digits", *options.split(), tmp_path / "early")
    assert "until all rates move by no more than 16/256" in output and "free steps" in output
    run("train", "--resume", "--epochs", 2, "--out", tmp_path / "early")
    steps = [e["steps_per_sample"] for e in json.loads((tmp_path / "early" / HISTORY).read_text())["epochs"]]
    assert len(steps) == 2 and all(8 <= s < 24 for s in steps)
    whole = json.loads((digits_run / HISTORY).read_text())["epochs"]
    assert [e["steps_per_sample"] for e in whole] == [8, 8]
