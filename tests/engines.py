"""Small engines on which blocks are tried, one or more of every pipeline."""

from __future__ import annotations

import dataclasses

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.fixed import Numerics

NARROW = Numerics(fraction=8, weight_width=10, accumulator_width=20, charge_width=15)
ENGINE = EngineConfig(lanes=4, tiles=20, value_groups=16, state_groups=8, program_words=96)
SINGLE_PORT = dataclasses.replace(ENGINE, pipeline=Pipeline.SPRAM, softmax=False)
REGISTERED = dataclasses.replace(ENGINE, pipeline=Pipeline.REGISTERED, early=True)
WIDE = dataclasses.replace(ENGINE, lanes=16, pipeline=Pipeline.DEEP, early=True)
