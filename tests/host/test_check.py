"""A board is compared with the golden model."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from equilif.data.sets import images
from equilif.host import check as board_check
from equilif.host import memory_check
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError
from equilif_golden.engine.config import EngineConfig, ExternalWeights
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.link.device import Device
from tests.cli import json_of, run
from tests.standalone import client_of

CONFIG = EngineConfig(lanes=4, tiles=256, value_groups=64, state_groups=32)
WITH_SDRAM = replace(
    CONFIG, tiles=64, external=ExternalWeights(chip_name="EM638325", hz=90_000_000, tiles=900)
)


def test_equal_numbers():
    found = board_check.check(client_of(Device(CONFIG)), images.digits(), 12)
    assert not found.difference and found.samples == 12 and found.sizes == (64, 32, 10)
    assert found.training_rate > 0 and found.inference_rate > 0


@pytest.mark.parametrize("field", ["spikes", "prediction", "values"])
def test_first_difference(field, monkeypatch):
    """A board whose third answer is wrong."""
    client = client_of(Device(CONFIG))
    correct = client.run
    answers = []

    def wrong(**options):
        answer = correct(**options)
        answers.append(answer)
        if len(answers) != (3 if field != "values" else 9):
            return answer
        changed = {"spikes": answer.spikes + 1, "prediction": (answer.prediction + 1) % 10}
        changed["values"] = np.asarray(answer.values) ^ 1
        return replace(answer, **{field: changed[field]})

    monkeypatch.setattr(client, "run", wrong)
    found = board_check.check(client, images.digits(), 6)
    assert found.difference.startswith("test sample 2" if field == "values" else "training sample 2")


def test_a_weight_that_differs(monkeypatch):
    client = client_of(Device(CONFIG))

    class Wrong(Chip):
        @property
        def weights(self):
            found = super().weights
            next(iter(found.values()))[1, 2] += 1
            return found

    monkeypatch.setattr(board_check, "Chip", Wrong)
    assert "[1, 2]" in board_check.check(client, images.digits(), 2).difference


def test_an_engine_that_is_too_small():
    small = EngineConfig(lanes=2, tiles=8, value_groups=8, state_groups=4)
    with pytest.raises(CapacityError, match="64-4-10"):
        board_check.check(client_of(Device(small)), images.digits(), 2)


class FaultyMemory(EngineModel):
    """An engine whose SDRAM has a fault."""

    fault = ""
    forgotten = False

    def write(self, region, first, data):
        external = region == Region.WEIGHT and first >= self.config.n_weights
        if external and self.fault == "address lines":
            first &= ~64
        super().write(region, first, data)

    def read(self, region, first, n):
        external = region == Region.WEIGHT and first >= self.config.n_weights
        if external and self.fault == "address lines":
            first &= ~64
        found = super().read(region, first, n)
        if external and (self.fault == "data lines" or self.fault == "retention" and self.forgotten):
            found &= ~4
        return found

    def execute(self, i):
        super().execute(i)
        if self.fault == "bursts of 12 words" and i.is_external(self.config) and i.n_dst == 6:
            self.w[self.config.tiles * self.config.lanes :] ^= 1

    def wait(self, seconds):
        assert seconds in (0, memory_check.WAIT)
        self.forgotten = seconds > 0


@pytest.mark.parametrize(
    "fault", ["", "data lines", "address lines", "retention", "bursts of 12 words"], ids=lambda f: f or "none"
)
def test_memory_check(fault):
    """Each fault is found by its test."""
    memory = FaultyMemory(WITH_SDRAM)
    memory.fault = fault
    found = memory_check.check(memory, memory.wait)
    assert found.difference.startswith(f"SDRAM, {fault}: word 0x") if fault else not found.difference
    assert found.longest == 2 * WITH_SDRAM.tiles // 2 or fault


def test_memory_is_tested_first(monkeypatch):
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client_of(Device(WITH_SDRAM)))
    report = json_of("check", "--samples", 2)
    assert "EM638325" in report["report"]["memory"] and report["ok"]
    monkeypatch.setattr(memory_check, "_data_lines", lambda engine: "SDRAM, data lines: word 0x0 is 1, not 2")
    failed = json_of("check", code=1)
    assert "data lines" in failed["report"]["result"] and not failed["check"]["samples"]


def test_report_and_exit_code(monkeypatch):
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client_of(Device(CONFIG)))
    report = json_of("check", "--samples", 3)
    assert report["ok"] and "build ID" in report["report"]
    monkeypatch.setattr(
        board_check, "_weights", lambda chip, golden: "weight a[0, 0]: board 1, golden model 2"
    )
    assert "board 1, golden model 2" in run("check", "--samples", 3, code=1)
