"""Output of evaluation commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from equilif.show.console import console, drawn, literal, table

if TYPE_CHECKING:
    from equilif.data.own.build import LoadedData
    from equilif.training.analysis.attention import AttentionSample
    from equilif.training.analysis.evaluate import Evaluation
    from equilif.training.analysis.neighbours import Neighbours
    from equilif.training.analysis.recall import Recall


def rated(samples: int, right: int, known: int) -> str:
    """Number of samples, and how many are ``right`` of those whose class is ``known`` to the network."""
    if not known:
        return f"{samples:,} samples"
    of = f"{known:,}" if known == samples else f"{known:,} whose class the network has"
    return f"{samples:,} samples, right: {right:,} of {of} ({right / known:.1%})"


def samples(result: LoadedData, out: Path) -> list[str]:
    """A picture of some samples, where matplotlib is installed; nothing for texts."""
    if result.about.encoding.kind == "texts":
        console.print("[yellow]no picture: texts are not drawn[/]")
        return []
    saved = drawn("samples", out, result)
    for name in saved:
        console.print(f"saved {name} in {literal(out)}")
    return saved


def confusion(result: Evaluation) -> Table:
    names = result.names or tuple(map(str, range(len(result.confusion))))
    rows: list[list[str | Text]] = []
    for true, counts in enumerate(result.confusion):
        cells = [
            Text(str(n), "green") if k == true else Text(str(n), "red") if n else Text("·", "dim")
            for k, n in enumerate(counts)
        ]
        rows.append([names[true], *cells, f"{counts[true] / max(1, counts.sum()):.1%}"])
    return table("true class (rows), predicted class (columns)", ["", *names, "right"], rows)


def recall(result: Recall, out: Path) -> list[str]:
    """The figure, if matplotlib is installed."""
    return drawn("recall", out, result)


def attention(samples: Sequence[AttentionSample], title: str, out: Path) -> list[str]:
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
    return drawn("attention", out, samples, title)


def neighbours(result: Sequence[Neighbours], title: str, out: Path) -> list[str]:
    """The nearest words before and after learning, and the picture, where matplotlib is installed."""
    columns = ("word", "nearest before learning", "nearest after learning", "cosine of the two")
    rows = (
        (
            one.word,
            ", ".join(one.before),
            ", ".join(one.after),
            "" if one.cosine is None else f"{one.cosine:.2f}",
        )
        for one in result
    )
    console.print(table(title, columns, rows, left=len(columns)))
    return drawn("neighbours", out, result, title)
