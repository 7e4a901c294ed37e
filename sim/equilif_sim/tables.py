"""Random tokens of an embedding table, and their transfers on an engine and on its model."""

from __future__ import annotations

import numpy as np

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.tables import RowCycles, RowOp, TableTokens
from equilif_golden.sdram import Controller
from equilif_sim.verilated import VerilatedEngine


def random_tokens(rng: np.random.Generator, config: EngineConfig) -> TableTokens:
    """Tokens of few rows, so that some occur several times."""
    assert config.external is not None
    p = config.lanes
    groups = int(rng.integers(1, min(12, config.tiles)))
    n_rows = min(int(rng.choice([3, 50])), config.external.tiles * p // groups)
    n = int(rng.integers(1, min(40, config.tiles // groups * p) + 1))
    return TableTokens(config.tiles, 0, groups, rng.integers(0, n_rows, n))


def compare_transfers(engine: VerilatedEngine, model: EngineModel, rng: np.random.Generator) -> None:
    """Transfer random tokens in every operation after a run: cycles, refreshes included, and tokens that are
    outside.  The program has to be loaded, and only HALT.
    """
    config = engine.config
    assert config.external is not None
    tokens = random_tokens(rng, config)
    model.run(learn=False)
    controller = Controller.restarted(config.external.chip, config.external.timing)
    rows = RowCycles(controller, config, tokens.groups)
    words = tokens.row_words(config.lanes)[:, 0].tolist()
    now = engine.run(learn=False, max_cycles=10_000).cycles + 1
    # not in the order of a run, so that changes are large
    for op in map(RowOp, rng.permutation(len(RowOp)).tolist()):
        cycles, outside = engine.transfer(op, tokens)
        model.transfer(op, tokens)
        assert not outside.any()
        now += 3  # table, tile and groups
        for word, found in zip(words, cycles.tolist(), strict=True):
            end = rows.transfer(op, word, now)
            assert found == end - now, op
            now = end
    back = int(rng.integers(0, 13))
    for wrong in (
        tokens._replace(tile=max(0, config.tiles - back)),
        tokens._replace(table=config.all_tiles - back),
        tokens._replace(table=config.tiles - 1),
    ):
        assert np.array_equal(engine.transfer(RowOp.CHECK, wrong)[1], wrong.outside(config)), wrong
    for groups in (0, 256):
        assert engine.transfer(RowOp.CHECK, tokens._replace(groups=groups))[1].all()
