"""Samples that come one by one: prediction and learning at once."""

from __future__ import annotations

import json
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import network_option, panel, print_notes
from equilif.commands.options import DEFAULTS, INPUT, OUTPUT, STREAM, Given, OptionGroup
from equilif.show import console as show
from equilif_golden import files
from equilif_golden.lazy import lazy

with lazy():
    from equilif import classifier as classifiers
    from equilif import stream as streams

command = panel("Learning")


class Drift(StrEnum):
    """Detectors of drift."""

    off = "off"
    errors = "errors"


#: options of a learner
LEARNING = OptionGroup(
    {
        "hidden": Annotated[
            int | None, typer.Option(help="Neurons of the hidden layer.", min=1, show_default="64")
        ],
        "learning_rate": Annotated[
            float | None,
            typer.Option(
                "--learning-rate",
                "--lr",
                help="Constant learning rate.",
                show_default="0.03, or the network's",
            ),
        ],
        "replay": Annotated[
            int | None,
            typer.Option(
                help="Number of stored samples, balanced over the classes, some of which are learned again "
                "after each new one; 0 for none.",
                min=0,
                show_default="1000",
            ),
        ],
        "replay_per_sample": Annotated[
            int | None,
            typer.Option(
                help="Stored samples learned after each new one.", min=1, max=255, show_default="16"
            ),
        ],
        "drift": Annotated[
            Drift | None,
            typer.Option(
                help="Detect drift by more wrong predictions, and renew stored samples then; or do not.",
                show_default="errors",
            ),
        ],
    }
)


@command
def stream(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV with a header or JSON lines: a file, a pipe or a serial port; - is standard input.",
        ),
        INPUT,
    ],
    label: Annotated[
        str, typer.Option(help="Column or key of the class; where it is empty, the sample is only predicted.")
    ] = "label",
    network: Annotated[
        Path | None,
        network_option(
            help="Continue with a network.npz of `equilif stream`, with its stored samples, or of `equilif "
            "train` on rows, which has none: give --replay.",
            show_default="a new one",
        ),
        INPUT,
    ] = None,
    options: Annotated[Given, LEARNING] = DEFAULTS,
    baud: Annotated[
        int | None, typer.Option(help="Baud rate of a serial port.", min=1, show_default="115,200")
    ] = None,
    window: Annotated[
        int, typer.Option(help="Samples of the recent accuracy, and between its reports.", min=1, max=1 << 20)
    ] = 1000,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File of the answers, a JSON object a line; - is standard output, at once.",
            metavar="FILE.jsonl",
            show_default="none",
        ),
        STREAM,
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--save", help="File of the network at the end.", metavar="FILE.npz", show_default="none"
        ),
        OUTPUT,
    ] = None,
) -> dict[str, Any]:
    """Predict each sample of a stream, and learn it where its class is known.

    Prints the prequential accuracy: of predictions made before their sample is learned.  The scale of each
    feature follows its mean and deviation over the last 256 samples.  A class becomes an output when it
    first occurs.  When predictions become worse, stored samples are renewed (--drift).  Ctrl-C ends a stream
    without end.  What was learned is saved in any case, also when a line cannot be read.

    Example:  [bold]equilif stream readings.csv --label state --save network.npz[/]
    """
    for path in filter(None, (out, target)):
        files.check(path)
    learner = _learner(network, options)
    answers: list[str] = []
    at_once = out == streams.STANDARD_INPUT
    score = streams.Prequential(window)

    def report(answer: streams.StreamAnswer) -> None:
        sample = answer.sample
        line = {"line": sample.line, "prediction": answer.prediction, "rate": round(answer.rate, 4)}
        text = json.dumps(line | ({"label": sample.label} if sample.label else {}))
        if at_once:
            print(text, flush=True)
        elif out is not None:
            answers.append(text + "\n")
        if sample.label and score.samples % window == 0:
            show.console.print(_accuracy(score))

    found = streams.read_samples(Path(source), label, baud)
    failure: ValueError | OSError | None = None
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("default")
            warnings.filterwarnings("ignore", ".* are clipped")  # single values, which are counted
            streams.follow(learner, found, score, report)
    except KeyboardInterrupt:
        show.console.print("interrupted: the stream ends here")
    except (ValueError, OSError) as e:  # what was learned before is kept
        failure = e
    print_notes(sorted({str(note.message) for note in notes}))
    clipped = _summary(learner)
    keeps = failure is None or learner.model is not None  # wrong options fail before anything is learned
    if target is not None and keeps:
        learner.save(target)
        show.console.print(f"wrote {show.literal(target)}")
    if out is not None and not at_once and keeps:
        files.write(out, "".join(answers).encode())
        show.console.print(f"wrote {show.literal(out)}")
    if failure is not None:
        raise failure
    none = f"no sample has a class in {show.literal(label)}, which --label names"
    show.console.print(f"[bold]{_accuracy(score)}[/]" if score.samples else none)
    return {
        "source": source,
        "samples": score.samples,
        "unlabelled": score.unlabelled,
        "clipped": clipped,
        "missing": learner.n_missing,
        "ignored": [*learner.ignored],
        "drifts": learner.n_drifts,
        "accuracy": score.accuracy,
        "recent": score.recent,
        "classes": [] if learner.model is None else learner.model.classes_.tolist(),
        "network": target,
        "out": out,
    }


def _summary(learner: streams.StreamLearner) -> int:
    """Print drifts and what is to be known of the features; the number of clipped values."""
    if learner.n_drifts:
        drifts = "1 drift" if learner.n_drifts == 1 else f"{learner.n_drifts:,} drifts"
        show.console.print(f"detected {drifts}, and renewed stored samples")
    clipped = learner.model.n_clipped_ if learner.model else 0
    if clipped:
        show.console.print(f"[yellow]{clipped:,} values were beyond the scale: clipped[/]")
    if learner.n_missing:
        show.console.print(f"[yellow]{learner.n_missing:,} values are missing: their means were learned[/]")
    if learner.ignored:
        names = show.literal(", ".join([*learner.ignored][:12]))
        show.console.print(f"[yellow]features that the network does not have: {names}[/]")
    return clipped


def _learner(network: Path | None, options: Given) -> streams.StreamLearner:
    """A new learner, or one that goes on with a network."""
    given = dict(options)
    detector: dict[str, Any] = {}
    if "drift" in given:
        detector["drift"] = None if given.pop("drift") == Drift.off else Drift.errors.value
    if network is None:
        return streams.StreamLearner(**given, **detector)
    if "hidden" in given:
        raise ValueError("--hidden is that of the network: leave it out, or --network")
    if given.get("replay"):
        given.setdefault("replay_per_sample", streams.REPLAY_PER_SAMPLE)
    model = classifiers.Classifier.load(network, **given)
    if model.learner_.replay is None:
        show.console.print("[yellow]the network stores no samples: it forgets classes that do not occur[/]")
    return streams.StreamLearner.of(model, **detector)


def _accuracy(score: streams.Prequential) -> str:
    return (
        f"{score.samples:,} samples: prequential accuracy {score.accuracy:.1%}, "
        f"{score.recent:.1%} of the last {score.recent_samples:,}"
    )
