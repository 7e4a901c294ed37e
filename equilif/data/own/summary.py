"""Summary of own data: encoding, scaling, value ranges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from equilif.data.encoding import Encoding, wordless
from equilif.data.encoding.about import About
from equilif.data.encoding.scaling import FULL, named_missing
from equilif.data.formats import Part, Series
from equilif.data.sets.dataset import DataSet


def notes(about: About, data: DataSet, train: Part, clipped: tuple[int, int], gone: int) -> Iterator[str]:
    """Notes on encoding and scaling."""
    yield from _encoded(about.encoding, data, train)
    s = about.scaling
    if about.encoding.sensor is not None:
        yield about.encoding.sensor.note
    elif s.kind == "bytes":
        yield "8-bit whole numbers, taken as they are"
    elif s.kind == "common" and about.encoding.kind != "texts":
        c = s.columns[0]
        rails = ", on two rails (positive and negative part)" if c.kind == "rails" else ""
        yield f"one scale for all values, {c.low:g} to {c.high:g}{rails}"
    elif about.encoding.kind == "series" and s.kind == "columns":
        yield f"each span of a channel standardised, +-{FULL:g} deviations on two rails"
    elif s.kind == "columns":
        signed = sum(c.kind == "rails" for c in s.columns)
        yield "each column by its training range" + (f", {signed} with a sign on two rails" if signed else "")
    if s.dropped:
        yield f"left out, because they never change: {', '.join(s.dropped)}"
    if gone:
        of_training = named_missing(np.isnan(train.numbers), about.encoding.read_names(s.names))
        yield f"{gone:,} missing values filled with the training mean ({of_training} of the training part)"
    if any(clipped):
        yield f"beyond the scale and clipped: {clipped[0]:,} training and {clipped[1]:,} test values"


def _encoded(code: Encoding, data: DataSet, train: Part) -> Iterator[str]:
    """Conversion of samples to inputs or tokens."""
    empty = ""
    if code.kind == "texts":
        parts = ((data.x_train, data.tokens_train), (data.x_test, data.tokens_test))
        count = sum(wordless(x, tokens, data.words) for x, tokens in parts)
        empty = f"; {count:,} texts have none of them" if count else ""
    if code.kind == "texts" and not code.attention:
        yield f"an input for each of {len(code.words):,} words of the training part: is it there?{empty}"
    elif code.kind == "texts":
        yield (
            f"the first {code.steps} words of a text that have a vector are tokens of an attention layer"
            f"{empty}"
        )
    elif isinstance(train.x, Series):
        length = np.diff(train.x.off)
        lengths = f"{length.min()} to {length.max()}" if length.min() < length.max() else str(length[0])
        if code.sensor is not None:
            count = len(data.x_train)
            yield f"series of {lengths} steps, {len(train.x):,} for training: {count:,} samples"
            return
        what = "tokens of an attention layer" if code.attention else "spans"
        at_most = "at most " * code.attention
        yield f"series of {lengths} steps, each as {at_most}{code.steps} {what}: means over its steps"
