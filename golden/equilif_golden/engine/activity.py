"""What a run makes the engine do, beside time: accesses to its memories and arithmetic of its lanes, counted
in words of P lanes.

A command is one group of a destination (equilif_golden.engine.isa); a scan fetches the groups of its
source beside that.  The tables are what the lanes do, so that model and RTL count the same; reads are
those whose data are used.  Weight words read are ``EngineModel.accesses``, and a word read or written is
P synaptic operations.  ``state`` is A, B and Q.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import (
    WALK,
    Instruction,
    MeasureMode,
    Op,
    ResetMode,
    ResultMode,
)
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

#: of one command.  Values are written one at +beta and one at -beta, as the mode says: ``value_writes``
#: is of each
COMMAND: Mapping[Op, Mapping[str, int]] = {
    Op.RESET: {"state_writes": 1, "spike_writes": 1},  # STATIC: no spikes
    Op.NUDGE: {
        "value_reads": 1,
        "spike_reads": 1,
        "state_reads": 1,
        "state_writes": 1,
        "products": 1,
        "additions": 1,
    },
    # A + B, leak, Q
    Op.STEP: {"state_reads": 3, "state_writes": 2, "spike_writes": 1, "additions": 3},
    Op.MARK: {"state_reads": 1, "state_writes": 1, "additions": 1},
    Op.MEASURE: {"state_reads": 2, "value_writes": 1, "additions": 1},
    Op.SAVE: {"state_reads": 1, "state_writes": 1, "spike_reads": 1, "spike_writes": 1},
    Op.RESTORE: {"state_reads": 1, "state_writes": 1, "spike_reads": 1, "spike_writes": 1},
    Op.DRIVE: {"state_reads": 1, "state_writes": 1, "products": 1, "additions": 1},
    Op.GATHER: {"state_reads": 1, "state_writes": 1, "additions": 1},
    # dither, difference, W
    Op.LEARN: {"weight_writes": 1, "value_reads": 2, "products": 2, "additions": 3},
    # in each of three walks: largest, sum, distance
    Op.SOFTMAX: {"state_reads": 2, "additions": 1},
    Op.RELAY: {"state_reads": 1, "value_writes": 1},
}
#: of a command of SOFTMAX's third walk, more than of the others
CODING: Mapping[str, int] = {"products": 1, "value_writes": 1}
#: of a command of a MEASURE that watches, more than of another
WATCHING: Mapping[str, int] = {"value_reads": 1, "additions": 1}
#: of a group that a scan fetches
FETCH: Mapping[Op, Mapping[str, int]] = {
    Op.DRIVE: {"value_reads": 1},
    Op.GATHER: {"spike_reads": 1},
    Op.LEARN: {"value_reads": 2},
    Op.ARGMAX: {"value_reads": 1},
}
SOFTMAX_WALKS = 3


def _vector(cost: Mapping[str, int]) -> Raw:
    return np.array([cost.get(name, 0) for name in NAMES], np.int64)


def fetches(i: Instruction, events: npt.NDArray[np.bool_], config: EngineConfig) -> int:
    """Groups that a scan reads.

    While learning, a scanner without a copy of the group reads it anew for every event
    (equilif_hdl.engine.scan).
    """
    if i.op == Op.LEARN and not config.weight_stages:
        return int(np.maximum(events.sum(axis=1), 1).sum())
    return len(events)


def activity(i: Instruction, config: EngineConfig, events: npt.NDArray[np.bool_]) -> Raw:
    """(len(NAMES),) counts of one instruction.

    ``events``: (n_src, P), which neurons of a scan's source take part; of a walk, no groups.
    """
    command = _vector(COMMAND.get(i.op, {}))
    if i.op == Op.SOFTMAX:
        command = SOFTMAX_WALKS * command + _vector(CODING)
    if i.op == Op.MEASURE and i.mode & MeasureMode.WATCH and config.early:
        command = command + _vector(WATCHING)
    if i.op == Op.RESET and i.mode & ResetMode.STATIC:
        command[NAMES.index("spike_writes")] = 0
    command[NAMES.index("value_writes")] *= (i.mode & (ResultMode.PLUS | ResultMode.MINUS)).bit_count()
    commands = i.n_dst if i.op in WALK else int(events.sum()) * i.n_dst
    return commands * command + fetches(i, events, config) * _vector(FETCH.get(i.op, {}))
