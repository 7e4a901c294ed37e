"""A board with a front end, in the place of the one at a port."""

from __future__ import annotations

import numpy as np

from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.front_end import live
from equilif_golden.link.protocol import FrontEndKind, Identity


class ListeningBoard(EngineModel):
    """Engine with a live controller.  ``samples``: what has ended whenever the host reads the last answer:
    tokens of a word or inputs of a sensor, the number with which a sample is rejected, or None.  Then the
    user presses Ctrl-C.
    """

    displaced = False

    def __init__(self, config, network, samples):
        super().__init__(config)
        kind = FrontEndKind.SENSOR if network.n_inputs else FrontEndKind.MICROPHONE
        self.identity = Identity(config, 0, front_end=kind)
        self.compiled = Compiled(network, config)
        self.samples = list(samples)
        self.serial = 0
        self.table = live.table_first(config)

    def read(self, region, first, n):
        requested = region == Region.VALUE and first == self.table + live.NUMBER
        if requested and not self.samples:
            raise KeyboardInterrupt
        if requested and super().read(Region.VALUE, self.table, 1)[0] & 0xFF == live.MAGIC:
            self.hear(self.samples.pop(0))
        return super().read(region, first, n)

    def hear(self, sample):
        if sample is None:
            return
        self.serial = self.serial % 63 + 1
        kind, number = "X", sample
        if not isinstance(sample, int):
            values = sample
            if sample.ndim == 2:
                at, rows = self.compiled.token_words(sample)
                self.write(Region.WEIGHT, at, rows.ravel())
                values = 255 * (np.arange(32) < len(sample))
            self.write(Region.VALUE, self.compiled.sample_first, values)
            kind, number = "C", 1
        content = [number, self.serial << live.KIND_BITS | live.LETTERS.index(kind)]
        self.write(Region.VALUE, self.table + live.NUMBER, np.array(content))
