"""Words of a microphone or of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equilif.commands import Json, panel, saved_network
from equilif.show import console as show

if TYPE_CHECKING:
    from equilif.listening import Answer

command = panel("Learning")

MAX_SECONDS = 86_400.0


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
            help="Duration of listening to the microphone, in seconds.",
            min=0.1,
            max=MAX_SECONDS,
            show_default="until Ctrl-C",
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

    Example:  [bold]equilif listen results/words/network.npz words.wav --out words.html[/]
    """
    from equilif.listening import Listener, file_blocks, microphone_blocks, wav_files
    from equilif.training import saved
    from equilif_golden import files

    if out is not None:
        files.check(out)
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


def _print(answer: Answer) -> None:
    times = f"{answer.start:7.2f} .. {answer.end:.2f} s"
    if answer.reason:
        show.console.print(f"{times}  [dim]{answer.reason}[/]")
    else:
        show.console.print(f"{times}  [bold]{show.literal(answer.label)}[/]  {answer.confidence:.0%}")
