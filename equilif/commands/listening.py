"""Words of a microphone or of recordings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import Baud, Json, panel, saved_network
from equilif.show import console as show

if TYPE_CHECKING:
    from equilif.host.listening import BoardListener, Heard
    from equilif.listening import Answer, Listener

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
    ],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="WAV file, or folder of WAV files.",
            show_default="the microphone",
        ),
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
            help="With --port: learn the next words as this class, which may be new.",
            show_default="classify",
            metavar="CLASS",
        ),
    ] = None,
    utterances: Annotated[
        int | None,
        typer.Option(help="With --learn: number of words to learn.", min=1, max=1000, show_default="10"),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="With --learn: file of the new network, beside which the stored words are.",
            show_default="learned.npz",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="HTML page with waveform, spectrogram, spikes and answers.", show_default="none"),
    ] = None,
    json: Json = None,
) -> dict[str, Any]:
    """Find the words in recordings or in the signal of the microphone, and print class, confidence and time
    of each.

    Sound passes the golden model of the front end: PDM microphone, filter bank, segmentation.  A board with
    this front end has the same samples.  Noise, clicks, overload and a lost microphone are reported and not
    classified.

    With --port the words come from the microphone of a board, which classifies them.  --learn stores the next
    ones and learns them on the board, together with stored words of all other classes, 20 of each.

    Example:  [bold]equilif listen results/words/network.npz words.wav --out words.html[/]
    """
    from equilif.listening import Listener, file_blocks, microphone_blocks, wav_files
    from equilif.training import saved
    from equilif_golden import files

    if out is not None:
        files.check(out)
    if learn is not None and port is None:
        raise ValueError("--learn is for the microphone of a board: give its --port")
    if learn is None and (utterances is not None or save is not None):
        raise ValueError("--utterances and --save belong to --learn: give it too")
    if port is not None:
        if source is not None or device is not None or out is not None:
            raise ValueError("--port has its own microphone: leave out FILE, --device and --out")
        listener = Listener(saved.read(network))
        if learn is None:
            return _classify(_board(port, baud, listener), listener, seconds)
        if seconds is not None:
            raise ValueError("--learn ends after --utterances: leave out --seconds")
        target = save or Path("learned.npz")
        files.check(target)
        return _learn(port, baud, listener, learn, utterances, target)
    if source is not None and (device is not None or seconds is not None):
        raise ValueError("--device and --seconds are for the microphone: leave them out, or leave out FILE")
    paths = None if source is None else wav_files(source)
    listener = Listener(saved.read(network))
    streams = []
    if paths is None:
        show.console.print("listening; Ctrl-C ends")
        blocks = microphone_blocks(device, seconds)
        streams.append(listener.listen("microphone", blocks, _print, out is not None))
    else:
        for path in paths:
            if len(paths) > 1:
                show.console.print(f"[bold]{show.literal(path)}[/]")
            streams.append(listener.listen(str(path), file_blocks(path), _print, out is not None))
    answers = [a for stream in streams for a in stream.answers]
    words = sum(not a.reason for a in answers)
    show.console.print(f"{words:,} words, {len(answers) - words:,} other segments")
    if out is not None:
        from equilif.report import listening as page

        files.write(out, page.write(listener, streams).encode())
        show.console.print(f"wrote {show.literal(out)}")
    return {"network": network, "words": [a.to_dict() for a in answers], "out": out}


def _board(port: str, baud: int | None, listener: Listener) -> BoardListener:
    """The board at a port, with the network."""
    from equilif.commands.boards import show_displaced
    from equilif.host.listening import BoardListener
    from equilif.host.ports import the_one

    client = the_one(port, baud)
    if not client.identity.front_end:
        raise ValueError(
            f"the board at {port} has no front end: load a bitstream of `equilif build BOARD --front-end pdm`"
        )
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


def _classify(board: BoardListener, listener: Listener, seconds: float | None) -> dict[str, Any]:
    """Print the words of a board."""
    show.console.print("listening; Ctrl-C ends")
    found = []
    for word in _words(board, seconds):
        found.append(
            {"label": None if word.reason else listener.labels[word.number], "reason": word.reason or None}
        )
        _print_word(word, listener.labels)
    return {"network": listener.saved.path, "words": found}


def _learn(
    port: str, baud: int | None, listener: Listener, label: str, utterances: int | None, target: Path
) -> dict[str, Any]:
    """Learn words of a board, and save network and stored words."""
    from equilif import lesson
    from equilif_golden.kernel import Kernel
    from equilif_golden.network import Weights

    saved = listener.saved
    n = lesson.UTTERANCES if utterances is None else utterances
    stored = lesson.memory(saved, lesson.REPLAY)
    board = _board(port, baud, listener)
    labels = listener.labels
    if label not in labels:
        board.add_class()
        labels = (*labels, label)
        show.console.print(f"{show.literal(label)} is a new class")
    show.console.print(f"say {show.literal(label)} {n} times; Ctrl-C leaves the network as it is")
    tokens = []
    for word in _words(board, None):
        _print_word(word, labels)
        if word.tokens is not None:
            tokens.append(word.tokens)
        if len(tokens) == n:
            break
    else:
        raise ValueError(f"{len(tokens)} of {n} words were heard: nothing was learned")
    new = lesson.Words.of(tokens, [labels.index(label)] * n, tokens[0].shape[1])
    words = stored.plus(new)
    before = board.chip.weights
    with show.bar() as progress:
        task = progress.add_task("learn", total=lesson.PASSES, note=f"{len(words):,} words")
        weights = board.learn(
            words, passes=lesson.PASSES, report=lambda k: progress.update(task, completed=k)
        )

    def share(weights: Weights, part: lesson.Words) -> float:
        kernel = Kernel(board.network, weights)
        return kernel.accuracy(None, part.labels, tokens=part.tokens)

    found = {
        name: [share(w, part) for w in (before, weights)] for name, part in (("new", new), ("stored", stored))
    }
    for name, (first, last) in found.items():
        show.console.print(f"{name} words: {first:.1%} right before, [bold]{last:.1%}[/] after")
    lesson.save(target, saved, board.network, weights, labels, words)
    show.console.print(f"wrote {show.literal(target)} and {show.literal(lesson.memory_path(target))}")
    return {"network": target, "label": label, "utterances": n, "accuracy": found}


def _print_word(word: Heard, labels: Sequence[str]) -> None:
    if word.reason:
        show.console.print(f"[dim]{word.reason}[/]")
    else:
        note = ", learned by the label of the pins" if word.learned else ""
        show.console.print(f"[bold]{show.literal(labels[word.number])}[/]{note}")


def _print(answer: Answer) -> None:
    times = f"{answer.start:7.2f} .. {answer.end:.2f} s"
    if answer.reason:
        show.console.print(f"{times}  [dim]{answer.reason}[/]")
    else:
        show.console.print(f"{times}  [bold]{show.literal(answer.label)}[/]  {answer.confidence:.0%}")
