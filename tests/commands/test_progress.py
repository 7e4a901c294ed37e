"""Progress display: on a terminal only."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from equilif.show import console as show
from equilif.training.storage.history import NETWORK
from tests.cli import run


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Bytes written to a terminal."""
    screen = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")  # a dumb one shows no bar
    monkeypatch.setattr(
        show, "console", show.Screen(file=screen, force_terminal=True, width=120, highlight=False)
    )
    return screen


def seen(screen: io.StringIO) -> str:
    """Text without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    run("train", "digits", "--hidden", 4, "--epochs", 1, "--out", out)
    return out


def test_progress_bar(terminal):
    with show.counted("evaluate", 40) as progress:
        progress(30)
    assert "evaluate" in seen(terminal) and "30/40" in seen(terminal)
    with show.stages("gradient", 3) as begin:
        begin("first")
        begin("second")
    assert "second" in seen(terminal) and "1/3" in seen(terminal)


def test_progress_bar_of_training(trained, terminal, tmp_path):
    run("train", "digits", "--hidden", 4, "--epochs", 3, "--out", tmp_path)
    assert "/4311" in seen(terminal)  # three times 1,437
    assert "epoch  3/3" in seen(terminal) and "test samples" in seen(terminal)


@pytest.mark.parametrize(
    "line, description",
    [
        ("evaluate NETWORK", "evaluate"),
        ("recall digits --stored 40 --steps 1 --out OUT", "recall"),
        ("gradient digits --network NETWORK --samples 8", "gradient"),
        ("report RUN --out OUT/x.html --overwrite", "reading"),
    ],
)
def test_progress_only_on_terminal(line, description, trained, tmp_path, request):
    words = line.replace("NETWORK", str(trained / NETWORK)).replace("RUN", str(trained))
    words = words.replace("OUT", str(tmp_path)).split()
    if words[0] == "gradient":
        pytest.importorskip("torch")
    plain = run(*words)
    assert "\r" not in plain and "━" not in plain and not plain.startswith(description)
    screen = request.getfixturevalue("terminal")
    run(*words)
    assert description in seen(screen) and ("━" in seen(screen) or description == "reading")
