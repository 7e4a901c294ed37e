"""Activity of a run: memory accesses and arithmetic, counted in words of P lanes.

A command is one group of a destination (equilif_golden.engine.isa); a scan also fetches the groups of its
source.  The counts follow from OPERATIONS, so model and RTL count the same; reads are those whose data are
used.  Weight words read are ``EngineModel.accesses``, and a word read or written
is P synaptic operations.  ``state`` is A, B and Q.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.cycles import Comparison
from equilif_golden.engine.features import has
from equilif_golden.engine.isa import (
    OPERATIONS,
    WALK,
    Effects,
    Instruction,
    Kind,
    Memory,
    Mode,
    Op,
    Operation,
    Span,
)
from equilif_golden.engine.memories import skips_unchanged
from equilif_golden.fixed import Raw

NAMES = (
    "weight_writes",
    "state_reads",
    "state_writes",
    "spike_reads",
    "spike_writes",
    "value_reads",
    "value_writes",
    "additions",
    "products",
)
#: kinds of memories, by the first letter of their names; V is counted by the modes
_KINDS = {"A": "state", "B": "state", "Q": "state", "S": "spike", "V": "value", "W": "weight"}
Cost = Mapping[str, int]


def _accesses(memories: Iterable[str], verb: str) -> Counter[str]:
    """Accesses by kind, including weight_reads."""
    return Counter(f"{_KINDS[name[0]]}_{verb}" for name in memories if name != "V")


def _cost(effects: Effects) -> Cost:
    found = _accesses(effects.reads, "reads") + _accesses(effects.writes, "writes")
    found += Counter(additions=effects.additions, products=effects.products)
    return {name: found[name] for name in NAMES if found[name]}


def _fetched(o: Operation) -> tuple[str, ...]:
    """Memories of the source that a scan reads: spikes or values."""
    return tuple(name for name in o.does.reads if o.kind == Kind.SCAN and name[0] in "SV")


def _of_command(o: Operation) -> Cost:
    """Cost of a command; fetched data are not read again, except for the destination."""
    groups = o.operands.get("groups")
    both = isinstance(groups, Span) and groups.memory == Memory.VALUES
    reads = o.does.reads if both else [name for name in o.does.reads if name not in _fetched(o)]
    return _cost(Effects(tuple(reads), o.does.writes, o.does.additions, o.does.products))


#: cost of one command
COMMAND: Mapping[Op, Cost] = {op: _of_command(o) for op, o in OPERATIONS.items()}
#: additional cost of a command in the last walk
LAST: Mapping[Op, Cost] = {op: _cost(o.last) for op, o in OPERATIONS.items()}
#: cost of a group that a scan fetches
FETCH: Mapping[Op, Cost] = {op: dict(_accesses(_fetched(o), "reads")) for op, o in OPERATIONS.items()}


def cost_of_mode(mode: Mode, config: EngineConfig) -> Cost:
    """Additional cost of a command with this mode."""
    if mode.feature and not has(config, mode.feature):
        return {}
    return {**_cost(mode.more), **{name: -n for name, n in _accesses(mode.without, "writes").items()}}


def _vector(cost: Cost) -> Raw:
    return np.array([cost.get(name, 0) for name in NAMES], np.int64)


def fetches(
    i: Instruction,
    events: npt.NDArray[np.bool_],
    config: EngineConfig,
    comparison: Comparison | None = None,
) -> int:
    """Number of groups that a scan reads.

    In LEARN, a scanner without a copy of the group reads it again for every event; one with a copy may read
    destination and source first (equilif_hdl.engine.scan).
    """
    if i.op == Op.LEARN and config.single_port:
        return int(np.maximum(events.sum(axis=1), 1).sum())
    if i.op == Op.LEARN and skips_unchanged(config):
        found = comparison or Comparison()
        return found.fetches(i) + len(events) * found.differs(i)
    return len(events)


def activity(
    i: Instruction,
    config: EngineConfig,
    events: npt.NDArray[np.bool_],
    reach: Raw,
    comparison: Comparison | None = None,
) -> Raw:
    """Counts of one instruction, (len(NAMES),).

    ``events``: (n_src, P) active neurons of a scan's source; of a walk, no groups.  ``reach``: (n_src,)
    groups to which an event of each group is sent.
    """
    modes = (cost_of_mode(i.operation.modes[flag], config) for flag in i.modes)
    command = sum(map(_vector, modes), i.operation.walks * _vector(COMMAND[i.op]) + _vector(LAST[i.op]))
    commands = i.n_dst if i.op in WALK else int(events.sum(axis=1) @ reach)
    return commands * command + fetches(i, events, config, comparison) * _vector(FETCH[i.op])
