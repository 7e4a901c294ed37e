"""Random programs and networks on every engine in Verilator, compared with the golden model.

Programs form chains that start at power-up and share memories.  After each program all memories, results,
counters and cycles are compared; weights only before they are rewritten, every fourth program.  The first
chain of an engine has every operation in every mode with every operand at its limits; the others are random,
from the seed, the engine and the number of the chain.  A campaign can be stopped at any time: the numbers of
programs and networks without a difference are printed at its end.

A mismatch ends the campaign.  Its chain is minimised (programs, instructions and contents are removed while
the mismatch remains) and printed as a test.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from equilif.show.console import counted
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.blocks.softmax import FRACTION, SHIFTS
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.isa import (
    OPERATIONS,
    Instruction,
    Op,
    ProgramError,
    check,
)
from equilif_golden.engine.memories import memories
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.engine.tables import TableTokens
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.learning import largest_rate
from equilif_golden.network import Network, Synapse, TokenRows, TransformerSizes
from equilif_golden.populations import Constant, Input, Lif, SelfAttention
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_golden.synapses import FEEDBACK_SCALES
from equilif_sim.tables import random_tokens
from equilif_sim.tools.programs import (
    at_limits,
    operations,
    random_convolution,
    random_instruction,
    random_program,
    random_values,
    random_weights,
)
from equilif_sim.verilated import VerilatedEngine
from tests.engines import CONFIGS, SMALL
from tests.external import EXTERNAL

CHAIN = 25  #: programs
SAMPLES = 4  #: of a network
ROWS = 40  #: of an embedding table
LIMIT = 2_000_000  #: cycles of a program
RESULTS = ("prediction", "spikes", "accesses", "activity", "cycles")

#: engines of the tests
PLAIN: dict[str, EngineConfig] = {**CONFIGS, "P2-DEEP": replace(SMALL, lanes=2, pipeline=Pipeline.DEEP)}
SIZES = ("value_groups", "state_groups", "program_words")


def _with_sdram(config: EngineConfig) -> EngineConfig:
    """The engine in the sizes of the others, with few external weights, as all are compared."""
    assert config.external is not None
    external = replace(config.external, tiles=max(8, 1536 // config.lanes**2))
    return replace(config, **{name: getattr(SMALL, name) for name in SIZES}, external=external)


ENGINES: dict[str, EngineConfig] = {
    **PLAIN,
    "P32": replace(CONFIGS["P8"], lanes=32, tiles=12),
    **{f"{name}-SDRAM": _with_sdram(config) for name, config in EXTERNAL.items()},
}
#: sizes for networks
ROOM: dict[str, Any] = {"value_groups": 64, "state_groups": 32, "program_words": 1024}
TILES = 256  #: on the chip, or external


# -- programs --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Case:
    """A program and the memory contents before it; ``weights``: None keeps them.  ``tokens``: of an embedding
    table; their presence is written from the first value on.
    """

    program: tuple[Instruction, ...]
    learn: bool
    values: Raw
    weights: Raw | None = None
    tokens: TableTokens | None = None

    @property
    def run(self) -> dict[str, Any]:
        """Arguments of a run."""
        given: dict[str, Any] = {"write": (0, []), "tokens": self.tokens} if self.tokens else {}
        return {"learn": self.learn, **given}


def difference(rtl: VerilatedEngine, model: EngineModel, case: Case, *, weights: bool) -> str:
    """First mismatch after a program, or an empty text.  ``weights``: compare weights too, which takes longer
    than a program.
    """
    for device in (rtl, model):
        if case.weights is not None:
            device.write(Region.WEIGHT, 0, case.weights)
        device.write(Region.VALUE, 0, case.values)
        device.load(case.program)
    want = model.run(**case.run)
    try:
        got = rtl.run(**case.run, max_cycles=LIMIT)
    except RuntimeError as e:
        return str(e)
    for name in RESULTS:
        if getattr(got, name) != getattr(want, name):
            return f"{name}: {getattr(got, name)} for {getattr(want, name)}"
    for name in memories(rtl.config):
        if not np.array_equal(rtl.memory(name), model.memory(name)):
            return name
    if weights and not np.array_equal(rtl.read(Region.WEIGHT, 0, model.w.size), model.w.ravel()):
        return "weights"
    if rtl.read(Region.COUNTER, 0, 1)[0] != model.read(Region.COUNTER, 0, 1)[0]:
        return "counter"
    return ", ".join(rtl.violations) if rtl.config.external else ""


def first_difference(make: Callable[[], VerilatedEngine], chain: Sequence[Case]) -> tuple[int, str]:
    """Number of the first mismatching program and the mismatch; the number of programs without one."""
    rtl = make()
    model = EngineModel(rtl.config)
    for k, case in enumerate(chain):
        # a wrong weight stays wrong until all are rewritten
        last = k + 1 == len(chain) or chain[k + 1].weights is not None
        found = difference(rtl, model, case, weights=last)
        if found:
            return k, found
    return len(chain), ""


def chain_of(config: EngineConfig, rng: np.random.Generator, n: int = CHAIN) -> list[Case]:
    out = []
    for k in range(n):
        # sometimes an instruction over all groups
        groups = config.value_groups if rng.random() < 0.15 else 4
        program = tuple(random_program(rng, config, groups=groups))
        weights = random_weights(rng, config).ravel() if k % 4 == 0 else None
        has_tokens = config.external and config.external.tables and rng.random() < 0.3
        tokens = random_tokens(rng, config) if has_tokens else None
        out.append(Case(program, bool(rng.integers(2)), random_values(rng, config), weights, tokens))
    return out


def directed(config: EngineConfig, rng: np.random.Generator) -> list[Case]:
    """Every operation in every mode, with every operand at its limits."""
    out = []
    for op in operations(config):
        if op == Op.CONVOLVE:
            bodies = [random_convolution(rng, config) for _ in range(40)]
        else:
            bodies = [[i] for i in at_every_limit(rng, config, op)]
        out += [Case((*b, Op.HALT()), True, random_values(rng, config)) for b in bodies]
    repeat = max(OPERATIONS[Op.REPEAT].operands["count"].allowed)  # type: ignore[union-attr]
    for op in (Op.STEP, Op.GATHER):
        i = random_instruction(rng, config, op, groups=1)
        program = (Op.REPEAT(repeat), i, Op.NEXT(), Op.HALT())
        out.append(Case(program, True, random_values(rng, config)))
    for k in range(0, len(out), 4):
        out[k] = replace(out[k], weights=random_weights(rng, config).ravel())
    return out


def at_every_limit(rng: np.random.Generator, config: EngineConfig, op: Op) -> Iterator[Instruction]:
    flags = sum(OPERATIONS[op].modes) if OPERATIONS[op].modes else 0
    for mode in range(flags + 1):
        if mode & ~flags:
            continue
        for groups in (1, config.value_groups):
            i = replace(random_instruction(rng, config, op, groups=groups), mode=mode)
            for j in [i, *at_limits(i, config, wrong=False)]:
                try:
                    check([j, Op.HALT()], config)
                except ProgramError:
                    continue  # a mode that this engine lacks
                yield j


# -- minimisation ----------------------------------------------------------------------------------
def fewer(items: Sequence[Any], fails: Callable[[list[Any]], bool]) -> list[Any]:
    """A minimal failing subset (delta debugging, ddmin)."""
    left = list(items)
    size = max(1, len(left) // 2)
    while left:
        at = 0
        while at < len(left):
            tried = left[:at] + left[at + size :]
            if tried != left and fails(tried):
                left = tried
            else:
                at += size
        if size == 1:
            break
        size = max(1, size // 2)
    return left


def right(program: Sequence[Instruction], config: EngineConfig) -> bool:
    try:
        check(program, config)
    except ProgramError:
        return False
    return True


def shrunk(make: Callable[[], VerilatedEngine], config: EngineConfig, chain: Sequence[Case]) -> list[Case]:
    """A minimal chain with a mismatch."""

    def fails(tried: Sequence[Case]) -> bool:
        if not all(right(case.program, config) for case in tried):
            return False
        return first_difference(make, tried)[0] < len(tried)

    left = list(chain[: first_difference(make, chain)[0] + 1])
    left = fewer(left, fails)
    for k in range(len(left)):

        def still(case: Case, k: int = k) -> bool:
            return fails([*left[:k], case, *left[k + 1 :]])

        def program(instructions: list[Instruction], k: int = k) -> bool:
            return still(replace(left[k], program=tuple(instructions)))

        left[k] = replace(left[k], program=tuple(fewer(left[k].program, program)))
        while smaller := next(filter(still, simpler(left[k])), None):
            left[k] = smaller
    return left


def simpler(case: Case) -> Iterator[Case]:
    """Simpler variants of a case."""
    for program in without_a_loop(case.program):
        yield replace(case, program=program)
    if case.learn:
        yield replace(case, learn=False)
    if case.weights is not None:
        yield replace(case, weights=None)
        if len(set(case.weights.tolist())) > 1:
            yield replace(case, weights=np.full_like(case.weights, 1))
    if case.tokens:
        yield replace(case, tokens=None)
        for row in range(len(case.tokens.rows)):
            yield replace(case, tokens=case.tokens._replace(rows=np.delete(case.tokens.rows, row)))
    present = np.flatnonzero(case.values)
    for some in (present, present[: len(present) // 2], present[len(present) // 2 :]):
        if len(some):
            values = case.values.copy()
            values[some] = 0
            yield replace(case, values=values)


def without_a_loop(program: Sequence[Instruction]) -> Iterator[tuple[Instruction, ...]]:
    """Programs without one REPEAT and its NEXT."""
    begun = []
    for at, i in enumerate(program):
        if i.op == Op.REPEAT:
            begun.append(at)
        elif i.op == Op.NEXT:
            pair = {begun.pop(), at}
            yield tuple(i for k, i in enumerate(program) if k not in pair)


def as_test(config: EngineConfig, chain: Sequence[Case], what: str) -> str:
    """Source of a test with the same mismatch."""
    lines = [
        "def test_what_the_campaign_found():",
        f'    """Differed: {what}."""',
        f"    config = EngineConfig.from_dict({json.loads(json.dumps(dataclasses.asdict(config)))!r})",
        "    chain = [",
    ]
    for case in chain:
        program = ", ".join(map(_written, case.program))
        weights = "None" if case.weights is None else _numbers(case.weights)
        tokens = "None"
        if case.tokens:
            tokens = f"TableTokens(*{case.tokens[:-1]}, {_numbers(case.tokens.rows)})"
        lines.append(
            f"        Case(({program},), {case.learn}, {_numbers(case.values)}, {weights}, {tokens}),"
        )
    lines += [
        "    ]",
        '    assert first_difference(lambda: VerilatedEngine(config), chain) == (len(chain), "")',
    ]
    return "\n".join(lines)


def _numbers(given: Raw) -> str:
    if len(set(given.tolist())) == 1:
        return f"np.full({given.size}, {given[0]})"
    return f"np.array({given.tolist()})"


def _written(i: Instruction) -> str:
    fields = (
        f"{f.name}={getattr(i, f.name)}"
        for f in dataclasses.fields(i)
        if f.name != "op" and getattr(i, f.name)
    )
    return f"Instruction(op=Op.{i.op.name}, {', '.join(fields)})"


# -- networks --------------------------------------------------------------------------------------
def room_of(config: EngineConfig) -> EngineConfig:
    """The engine, large enough for networks; one with external weights holds few of them on the chip."""
    if config.external:
        return replace(config, **ROOM, external=replace(config.external, tiles=TILES))
    return replace(config, **ROOM, tiles=TILES)


def random_schedule(rng: np.random.Generator, config: EngineConfig) -> Schedule:
    window = int(rng.choice([1, 2, 4, 8]))
    options: dict[str, Any] = {}
    if config.early_exit and rng.random() < 0.4:
        options = {
            "early_exit": int(rng.choice([0, 1, 8, 64])),
            "watch": str(rng.choice(["all", "output"])),
        }
    if config.errors and rng.random() < 0.25:
        options |= {"contrast": "errors", "error_gain": int(rng.choice([1, 1, 2, 8]))}
    return Schedule(
        window=window,
        free=window * int(rng.integers(2, 5)),
        nudged=window * int(rng.integers(1, 4)),
        beta=float(rng.choice([0.25, 0.5, 1.0])),
        leak=int(rng.choice(LEAKS)),
        **options,
    )


def random_network(rng: np.random.Generator, config: EngineConfig) -> Network:
    """A chain, a convolution, an attention network or a transformer, by the options of the engine."""
    schedule = random_schedule(rng, config)
    classes = int(rng.integers(2, 9))
    hidden = rng.integers(1, 30, rng.integers(0, 4 if schedule.errors else 3)).tolist()
    feedback: dict[str, Any] = {"feedback": bool(rng.random() < 0.8)}
    back = rng.choice(FEEDBACK_SCALES, len(hidden)).tolist() if feedback["feedback"] else []
    formats: dict[str, Any] = {"schedule": schedule, "numerics": config.numerics}
    softmax: dict[str, Any] = {
        "gain": int(rng.integers(0, 3)),
        "sharpness": config.numerics.fraction - FRACTION - int(rng.choice(SHIFTS)),
    }
    kinds = ["chain"] * 2 + ["conv"] * config.convolution + ["attention"] * config.attention
    kinds += ["transformer", "energy"] * (config.self_attention and config.attention and config.convolution)
    match rng.choice(kinds):
        case "conv":
            sides = rng.integers(3, 7, 2).tolist()
            layers: list[Any] = [(int(rng.integers(1, 7)), int(rng.integers(1, 4)))]
            layers += [(int(rng.integers(1, 5)), int(rng.integers(1, 3)), 2)] * bool(rng.integers(2))
            layers += hidden[:1]
            scales = back[: len(layers)]
            return Network.conv(sides, *layers, classes, **feedback, feedback_scales=scales, **formats)
        case "attention":
            words, width, heads = (int(rng.integers(1, n)) for n in (20, 9, 4))
            table = bool(rng.integers(2))
            return Network.attention(
                words,
                width,
                heads,
                *hidden[:1],
                classes,
                **softmax,
                table_rows=ROWS if table else None,
                table_learning_rate_scale=float(table),
                **formats,
            )
        case "transformer":
            return Network.transformer(
                TransformerSizes(
                    int(rng.integers(1, 6)),
                    int(rng.integers(1, 6)),
                    int(rng.integers(1, 5)),
                    1,
                    classes,
                    heads=int(rng.integers(1, 3)),
                    width=int(rng.integers(1, 5)),
                    hidden=int(rng.integers(1, 5)),
                ),
                causal=bool(rng.integers(2)),
                per_position=False,
                **softmax,
                feedback=bool(rng.integers(2)),
                **formats,
            )
        case "energy":
            return attention_with_energy(rng, classes, softmax, formats)
    return Network.chain(
        int(rng.integers(1, 60)),
        *hidden,
        classes,
        **feedback,
        feedback_scales=back,
        **formats,
    )


def attention_with_energy(
    rng: np.random.Generator, classes: int, softmax: Mapping[str, Any], formats: Mapping[str, Any]
) -> Network:
    """Maps with self-attention over their positions, which learns."""
    rows, columns, pixels, maps, width = rng.integers(1, [4, 4, 4, 6, 6]).tolist()
    heads = int(rng.integers(1, 3))
    attention = SelfAttention.of_shape(
        "attention",
        (rows, columns, 2 * heads * width),
        heads=heads,
        causal=bool(rng.integers(2)),
        energy=True,
        **softmax,
    )
    synapses = [
        Synapse("x", "maps", kernel=1),
        Synapse("bias", "maps", per_position=bool(rng.integers(2))),
        Synapse("maps", "attention", kernel=1),
        Synapse("bias", "attention"),
        Synapse("maps", "output"),
        Synapse("bias", "output"),
    ]
    populations = (
        Input.of_shape("x", (rows, columns, pixels)),
        Constant("bias", 1),
        Lif.of_shape("maps", (rows, columns, maps)),
        attention,
        Lif("output", classes),
    )
    return Network(populations, tuple(synapses), "output", **formats)


def network_differs(make: Callable[[], VerilatedEngine], network: Network, rng: np.random.Generator) -> str:
    """First mismatch in predictions, spikes, rates or weights over samples, some with a target.

    Of a network that cannot learn: in predictions, spikes and rates.
    """
    weights = {s.name: rng.integers(-3000, 3001, network.shape(s)) for s in network.plastic}
    lo, hi = network.numerics.weight.lo, network.numerics.weight.hi
    weights = {name: np.clip(w, lo, hi) for name, w in weights.items()}
    x = rng.integers(0, 256, (SAMPLES, network.n_inputs)).astype(np.uint8)
    labels = rng.integers(0, network.n_outputs, SAMPLES)
    tokens: list[Any] = [None] * SAMPLES
    loaded = network.dynamic_attention
    if loaded:
        table = rng.integers(-6000, 6001, (ROWS, loaded.relay.width)).clip(lo, hi).astype(np.int16)
        off = np.r_[0, rng.integers(0, loaded.attention.size + 1, SAMPLES).cumsum()].astype(np.int64)
        rows = TokenRows(table, rng.integers(0, ROWS, off[-1]).astype(np.int32), off)
        tokens = [rows.take([j]) for j in range(SAMPLES)]
    rate = min(0.06, largest_rate(network)) if network.trainable else None
    kernel = Kernel(network, weights, learning_rate=rate)
    engine = make()
    chip = Chip(engine, network, weights, learning_rate=rate)
    for j, y in enumerate(one_hot(labels, network.n_outputs)):
        inferred = chip.sample(x[j], tokens=tokens[j])
        if inferred.prediction != kernel.predict(x[j : j + 1], tokens=tokens[j])[0]:
            return f"prediction of sample {j}"
        if rate is None:
            rates, spikes = kernel.rates(x[j : j + 1], tokens=tokens[j])
            if inferred.spikes != spikes[0] or not np.array_equal(chip.rates().plus, rates[0, 0]):
                return f"spikes or rates of sample {j}"
            continue
        rates, spikes = kernel.rates(x[j : j + 1], y[None], tokens=tokens[j])
        result = chip.sample(x[j], y, tokens=tokens[j])
        if result.spikes != spikes[0] or not np.array_equal(chip.rates(), rates[0, 1:]):
            return f"spikes or rates of sample {j}"
        kernel.train(x[j : j + 1], labels[j : j + 1], tokens=tokens[j])
        for name, w in chip.weights.items():
            if not np.array_equal(w, kernel.weights[name]):
                return f"weights of {name} after sample {j}"
    return ", ".join(engine.violations) if engine.config.external else ""


# -- campaign --------------------------------------------------------------------------------------
def run_chain(name: str, config: EngineConfig, chain: Sequence[Case]) -> None:
    """Compare a chain; SystemExit with a test of the minimal chain after a mismatch."""

    def make() -> VerilatedEngine:
        return VerilatedEngine(config)

    k, what = first_difference(make, chain)
    if what:
        print(f"{name}, program {k}: {what}\n", file=sys.stderr)
        sys.exit(as_test(config, shrunk(make, config, chain), what))


def run_programs(n: int, seed: int, ends: float) -> Iterator[int]:
    """Compare ``n`` programs, chains of all engines in turn, until the time ``ends``; yields their number."""
    done = chain = 0
    while done < n:
        for number, (name, config) in enumerate(ENGINES.items()):
            if done >= n or time.monotonic() > ends:
                return
            rng = np.random.default_rng([seed, number, chain])
            given = chain_of(config, rng) if chain else directed(config, rng)
            run_chain(name, config, given)
            done += len(given)
            yield done
        chain += 1


def run_networks(n: int, seed: int, ends: float) -> Iterator[int]:
    """Compare ``n`` networks, all engines in turn, until the time ``ends``; yields their number."""
    for k in range(n):
        if time.monotonic() > ends:
            return
        number = k % len(ENGINES)
        name, config = list(ENGINES.items())[number]
        config = room_of(config)
        rng = np.random.default_rng([seed, 1000 + number, k // len(ENGINES)])
        network = None
        while network is None:
            try:
                network = random_network(rng, config)
                placed = Compiled(network, config)
                if config.external and not placed.external and placed.table is None:
                    raise CapacityError("all weights are on the chip")
                what = network_differs(functools.partial(VerilatedEngine, config), network, rng)
            except (CapacityError, ValueError):
                network = None  # invalid or too large
        if what:
            sys.exit(f"{name}, network {k} of seed {seed}: {what}\n{network}")
        yield k + 1


def main(
    *,
    programs: Annotated[int, "number of programs"] = 100_000,
    networks: Annotated[int, "number of networks"] = 1_000,
    seed: Annotated[int, "another seed makes other programs"] = 1,
    seconds: Annotated[float, "time limit of programs and of networks"] = float("inf"),
) -> None:
    for what, n, run in (("networks", networks, run_networks), ("programs", programs, run_programs)):
        done = 0
        try:
            with counted(what, n) as progress:
                for done in run(n, seed, time.monotonic() + seconds):
                    progress(done)
        finally:
            print(f"{done:,} {what} of seed {seed}, no difference", flush=True)
