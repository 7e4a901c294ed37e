"""Benchmarks: the parser of their options, figures, code lines, and small runs."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess

import numpy as np
import pytest

from benchmarks import code_lines, common, continual, figures, training
from benchmarks.__main__ import NAMES, main, parser_of
from benchmarks.common import choose
from equilif.data.sets import images
from equilif.training.run import Run
from equilif_golden.network import Network


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_options(name, capsys):
    """Options have a type that the parser knows; --help shows them."""
    module = pytest.importorskip(f"benchmarks.{name}", exc_type=ImportError)
    shown = parser_of(name, module).format_help()
    assert module.__doc__.splitlines()[0] in shown
    with pytest.raises(SystemExit) as end:
        main([name, "--no-such-option"])
    assert end.value.code == 2 and capsys.readouterr().err.count("error: ") == 1


def test_every_benchmark_is_listed(capsys):
    assert main([]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == NAMES


@pytest.mark.parametrize(
    "arguments",
    [
        ["no_such"],
        ["figures", "--run", "no-such"],
        ["figures", "--run", "speed"],  # needs --data
        ["mutants", "--block", "no-such"],
        ["link", "icebreaker"],
        ["standalone", "no-such", "--data", "nowhere"],
        ["campaign", "--seed", "many"],
    ],
)
def test_bad_input_is_one_error(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2 and error.count("error: ") == 1 and "Traceback" not in error


def test_choose():
    assert choose((), "ab", "letter") == ["a", "b"] and choose(["b"], "ab", "letter") == ["b"]
    with pytest.raises(ValueError, match=r"\bc: .*a, b"):
        choose(["b", "c"], "ab", "letter")


def test_result_is_written(tmp_path, monkeypatch):
    """A benchmark that returns a result has --json; a mismatch is exit code 1."""
    module = importlib.import_module("benchmarks.udp")

    def measured(*, data: str, samples: int = 3) -> dict[str, int]:
        return {"samples": samples, "mismatches": len(data)}

    monkeypatch.setattr(module, "main", measured)
    file = tmp_path / "found.json"
    assert main(["udp", "--data", "x", "--samples", "7", "--json", str(file)]) == 1
    found = json.loads(file.read_text())
    assert found["samples"] == 7 and found["machine"]["cpus"]


# -- small runs ------------------------------------------------------------------------------------
def test_network_of_boards_is_that_of_a_run():
    digits = images.load("digits")
    run = Run.start(training.BOARD_PRESET.changed(hidden=(16,)), digits, 0)
    run.epoch()
    kernel, chosen = training.after_an_epoch((64, 16, 10), digits, 5)
    assert kernel.network == run.network and len(np.unique(chosen)) == 5
    assert all(np.array_equal(w, run.weights[name]) for name, w in kernel.weights.items())
    assert kernel.network == Network.chain(64, 16, 10, schedule=training.BOARD_PRESET.schedule)


@pytest.mark.parametrize(
    "learner", ["", pytest.param("backpropagation, ", marks=pytest.mark.regress)], ids=["equilif", "other"]
)
def test_continual(learner):
    """On the digits: replay keeps old classes, and stores what the method says."""
    data = images.load("digits")
    with_replay, without = (
        continual.measure(data, continual.METHODS[learner + name], 0) for name in ("1 bit", "none")
    )
    assert with_replay["accuracy"] > without["accuracy"] + 10 and with_replay["bytes"] > 0 == without["bytes"]
    last = with_replay["classes after each task"][-1]
    assert len(with_replay["classes after each task"]) == 5 and max(last[:8]) > 0


def test_streams():
    pytest.importorskip("river")
    streams = importlib.import_module("benchmarks.streams")
    samples = list(itertools.islice(streams.moving(), 60))
    for name in ("equilif", "logistic regression", "MLPClassifier"):
        accuracy, _ = streams.measure(samples, streams.MODELS[name])
        assert 0.3 < accuracy <= 1


# -- figures ---------------------------------------------------------------------------------------
ROW = {"command": "python -c pass", "commit": "0" * 9, "date": "2026-12-01", "paths": ["golden"]}


def test_pages_have_the_figures_of_the_table():
    known = {"speed": ROW | {"value": "3.1"}, "list": ROW | {"value": "a\nb"}}
    page = "x <!-- speed -->1<!-- end of speed --> y\n\n<!-- list -->\n\nold\n\n<!-- end of list -->\n"
    new = figures.filled(page, known)
    assert "<!-- speed -->3.1<!-- end" in new and "\n\na\nb\n\n*Measured 2026-12-01" in new
    assert figures.filled(new, known) == new
    with pytest.raises(KeyError):
        figures.filled("<!-- other -->1<!-- end of other -->", known)


def test_figure_is_stale_after_a_change_of_its_paths(tmp_path, monkeypatch):
    def git(*words):
        return subprocess.run(
            ["git", *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    monkeypatch.setattr(figures, "ROOT", tmp_path)
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    git("add", ".")
    git("-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "first")
    row = ROW | {"commit": git("rev-parse", "HEAD").strip(), "paths": ["a"]}
    (tmp_path / "b").write_text("2")
    assert not figures.is_stale(row)
    (tmp_path / "a").write_text("2")
    assert figures.is_stale(row) and figures.is_stale(ROW)


def test_figure_is_measured_again(tmp_path, monkeypatch):
    """Value, commit and date are replaced; comments and other rows stay."""
    table = tmp_path / "figures.toml"
    table.write_text(
        '# kept\n[accuracy]\n[two]\ncommand = "python -m platform"\nshows = "L(i)nux"\nvalue = "?"\n'
        'commit = ""\ndate = 2000-01-01\npaths = []\n'
    )
    monkeypatch.setattr(figures, "FILE", table)
    figures.remeasure("two", None)
    row = figures.rows()["two"]
    assert row["value"] == "i" and row["commit"] in common.commit() and row["date"].year > 2000
    assert table.read_text().startswith("# kept")


def test_code_lines():
    text = '"""Doc."""\n\n# comment\nx = """a\nb"""\n\n\ndef f():\n    """Doc\n    more."""\n    return x\n'
    assert code_lines.code_lines(text) == 4
