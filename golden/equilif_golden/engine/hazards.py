"""Hazards between consecutive instructions: which memories an operation accesses, in which stage.

:func:`accesses` is the table.  Memories are those of equilif_golden.engine.isa.OPERATIONS; stages those of
equilif_hdl.engine.stages.Timing, of the slowest variant: neuron state in block RAM, with all registers.
:func:`stage_passed` derives from it when the next instruction may begin.  The cycle model and the dispatcher
use the same function; tests/engine/test_hazards.py checks schedules against the table.

    load --+-- 2 or 3 cycles --> the scanner reads S or V
           +-- 2 cycles -------> command of a walk ---------+-- lead --> stage 0 --> stage 1 --> ...
           +-- 7 cycles -------> command of the first event -+

Only pipelines with dual-port weights overlap instructions that depend on each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from itertools import product
from typing import NamedTuple

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import ON_STATES, OPERATIONS, SCAN, WALK, Instruction, Op

#: stages: state is read; a sum, a rate, a relayed value and a weight is written
READ = 1
SUM = 3
RATE = 4
RELAY = 5
LEARN = 6
#: last stage of STEP, without the registers of the neuron
STEP = 5
#: cycles from the load of an instruction to its first command; of a scan to its first fetch
WALKS = 2
SCANS = 7
FETCHES = 3
#: LEARN looks for values that differ one cycle earlier
COMPARES = 2
#: last stage in which the constants of an instruction are used; others are part of a command, or held
CONSTANTS = {Op.MEASURE: RATE + 1, Op.RELAY: RELAY, Op.LEARN: LEARN}
#: operations after which the next one may begin with the last command; without events they write nothing
ACCUMULATING = (Op.DRIVE, Op.GATHER, Op.NUDGE)
#: operations whose commands may be in the lanes when others are loaded; an operation missing here waits
#: until they are empty.  More pairs need more rules for instructions that are not neighbours
OVERLAPS: Mapping[Op, Collection[Op]] = {
    **dict.fromkeys(ACCUMULATING, (Op.STEP,)),
    Op.STEP: (*SCAN, Op.MARK, Op.MEASURE),
    **dict.fromkeys((Op.RESET, Op.MARK, Op.LEARN), SCAN),
    Op.MEASURE: (WALK | SCAN) - {Op.SOFTMAX},
    **dict.fromkeys((Op.SAVE, Op.RESTORE), (Op.GATHER,)),
}
#: walks and scans, on the same state or others, whose fetches read nothing that the walk writes
AHEAD: Mapping[tuple[Op, Op], tuple[bool, ...]] = {
    (Op.MARK, Op.GATHER): (False, True),
    (Op.STEP, Op.GATHER): (True,),
    (Op.RESET, Op.DRIVE): (False, True),
}
#: operations that read spikes early
SPIKES_READ = (Op.GATHER, Op.NUDGE)
#: operations that write them
SPIKES_WRITTEN = (Op.STEP, Op.RESET)


class MemoryAccess(NamedTuple):
    """An access to a memory.

    stage    of the lanes, or, ``fetched``, cycles from the load of the scan
    visible  of a write: last stage whose reads do not find it
    """

    memory: str
    stage: int
    writes: bool = False
    visible: int = 0
    fetched: bool = False

    @property
    def port(self) -> tuple[str, bool]:
        """Port: the two states share theirs."""
        return self.memory[0], self.writes


def lead(config: EngineConfig) -> int:
    """Stages before stage 0."""
    return config.registers.weight_read + config.registers.butterfly


def step(config: EngineConfig) -> int:
    """Stage in which STEP writes."""
    return STEP + config.registers.neuron


@cache
def accesses(op: Op, config: EngineConfig, *, second: bool = False) -> tuple[MemoryAccess, ...]:
    """Accesses of a command, in all modes; of a scan also those of its fetches."""
    o = OPERATIONS[op]
    effects = (o.does, o.last, *(mode.more for mode in o.modes.values()))
    reads = sorted({name for e in effects for name in e.reads})
    writes = sorted({name for e in effects for name in e.writes})
    if op in (Op.RESET, Op.NUDGE):  # their mode STATIC
        writes.append("B")
    fetch = COMPARES if op == Op.LEARN else FETCHES
    # a fetch addresses spikes and values
    found = [MemoryAccess(f"{name} unused", fetch, fetched=True) for name in "SV" if op in SCAN]
    for name in reads:
        memory = _of_state(name, second=second)
        fetched = op in SCAN and memory[0] in "SV"
        if fetched:
            found.append(MemoryAccess(memory, fetch, fetched=True))
        if not fetched or op == Op.LEARN:
            found.append(MemoryAccess(memory, _read_stage(op, memory, config)))
    for name in writes:
        memory = _of_state(name, second=second)
        stage = _write_stage(op, memory, config)
        # a sum is forwarded to reads of the same cycle
        forwarded = stage == SUM and memory[0] in "AB"
        found.append(MemoryAccess(memory, stage, writes=True, visible=stage - forwarded))
    return tuple(dict.fromkeys(found))


def _of_state(name: str, *, second: bool) -> str:
    """Memory of the state; V+ and V- are one."""
    if name[0] == "V":
        return "V"
    return f"{name}'" if second and name in ("A", "S") else name


def _read_stage(op: Op, memory: str, config: EngineConfig) -> int:
    match memory[0]:
        case "Q" if op == Op.STEP:
            return step(config) - 2
        case "S":
            return -lead(config) if op == Op.NUDGE else READ + 1
        case "V":
            return SUM if op == Op.MEASURE else -lead(config)
        case "W":
            return -lead(config)
    return READ


def _write_stage(op: Op, memory: str, config: EngineConfig) -> int:
    late = config.registers.state_write
    match memory[0]:
        case "Q":
            return (step(config) if op == Op.STEP else SUM) + late
        case "V":
            return (RELAY if op == Op.RELAY else RATE) + late
        case "W":
            return LEARN
    return step(config) if op == Op.STEP else SUM


def needs_settled(i: Instruction) -> tuple[int, ...]:
    """States whose spikes must be written, or nearly, by all commands of STEP and RESET in the lanes.

    STEP also waits for the constants of the STEP before it.
    """
    states = {Op.STEP: (0, 1), Op.SAVE: (0,), Op.RESTORE: (1,)}
    return (int(i.second),) if i.op in SPIKES_READ else states.get(i.op, ())


def settled(op: Op, config: EngineConfig) -> int:
    """Stage that they must have reached."""
    return step(config) + 1 - (WALKS if op == Op.NUDGE else FETCHES)


def follows_step(before: Instruction, i: Instruction, config: EngineConfig) -> bool:
    """A GATHER from the groups of a STEP waits for the spikes of their first group only.

    Through external weights it may not, as in :func:`runs_ahead`.
    """
    follows = (i.op, before.op) == (Op.GATHER, Op.STEP) and i.src == before.dst
    return follows and i.second == before.second and not i.is_external(config)


def runs_ahead(before: Instruction, i: Instruction, config: EngineConfig) -> bool:
    """Whether a scan may begin as soon as a walk issues commands.

    Through external weights it may not: a slot of the window is free after the last command of its event.
    """
    return not i.is_external(config) and (i.second != before.second) in AHEAD.get((before.op, i.op), ())


@cache
def distance(before: Op, after: Op, config: EngineConfig, *, other: bool = False) -> int:
    """Cycles from the last command of an instruction to the first one of the next."""
    meetings = _meetings(before, after, config, other=other, fetched=False)
    return max([1, *(_end(a, b) + 1 - b.stage for a, b in meetings)])


def threshold(before: Instruction, i: Instruction, config: EngineConfig) -> int | None:
    """As :func:`stage_passed`, of instructions."""
    op = Op.DRIVE if i.op == Op.CONVOLVE else i.op
    return stage_passed(before.op, op, config, other=i.second != before.second)


@cache
def stage_passed(before: Op, after: Op, config: EngineConfig, *, other: bool) -> int | None:
    """Stage that the last command of an instruction must have reached when the next one is loaded.

    None: the lanes must be empty.  ``other``: they work on different states.  Apart from the spikes of STEP
    and RESET (:func:`needs_settled`).
    """
    if after not in OVERLAPS.get(before, ()):
        return None
    first = SCANS if after in SCAN else WALKS
    found = [distance(before, after, config, other=other) - first - lead(config)]
    if before in CONSTANTS:
        # a scan without events replaces them no earlier than the instruction after it
        found.append(CONSTANTS[before] + 1 - first)
    for a, b in _meetings(before, after, config, other=other, fetched=True):
        found.append(_end(a, b) + 1 - b.stage)
    return max(found)


@cache
def overlaps(config: EngineConfig) -> Mapping[int, Mapping[tuple[Op, Op], tuple[bool, ...]]]:
    """Pairs of operations by :func:`stage_passed`, and for which values of ``other``.

    All commands have passed the first stage as soon as the walker has issued them.
    """
    found: dict[int, dict[tuple[Op, Op], tuple[bool, ...]]] = {}
    ops = sorted(WALK | SCAN)
    for before, after, other in product(ops, ops, (False, True)):
        possible = other and any(op in ON_STATES for op in (before, after))
        stage = stage_passed(before, after, config, other=possible)
        if stage is not None:
            pairs = found.setdefault(max(stage, 1 - lead(config)), {})
            pairs[before, after] = (*pairs.get((before, after), ()), other)
    return dict(sorted(found.items()))


def _end(a: MemoryAccess, b: MemoryAccess) -> int:
    """Stage of a before that of b."""
    return a.visible if a.writes and not b.writes else a.stage


def _meetings(
    before: Op, after: Op, config: EngineConfig, *, other: bool, fetched: bool
) -> list[tuple[MemoryAccess, MemoryAccess]]:
    """Accesses that must keep their order, or meet at a port; those of ``after`` are ``fetched`` or not."""
    return [
        (a, b)
        for second in (False, True)
        if _works_on(before, second=second) and _works_on(after, second=second != other)
        for a in accesses(before, config, second=second)
        for b in accesses(after, config, second=second != other)
        if not a.fetched and b.fetched == fetched
        if a.port == b.port or a.memory == b.memory and (a.writes or b.writes)
        if not (a.memory[0] == "S" and before in SPIKES_WRITTEN and after in SPIKES_READ)
    ]


def _works_on(op: Op, *, second: bool) -> bool:
    """Operations without that mode work on the first state, SAVE and RESTORE on both."""
    return op in ON_STATES or not second
