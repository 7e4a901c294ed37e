"""Benchmarks: the registry, the parser of their options, and small runs."""

from __future__ import annotations

import importlib
import itertools
import json
import shlex

import numpy as np
import pytest

from benchmarks import continual, flips, pages, records, training
from benchmarks.__main__ import main, parser_of
from benchmarks.registry import BENCHMARKS, RECORDS, choose
from equilif.data.sets import images
from equilif.training.run import Run
from equilif_golden.network import Network

HELPERS = {
    "__main__",
    "board_pages",
    "claims",
    "explained",
    "held_out_streams",
    "inputs",
    "literature",
    "registry",
    "training",
}
KNOWN = {benchmark.name: benchmark for benchmark in BENCHMARKS}


def test_every_module_is_registered():
    modules = {path.stem for path in (records.ROOT / "benchmarks").glob("*.py")}
    assert modules == {*KNOWN, *HELPERS} and len(KNOWN) == len(BENCHMARKS)


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_options(name, capsys):
    """Options have a type that the parser knows; --help shows them."""
    module = pytest.importorskip(f"benchmarks.{name}", exc_type=ImportError)
    shown = parser_of(KNOWN[name], module).format_help()
    assert module.__doc__.splitlines()[0] in shown
    with pytest.raises(SystemExit) as end:
        main([name, "--no-such-option"])
    assert end.value.code == 2 and capsys.readouterr().err.count("error: ") == 1


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_record_commands_parse(record):
    """The command of a record is one of its benchmark, for each of its entries."""
    module = importlib.import_module(f"benchmarks.{record.benchmark}")
    known = records.read(records.ROOT / record.file)
    for entry in known.get(record.entries, ()) if record.entries else [""]:
        words = shlex.split(record.command(entry))
        assert words[:4] == ["python", "-m", "benchmarks", record.benchmark]
        parser_of(KNOWN[record.benchmark], module).parse_args(words[4:])


def test_list_names_records(capsys):
    assert main([]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(KNOWN) < set(listed) and listed["area"].endswith("area.json")


@pytest.mark.parametrize(
    "arguments",
    [
        ["no_such"],
        ["accuracy", "--run", "no-such"],
        ["area", "--only", "spram", "--write"],
        ["evidence", "--run", "speed"],  # needs --data
        ["link", "icebreaker"],
        ["standalone", "no-such", "--data", "nowhere"],
        ["flips", "--seeds", "many"],
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


def test_entries_of_a_record(monkeypatch, tmp_path):
    """An entry keeps those that another command has written meanwhile."""
    monkeypatch.setattr(pages, "write", lambda: None)
    for name, entry in (("b", 1), ("a", 2), ("b", 3), ("old", 4)):
        pages.save_entry(tmp_path / "found.json", "runs", name, entry, ("a", "b"))
    assert records.read(tmp_path / "found.json") == {"runs": {"a": 2, "b": 3}}


def test_streams():
    pytest.importorskip("river")
    streams = importlib.import_module("benchmarks.streams")
    samples = list(itertools.islice(streams.moving(), 60))
    for name in ("equilif", "logistic regression", "MLPClassifier"):
        accuracy, _ = streams.measure(samples, streams.MODELS[name])
        assert 0.3 < accuracy <= 1


def test_flips(monkeypatch, capsys):
    """Rows of the record; no flipped bit changes nothing."""
    saved = []
    monkeypatch.setattr(flips.pages, "save", lambda *given: saved.append(given))
    monkeypatch.setattr(flips, "PART", (0.0, 0.1))
    assert main(["flips", "--seeds", "1", "--epochs", "1"]) == 0
    ((file, content),) = saved
    (whole, at_once, later), (damaged, much, _) = content["rows"]
    assert file.name == "flips.json" and (whole, damaged) == ("none", "1 in 10")
    assert at_once[0] > much[0] and len(later) == 3
