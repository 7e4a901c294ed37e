"""Attention on an engine: the instructions of a recall, and a program for a Hopfield memory.

The patterns are a synapse from the attention population (rows) to the relay (columns).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks import synapse as syn
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Groups, Instruction, Op, check
from equilif_golden.engine.model import as_signed
from equilif_golden.fixed import Raw, check_int, integers
from equilif_golden.hopfield import MAX_STEPS, Hopfield
from equilif_golden.network import ONE

#: strength of a nudge that turns presence into the sign of a membrane of -1: 255, present, adds
#: 256 x 255 >> 8, and 0, absent, adds 0
SIGN = 256


def inhibit_absent(scores: Groups, present: Groups) -> list[Instruction]:
    """Exclude absent patterns: SOFTMAX takes neurons with A >= 0, which are those with 255 in ``present``."""
    return [Op.RESET(scores, value=-1), Op.NUDGE(scores, targets=present, strength=SIGN)]


def recall(
    scores: Groups,
    total: Groups,
    *,
    query: Groups,
    retrieval: Groups,
    tile: int,
    shift: int,
    retrieval_shift: int,
    plus: bool = False,
    minus: bool = False,
) -> list[Instruction]:
    """One recall: scores X q, their softmax p, and the retrieval X^T p.

    scores      attention population: scores in B, codes of p in the values
    total       groups whose B accumulates the retrieval
    query       values of q; ``retrieval``: destination of the new ones
    tile        first of the patterns X
    shift       of SOFTMAX; ``retrieval_shift``: of RELAY
    plus, minus   which values are written; V- is read if only that is written
    """
    to = {"plus": plus, "minus": minus}
    of_minus = minus and not plus
    return [
        Op.RESET(scores, value=0, static=True),
        Op.DRIVE(query, scores, tile=tile, column=True, signed=True, minus=of_minus),
        Op.SOFTMAX(scores, values=scores, shift=shift, **to),
        Op.RESET(total, value=0, static=True),
        Op.DRIVE(scores, total, tile=tile, minus=of_minus),
        Op.RELAY(total, values=retrieval, shift=retrieval_shift, scaled=True, **to),
    ]


@dataclass(frozen=True)
class HopfieldOnEngine:
    """Program and memory images of a Hopfield memory on an engine.

    The first groups hold the scores, the next ones the state, then 255 for every pattern.  ValueError or
    ProgramError if it does not fit the engine.
    """

    memory: Hopfield
    config: EngineConfig

    def __post_init__(self) -> None:
        if self.memory.numerics != self.config.numerics:
            raise ValueError(f"the memory has {self.memory.numerics}, the engine {self.config.numerics}")
        check(self.program(1), self.config)

    @property
    def scores(self) -> Groups:
        return Groups(0, syn.groups(len(self.memory.patterns), self.config.lanes))

    @property
    def state_groups(self) -> Groups:
        return Groups(self.scores.n, syn.groups(self.memory.patterns.shape[1], self.config.lanes))

    @property
    def present(self) -> Groups:
        return Groups(self.scores.n + self.state_groups.n, self.scores.n)

    def program(self, steps: int) -> list[Instruction]:
        """``steps`` updates of the state; learning or not makes no difference."""
        return [
            *inhibit_absent(self.scores, self.present),
            Op.REPEAT(check_int(steps, "steps", 1, MAX_STEPS)),
            *recall(
                self.scores,
                self.state_groups,
                query=self.state_groups,
                retrieval=self.state_groups,
                tile=0,
                shift=self.memory.shift,
                retrieval_shift=self.memory.retrieval_shift,
                plus=True,
            ),
            Op.NEXT(),
            Op.HALT(),
        ]

    def weight_words(self) -> Raw:
        """Words x banks, from word 0."""
        return syn.to_words(self.memory.patterns, self.config.lanes)

    def cue(self, cue: npt.ArrayLike) -> tuple[int, Raw]:
        """Element address and 8-bit values to write: the cue, and where patterns are."""
        lanes = self.config.lanes
        q = self.memory.check(cue) & 255
        state = np.pad(q, (0, self.state_groups.n * lanes - len(q)))
        present = np.where(np.arange(self.present.n * lanes) < len(self.memory.patterns), ONE, 0)
        return self.state_groups.first * lanes, np.concatenate([state, present])

    def state(self, values: npt.ArrayLike) -> Raw:
        """The state among all values of the engine's first memory."""
        first = self.state_groups.first * self.config.lanes
        found = integers(values, "values").ravel()[first : first + self.memory.patterns.shape[1]]
        return as_signed(found)
