"""Data that Python has already: arrays, tables of pandas or polars, data sets of torch, series and texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.formats import Columns, Content, Part, Series, Texts
from equilif.data.formats.arrays import content, is_gone, names, of_series
from equilif_golden.fixed import as_array


def content_of(x: Any, y: Any, x_test: Any, y_test: Any, columns: Columns) -> Content:
    """Arrays, tables or data sets as a content; ValueError names an invalid argument."""
    if is_table(x):
        return _tables(x, y, x_test, y_test, columns)
    if any(columns):
        raise ValueError("label and text are columns of a table: leave them out, or give a DataFrame")
    if y is None:
        x, y = _items(x, "x")
        if x_test is not None and y_test is None:
            x_test, y_test = _items(x_test, "x_test")
    if (x_test is None) != (y_test is None):
        raise ValueError("x_test and y_test belong together: give both, or neither")
    train = _listed(x, "x")
    test = None if x_test is None else _listed(x_test, "x_test")
    if Series in (type(train), type(test)):  # one of them may hold series of one length
        train = _as_series(x, "x") if train is None else train
        test = _as_series(x_test, "x_test") if x_test is not None and test is None else test
    if train is None and test is None:
        rest = () if x_test is None else (as_array(x_test, "x_test", "numbers"), y_test)
        return content(as_array(x, "x", "numbers"), y, *rest)
    if train is None or x_test is not None and type(test) is not type(train):
        raise ValueError("x_test must be of the kind of x: both series, or both texts")
    known = _part(train, y, "y")
    tested = None if test is None else _part(test, y_test, "y_test")
    return of_series(known, tested) if isinstance(train, Series) else Content(known, tested)


# -- series and texts ------------------------------------------------------------------------------
def _listed(x: Any, name: str) -> Series | Texts | None:
    """Texts, or series of different lengths; None when it is something else."""
    if isinstance(x, Series | Texts):
        return x
    if not isinstance(x, list | tuple) and getattr(getattr(x, "dtype", None), "kind", "") not in ("U", "O"):
        return None
    samples = list(x)
    if samples and all(isinstance(s, str) for s in samples):
        empty = next((k for k, s in enumerate(samples) if not s.strip()), None)
        if empty is not None:
            raise ValueError(f"{name} has no text in sample {empty}: fill it in, or leave the sample out")
        return Texts(tuple(map(str, samples)))
    arrays = [as_array(s, f"series {k} of {name}", "numbers") for k, s in enumerate(samples)]
    return _series(arrays, name) if len({a.shape[:1] for a in arrays}) > 1 else None


def _series(arrays: list[npt.NDArray[Any]], name: str) -> Series:
    """Series from an array (steps, channels) or (steps,) for each; ValueError when one is something else."""
    for k, a in enumerate(arrays):
        if a.dtype.kind not in "iuf" or a.ndim not in (1, 2) or not a.size:
            raise ValueError(
                f"series {k} of {name} must be numbers (steps, channels), not {a.dtype} {a.shape}"
            )
        if a.ndim != arrays[0].ndim or a.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"series {k} of {name} has shape {a.shape}, the first {arrays[0].shape}: channels differ"
            )
    return Series.of([a.reshape(len(a), -1) for a in arrays])


def _as_series(x: Any, name: str) -> Series:
    """Series of one length."""
    array = as_array(x, name, "numbers")
    if array.ndim not in (2, 3) or not len(array):
        raise ValueError(f"{name} must be series (samples, steps, channels), not {array.dtype} {array.shape}")
    return _series(list(array), name)


def _part(x: Series | Texts, y: Any, name: str) -> Part:
    labels = names(y, name)
    if len(labels) != len(x):
        raise ValueError(f"{name} must have shape {(len(x),)}, one class a sample, not {labels.shape}")
    return Part(x, labels)


# -- data sets of torch ----------------------------------------------------------------------------
def _items(x: Any, name: str) -> tuple[Any, Any]:
    """Inputs and classes of a data set that hands out pairs, as those of torch do."""
    pairs = hasattr(x, "__getitem__") and hasattr(x, "__len__") and not hasattr(x, "shape")
    if not pairs or isinstance(x, dict | str):
        raise ValueError(f"the classes of {name} are missing: give y, or a DataFrame and its label")
    items = [x[k] for k in range(len(x))]
    if not items:
        raise ValueError(f"{name} has no sample")
    for k, item in enumerate(items):
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ValueError(f"item {k} of {name} is no pair of a sample and its class")
    samples = [
        item[0] if isinstance(item[0], str) else as_array(item[0], f"item {k} of {name}", "numbers")
        for k, item in enumerate(items)
    ]
    shapes = {np.shape(s) for s in samples}
    alike = _channels_last(np.stack(samples)) if len(shapes) == 1 and shapes != {()} else samples
    return alike, [item[1] for item in items]


def _channels_last(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images of torch have their one or three channels first."""
    if x.ndim == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 3:
        x = np.moveaxis(x, 1, -1)
    return x[..., 0] if x.ndim == 4 and x.shape[-1] == 1 else x


# -- tables ----------------------------------------------------------------------------------------
def is_table(x: Any) -> bool:
    """A DataFrame of pandas, polars or others."""
    return hasattr(x, "columns") and hasattr(x, "to_numpy")


def _tables(x: Any, y: Any, x_test: Any, y_test: Any, columns: Columns) -> Content:
    """One or two tables as a content; the columns of the second may stand in another order."""
    selected = tuple(name for name in _header(x, "x", columns) if name not in columns)
    if columns.text is None and not selected:
        raise ValueError("x has no column besides the classes")
    test = None
    if x_test is not None:
        if not is_table(x_test) or set(_header(x_test, "x_test", columns)) != set(_header(x, "x", columns)):
            raise ValueError("x_test must be a table with the columns of x")
        test = _of_table(x_test, y_test, "_test", columns, selected)
    train = _of_table(x, y, "", columns, selected)
    if columns.text is not None:
        return Content(train, test)
    return Content(train, test, names=selected, shape=(len(selected),))


def columns_of(x: Any, name: str, selected: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Columns ``selected`` of a DataFrame, (n, columns), NaN where a value is missing.

    ValueError when it has others; without names the columns are taken in their order.
    """
    header = _header(x, name, Columns())
    if selected and set(header) != set(selected):
        strange = sorted(set(header) ^ set(selected))
        raise ValueError(
            f"{name} must have the columns of training: {', '.join(map(repr, strange[:3]))} is in one of "
            "them only"
        )
    column = {str(label): x[label].to_numpy() for label in x.columns}
    return np.stack([_numbers(column[n], n) for n in selected or header], axis=1)


def _header(x: Any, name: str, columns: Columns) -> list[str]:
    """Names of the columns; ValueError when one of them is not there, or there twice."""
    header = [str(c) for c in x.columns]
    if len(set(header)) < len(header):
        raise ValueError(f"{name} has two columns of one name: column names must be unique")
    for option, column in (("label", columns.label), ("text", columns.text)):
        if column is not None and column not in header:
            listed = ", ".join(header[:12])
            raise ValueError(f"{name} has no column {column!r}: {option} must be one of {listed}")
    return header


def _of_table(x: Any, y: Any, end: str, columns: Columns, selected: tuple[str, ...]) -> Part:
    """Samples of a table, of its columns ``selected``."""
    if (y is None) == (columns.label is None):
        raise ValueError(f"the classes of x{end} are a column, label, or an array, y{end}: give one of them")
    column = {str(name): x[name].to_numpy() for name in x.columns}
    labels = names(y, f"y{end}") if columns.label is None else names(column[columns.label], columns.label)
    if not len(labels):
        raise ValueError(f"x{end} has no sample")
    if columns.text is not None:
        texts = tuple(_text(t, k, columns.text) for k, t in enumerate(column[columns.text]))
        return _part(Texts(texts), labels, f"y{end}")
    values = np.stack([_numbers(column[n], n) for n in selected], axis=1)
    if labels.shape != (len(values),):
        raise ValueError(f"y{end} must have shape {(len(values),)}, one class a sample, not {labels.shape}")
    return Part(values, labels)


def _numbers(column: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """A column, NaN where a value is missing."""
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    values = []
    for v in column.astype(str).tolist() if column.dtype.kind in "mM" else column.tolist():
        gone = is_gone(v)
        if not gone and (isinstance(v, str) or not isinstance(v, int | float)):
            raise ValueError(
                f"column {name!r} holds {str(v)[:40]!r}, no number: leave this column out, or write its "
                "values as numbers"
            )
        values.append(np.nan if gone else float(v))
    return np.array(values)


def _text(value: Any, k: int, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"row {k} has no text in {name!r}: fill it in, or leave the row out")
    return value
