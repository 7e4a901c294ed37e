"""Words of a microphone or of recordings, and samples of a sensor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import Baud, Json, OverwriteFiles, panel, require_absent, saved_network
from equilif.commands.options import INPUT, OUTPUT
from equilif.show import console as show
from equilif.show import evaluation as show_evaluation

if TYPE_CHECKING:
    from equilif.host.listening import BoardListener, Heard
    from equilif.listening import Answer, Listener, SensorListener, Stream
    from equilif_golden.network import Network, Weights

command = panel("Learning")

MAX_SECONDS = 86_400.0
POLL_SECONDS = 0.05  #: words are 0.2 s apart at least


@command
def listen(
    network: Annotated[
        Path,
        typer.Argument(
            **saved_network(help="A network.npz that was trained with --set data.front_end=true.")
        ),
        INPUT,
    ],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="WAV file, or folder of WAV files; of a sensor recorded readings, a CSV or series file.",
            show_default="the microphone",
        ),
        INPUT,
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Sound card, by number or part of its name.", show_default="the system's"),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Duration of listening to a microphone, in seconds.",
            min=0.1,
            max=MAX_SECONDS,
            show_default="until Ctrl-C",
        ),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(
            help="Listen with the board at this port, which has a front end (`equilif build --front-end`).",
            show_default="this computer",
            metavar="PORT",
        ),
    ] = None,
    baud: Baud = None,
    learn: Annotated[
        str | None,
        typer.Option(
            help="Learn the next words or samples of the board at --port, or those of FILE, as this class, "
            "which may be new.",
            show_default="classify",
            metavar="CLASS",
        ),
    ] = None,
    utterances: Annotated[
        int | None,
        typer.Option(
            help="With --port and --learn: number of words or samples to learn.",
            min=1,
            max=1000,
            show_default="10",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--save",
            help="With --learn: file of the new network, beside which the stored samples are.",
            show_default="learned.npz",
        ),
        OUTPUT,
    ] = None,
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown/--no-unknown",
            help="Answer 'unknown word' to words that are like none of training, or always with a class.",
        ),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            help="HTML page with waveform and spectrogram, or readings and inputs, spikes and answers.",
            show_default="none",
        ),
        OUTPUT,
    ] = None,
    json: Json = None,
    overwrite: OverwriteFiles = False,
) -> dict[str, Any]:
    """Find the words in recordings or in the signal of the microphone, and print class, confidence and time
    of each.

    Sound passes the golden model of the front end: PDM microphone, filter bank, segmentation.  A board with
    this front end has the same samples.  Noise, clicks, overload and a lost microphone are reported and not
    classified.  A network of a sensor classifies the samples of recorded readings in the same way.

    With --port the words or samples come from a board, which classifies them.  --learn stores the next ones
    and learns them on the board, together with stored ones of all other classes, 20 of each.  With FILE it
    learns all words or samples of FILE on this computer.

    Example:  [bold]equilif listen results/words/network.npz words.wav --out words.html[/]
    """
    from equilif import lesson
    from equilif.data.parts import check_class
    from equilif.listening import Listener, listener_of, microphone_blocks, wav_files
    from equilif.training import saved
    from equilif_golden import files

    if out is not None:
        files.check(out)
    if utterances is not None and (learn is None or port is None) or learn is None and target is not None:
        raise ValueError("--utterances and --save belong to --learn, --utterances to --port: give it too")
    if port is not None and (source is not None or device is not None or out is not None):
        raise ValueError("--port has its own front end: leave out FILE, --device and --out")
    if port is not None and learn is not None and seconds is not None:
        raise ValueError("--learn ends after --utterances: leave out --seconds")
    if source is not None and (device is not None or seconds is not None):
        raise ValueError("--device and --seconds are for the microphone: leave them out, or leave out FILE")
    listener = listener_of(saved.read(network), unknown=unknown)
    target = target or Path("learned.npz")
    if learn is not None:
        check_class(learn)
        if port is None and source is None:
            raise ValueError("--learn needs FILE, or the --port of a board")
        if out is not None:
            raise ValueError("--out has no lesson: leave out --learn, or --out")
        require_absent((target, lesson.memory_path(target, listener.unit)), overwrite)
        files.check(target)
    if port is not None:
        if learn is None:
            return _classify(_board(port, baud, listener), listener, seconds)
        return _learn(port, baud, listener, learn, utterances, target)
    if not isinstance(listener, Listener) and (source is None or device is not None):
        raise ValueError(f"{network} hears a sensor: give FILE with its readings, or --port")
    if learn is not None:
        assert source is not None
        return _learn_recorded(listener, source, learn, target)
    if not isinstance(listener, Listener):
        assert source is not None
        return _sensed(listener, source, out)
    paths = None if source is None else wav_files(source)
    streams = []
    if paths is None:
        show.console.print("listening; Ctrl-C ends")
        blocks = microphone_blocks(device, seconds)
        streams.append(listener.listen("microphone", blocks, _print, out is not None))
    else:
        for path in paths:
            if len(paths) > 1:
                show.console.print(f"[bold]{show.literal(path)}[/]")
            streams.append(listener.hear(path, _print))
    answers = [a for stream in streams for a in stream.answers]
    words = sum(not a.reason for a in answers)
    show.console.print(f"{words:,} words, {len(answers) - words:,} other segments")
    if out is not None:
        _write_page(out, listener, streams)
    return {"network": network, "words": [a.to_dict() for a in answers], "out": out}


def _sensed(listener: SensorListener, source: Path, out: Path | None) -> dict[str, Any]:
    """Print the answers to recorded readings, and how many are right where their classes are known."""
    recorded = listener.recordings(source)
    stream = listener.listen(str(source), recorded, _print)
    if clipped := sum(r.clipped for r in recorded):
        show.console.print(f"[yellow]{clipped:,} values are beyond the range of the ADC: clipped[/]")
    answers = stream.answers
    known = [a for a in answers if a.expected in listener.labels]
    right = sum(a.label == a.expected for a in known)
    show.console.print(show_evaluation.rated(len(answers), right, len(known)))
    if out is not None:
        _write_page(out, listener, [stream])
    samples = [a.to_dict() for a in answers]
    found = {"network": listener.saved.path, "samples": samples, "clipped": clipped, "out": out}
    return found | ({"accuracy": right / len(known)} if known else {})


def _write_page(out: Path, listener: Listener | SensorListener, streams: Sequence[Stream]) -> None:
    from equilif.report import listening as page
    from equilif_golden import files

    files.write(out, files.printable(page.write(listener, streams)).encode())
    show.console.print(f"wrote {show.literal(out)}")


def _board(port: str, baud: int | None, listener: Listener | SensorListener) -> BoardListener:
    """The board at a port, with the network."""
    from equilif.commands.boards import show_displaced
    from equilif.host.listening import BoardListener, require_front_end
    from equilif.host.ports import the_one

    client = the_one(port, baud)
    if not client.identity.front_end:
        raise ValueError(
            f"the board at {port} has no front end: load a bitstream of `equilif build BOARD --front-end "
            "pdm` (adc for a sensor)"
        )
    require_front_end(client.config, listener)
    board = BoardListener(client, listener)
    show_displaced(client)
    return board


def _words(board: BoardListener, seconds: float | None) -> Iterator[Heard]:
    """Words of a board as they end, for ``seconds`` or until Ctrl-C."""
    start = time.monotonic()
    try:
        while seconds is None or time.monotonic() < start + seconds:
            if (word := board.poll()) is not None:
                yield word
            else:
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return


def _classify(
    board: BoardListener, listener: Listener | SensorListener, seconds: float | None
) -> dict[str, Any]:
    """Print the words or samples of a board."""
    from equilif import lesson
    from equilif.listening import UNKNOWN, Listener

    show.console.print("listening; Ctrl-C ends")
    found = []
    for word in _words(board, seconds):
        if isinstance(listener, Listener) and word.sample is not None and not word.reason:
            tokens = lesson.Words.of([word.sample], [0], word.sample.shape[1]).tokens
            if listener.is_unknown(tokens):
                word = word._replace(reason=UNKNOWN)
        found.append(
            {"label": None if word.reason else listener.labels[word.number], "reason": word.reason or None}
        )
        _print_word(word, listener.labels)
    return {"network": listener.saved.path, listener.unit: found}


def _learn(
    port: str,
    baud: int | None,
    listener: Listener | SensorListener,
    label: str,
    utterances: int | None,
    target: Path,
) -> dict[str, Any]:
    """Learn words or samples of a board, and save network and stored ones."""
    from equilif import lesson

    n = lesson.UTTERANCES if utterances is None else utterances
    stored = listener.memory()
    board = _board(port, baud, listener)
    labels = _with_class(listener, label, board.add_class)
    request = listener.request(label, n)
    show.console.print(f"{show.literal(request)}; Ctrl-C leaves the network as it is")
    samples = []
    for word in _words(board, None):
        _print_word(word, labels)
        if word.sample is not None:
            samples.append(word.sample)
        if len(samples) == n:
            break
    else:
        raise ValueError(f"{len(samples)} of {n} {listener.unit} arrived: nothing was learned")
    new = listener.samples(samples, labels.index(label))
    found = _lesson(listener, board.network, board.chip.weights, labels, (new, stored), board.learn, target)
    return {"network": target, "label": label, "utterances": n, "accuracy": found}


def _learn_recorded(
    listener: Listener | SensorListener, source: Path, label: str, target: Path
) -> dict[str, Any]:
    """Learn recorded words or readings by the golden kernel, and save network and stored samples."""
    from equilif import lesson
    from equilif_golden.kernel import Kernel

    answers = listener.recorded(source)
    stored = listener.memory()
    network, weights = listener.saved.network, listener.saved.weights

    def add_class() -> None:
        nonlocal network, weights
        network, weights = lesson.with_class(network, weights)

    labels = _with_class(listener, label, add_class)
    samples = [x for x in map(listener.sample, answers) if x is not None]
    reasons = Counter(a.reason for a in answers if listener.sample(a) is None)
    left_out = "; ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items()))
    if not samples:
        raise ValueError(f"{source} holds no {listener.unit}: {left_out or 'silence'}. Nothing was learned")
    if left_out:
        show.console.print(f"left out: {left_out}")
    new = listener.samples(samples, labels.index(label))
    kernel = Kernel(network, weights, learning_rate=lesson.LEARNING_RATE, threads=1)

    def learn(samples: lesson.Samples, **options: Any) -> Weights:
        lesson.learn(kernel, samples, **options)
        return kernel.weights

    found = _lesson(listener, network, weights, labels, (new, stored), learn, target)
    return {"network": target, "label": label, "samples": len(new), "accuracy": found}


def _with_class(listener: Listener | SensorListener, label: str, add: Callable[[], None]) -> tuple[str, ...]:
    """Classes after a lesson; ``add``: adds an output for a new one."""
    if label in listener.labels:
        return listener.labels
    add()
    show.console.print(f"{show.literal(label)} is a new class")
    return (*listener.labels, label)


def _lesson(
    listener: Listener | SensorListener,
    network: Network,
    before: Weights,
    labels: tuple[str, ...],
    samples: tuple[Any, Any],
    learn: Callable[..., Weights],
    target: Path,
) -> dict[str, list[float]]:
    """Learn new and stored ``samples``, print accuracy, and save network and memory."""
    from equilif import lesson
    from equilif_golden.kernel import Kernel

    new, stored = samples
    everything = stored.plus(new)
    with show.bar() as progress:
        task = progress.add_task("learn", total=lesson.PASSES, note=f"{len(everything):,} {listener.unit}")
        weights = learn(everything, passes=lesson.PASSES, report=lambda k: progress.update(task, completed=k))
    found = {
        name: [part.accuracy(Kernel(network, w)) for w in (before, weights)]
        for name, part in (("new", new), ("stored", stored))
    }
    for name, (first, last) in found.items():
        show.console.print(f"{name} {listener.unit}: {first:.1%} right before, [bold]{last:.1%}[/] after")
    lesson.save(target, listener.saved, network, weights, labels, everything)
    memory = lesson.memory_path(target, listener.unit)
    show.console.print(f"wrote {show.literal(target)} and {show.literal(memory)}")
    return found


def _print_word(word: Heard, labels: Sequence[str]) -> None:
    if word.reason:
        show.console.print(f"[dim]{word.reason}[/]")
    else:
        note = ", learned by the label of the pins" if word.learned else ""
        show.console.print(f"[bold]{show.literal(labels[word.number])}[/]{note}")


def _print(answer: Answer) -> None:
    times = f"{answer.start:7.2f} .. {answer.end:.2f} s"
    wrong = f"  [dim]not {show.literal(answer.expected)}[/]" * (answer.expected not in ("", answer.label))
    if answer.reason:
        show.console.print(f"{times}  [dim]{answer.reason}[/]")
    else:
        show.console.print(f"{times}  [bold]{show.literal(answer.label)}[/]  {answer.confidence:.0%}{wrong}")
