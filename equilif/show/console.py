"""What the commands print: one look of progress bars and tables for all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from equilif.bench.cycles import Cycles
    from equilif.bench.engines import Row as Engine
    from equilif.bench.race import Pace
    from equilif.data.images import DataSet
    from equilif.data.making import Found
    from equilif.hardware.anatomy import Anatomy, Joined, Neurons
    from equilif.hardware.verify import Plan, Report
    from equilif.training.attention import Attention
    from equilif.training.deploy import Deployment
    from equilif.training.evaluate import Evaluation
    from equilif.training.neighbours import Neighbours
    from equilif.training.rates import RateTraining
    from equilif.training.recall import Recall
    from equilif.training.sweep import Sweep
    from equilif.training.tensorboard import Board
    from equilif.training.train import EpochRecord, Training
    from equilif_golden.engine.config import EngineConfig
    from equilif_golden.network import Network, Weights
    from equilif_golden.schedule import Schedule

YES = "[green]✓[/]"
NO = "[red]✗[/]"
ROOM = 60  #: columns of a terminal that has room for a bar


class Screen(Console):
    """The terminal, or the file or pipe in its place; nothing that is printed is cut.

    A terminal wraps text at its width.  Into a file or a pipe every line is as long as it is.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **{"soft_wrap": not self.is_terminal, "crop": False, **options})

    def on_broken_pipe(self) -> None:
        """The error goes on, to where all errors are told."""
        raise


console = Screen(highlight=False)


class Numbers(Table):
    """A table that keeps all of its digits: where the terminal is too narrow for it, its lines run over."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = self.__rich_measure__(console, options.update(width=sys.maxsize)).maximum
        yield from super().__rich_console__(console, options.update(width=max(needed, options.max_width)))


def fail(message: str) -> None:
    """One line on stderr: line ends are folded."""
    line = _visible("; ".join(part.strip() for part in message.splitlines() if part.strip()))
    Screen(stderr=True, highlight=False).print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def literal(value: object) -> str:
    """Text of a user, such as the name of a file, inside of markup: printed as it is, brackets and all."""
    return escape(_visible(str(value)))


def _visible(text: str) -> str:
    """The text, what a terminal would act on written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def mark(right: bool) -> Text:
    """A cell that says yes or no."""
    return Text.from_markup(YES if right else NO)


def bar() -> Progress:
    """A progress bar whose tasks carry a ``note``; where there is no room for it, numbers or nothing."""
    drawn = [BarColumn(bar_width=30)] if console.width >= ROOM else []
    return Progress(
        TextColumn("{task.description}"),
        *drawn,
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[note]}[/]"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not console.is_terminal or console.width < ROOM // 2,
    )


@contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar of so many samples; it is told how many are done."""
    with bar() as progress:
        task = progress.add_task(what, total=total, note="")
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def stages(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar of so many stages; it is told the name of each that begins."""
    with bar() as progress:
        task = progress.add_task(what, total=total, note="")
        begun = count()
        yield lambda name: progress.update(task, completed=next(begun), note=name)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Iterable[str | Text]], *, left: int = 1
) -> Table:
    """Rows of text, printed as it is; colour is in a :class:`rich.text.Text`.

    ``left``: number of columns, from the first, that are text; the others are numbers.  Text alone wraps,
    beside numbers it does not.
    """
    kind = Table if left >= len(columns) else Numbers
    t = kind(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for k, column in enumerate(columns):
        t.add_column(
            Text(column), justify="left" if k < left else "right", no_wrap=kind is Numbers, overflow="fold"
        )
    for row in rows:
        t.add_row(*(Text(_visible(cell)) if isinstance(cell, str) else cell for cell in row))
    return t


def _plots(what: str) -> ModuleType | None:
    """What draws, where matplotlib is installed: a run shall not fail for want of a picture."""
    from equilif.extras import MissingExtra

    try:
        from equilif.show import plots
    except MissingExtra as e:
        console.print(f"[yellow]no {what}: {literal(e)}[/]")
        return None
    return plots


# -- training --------------------------------------------------------------------------------------
def describe(run: Training, *others: Training) -> None:
    """A run, or several that differ in their seeds."""
    d = run.data
    seeds = ", ".join(str(r.seed) for r in (run, *others))
    console.print(
        f"[bold]{literal(d.name)}[/] {run.sizes}, {len(d.x_train):,} training and {len(d.x_test):,} test "
        f"samples, seed{'s' * bool(others)} {seeds}; {run.network.schedule}"
    )


def train(run: Training, out: Path, *, every: float = 30.0, board: Board | None = None) -> None:
    """What is left, saved every so many seconds and after each epoch; ``board``: TensorBoard's."""
    from equilif.training.train import Progress as Done

    with console.status("compiling the kernel (only the first time takes long)"):
        run.learner.train(
            run.data.x_train, run.data.y_train, run.data.y_train[:0], tokens=run.data.tokens_train
        )
    if run.history or run.marks:
        within = f", {run.marks[-1].samples:,} samples into the next" if run.marks else ""
        console.print(f"resuming after epoch {len(run.history)}{within}")
    n = len(run.data.x_train)
    epochs = run.preset.epochs
    with bar() as progress:
        task = progress.add_task("", total=n * epochs, completed=n * len(run.history), note="")

        def show(p: Done) -> None:
            note = f"running {p.accuracy:.1%}, {p.samples_per_second:,.0f} samples/s"
            done = n * len(run.history) + p.samples
            progress.update(task, completed=done, note="test samples" if p.samples == n else note)

        while not run.done:
            progress.update(task, description=f"epoch {len(run.history) + 1:2}/{epochs}")
            record = run.epoch(show, folder=out, every=every)
            if board:
                board.epoch(record, run.network, run.weights)
            _epoch(record, run.network.schedule)


def train_together(runs: Mapping[Path, Training], *, every: float, boards: Mapping[Path, Board]) -> None:
    """The same of several runs side by side: a bar for each that is under way, a line for each that is done.

    ``boards``: TensorBoard's, by folder; empty: none.
    """
    from equilif.training import together
    from equilif.training.train import EpochRecord as Record
    from equilif.training.train import Progress as Done

    first = next(iter(runs.values()))
    with console.status("compiling the kernel (only the first time takes long)"):
        first.learner.train(
            first.data.x_train, first.data.y_train, first.data.y_train[:0], tokens=first.data.tokens_train
        )
    n = len(first.data.x_train)
    folders = {run.seed: folder for folder, run in runs.items()}
    with bar() as progress:
        tasks = {
            run.seed: progress.add_task("", total=n * run.preset.epochs, note="", visible=False, start=False)
            for run in runs.values()
        }

        def show(run: Training, p: Done) -> None:
            task = tasks[run.seed]
            progress.start_task(task)
            progress.update(
                task,
                visible=True,
                description=f"seed {run.seed}, epoch {len(run.history) + 1:2}/{run.preset.epochs}",
                completed=n * len(run.history) + p.samples,
                note=f"running {p.accuracy:.1%}, {p.samples_per_second:,.0f} samples/s",
            )

        def epoch(run: Training, record: Record) -> None:
            if board := boards.get(folders[run.seed]):
                board.epoch(record, run.network, run.weights)

        def done(folder: Path, run: Training) -> None:
            progress.update(tasks[run.seed], visible=False)
            last = run.history[-1]
            console.print(
                f"seed {run.seed}  {len(run.history)} epochs  running {last.train_accuracy:6.2%}  test "
                f"[bold]{last.test_accuracy:6.2%}[/]  {last.spikes_per_sample:5,.0f} spikes  "
                f"{last.samples_per_second:,.0f} samples/s  {literal(folder)}",
                soft_wrap=True,
            )

        together.train(runs, every=every, progress=show, epoch=epoch, done=done)


def _epoch(record: EpochRecord, schedule: Schedule) -> None:
    """The line of an epoch."""
    steps = (
        f"{record.steps_per_sample:4.1f} free steps  "
        if record.steps_per_sample and not schedule.fixed
        else ""
    )
    console.print(
        f"epoch {record.epoch:2}  eta {record.eta:.4f}  running {record.train_accuracy:6.2%}  test "
        f"[bold]{record.test_accuracy:6.2%}[/]  {record.spikes_per_sample:5,.0f} spikes  {steps}"
        f"{record.samples_per_second:,.0f} samples/s",
        soft_wrap=True,
    )


def train_rates(run: RateTraining, out: Path, board: Board | None = None) -> list[str]:
    """What is left, saved after each epoch; names of the files.  ``board``: TensorBoard's."""
    s = run.settings
    processes = f"{run.distributed.world} process{'es' * (run.distributed.world > 1)}"
    console.print(
        f"[bold]{s.data}[/] {run.sizes}{'' if s.feedback else ', feed-forward'}, "
        f"{len(run.data.x_test):,} test samples, batch {s.batch}, seed {s.seed}; "
        f"{processes} on {run.trainer.device}"
    )
    if run.history:
        console.print(f"resuming after epoch {len(run.history)}")
    files = run.save(out)
    n = len(s.order(run.data, 0))
    with bar() as progress:
        task = progress.add_task("", total=n * s.epochs, completed=n * len(run.history), note="")

        def step(samples: int, loss: float) -> None:
            done = n * len(run.history) + samples
            note = "test samples" if samples >= n else f"loss {loss:.4f}"
            progress.update(task, completed=done, note=note)

        while not run.done:
            progress.update(task, description=f"epoch {len(run.history) + 1:2}/{s.epochs}")
            r = run.epoch(step)
            files = run.save(out)
            if board:
                board.epoch(r, *run.deployed)
            console.print(
                f"epoch {r.epoch:2}  lr {r.lr:.5f}  loss {r.loss:.4f}  running {r.train_accuracy:6.2%}  "
                f"test [bold]{r.test_accuracy:6.2%}[/]  {r.there:4.1f} and {r.back:4.1f} sweeps, "
                f"{r.settled:.2%} settled  {r.samples_per_second:,.0f} samples/s",
                soft_wrap=True,
            )
    return files if run.distributed.rank else [*files, *learning_curve(run, out)]


def deployment(found: Deployment, title: str, out: Path) -> list[str]:
    """Tables, and the picture where matplotlib is installed."""
    rows = [
        ["real numbers", f"{found.real:.2%}", "", ""],
        ["fixed-point weights, exact rates", f"{found.rates:.2%}", f"{found.parted:,}", ""],
    ]
    rows += [
        [f"spikes, {s.steps} steps", f"{s.accuracy:.2%}", f"{s.parted:,}", f"{s.spikes_per_sample:,.0f}"]
        for s in found.spiking
    ]
    console.print(
        table(f"{title}, {found.samples:,} test samples", ["", "right", "part", "spikes a sample"], rows)
    )
    console.print(
        table(
            "\nquantisation, in thresholds",
            ["synapse", "weights", "largest", "step", "largest error", "rms error", "saturated"],
            [
                [
                    q.synapse,
                    f"{q.weights:,}",
                    f"{q.largest:.3f}",
                    f"{q.step:.2g}",
                    f"{q.error:.2g}",
                    f"{q.rms:.2g}",
                    f"{q.saturated:,}",
                ]
                for q in found.quantisation
            ],
        )
    )
    console.print(
        "[dim]part: predictions that differ, of the rates from the real numbers', of the spikes from the "
        "rates'[/]"
    )
    if c := found.convergence:
        console.print(
            f"\naverage rates of {c.samples} samples: error ~ T^[bold]{c.slope:.3f}[/] without a leak, "
            f"{c.errors[0][0]:.1e} at T = {c.times[0]} to {c.errors[0][-1]:.1e} at {c.times[-1]:,}; "
            "floor with a leak "
            + ", ".join(f"of 1/{1 << leak}: {e:.4f}" for leak, e in sorted(c.floors.items()))
        )
    if g := found.gradients:
        console.print(
            f"gradient of {g['samples']} training samples: cosine of implicit differentiation with "
            f"{g['steps']} unrolled sweeps {_number(g['all']['unrolled'])}, with EP at beta {g['beta']:g} "
            f"{_number(g['all']['ep'])} ({_number(g['ep_all'])} with the {g['crossed']} samples where the "
            f"nudge crosses an edge of the clip; {g['elsewhere']} settle elsewhere)"
        )
    plots = _plots("picture")
    if plots is None:
        return []
    plots.deployment(found, title, out / plots.DEPLOYMENT)
    return [plots.DEPLOYMENT]


def _number(cosine: float | None) -> str:
    return "-" if cosine is None else f"{cosine:.6f}"


def learning_curve(run: Training | RateTraining, out: Path) -> list[str]:
    """Its file, where matplotlib is installed."""
    plots = _plots("learning curve")
    if plots is None:
        return []
    plots.learning_curve(run.history, f"{run.data.name}, {run.sizes}", out / plots.CURVE)
    return [plots.CURVE]


# -- networks --------------------------------------------------------------------------------------
BY_DATA = "by the data"


def network(found: Anatomy) -> None:
    """Populations, synapses, steps and memory of a network, and what the boards say to it."""
    bits = found.sketch.numerics.weight_width
    console.print(
        table(
            found.name,
            ["population", "kind", "neurons", "each hears"],
            [
                [
                    p.name,
                    _kind(p),
                    _count(p.size),
                    _count(p.heard) if p.kind not in ("input", "constant") else "-",
                ]
                for p in found.populations
            ],
            left=2,
        )
    )
    console.print(
        table(
            "\nsynapses",
            ["from", "to", "rows", "columns", "weights", "learns at"],
            [
                [s.pre, _to(s), _count(s.rows), _count(s.columns), _count(s.weights), _rate(s)]
                for s in found.synapses
            ],
            left=2,
        )
    )
    console.print(
        f"\n{found.schedule}; {found.steps['inference']} steps to run, {found.steps['training']} to learn"
    )
    if found.weights is None or found.bits is None:
        left = ", ".join(found.sketch.open)
        console.print(f"[yellow]sizes of {literal(left)} are left to the data: name them to see the rest[/]")
        return
    console.print(
        f"memory: {found.weights:,} weights of {bits} bits, {found.bits / 8192:,.1f} KiB; tiles "
        + ", ".join(f"{n:,} of {lanes}x{lanes}" for lanes, n in found.tiles().items())
    )
    if found.with_the_host:
        console.print(
            f"{found.with_the_host:,} of these weights are the table of tokens: it stays with the host"
        )
    for fit in found.fits or ():
        said = (
            f"{NO} {fit.board}: {literal(fit.short)}"
            if fit.short
            else f"{YES} {fit.board}: {fit.tiles:,} of {fit.has_tiles:,} tiles"
        )
        console.print(said, soft_wrap=True)


def _kind(p: Neurons) -> str:
    """What a population is."""
    if p.shape is not None:
        return f"{p.kind}, {'x'.join(map(str, p.shape))}"
    return p.kind if p.heads is None else f"{p.kind}, {p.heads} heads"


def _to(s: Joined) -> str:
    """Where a synapse leads, and through which kernel."""
    if s.kernel is None:
        return s.post if s.shared == 1 else f"{s.post}, shared"
    stride = f" in steps of {s.stride}" if s.stride > 1 else ""
    return f"{s.post}, {s.kernel}x{s.kernel}{stride}"


def _count(n: int | None) -> str:
    return BY_DATA if n is None else f"{n:,}"


def _rate(s: Joined) -> str:
    if not s.feedback:
        return "no, one way"
    if s.loaded and not s.table:
        return "no, tokens"
    if not s.learns:
        return "no"
    return "eta" if s.rate == 1 else f"{s.rate:g} eta"


# -- own data --------------------------------------------------------------------------------------
def samples(found: Found, out: Path) -> list[str]:
    """A picture of some samples, where matplotlib is installed; nothing for texts."""
    if found.about.encoding.kind == "texts":
        console.print("[yellow]no picture: texts are not drawn[/]")
        return []
    plots = _plots("picture")
    if plots is None:
        return []
    plots.samples(found, out / plots.SAMPLES)
    console.print(f"saved {plots.SAMPLES} in {literal(out)}")
    return [plots.SAMPLES]


# -- evaluation ------------------------------------------------------------------------------------
def confusion(found: Evaluation) -> Table:
    names = found.names or tuple(map(str, range(len(found.confusion))))
    rows: list[list[str | Text]] = []
    for true, counts in enumerate(found.confusion):
        cells = [
            Text(str(n), "green") if k == true else Text(str(n), "red") if n else Text("·", "dim")
            for k, n in enumerate(counts)
        ]
        rows.append([names[true], *cells, f"{counts[true] / max(1, counts.sum()):.1%}"])
    return table("true class (rows), predicted class (columns)", ["", *names, "right"], rows)


# -- recall ----------------------------------------------------------------------------------------
def recall(found: Recall, out: Path) -> list[str]:
    """Its picture, where matplotlib is installed."""
    plots = _plots("picture")
    if plots is None:
        return []
    plots.recall(found, out / plots.RECALL)
    return [plots.RECALL]


# -- attention -------------------------------------------------------------------------------------
def attention(samples: Sequence[Attention], title: str, out: Path) -> list[str]:
    """Texts with the words that are looked at brought out, and the picture, where matplotlib is installed."""
    for a in samples:
        text = Text()
        for word, share in zip(a.words, a.share, strict=True):
            text.append(
                word, "bold reverse" if share >= 4 else "bold" if share >= 2 else "" if share >= 1 else "dim"
            )
            text.append(" ")
        colour = "green" if a.prediction == a.label else "red"
        console.print(f"\nsample {a.index}, class {a.label}, predicted [{colour}]{a.prediction}[/]")
        console.print(text)
    console.print(
        "\n[dim]less than an even share[/]  an even share or more  [bold]twice that[/]  "
        "[bold reverse]four times[/]"
    )
    plots = _plots("picture")
    if plots is None:
        return []
    plots.attention(samples, title, out / plots.ATTENTION)
    return [plots.ATTENTION]


def neighbours(found: Sequence[Neighbours], title: str, out: Path) -> list[str]:
    """The nearest words before and after learning, and the picture, where matplotlib is installed."""
    columns = ("word", "nearest before learning", "nearest after learning", "cosine of the two")
    rows = (
        (
            one.word,
            ", ".join(one.before),
            ", ".join(one.after),
            "" if one.cosine is None else f"{one.cosine:.2f}",
        )
        for one in found
    )
    console.print(table(title, columns, rows, left=len(columns)))
    plots = _plots("picture")
    if plots is None:
        return []
    plots.neighbours(found, title, out / plots.NEIGHBOURS)
    return [plots.NEIGHBOURS]


# -- RTL -------------------------------------------------------------------------------------------
def compare(
    what: str,
    network: Network,
    weights: Weights,
    config: EngineConfig,
    data: DataSet,
    plan: Plan,
    waves: Path | None = None,
) -> Report:
    from equilif.hardware import verify

    with bar() as progress:
        task = progress.add_task(what, total=plan.samples, note="compiling the engine")

        def show(done: int, report: Report) -> None:
            progress.update(task, completed=done, note=f"{report.compared.total:,} numbers equal")

        return verify.compare(network, weights, config, data, plan, waves=waves, progress=show)


def verdict(report: Report) -> None:
    c = report.compared
    kinds = (("training", report.training.samples), ("test", report.inference.samples))
    samples = " and ".join(f"{n:,} {kind}" for kind, n in kinds if n)
    equal = (
        f"{c.predictions:,} predictions, {c.spike_counts:,} spike counts, {c.rates:,} rates and "
        f"{c.weights:,} weight words ({samples} samples)"
    )
    if report.mismatch:
        console.print(f"{NO} [bold]{literal(report.mismatch)}[/]\n  equal until then: {equal}")
    else:
        console.print(f"{YES} 0 mismatches in {equal}")


def costs(report: Report) -> None:
    kinds = [
        (name, cost.per_sample())
        for name, cost in (("training", report.training), ("inference", report.inference))
        if cost.samples
    ]
    console.print(
        table(
            f"RTL with {report.config.lanes} lanes, per sample",
            ["", "cycles", "ideal", "cycles / ideal", "spikes", "free steps"],
            [
                [
                    name,
                    f"{s['cycles']:,.0f}",
                    f"{s['ideal']:,.0f}",
                    f"{s['cycles'] / s['ideal']:.2f}" if s["ideal"] else "-",
                    f"{s['spikes']:,.0f}",
                    f"{s['free_steps']:.1f}",
                ]
                for name, s in kinds
            ],
        )
    )
    console.print(
        f"[dim]ideal: words of {report.config.lanes} weights that the sample touches, one a cycle[/]"
    )


# -- sweeps ----------------------------------------------------------------------------------------
def sweep(run: Sweep, rows: Sequence[Mapping[str, Any]], cost: str) -> list[str]:
    """Table, failures and the plot, where matplotlib is installed; the files written."""
    from equilif.training import sweep as module

    best = module.front(rows, cost)
    columns = [
        "engine",
        "network",
        *(["phases"] if len({r["phases"] for r in rows}) > 1 else []),
        *(["width"] if len({r["width"] for r in rows}) > 1 else []),
    ]
    clocked = any(r["f_max"] for r in rows)
    console.print(
        table(
            "* not beaten in accuracy and " + cost.replace("_us", " time"),
            [
                "",
                *columns,
                "accuracy",
                "training",
                "inference",
                "tiles",
                "Kbit",
                *(["f_max", "us"] if clocked else []),
            ],
            [
                [
                    "*" if k in best else "",
                    *(str(r[c]) for c in columns),
                    f"{r['accuracy']:.2%}",
                    f"{r['training cycles']:,.0f}",
                    f"{r['inference cycles']:,.0f}",
                    f"{r['tiles']:,}",
                    f"{r['weight_bits'] / 1024:,.0f}",
                    *(
                        [
                            f"{r['f_max']:.1f}" if r["f_max"] else "",
                            f"{r['training_us']:,.0f}" if r["f_max"] else "",
                        ]
                        if clocked
                        else []
                    ),
                ]
                for k, r in enumerate(rows)
            ],
            left=1 + len(columns),
        )
    )
    for point, error in run.failed:
        given = ", ".join(f"{k} {v}" for k, v in vars(point).items() if v is not None)
        console.print(f"{NO} {literal(given)}: {literal(error)}", soft_wrap=True)
    files = run.write(rows)
    plots = _plots("plot") if best else None
    if plots is not None:
        plots.pareto(
            [r for r in rows if r[cost] is not None],
            lambda some: module.front(some, cost),
            cost,
            f"{', '.join(dict.fromkeys(r['data'] for r in rows))}, {len(rows)} points",
            run.out / plots.PARETO,
        )
        files.append(plots.PARETO)
    console.print(f"wrote {', '.join(files)} in {literal(run.out)}")
    return files


# -- bitstreams ------------------------------------------------------------------------------------
def bitstream(found: Mapping[str, Any]) -> None:
    """What equilif_boards.build says of a build, as a dict; ``samples_per_second`` where measured cycles are
    known.
    """
    # nextpnr counts cells of its own, too, of which a device has none
    rows = [
        [name, f"{u['used']:,}", f"{u['available']:,}", f"{u['used'] / u['available']:.0%}"]
        for name, u in found["utilisation"].items()
        if u["available"]
    ]
    console.print(table(found["board"]["title"], ["", "used", "available", ""], rows))
    t = found["timing"]
    console.print(
        f"f_max [bold]{t['f_max']:.2f} MHz[/], clock {t['constraint']:g} MHz, seed {found['seed']}, "
        f"build id {found['build_id']}"
    )
    console.print(f"{found['weights']:,} weights in {found['config']['lanes']} lanes")
    for kind, rate in found.get("samples_per_second", {}).items():
        console.print(
            f"{found['network']}, {kind}: {rate['engine']:,.0f} samples/s, "
            f"through the link {rate['both']:,.0f}"
        )


def boards(rows: Sequence[Mapping[str, Any]], network: str | None) -> None:
    """What equilif.hardware.boards.report says."""
    built = ["board", "about $", "lanes", "weights", "memories", "logic", "f_max", "MHz"]
    console.print(table("boards, as built", built, map(_as_built, rows)))
    measured = [r for r in rows if "build" in r]
    if measured:
        engine = ["board", "network", "cycles", "training", "inference"]
        speeds = [*engine, "link", "training", "inference", "alone"]
        console.print(table("\nMNIST, samples a second", speeds, map(_speed, measured), left=2))
        console.print(
            "[dim]cycles of a training sample, measured in RTL; the engine at its clock, then through the "
            "link at its rate; alone: training from its flash, with a player (build --alone)[/]"
        )
    console.print("\n[bold]ways to a host (build --link)[/]")
    name = max(len(r["board"]) for r in rows)
    for r in rows:
        for n, link in enumerate(r["links"]):
            board = "" if n else r["board"]
            console.print(
                literal(f"{board:{name}}  {link['kind']:4}  {link['rate']:11}  {link['place']}"),
                soft_wrap=True,
            )
    for r in rows if network else ():
        console.print(
            f"{NO} {r['board']}: {literal(r['short'])}"
            if r["short"]
            else f"{YES} {r['board']} holds {literal(network)}",
            soft_wrap=True,
        )


def _as_built(row: Mapping[str, Any]) -> list[str]:
    """Cells of a board: its engine, and what the build came to."""
    logic = row.get("logic")
    return [
        row["board"],
        f"{row['cost_usd']}",
        f"{row['lanes']}",
        f"{row['weights']:,}",
        "yes" if row["softmax"] else "no",
        f"{logic['used'] / logic['available']:.0%}" if logic else "-",
        f"{row['build']['f_max']:.1f}" if logic else "not built",
        f"{row['clock_hz'] / 1e6:g}",
    ]


def _speed(row: Mapping[str, Any]) -> list[str]:
    """Cells of a board: cycles, and samples a second of the engine, through the link, and alone."""
    speed = row["samples_per_second"]
    return [
        row["board"],
        row["network"],
        f"{row['cycles']['training']:,.0f}",
        f"{speed['training']['engine']:,.0f}",
        f"{speed['inference']['engine']:,.0f}",
        row["link"],
        f"{speed['training']['both']:,.0f}",
        f"{speed['inference']['both']:,.0f}",
        f"{speed['training']['alone']:,.0f}" if "alone" in speed["training"] else "-",
    ]


# -- benchmark -------------------------------------------------------------------------------------
def race(found: Mapping[str, Mapping[str, Pace]], target: float) -> None:
    """Learners on data sets, and how many times faster the golden model is."""
    rows = []
    for data, paces in found.items():
        for name, p in paces.items():
            reached = "not in time" if p.to_target is None else f"{p.to_target:.2f} s"
            rows.append(
                [data, name, f"{p.samples_per_second:,.0f}", f"{p.epoch:.2f} s", reached, f"{p.accuracy:.2%}"]
            )
        if len(paces) > 1:
            ours, theirs = paces.values()
            both = ours.to_target is not None and theirs.to_target is not None
            rows.append(
                [
                    data,
                    "times faster",
                    f"{ours.samples_per_second / theirs.samples_per_second:.2f}",
                    f"{theirs.epoch / ours.epoch:.2f}",
                    f"{(theirs.to_target or 0) / (ours.to_target or 1):.2f}" if both else "-",
                    "",
                ]
            )
    seeds = next(p.seeds for paces in found.values() for p in paces.values())
    console.print(
        table(
            f"learning on one core, batch 1, medians of {seeds} seeds",
            ["data", "", "samples/s", "an epoch", f"to {target:.0%}", "test"],
            rows,
            left=2,
        )
    )


def cycles(rows: Sequence[Cycles]) -> None:
    """The engine in simulation."""
    console.print(
        table(
            f"\nthe engine in simulation, {rows[0].samples} samples of each kind",
            ["data", "network", "P", "training", "/ ideal", "inference", "/ ideal", "simulated cycles/s"],
            [
                [
                    r.data,
                    r.network,
                    f"{r.lanes}",
                    f"{r.training:,.0f}",
                    f"{r.training / r.ideal_training:.2f}",
                    f"{r.inference:,.0f}",
                    f"{r.inference / r.ideal_inference:.2f}",
                    f"{r.per_second:,.0f}",
                ]
                for r in rows
            ],
            left=2,
        )
    )


def engines(rows: Sequence[Engine]) -> None:
    """Our boards beside the engines of others; what is not known stays open."""

    def cell(value: float | None, form: str, scale: float = 1) -> str:
        return "" if value is None else format(value / scale, form)

    console.print(
        table(
            "\nengines; SOP: synaptic operations, weights that are used",
            [
                "engine",
                "does",
                "device",
                "memory",
                "logic",
                "f_max",
                "SOP/cycle",
                "M SOP/s",
                "per 1,000 cells",
            ]
            + ["training samples/s"],
            [
                [
                    r.name,
                    r.does,
                    r.device,
                    r.memory or "",
                    f"{r.logic[0]:,} {r.logic[1]}" if r.logic else "",
                    cell(r.f_max, ".1f"),
                    cell(r.per_cycle, ".2f"),
                    cell(r.per_second, ",.1f", 1e6),
                    cell(r.per_cell, ",.2f", 1e6),
                    cell(r.training, ",.0f"),
                ]
                for r in rows
            ],
            left=4,
        )
    )
    for source in dict.fromkeys(r.source for r in rows):
        names = ", ".join(r.name for r in rows if r.source == source)
        names = "equilif" if source == rows[0].source else names
        console.print(f"[dim]{literal(names)}: {literal(source)}[/]", soft_wrap=True)
