"""Data that Python has already: arrays, tables of pandas or polars, data sets of torch, series and texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.formats import Columns, Content, Part, Series, Texts
from equilif.data.formats.arrays import content, names, of_series


def given(x: Any, y: Any, x_test: Any, y_test: Any, columns: Columns) -> Content:
    """What was given as a content; ValueError says which of it is something else."""
    if _is_table(x):
        return _tables(x, y, x_test, y_test, columns)
    if any(columns):
        raise ValueError("label and text are columns of a table: leave them out, or give a DataFrame")
    if y is None:
        x, y = _items(x, "x")
        if x_test is not None and y_test is None:
            x_test, y_test = _items(x_test, "x_test")
    if (x_test is None) != (y_test is None):
        raise ValueError("x_test and y_test belong together: give both, or neither")
    listed = _listed(x)
    if listed is None:
        rest = () if x_test is None else (np.asarray(x_test), np.asarray(y_test))
        return content(np.asarray(x), np.asarray(y), *rest)
    train = _part(listed, y, "")
    test = None if x_test is None else _part(_listed(x_test), y_test, "_test")
    if test is not None and type(test.x) is not type(train.x):
        raise ValueError("x_test must be of the kind of x: both series, or both texts")
    return of_series(train, test) if isinstance(train.x, Series) else Content(train, test)


# -- series and texts ------------------------------------------------------------------------------
def _listed(x: Any) -> Series | Texts | None:
    """Texts, or series of different lengths; None when it is something else."""
    if isinstance(x, Series | Texts):
        return x
    if not isinstance(x, list | tuple) and getattr(getattr(x, "dtype", None), "kind", "") not in ("U", "O"):
        return None
    samples = list(x)
    if samples and all(isinstance(s, str) for s in samples):
        empty = next((k for k, s in enumerate(samples) if not s.strip()), None)
        if empty is not None:
            raise ValueError(f"x has no text in sample {empty}: fill it in, or leave the sample out")
        return Texts(tuple(map(str, samples)))
    arrays = [np.asarray(s) for s in samples]
    if len({a.shape[:1] for a in arrays}) < 2:
        return None
    for k, a in enumerate(arrays):
        if a.dtype.kind not in "iuf" or a.ndim not in (1, 2) or not a.size:
            raise ValueError(f"series {k} must be numbers (steps, channels), not {a.dtype} {a.shape}")
        if a.ndim != arrays[0].ndim or a.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(f"series {k} has shape {a.shape}, the first {arrays[0].shape}: channels differ")
    return Series.of([a.reshape(len(a), -1) for a in arrays])


def _part(x: Series | Texts | None, y: Any, end: str) -> Part:
    if x is None:
        raise ValueError(f"x{end} must be of the kind of x: both series, or both texts")
    labels = np.asarray(y)
    if labels.shape != (len(x),):
        raise ValueError(f"y{end} must have shape {(len(x),)}, one class a sample, not {labels.shape}")
    return Part(x, names(labels, f"y{end}"))


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
    samples = [item[0] if isinstance(item[0], str) else np.asarray(item[0]) for item in items]
    shapes = {np.shape(s) for s in samples}
    alike = _channels_last(np.stack(samples)) if len(shapes) == 1 and shapes != {()} else samples
    return alike, np.array([_class(item[1]) for item in items])


def _channels_last(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images of torch have their one or three channels first."""
    if x.ndim == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 3:
        x = np.moveaxis(x, 1, -1)
    return x[..., 0] if x.ndim == 4 and x.shape[-1] == 1 else x


def _class(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


# -- tables ----------------------------------------------------------------------------------------
def _is_table(x: Any) -> bool:
    """A DataFrame of pandas, polars or others."""
    return hasattr(x, "columns") and hasattr(x, "to_numpy")


def _tables(x: Any, y: Any, x_test: Any, y_test: Any, columns: Columns) -> Content:
    """One or two tables as a content; the columns of the second may stand in another order."""
    used = tuple(name for name in _header(x, "x", columns) if name not in columns)
    if columns.text is None and not used:
        raise ValueError("x has no column beside the classes")
    test = None
    if x_test is not None:
        if not _is_table(x_test) or set(_header(x_test, "x_test", columns)) != set(_header(x, "x", columns)):
            raise ValueError("x_test must be a table with the columns of x")
        test = _of_table(x_test, y_test, "_test", columns, used)
    train = _of_table(x, y, "", columns, used)
    if columns.text is not None:
        return Content(train, test)
    return Content(train, test, names=used, shape=(len(used),))


def _header(x: Any, name: str, columns: Columns) -> list[str]:
    """Names of the columns; ValueError when one of them is not there, or there twice."""
    header = [str(c) for c in x.columns]
    if len(set(header)) < len(header):
        raise ValueError(f"{name} has two columns of one name: each needs a name of its own")
    for option, column in columns._asdict().items():
        if column is not None and column not in header:
            listed = ", ".join(header[:12])
            raise ValueError(f"{name} has no column {column!r}: {option} must be one of {listed}")
    return header


def _of_table(x: Any, y: Any, end: str, columns: Columns, used: tuple[str, ...]) -> Part:
    """Samples of a table, of its columns ``used``."""
    if (y is None) == (columns.label is None):
        raise ValueError(f"the classes of x{end} are a column, label, or an array, y{end}: give one of them")
    column = {str(name): x[name].to_numpy() for name in x.columns}
    labels = np.asarray(y) if columns.label is None else np.asarray(column[columns.label])
    if labels.dtype.kind == "O":
        labels = np.array([_name(v, k, end) for k, v in enumerate(labels)])
    if not len(labels):
        raise ValueError(f"x{end} has no sample")
    if columns.text is not None:
        texts = tuple(_text(t, k, columns.text) for k, t in enumerate(column[columns.text]))
        return _part(Texts(texts), labels, end)
    values = np.stack([_numbers(column[n], n) for n in used], axis=1)
    if labels.shape != (len(values),):
        raise ValueError(f"y{end} must have shape {(len(values),)}, one class a sample, not {labels.shape}")
    return Part(values, names(labels, columns.label or f"y{end}"))


def _numbers(column: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """A column, NaN where a value is missing."""
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    values = []
    for v in column.tolist():
        gone = _is_gone(v)
        if not gone and (isinstance(v, str) or not isinstance(v, int | float)):
            raise ValueError(
                f"column {name!r} holds {str(v)[:40]!r}, no number: leave this column out, or write its "
                "values as numbers"
            )
        values.append(np.nan if gone else float(v))
    return np.array(values)


def _is_gone(value: Any) -> bool:
    """Whether it stands for a value that is not there: None, NaN, or what pandas has for it."""
    return value is None or type(value).__name__ == "NAType" or isinstance(value, float) and value != value


def _text(value: Any, k: int, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"row {k} has no text in {name!r}: fill it in, or leave the row out")
    return value


def _name(value: Any, k: int, end: str) -> str:
    """A class of a column of Python's objects; ValueError where there is none."""
    if _is_gone(value):
        raise ValueError(f"row {k} of x{end} has no class: fill it in, or leave the row out")
    return str(int(value)) if isinstance(value, bool) else str(value)
