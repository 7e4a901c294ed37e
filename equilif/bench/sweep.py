"""Many networks on many engines, over worker processes: accuracy by the golden model, cycles by the RTL,
memory by the compiler.

A point trains its network on the golden kernel, then compares training and inference of some samples in
RTL with it (equilif.hardware.verify), whose cycles are counted.  Every finished point is a file of its
own, named by a hash of its parameters and of its data, and written whole or not at all: what was killed goes
on where it was, and a larger sweep keeps the points of a smaller one.  dask.distributed hands the points out.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import logging
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from equilif import results
from equilif.data import own
from equilif.data.sets.dataset import DataSet
from equilif.training.backends.phases import epoch_plan, train_epoch
from equilif.training.resolve import Request, Resolved, resolve
from equilif.training.settings.patches import CONTRAST
from equilif.training.settings.presets import PRESETS
from equilif.training.settings.tables import check_seed
from equilif.training.storage.folder import POINTS
from equilif.training.storage.records import load_json, reading, record
from equilif_golden import files
from equilif_golden.engine.compiler import Compiled, engine_for
from equilif_golden.engine.config import EngineConfig
from equilif_golden.extras import needs
from equilif_golden.fixed import Numerics, check_float, check_int
from equilif_golden.kernel import Kernel
from equilif_golden.schedule import STEPS_MAX, Schedule

with needs("sweep"):
    from distributed import Client, LocalCluster, as_completed

SCHEDULER_TIMEOUT = 10  #: seconds for a scheduler to answer
BUILDS = "builds"
TABLE = "results.csv"
RECORDS = "results.json"
INTEGER_BITS = 4  #: of a weight, sign included; a width says how many follow
WIDTHS = (8, 16)  #: least and most bits of a weight: 4 to 12 follow the integer bits
LANES = 4  #: of an engine, unless a grid says so
SETTINGS = ("epochs", "learning_rate", "decay")
PHASES = ("free", "nudged", "window", "beta", "leak")


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """A network, how it learns, and an engine, by its lanes or by its board.

    None: as the data set's preset has it.  ``data``: a name, or the path of one's own, and ``reading``:
    options of equilif.data.own.read for it.  ValueError for a value that no point can have; what only does
    not go together (a phase shorter than a window, a network too large for a board) is found when it is
    measured.
    """

    data: str = "digits"
    reading: tuple[tuple[str, str | float], ...] = ()
    hidden: tuple[int, ...] | None = None
    width: int = Numerics().weight_width  #: bits of a weight
    epochs: int | None = None
    learning_rate: float | None = None
    decay: float | None = None
    free: int | None = None
    nudged: int | None = None
    window: int | None = None
    beta: float | None = None
    leak: int | None = None
    seed: int | None = None
    lanes: int | None = None
    board: str | None = None
    samples: int = 20  #: of training, and at most as many of the test set, in RTL

    def __post_init__(self) -> None:
        own.chosen(self.data)
        known = PRESETS[self.data if self.data in PRESETS else "digits"]  # it knows the ranges
        known.changed(hidden=self.hidden, **{name: getattr(self, name) for name in SETTINGS})
        for name in PHASES:
            value = getattr(self, name)
            if value is not None:
                Schedule(**{"free": STEPS_MAX, "nudged": STEPS_MAX, "window": 1, name: value})
        check_int(self.width, "width", *WIDTHS)
        check_int(self.samples, "samples", 1, 1 << 31)
        if self.seed is not None:
            check_seed(self.seed)
        if self.lanes is not None:
            EngineConfig(lanes=self.lanes)
            if self.board is not None:
                raise ValueError(
                    f"lanes and board both choose an engine, {self.lanes} lanes and {self.board}: give one"
                )

    def key(self, digest: str) -> str:
        """Hash of the parameters, and of the data that they are measured on."""
        known = {name: value for name, value in asdict(self).items() if name != "reading" or value}
        text = json.dumps({**known, "data_digest": digest}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def data_set(self, folder: Path | None) -> DataSet:
        """The data, whatever the network."""
        return SweepPoint(data=self.data, reading=self.reading).resolved(folder).data

    def resolved(self, folder: Path | None) -> Resolved:
        """Data, network and settings; several hidden populations learn from errors, unless the board cannot,
        or phases with a nudge are asked for.  ``folder``: of the named data sets.
        """
        phases = self.nudged is not None or self.beta is not None or not self._learns_from_errors
        return resolve(
            Request(
                data=self.data,
                folder=folder if self.data in PRESETS else None,
                reading=dict(self.reading),
                hidden=self.hidden,
                changes={CONTRAST: "phases"} if phases and len(self.hidden or ()) > 1 else {},
                settings={name: getattr(self, name) for name in (*SETTINGS, *PHASES)},
            )
        )

    @property
    def _learns_from_errors(self) -> bool:
        """Whether the engine can."""
        from equilif.hardware.boards import find

        return self.board is None or find(self.board).config.errors


# -- what to do ------------------------------------------------------------------------------------
AXES: dict[str, Callable[[str], Any]] = {
    "hidden": lambda text: tuple(map(int, text.split("x"))),
    **dict.fromkeys(("learning_rate", "decay", "beta"), float),
    "data": str,
    "board": str,
    **dict.fromkeys(("width", "epochs", "free", "nudged", "window", "leak", "seed", "lanes", "samples"), int),
}


def read_grid(path: Path | None, options: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Values by axis: of a TOML file, then of options ``name=value,value``, which win.

    The file has a value or a list of them for each name; ``hidden = [64, [64, 32]]`` are two networks.
    """
    grid: dict[str, list[str]] = {}
    if path is not None:
        try:
            read = tomllib.loads(path.read_bytes().decode())
        except (ValueError, RecursionError) as e:
            raise ValueError(f"{path} is not TOML: {e}") from e
        for name, value in read.items():
            values = value if isinstance(value, list) else [value]
            grid[name] = ["x".join(map(str, v)) if isinstance(v, list) else str(v) for v in values]
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"--grid takes name=value,value, not {option!r}")
        grid[name] = value.split(",")
    out: dict[str, list[Any]] = {}
    for name, values in grid.items():
        if name not in AXES:
            raise ValueError(f"an axis must be one of {', '.join(sorted(AXES))}, not {name!r}")
        if not values:
            raise ValueError(f"axis {name} has no values")
        try:
            out[name] = [AXES[name](v) for v in values]
        except ValueError:
            raise ValueError(f"axis {name} cannot have the values {', '.join(values)}") from None
    return out


def points(grid: Mapping[str, Sequence[Any]], reading: Mapping[str, Any] | None = None) -> list[SweepPoint]:
    """All combinations; numbers of lanes and boards are one axis, that of engines.

    ``reading``: options of equilif.data.own.read for data of one's own, which must be among them then.
    """
    options = tuple(sorted((name, _plain(value)) for name, value in (reading or {}).items()))
    paths = {str(data) for data in grid.get("data", ()) if data not in PRESETS}
    if options and not paths:
        flags = ", ".join(f"--{name}".replace("_", "-") for name, _ in options)
        raise ValueError(f"{flags} is only for your own data, the grid has none: --grid data=PATH")
    axes = {k: v for k, v in grid.items() if k not in ("lanes", "board")}
    if grid.get("board"):
        from equilif.hardware.boards import find

        for name in grid["board"]:
            find(name)
    engines = [{"lanes": n} for n in grid.get("lanes", ())] + [
        {"board": b} for b in grid.get("board", ())
    ] or [{"lanes": LANES}]
    named = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    found = (
        SweepPoint(**values, **engine, reading=options if values.get("data") in paths else ())
        for values in named
        for engine in engines
    )
    return list(dict.fromkeys(found))


def _plain(value: Any) -> str | float:
    """An option as JSON has it."""
    return str(value) if isinstance(value, Path) else value


# -- one point -------------------------------------------------------------------------------------
def measure(point: SweepPoint, folder: Path | None, digest: str) -> dict[str, Any]:
    """Results of a point on the data of a digest; ``error`` if it failed."""
    start = time.time()
    try:
        found = _measure(point, folder, digest)
    except Exception as e:  # whatever it is: the other points go on
        found = {"error": f"{type(e).__name__}: {e}"}
    return {**found, "started": start, "seconds": time.time() - start, "machine": results.machine()}


def _measure(point: SweepPoint, folder: Path | None, digest: str) -> dict[str, Any]:
    from equilif.hardware.verify import VerificationPlan, compare

    found = point.resolved(folder)
    data = found.data
    if data.digest != digest:  # a worker may run on another machine
        raise ValueError(
            f"the worker's {data.name} has digest {data.digest[:12]}, the sweep is of digest {digest[:12]}"
        )
    preset = found.description
    seed = preset.seeds[0] if point.seed is None else point.seed
    net = found.network
    if point.width != net.numerics.weight_width:
        if net.attention_layers:
            raise ValueError("a network with attention layers has the weight width of its tokens")
        numerics = Numerics(weight_width=point.width, fraction=point.width - INTEGER_BITS)
        net = dataclasses.replace(net, numerics=numerics)
    if point.board is not None:
        from equilif.hardware.boards import find

        config = find(point.board).config
    else:
        config = engine_for(net, lanes=LANES if point.lanes is None else point.lanes)
    # what does not fit, or learns nothing, is known before it is trained
    placed = Compiled(net, config)
    preset.check_rates(net)
    # a worker is one core's
    kernel = Kernel(net, preset.initial_weights(net, seed, data), learning_rate=preset.rate(0), threads=1)
    for epoch in range(preset.epochs):
        for _ in train_epoch(kernel, data, epoch_plan(preset, data, seed, epoch)):
            pass
    first = epoch_plan(preset, data, seed, 0)
    shown = first._replace(learning_rate=preset.rate(preset.epochs - 1), order=first.order[: point.samples])
    plan = VerificationPlan([shown], point.samples)
    report = compare(net, kernel.weights, config, data, plan, counter=kernel.counter)
    if report.mismatch is not None:
        raise report.mismatch
    return {
        "accuracy": kernel.accuracy(data.x_test, data.y_test, tokens=data.tokens_test),
        "training": report.training.per_sample(),
        "inference": report.inference.per_sample(),
        "compared": report.compared.total,
        "weights": net.n_weights,
        "tiles": placed.n_tiles,
        "weight_bits": placed.n_tiles * config.lanes**2 * net.numerics.weight_width,
        "lanes": config.lanes,
        "sizes": "-".join(map(str, (data.n_features or "tokens", *preset.hidden, net.n_outputs))),
        "phases": f"{net.schedule.free}"
        if net.schedule.errors
        else f"{net.schedule.free}/{net.schedule.nudged}",
    }


# -- all of them -----------------------------------------------------------------------------------
@contextmanager
def cluster(workers: int, scheduler: str | None = None) -> Iterator[Client]:
    """A client of the cluster at ``scheduler``, or of one on this machine for as long as it is needed."""
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=SCHEDULER_TIMEOUT)
        except (OSError, ValueError) as e:
            raise ValueError(f"no Dask scheduler answers at {scheduler}: {e}") from e
        with client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as local,
        Client(local) as client,
    ):
        yield client


@dataclass(frozen=True)
class SweepProgress:
    """Number of points and builds done."""

    done: int
    total: int
    failed: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class MeanCost:
    """Mean cost of a training or inference sample in RTL."""

    samples: int
    cycles: float
    ideal: float  #: words of weights that it touches
    spikes: float
    free_steps: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PointResult:
    """Content of a point's file that says what was found."""

    point: Mapping[str, Any]
    accuracy: float
    training: MeanCost
    inference: MeanCost
    compared: int
    weights: int
    tiles: int
    weight_bits: int
    lanes: int
    sizes: str
    phases: str
    started: float
    seconds: float
    machine: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_float(self.accuracy, "accuracy", 0, 1)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Content of a point's file that says why nothing was found."""

    point: Mapping[str, Any]
    error: str
    started: float = 0.0
    seconds: float = 0.0
    machine: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_point(path: Path) -> PointResult | Failed:
    """A point's file; ValueError names it, and the key that is something else."""
    with reading(path, "a point of a sweep"):
        raw = load_json(path)
        if isinstance(raw, Mapping) and "error" in raw:
            return record(Failed, raw)
        return record(PointResult, raw)


class Sweep:
    """Points, and the folder in which they are kept.

    ``folder``: of the data sets, which are read for their digests.
    """

    def __init__(self, selection: Sequence[SweepPoint], out: Path, folder: Path | None = None):
        self.points = list(selection)
        self.out = out
        self.folder = folder and folder.resolve()
        self.digests = {p.data: p.data_set(folder).digest for p in {p.data: p for p in selection}.values()}
        self.records: dict[SweepPoint, PointResult | Failed] = {
            p: read_point(self.path(p)) for p in self.points if self.path(p).exists()
        }

    def key(self, point: SweepPoint) -> str:
        return point.key(self.digests[point.data])

    def path(self, point: SweepPoint) -> Path:
        return self.out / POINTS / f"{self.key(point)}.json"

    def left(self, *, retry: bool = False) -> list[SweepPoint]:
        """Points that have no record, or with ``retry`` one of a failure."""
        known = PointResult if retry else PointResult | Failed
        return [p for p in self.points if not isinstance(self.records.get(p), known)]

    @property
    def failed(self) -> list[tuple[SweepPoint, str]]:
        records = [(p, self.records.get(p)) for p in self.points]
        return [(p, r.error) for p, r in records if isinstance(r, Failed)]

    def run(
        self,
        client: Client,
        *,
        retry: bool = False,
        builds: Sequence[str] = (),
        progress: Callable[[SweepProgress], None] = lambda p: None,
    ) -> None:
        """Run the remaining points and the bitstreams of ``builds``; write each result at once."""
        now = time.time_ns()
        jobs: dict[Any, SweepPoint | str] = {}
        for p in self.left(retry=retry):
            digest = self.digests[p.data]
            jobs[client.submit(measure, p, self.folder, digest, key=f"{self.key(p)}-{now}", pure=False)] = p
        for name in builds:
            jobs[client.submit(built, name, key=f"build-{name}-{now}", pure=False)] = name
        done = 0
        failed = 0
        progress(SweepProgress(0, len(jobs), 0))
        for job in as_completed(list(jobs)):
            what = jobs[job]
            # a worker that died, for want of memory or with its machine, has taken no other point with it
            found = (
                job.result()
                if job.status == "finished"
                else {"error": f"{type(job.exception()).__name__}: {job.exception()}"}
            )
            if isinstance(what, SweepPoint):
                results.write_json(self.path(what), {"point": asdict(what), **found})
                self.records[what] = read_point(self.path(what))
            elif "error" in found:
                raise results.ToolFailed(f"building {what}: {found['error']}")
            else:
                results.write_json(self.out / BUILDS / f"{what}.json", found)
            done += 1
            failed += "error" in found
            progress(SweepProgress(done, len(jobs), failed))

    # -- what came of it ---------------------------------------------------------------------------
    def rows(self, builds: Path = Path("build")) -> list[dict[str, Any]]:
        """A flat record for each finished point, in the order of the points; microseconds where the board's
        f_max is known.
        """
        clock = {
            name: f_max(name, [self.out / BUILDS, builds])
            for name in {p.board for p in self.points if p.board}
        }
        out = []
        for p in self.points:
            r = self.records.get(p)
            if not isinstance(r, PointResult):
                continue
            mhz = clock.get(p.board) if p.board else None
            row = {
                "engine": p.board or f"{p.lanes} lanes",
                "network": r.sizes,
                "phases": r.phases,
                "width": p.width,
                "accuracy": r.accuracy,
                "training cycles": r.training.cycles,
                "inference cycles": r.inference.cycles,
                "ideal training": r.training.ideal,
                "spikes": r.training.spikes,
                "weights": r.weights,
                "tiles": r.tiles,
                "weight_bits": r.weight_bits,
                "f_max": mhz,
                "training_us": r.training.cycles / mhz if mhz else None,
            }
            others = {k: v for k, v in asdict(p).items() if k not in row and k != "reading"}
            out.append({**others, **row, "key": self.key(p), "seconds": r.seconds})
        return out

    def write(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """The table as CSV and as JSON."""
        text = io.StringIO()
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        files.write(self.out / TABLE, text.getvalue().encode())
        results.write_json(
            self.out / RECORDS,
            {"points": rows, "failed": [{"point": asdict(p), "error": e} for p, e in self.failed]},
        )
        return [TABLE, RECORDS]


def pareto(cost: Sequence[float], accuracy: Sequence[float]) -> list[int]:
    """Indices of the points that none beats in both, cheapest first."""
    front: list[int] = []
    for k in sorted(range(len(cost)), key=lambda k: (cost[k], -accuracy[k])):
        if not front or accuracy[k] > accuracy[front[-1]]:
            front.append(k)
    return front


def front(rows: Sequence[Mapping[str, Any]], cost: str) -> list[int]:
    """:func:`pareto` of those rows that have a cost."""
    known = [k for k, r in enumerate(rows) if r[cost] is not None]
    return [known[k] for k in pareto([rows[k][cost] for k in known], [rows[k]["accuracy"] for k in known])]


# -- boards ----------------------------------------------------------------------------------------
#: what reading a file leads to that is something else
NO_MANIFEST = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def built(name: str) -> dict[str, Any]:
    """Manifest of a board's bitstream, built here and now; ``error`` when it cannot be."""
    try:
        from equilif.hardware.boards import find
        from equilif_boards.build import build

        with tempfile.TemporaryDirectory() as folder:
            manifest: dict[str, Any] = json.loads(build(find(name), Path(folder)).manifest.read_text())
            return manifest
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}


def f_max(name: str, folders: Sequence[Path]) -> float | None:
    """MHz of a saved build of the board as it is now, from manifests in ``folders`` or one below; the best
    of several.
    """
    from equilif.hardware.boards import find

    config = find(name).config
    found: list[float] = []
    for path in (p for folder in folders for p in (*folder.glob("*.json"), *folder.glob("*/manifest.json"))):
        with suppress(*NO_MANIFEST):
            manifest = load_json(path)
            if manifest["board"]["name"] == name and EngineConfig.from_dict(manifest["config"]) == config:
                found.append(check_float(manifest["timing"]["f_max"], "f_max", 0, 1e6))
    return max(found, default=None)
