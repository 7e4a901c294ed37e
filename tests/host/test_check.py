"""A board is compared with the golden model."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from equilif.data.sets import images
from equilif.host import check as board_check
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError
from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.device import Device
from tests.cli import run
from tests.standalone import client_of

CONFIG = EngineConfig(lanes=4, tiles=256, value_groups=64, state_groups=32)


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


def test_report_and_exit_code(tmp_path, monkeypatch):
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client_of(Device(CONFIG)))
    run("check", "--samples", 3, "--json", tmp_path / "a.json")
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["ok"] and "build ID" in report["report"]
    monkeypatch.setattr(
        board_check, "_weights", lambda chip, golden: "weight a[0, 0]: board 1, golden model 2"
    )
    assert "board 1, golden model 2" in run("check", "--samples", 3, code=1)
