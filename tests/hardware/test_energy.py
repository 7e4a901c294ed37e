"""Energy from counters; tests/engine/test_engine.py compares the counters of model and RTL."""

import pytest

from equilif.hardware.energy import COUNTS, energy, sram
from equilif_golden.engine.config import EngineConfig

CONFIG = EngineConfig()  # 4 banks of 32 KB of 16-bit weights


def test_sram_size_selection():
    kb = 1024 * 8
    assert [sram(n) * 64 for n in (8 * kb, 8 * kb + 1, 32 * kb, 1024 * kb, 2048 * kb)] == [
        10,
        20,
        20,
        100,
        100,
    ]


@pytest.mark.parametrize(
    "count, what, pj",
    [
        ("accesses", "weights read", 4 * 16 * 20 / 64),
        ("weight_writes", "weights written", 4 * 16 * 20 / 64),
        ("additions", "additions", 4 * 26 / 32 * 0.1),
        ("products", "products", 4 * 0.2 * (16 * 9) / 64),
    ],
)
def test_energy_of_one_word(count, what, pj):
    found = energy({**dict.fromkeys(COUNTS, 0), count: 1}, CONFIG)
    assert found[what] == pytest.approx(pj) and sum(found.values()) == pytest.approx(pj)
