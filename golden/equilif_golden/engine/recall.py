"""A memory on an engine: the instructions of a recall, and a Hopfield memory on its own.

The patterns are a synapse whose rows are the softmax population and whose columns are the relay.
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

#: strength of a nudge that turns presence into the sign of a membrane that was -1: a pattern that is
#: present, 255, adds 256 x 255 >> 8, an absent one, 0, nothing
SIGN = 256


def inhibit_absent(scores: Groups, present: Groups) -> list[Instruction]:
    """Neurons of a softmax population take part where their membrane is not negative: where 255 stands in
    ``present``.
    """
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

    scores      the softmax population: scores in B, codes of p in the values
    total       B adds up the retrieval here
    query       values of q; ``retrieval``: where the new ones go
    tile        first of the patterns X
    shift       of SOFTMAX; ``retrieval_shift``: of RELAY
    plus, minus   which values are written; what is read is V- where only that is written
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
    """A memory on an engine of its own.

    Scores are in the first groups, the state is in the next, and then comes 255 where there is a pattern.
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
