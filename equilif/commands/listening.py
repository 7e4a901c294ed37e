"""Words of a microphone or of recordings, and samples of a sensor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import Baud, OverwriteFiles, network_argument, panel
from equilif.commands.options import INPUT, OUTPUT, FileUse, fields_of
from equilif.commands.training import show_displaced
from equilif.show import console as show
from equilif.show import evaluation as show_evaluation
from equilif.training.lesson_settings import SETTINGS, LessonSettings
from equilif_golden import files
from equilif_golden.lazy import lazy

with lazy():
    from equilif import lesson as lessons
    from equilif import listening as listeners
    from equilif.host import listening as board_listeners
    from equilif.report import listening as page
    from equilif.training.storage import saved
    from equilif_golden import network as networks

command = panel("Learning")

MAX_SECONDS = 86_400.0


def _memories(network: Path) -> list[Path]:
    """Files in which the samples of a network may be."""
    return [lessons.memory_path(network, kind.unit) for kind in (lessons.Words, lessons.SensorSamples)]


@dataclass(frozen=True)
class LessonOptions:
    """Options of a lesson."""

    learn: Annotated[
        str | None,
        typer.Option(
            help="Learn the next words or samples of the board at --port, or those of FILE, as this class, "
            "which may be new.",
            show_default="classify",
            metavar="CLASS",
        ),
    ] = None
    utterances: Annotated[
        int | None,
        typer.Option(
            help="With --port and --learn: number of words or samples to learn.",
            min=1,
            max=1000,
            show_default=str(SETTINGS.utterances),
        ),
    ] = None
    target: Annotated[
        Path | None,
        typer.Option(
            "--save",
            help="With --learn: file of the new network, beside which the stored samples are.",
            show_default="learned.npz",
        ),
        FileUse("output", beside=_memories),
    ] = None


@command
def listen(
    network: Annotated[
        Path, network_argument(help="A network.npz that was trained with --set data.front_end=true."), INPUT
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
    options: Annotated[LessonOptions, fields_of(LessonOptions)] = LessonOptions(),
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
    if out is not None:
        files.check(out)
    learn = options.learn
    if options.utterances is not None and (learn is None or port is None) or learn is None and options.target:
        raise ValueError("--utterances and --save belong to --learn, --utterances to --port: give it too")
    if port is not None and (source is not None or device is not None or out is not None):
        raise ValueError("--port has its own front end: leave out FILE, --device and --out")
    if port is not None and learn is not None and seconds is not None:
        raise ValueError("--learn ends after --utterances: leave out --seconds")
    if source is not None and (device is not None or seconds is not None):
        raise ValueError("--device and --seconds are for the microphone: leave them out, or leave out FILE")
    listener = listeners.listener_of(saved.read(network), unknown=unknown)
    if learn is not None:
        if port is None and source is None:
            raise ValueError("--learn needs FILE, or the --port of a board")
        if out is not None:
            raise ValueError("--out has no lesson: leave out --learn, or --out")
        return _learn(listener, options, source, port, baud, overwrite, SETTINGS)
    if port is not None:
        return _classify(_board(port, baud, listener), seconds)
    if not isinstance(listener, listeners.WordRecognizer) and (source is None or device is not None):
        raise ValueError(f"{network} hears a sensor: give FILE with its readings, or --port")
    return _stream(listener, source, device, seconds, out)


def _stream(
    listener: listeners.WordRecognizer | listeners.SensorRecognizer,
    source: Path | None,
    device: str | None,
    seconds: float | None,
    out: Path | None,
) -> dict[str, Any]:
    """Print the answers to recordings, or to the signal of the microphone."""
    if source is not None:
        streams = listener.streams(
            source, _print, lambda file: show.console.print(f"[bold]{show.literal(file)}[/]")
        )
    else:
        assert isinstance(listener, listeners.WordRecognizer)
        show.console.print("listening; Ctrl-C ends")
        blocks = listeners.microphone_blocks(device, seconds)
        streams = [listener.listen("microphone", blocks, _print, out is not None)]
    answers = [a for stream in streams for a in stream.answers]
    found: dict[str, Any] = {"network": listener.saved.path, listener.unit: [a.to_dict() for a in answers]}
    if isinstance(listener, listeners.WordRecognizer):
        words = sum(not a.reason for a in answers)
        show.console.print(f"{words:,} words, {len(answers) - words:,} other segments")
    else:
        found |= _rated(listener, streams)
    if out is not None:
        files.write(out, files.printable(page.write(listener, streams)).encode())
        show.console.print(f"wrote {show.literal(out)}")
    return found | {"out": out}


def _rated(
    listener: listeners.SensorRecognizer, streams: Sequence[listeners.RecordedStream]
) -> dict[str, Any]:
    """Print how many samples of a sensor are right, where their classes are known."""
    if clipped := sum(stream.clipped for stream in streams):
        show.console.print(f"[yellow]{clipped:,} values are beyond the range of the ADC: clipped[/]")
    answers = [a for stream in streams for a in stream.answers]
    known = [a for a in answers if a.expected in listener.labels]
    right = sum(a.label == a.expected for a in known)
    show.console.print(show_evaluation.rated(len(answers), right, len(known)))
    return {"clipped": clipped} | ({"accuracy": right / len(known)} if known else {})


def _board(
    port: str, baud: int | None, listener: listeners.WordRecognizer | listeners.SensorRecognizer
) -> board_listeners.BoardListener:
    board = board_listeners.BoardListener.at(port, baud, listener)
    show_displaced(board.displaced)
    return board


def _classify(board: board_listeners.BoardListener, seconds: float | None) -> dict[str, Any]:
    """Print the words or samples of a board."""
    show.console.print("listening; Ctrl-C ends")
    found = []
    for word in board.known_words(seconds):
        _print_word(word, board.labels)
        label = None if word.reason else board.labels[word.number]
        found.append({"label": label, "reason": word.reason or None})
    return {"network": board.listener.saved.path, board.listener.unit: found}


def _learn(
    listener: listeners.WordRecognizer | listeners.SensorRecognizer,
    options: LessonOptions,
    source: Path | None,
    port: str | None,
    baud: int | None,
    overwrite: bool,
    settings: LessonSettings,
) -> dict[str, Any]:
    """Learn words or samples of recordings or of a board, print accuracy, and save network and memory."""
    label, target = options.learn, options.target or Path("learned.npz")
    assert label is not None
    lessons.with_label(listener.labels, label)
    files.require_absent((target, lessons.memory_path(target, listener.unit)), overwrite)
    files.check(target)
    result: dict[str, Any] = {"network": target, "label": label}
    if port is None:
        assert source is not None
        lesson = listeners.recorded_lesson(listener, source, label, settings)
        learn: Callable[..., networks.Weights] = functools.partial(lesson.learned, settings)
        _print_class(listener, label)
        if lesson.left_out:
            left_out = "; ".join(f"{n:,} {reason}" for reason, n in lesson.left_out.items())
            show.console.print(f"left out: {left_out}")
        result["samples"] = len(lesson.new)
    else:
        n = options.utterances or settings.utterances
        stored = lessons.memory(listener.saved, settings.stored)
        board = _board(port, baud, listener)

        def ready() -> None:
            _print_class(listener, label)
            request = show.literal(listener.request(label, n))
            show.console.print(f"{request}; Ctrl-C leaves the network as it is")

        lesson = board.prepare_lesson(
            label, n, stored, ready=ready, report=lambda word: _print_word(word, board.labels)
        )
        learn = functools.partial(board.learn, lesson.samples, settings)
        result["utterances"] = n
    with show.bar() as progress:
        note = f"{len(lesson.samples):,} {listener.unit}"
        task = progress.add_task("learn", total=settings.passes, note=note)
        weights = learn(report=lambda k: progress.update(task, completed=k))
    accuracy = lesson.accuracy(weights)
    for name, (first, last) in accuracy.items():
        show.console.print(f"{name} {listener.unit}: {first:.1%} right before, [bold]{last:.1%}[/] after")
    memory = lesson.save(target, weights)
    show.console.print(f"wrote {show.literal(target)} and {show.literal(memory)}")
    return {**result, "accuracy": accuracy}


def _print_class(listener: listeners.WordRecognizer | listeners.SensorRecognizer, label: str) -> None:
    if label not in listener.labels:
        show.console.print(f"{show.literal(label)} is a new class")


def _print_word(word: board_listeners.BoardAnswer, labels: Sequence[str]) -> None:
    if word.reason:
        show.console.print(f"[dim]{word.reason}[/]")
    else:
        note = ", learned by the label of the pins" if word.learned else ""
        show.console.print(f"[bold]{show.literal(labels[word.number])}[/]{note}")


def _print(answer: listeners.Answer) -> None:
    times = f"{answer.start:7.2f} .. {answer.end:.2f} s"
    wrong = f"  [dim]not {show.literal(answer.expected)}[/]" * (answer.expected not in ("", answer.label))
    if answer.reason:
        show.console.print(f"{times}  [dim]{answer.reason}[/]")
    else:
        show.console.print(f"{times}  [bold]{show.literal(answer.label)}[/]  {answer.confidence:.0%}{wrong}")
