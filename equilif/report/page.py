"""Content of the report, laid out by page.html."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from equilif import results
from equilif.data.sets.dataset import DataSet
from equilif.report import metrics
from equilif.report.inputs import NONE, Inputs, ReceptiveFields
from equilif.report.run import SavedRun, own_data
from equilif.training.analysis import attention, trace
from equilif.training.analysis.evaluate import Evaluation, evaluate
from equilif.training.storage.history import digest
from equilif_golden.extras import MissingExtra, needs
from equilif_golden.fixed import check_int

with needs("plot,report"):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from equilif.report import pictures

MAX_IMAGES = 12  #: mistakes that are drawn
MAX_TABLES = 4  #: mistakes whose values are listed
MAX_NEURONS = 64  #: receptive fields
MAX_NAMES = 30  #: inputs of a heat map
MAX_CLASSES = 20  #: of a confusion matrix; of more only the most frequent mistakes are listed
MAX_WORDS = 60  #: of a text
MAX_TOKENS = 24  #: that queries look at
Content = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """``html``; ``metrics``: its numbers, for JSON."""

    html: str
    metrics: Content


def write(
    run: SavedRun,
    data: DataSet | None,
    *,
    missing: str = "",
    sample: int | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Report:
    """The page of a run.

    ``data``: its samples; None when they could not be found, ``missing`` says why.  ``sample``: the test
    sample whose spikes are shown; unless given, the correctly classified one with the smallest margin.
    ValueError when there is no such sample.
    """
    net = run.network
    about = own_data(run.history)
    inputs = Inputs.of(net.n_inputs, about, data.shape if data else ())
    names = about.labels if about else tuple(map(str, range(net.n_outputs)))
    found = None
    if data is not None:
        if sample is not None:
            check_int(sample, "sample", 0, len(data.x_test) - 1, f"test samples of {data.name}")
        total = len(data.x_test)
        found = evaluate(
            net,
            run.weights,
            data.x_test,
            data.y_test,
            tokens=data.tokens_test,
            progress=lambda done: progress(f"test samples: {done:,} of {total:,}"),
        )
    progress("drawing")
    content: Content = {
        **_head(run, data, found),
        "missing": missing,
        "curve": _curve(run),
        "mistakes": data and found and _mistakes(data, found, inputs, names),
        "sample": data and found and _sample(run, data, found, inputs, names, sample),
        "fields": _fields(run, inputs, names),
        "parts": metrics.parts(net, found),
        "joints": metrics.joints(net, run.weights),
        "schedule": net.schedule,
        "bits": net.n_weights * net.numerics.weight_width,
        "width": net.numerics.weight_width,
        "boards": _boards(run, data, progress),
        "repeat": _repeat(run, data),
    }
    return Report(environment().get_template("page.html").render(content), _plain(content))


def environment() -> Environment:
    """Everything that is put into the page is escaped."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"percent": _percent, "short": _short, "signed": _signed}
    return made


def _percent(part: float, digits: int = 1) -> str:
    return f"{100 * part:.{digits}f} %"


def _short(number: float) -> str:
    """Three digits that count."""
    text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    return text.replace("-", "−")


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")


# -- sections --------------------------------------------------------------------------------------
def _head(run: SavedRun, data: DataSet | None, found: Evaluation | None) -> Content:
    last = run.history.epochs[-1]
    return {
        "name": run.history.data,
        "sizes": run.history.sizes,
        "version": results.version(),
        "last": last,
        "real": run.history.real,
        "learned_by": run.history.preset.learned_by,
        "accuracy": last.test_accuracy if found is None else found.accuracy,
        "tested": None if data is None else len(data.x_test),
        "trained": None if data is None else len(data.x_train),
        "spikes": None if found is None else found.spikes_per_sample,
        "steps": None if found is None else found.steps_per_sample,
        "weights": run.network.n_weights,
    }


def _curve(run: SavedRun) -> Content:
    best = max(run.history.epochs, key=lambda e: e.test_accuracy)
    first = run.history.epochs[0]
    last = run.history.epochs[-1]
    alt = (
        f"Test accuracy by epoch: {_percent(first.test_accuracy)} after epoch 1, "
        f"{_percent(last.test_accuracy)} after epoch {last.epoch}"
    )
    return {"chart": pictures.learning_curve(run.history.epochs, alt), "best": best}


def _mistakes(data: DataSet, found: Evaluation, inputs: Inputs, names: tuple[str, ...]) -> Content:
    wrong = int((found.predictions != data.y_test).sum())
    drawn = bool(inputs.shape) and not data.tokens_test
    most = MAX_IMAGES if drawn else MAX_TABLES
    worst = metrics.examples(found, data.y_test, most)
    if wrong:
        worst = [e for e in worst if e.true != e.predicted]
    shares = found.confusion / np.maximum(1, found.confusion.sum(axis=1, keepdims=True))
    return {
        "names": names,
        "wrong": wrong,
        "total": len(data.y_test),
        "matrix": found.confusion.tolist() if len(names) <= MAX_CLASSES else None,
        "shares": shares.tolist(),
        "confused": metrics.confused(found),
        "examples": [{"example": e, **_sample_view(data, inputs, e)} for e in worst],
    }


def _sample_view(data: DataSet, inputs: Inputs, example: metrics.Example) -> Content:
    """A test sample as what it is: an image, words, a sequence of patterns, or values by name."""
    j = example.at
    if data.tokens_test is not None:
        tokens = data.tokens_test
        rows = tokens.rows[tokens.off[j] : tokens.off[j + 1]]
        if data.words:
            words = [data.words[row] for row in rows[:MAX_WORDS]]
            return {"words": " ".join(words) + (" …" if len(rows) > MAX_WORDS else "")}
        return {"sequence": pictures.patterns(tokens.sample(j))}
    if inputs.shape:
        return {"image": _image(data, inputs, j)}
    return {"cells": metrics.columns(data, inputs, example)}


def _image(data: DataSet, inputs: Inputs, j: int) -> str:
    values = inputs.signed(data.x_test[j])
    both = bool((inputs.minus != NONE).any())
    return (pictures.field if both else pictures.picture)(values, inputs.shape)


def _sample(
    run: SavedRun,
    data: DataSet,
    found: Evaluation,
    inputs: Inputs,
    names: tuple[str, ...],
    sample: int | None,
) -> Content:
    """Inputs, spikes and rates of one test sample; None: the one that metrics.closest chooses."""
    closest = metrics.closest(found, data.y_test)
    j = closest.at if sample is None else sample
    label = int(data.y_test[j])
    tokens = data.tokens_test and data.tokens_test.take([j])
    recorded = trace.record(run.network, run.weights, data.x_test[j], label, tokens)
    predicted = int(recorded.result.prediction[0])
    assert found.rates is not None
    order = np.argsort(-found.rates[j], kind="stable")[:5]
    drawn = bool(inputs.shape) and tokens is None
    alt = f"Spikes of every neuron and rates of the outputs, step by step, for test sample {j}"
    return {
        "index": j,
        "closest": j == closest.at and closest.true == closest.predicted,
        "label": label,
        "true": names[label],
        "predicted": names[predicted],
        "right": predicted == label,
        "rates": [(names[k], found.rates[j, k] / (metrics.FULL + 1), k == label) for k in order],
        "image": _image(data, inputs, j) if drawn else None,
        "chart": pictures.settling(recorded, alt),
        "attention": _attention(run, data, j),
    }


def _fields(run: SavedRun, inputs: Inputs, names: tuple[str, ...]) -> Content | None:
    """Receptive fields: images, or a heat map by the names of the inputs; None without inputs."""
    found = ReceptiveFields.of(run.network, run.weights, inputs)
    if found is None:
        return None
    chosen = found.strongest(MAX_NEURONS)
    total = found.weights.shape[1]
    unit = "maps" if run.network[found.population].shape else "neurons"
    summary = {"population": found.population, "shown": len(chosen), "total": total, "unit": unit}
    if found.shape:
        tiles = [
            {
                "image": pictures.field(found.weights[:, k], found.shape),
                "name": f"{found.population}[{k}]",
                "favours": None if found.favours is None else names[found.favours[k]],
            }
            for k in chosen
        ]
        return {**summary, "tiles": tiles}
    largest = np.argsort(-np.square(found.weights).sum(axis=1), kind="stable")[:MAX_NAMES]
    rows = np.sort(largest)
    groups = _groups(found, chosen, names)
    alt = f"Weights from {len(rows)} inputs to {len(chosen)} neurons of {found.population}"
    chart = pictures.rows(found.weights[np.ix_(rows, chosen)], [inputs.names[k] for k in rows], groups, alt)
    return {**summary, "chart": chart, "rows": len(rows), "inputs": len(inputs.names)}


def _groups(found: ReceptiveFields, chosen: Any, names: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Neurons that favour the same class, side by side: first, number and name."""
    if found.favours is None:
        return [(0, len(chosen), found.population)]
    classes = found.favours[chosen]
    return [(int(np.argmax(classes == k)), int((classes == k).sum()), names[k]) for k in np.unique(classes)]


def _attention(run: SavedRun, data: DataSet, j: int) -> Content | None:
    """Attention weights over the tokens of a sample; None without an attention layer."""
    if run.network.dynamic_attention is None:
        return None
    (found,) = attention.look(run.network, run.weights, data, [j])
    shown = found.strongest(MAX_TOKENS)
    alt = f"How much each of {len(found.p)} queries looks at each token of test sample {j}"
    chart = pictures.attention(found.p[:, shown], [found.words[k] for k in shown], alt)
    return {"chart": chart, "shown": len(shown), "total": len(found.words), "heads": len(found.p)}


def _boards(run: SavedRun, data: DataSet | None, progress: Callable[[str], None]) -> Content:
    """Every board, or what is missing to know them."""
    about = own_data(run.history)
    encoding = about.encoding if about else None
    rate = run.learning_rate(data)
    try:
        return {"rows": metrics.boards(run.network, run.weights, data, rate, encoding, progress)}
    except MissingExtra as e:
        return {"rows": [], "why": str(e)}


def _repeat(run: SavedRun, data: DataSet | None) -> Content:
    h = run.history
    repeat = run.repeat(data)
    return {
        "commands": repeat.commands,
        "net": repeat.net,
        "digest": digest(run.weights),
        "recorded": h.knows(run.weights),
        "data_digest": h.data_digest,
        "version": h.version,
        "machine": dict(h.machine),
        "folder": str(run.folder),
        "about": h.about,
        "seed": h.seed,
    }


# -- for JSON --------------------------------------------------------------------------------------
def _plain(content: Content) -> Content:
    """The content without figures."""
    mistakes = content["mistakes"]
    return {
        "data": content["name"],
        "sizes": content["sizes"],
        "accuracy": content["accuracy"],
        "samples_missing": content["missing"] or None,
        "spikes_per_sample": content["spikes"],
        "confusion": mistakes and mistakes["matrix"],
        "worst": mistakes and [m["example"]._asdict() for m in mistakes["examples"]],
        "populations": [p._asdict() for p in content["parts"]],
        "synapses": [j._asdict() for j in content["joints"]],
        "boards": [b._asdict() for b in content["boards"]["rows"]],
        "weights": content["repeat"]["digest"],
        "repeat": content["repeat"]["commands"],
        "net": content["repeat"]["net"] or None,
    }
